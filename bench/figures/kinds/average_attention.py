"""The attention maps of each layer, mean over images and heads, before training and after."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from bench.figures.measured import MeasuredModels, sketches_of_models
from bench.figures.page import Page
from bench.figures.pictures import squared
from bench.figures.scene import Scene, Sketch, common_line
from bench.figures.style import WIDTHS
from bench.papers.published import Key

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "attention_map"

SHADES = "viridis"

PLACES = (WIDTHS["page"], 6), (WIDTHS["column"], 4)
"""How many layers stand side by side at a width."""


def sketches(scene: Scene) -> list[Sketch]:
    """A figure for each setting: for each model a panel a layer."""
    return sketches_of_models(scene, MEASURE, drawn)


def drawn(scene: Scene, labels: Key, models: MeasuredModels) -> Figure:
    """The figure of a setting."""
    inches = WIDTHS[scene.width or "page"]
    averages = {
        f"{panel.title}: layer {layer}": average
        for panel in models.panels
        for layer, average in enumerate(panel.arrays["average"], 1)
    }
    layers = max(len(panel.arrays["average"]) for panel in models.panels)
    across = min(layers, dict(PLACES)[inches])
    page = Page(inches, across, inches / across)
    for axes, average in zip(page.add(list(averages), "", ""), averages.values(), strict=True):
        most = float(np.quantile(average, 0.995))
        axes.imshow(average, cmap=SHADES, vmin=0, vmax=most or 1.0, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
    page.title(scene.table.plan.title, " / ".join(labels) or common_line(scene.table))
    page.legend(
        {},
        "patch that asks (down) by patch asked (across), row by row from the top left, mean over images and heads; "
        f"bright is the most of each layer; {models.note}",
    )
    return squared(page)
