"""Where [cls] of the last layer looks in some images, of the pre-trained model and the trained ones side by side."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.measured import MeasuredModel, MeasuredModels, sketches_of_models
from bench.figures.pictures import Picture, PictureColumn, picture_page, show_picture
from bench.figures.scene import Scene, Sketch, common_line
from bench.papers.published import Key

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "attention_map"

HEAT = "viridis"
"""The colour map of attention: dark is little, bright is much, in grey too."""


def sketches(scene: Scene) -> list[Sketch]:
    """A figure for each setting: a row an image, a column a model."""
    return sketches_of_models(scene, MEASURE, drawn, needs="cls")


def drawn(scene: Scene, labels: Key, models: MeasuredModels) -> Figure:
    """The figure of a setting."""
    pictures: Picture = models.panels[0].arrays["pictures"]
    columns = [PictureColumn("image", lambda axes, row: show_picture(axes, pictures[row]))]
    columns += [PictureColumn(panel.title, partial(_overlay, panel, pictures)) for panel in models.panels]
    note = f"attention of [cls] in the last layer, mean over heads; bright is the most of each map; {models.note}"
    line = " / ".join(labels) or common_line(scene.table)
    return picture_page(scene, columns, len(pictures), line, note)


def _overlay(panel: MeasuredModel, pictures: Picture, axes: Axes, row: int) -> None:
    show_picture(axes, pictures[row], faint=True)
    attention = panel.arrays["cls"][row]
    axes.imshow(
        attention, cmap=HEAT, vmin=0, vmax=attention.max(), alpha=0.65, interpolation="nearest", extent=(0, 1, 1, 0)
    )
