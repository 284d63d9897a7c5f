"""How far each head attends, in pixels, by layer: the pre-trained model and the trained ones side by side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.measured import MeasuredModels, sketches_of_models
from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line
from bench.figures.style import COLOURS
from bench.papers.published import Key

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "attention_distance"


def sketches(scene: Scene) -> list[Sketch]:
    """A figure for each setting: a panel for each model, a dot for each head."""
    return sketches_of_models(scene, MEASURE, drawn)


def drawn(scene: Scene, labels: Key, models: MeasuredModels) -> Figure:
    """The figure of a setting."""
    page = page_of(scene.width, len(models.panels))
    panels = page.add([panel.title for panel in models.panels], "layer", "attention distance (pixels)")
    distances = [panel.arrays["distance"] for panel in models.panels]
    highest = max(float(np.nanmax(distance)) for distance in distances)
    for axes, distance in zip(panels, distances, strict=True):
        _panel(axes, distance)
        axes.set_ylim(0, 1.08 * highest)
    for number, axes in enumerate(panels):
        if number % page.across:
            axes.set_yticklabels([])
    title = " / ".join(labels)
    page.title(scene.table.plan.title, title or common_line(scene.table))
    page.legend({}, f"a dot a head, the bar is the mean of a layer; {models.note}")
    return page.fitted()


def _panel(axes: Axes, distance: npt.NDArray[np.float64]) -> None:
    layers = np.arange(1, len(distance) + 1)
    means = np.nanmean(distance, axis=1)
    axes.hlines(means, layers - 0.35, layers + 0.35, color="0.45", linewidth=1.0, zorder=1)
    places = np.repeat(layers, distance.shape[1])
    axes.plot(
        places, distance.ravel(), linestyle="none", marker="o", markersize=2.8, color=COLOURS[0], alpha=0.75, mew=0
    )
    axes.set_xlim(0.4, len(distance) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
