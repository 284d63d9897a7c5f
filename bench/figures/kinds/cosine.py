"""How alike the features of two images are, of one class and of two, before and after fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.measured import MeasuredModel, MeasuredModels, models_of
from bench.figures.page import page_of
from bench.figures.predicted import class_labels
from bench.figures.scene import Scene, Sketch, common_line
from bench.figures.style import COLOURS

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "cosine"

SIDES = {"positive": ("one class", COLOURS[0], "-"), "negative": ("two classes", COLOURS[1], "--")}
"""Of each distribution: of pairs of what, its colour and its line."""


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for the pre-trained model and for each that was trained."""
    models = models_of(scene.drawn, scene, MEASURE)
    chosen = [int(label) for label in models.panels[0].arrays["classes"]]
    names = class_labels(scene.drawn[0], scene, 1 + max(chosen))
    classes = [names[label] for label in chosen]
    return [Sketch(lambda: _drawing(scene, models, classes), [*scene.labels, *classes])]


def _drawing(scene: Scene, models: MeasuredModels, classes: list[str]) -> Figure:
    panels = models.panels
    page = page_of(scene.width, len(panels))
    handles: dict[str, Any] = {}
    every = page.add([panel.title for panel in panels], "cosine similarity", "density of pairs")
    for axes, panel in zip(every, panels, strict=True):
        handles |= _panel(axes, panel)
    low = min(_lowest(panel) for panel in panels)
    top = max(axes.get_ylim()[1] for axes in every)
    for axes in every:
        axes.set_xlim(low, 1)
        axes.set_ylim(0, top)
    page.title(scene.table.plan.title, common_line(scene.table))
    pairs = f"pairs of images of {' and '.join(classes)}, among {models.note}"
    page.legend(handles, f"{pairs}; dotted: mean over all pairs of all classes")
    return page.fitted()


def _panel(axes: Axes, panel: MeasuredModel) -> dict[str, Any]:
    """Draw both distributions; gives what stands for each in the legend."""
    arrays, numbers = panel.arrays, panel.measurement.numbers
    edges = arrays["edges"]
    handles: dict[str, Any] = {}
    for side, (label, colour, line) in SIDES.items():
        counts = arrays[side].astype(float)
        density = counts / max(1.0, counts.sum()) / np.diff(edges)
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.25)
        handles[f"pairs of {label}"] = axes.stairs(density, edges, color=colour, linestyle=line, linewidth=1.0)
        mean = numbers.get(f"cosine_{side}")
        if mean is not None:
            axes.axvline(mean, color=colour, linestyle=":", linewidth=0.8)
    return handles


def _lowest(panel: MeasuredModel) -> float:
    """Where the lower of both distributions begins, to a tenth."""
    arrays = panel.arrays
    filled = np.flatnonzero(arrays["positive"] + arrays["negative"])
    return float(np.floor(10 * arrays["edges"][filled[0]]) / 10) if len(filled) else -1.0
