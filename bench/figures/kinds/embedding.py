"""Images on a plane by their features (t-SNE, PCA), each class a colour and a mark, before and after fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.figures.measured import MeasuredModel, MeasuredModels, models_of
from bench.figures.page import Page, page_of
from bench.figures.predicted import class_labels
from bench.figures.scene import Scene, Sketch, common_line
from bench.figures.style import COLOURS, MARKERS

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "embedding"

MOST_CLASSES = 12
"""Beyond, nobody tells colours and marks apart."""

PROJECTIONS = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}
"""By the name of the array, in the order of the rows."""

SIDE = 1.35
"""Inches of the height of a panel beside others."""

MANY = 5.0
"""Inches from which four panels stand side by side, and not two."""


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for each model and projection, the pre-trained model first where it was measured."""
    models = models_of(scene.drawn, scene, MEASURE)
    picked = picked_classes(models.panels)
    names = class_labels(scene.drawn[0], scene, 1 + int(max(picked, default=0)), most=18)
    return [Sketch(lambda: _drawing(scene, models, picked, names), [*scene.labels, *names])]


def picked_classes(panels: Sequence[MeasuredModel], most: int = MOST_CLASSES) -> list[int]:
    """The labels that are drawn: those of the first panel, of many as many as can be told apart, evenly taken."""
    every = sorted({int(label) for panel in panels for label in np.unique(panel.arrays["labels"])})
    if len(every) <= most:
        return every
    return [every[at] for at in np.linspace(0, len(every) - 1, most).round().astype(int)]


def _drawing(scene: Scene, models: MeasuredModels, picked: Sequence[int], names: Sequence[str]) -> Figure:
    panels = models.panels
    projections = [name for name in PROJECTIONS if all(name in panel.arrays for panel in panels)]
    width = page_of(scene.width, len(panels)).width
    most = 4 if width > MANY else 2
    if len(panels) <= most:
        across, places = len(panels), [(panel, name) for name in projections for panel in panels]
    else:  # the projections of a model stand side by side instead
        across = most // len(projections) * len(projections) or len(projections)
        places = [(panel, name) for panel in panels for name in projections]
    page = Page(width, across, SIDE if across > 1 else 2.2)
    titles = [f"{panel.title}, {PROJECTIONS[name]}{_kept(panel, name)}" for panel, name in places]
    handles: dict[str, Any] = {}
    for axes, (panel, name) in zip(page.add(titles, "", ""), places, strict=True):
        handles |= _scatter(axes, panel.arrays, name, picked, names)
    page.title(scene.table.plan.title, common_line(scene.table))
    page.legend(handles, _note(models, picked))
    return page.fitted()


def _kept(panel: MeasuredModel, name: str) -> str:
    """How much of the variance a plane of PCA keeps."""
    if name != "pca" or "pca_share" not in panel.arrays:
        return ""
    return f" ({100 * float(panel.arrays['pca_share'].sum()):.0f} %)"


def _scatter(
    axes: Axes, arrays: Mapping[str, npt.NDArray[Any]], name: str, picked: Sequence[int], names: Sequence[str]
) -> dict[str, Any]:
    """Draw the images of a panel; gives what stands for each class in the legend."""
    labels, plane = arrays["labels"], arrays[name]
    handles: dict[str, Any] = {}
    side = 3.0 if len(labels) < 300 else 2.0
    for at, label in enumerate(picked):
        inside, style = labels == label, _mark(at)
        axes.plot(*plane[inside].T, markersize=side, alpha=0.75, **style)
        handles[names[label]] = Line2D([], [], markersize=4.0, **style)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(True)
    axes.margins(0.04)
    return handles


def _mark(at: int) -> dict[str, Any]:
    """Of the n-th class: the first seven have a colour each, filled; the next have them again, hollow."""
    colour, hollow = COLOURS[at % len(COLOURS)], at >= len(COLOURS)
    return {
        "linestyle": "",
        "marker": MARKERS[at % len(MARKERS)],
        "markerfacecolor": "none" if hollow else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 0.6 if hollow else 0.0,
    }


def _note(models: MeasuredModels, picked: Sequence[int]) -> str:
    """Of which images; which classes, where not all are drawn; and what distances mean."""
    panels = models.panels
    remarks = {remark for panel in panels for remark in panel.measurement.remarks if "drawn" in remark}
    every = {int(label) for panel in panels for label in np.unique(panel.arrays["labels"])}
    if len(picked) < len(every):
        remarks = {f"{len(picked)} of {len(every)} classes"}
    images, drawn = models.note, {len(panel.arrays["labels"]) for panel in panels}
    if drawn != {panel.measurement.images for panel in panels}:
        images = f"{max(drawn):,} of {images}"
    return "; ".join((images, *sorted(remarks), "distances between clusters of t-SNE mean nothing"))
