"""The patches that [cls] attends to as masks of objects, beside the true masks, of the models side by side."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from bench.figures.measured import MeasuredModel, MeasuredModels, sketches_of_models
from bench.figures.pictures import Picture, PictureColumn, picture_page, show_picture
from bench.figures.scene import Scene, Sketch, common_line
from bench.figures.style import COLOURS
from bench.papers.published import Key

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "jaccard"

VOID = 255


def sketches(scene: Scene) -> list[Sketch]:
    """A figure for each setting: a row an image, a column a model."""
    return sketches_of_models(scene, MEASURE, drawn, needs="kept")


def drawn(scene: Scene, labels: Key, models: MeasuredModels) -> Figure:
    """The figure of a setting."""
    first = models.panels[0].arrays
    pictures: Picture = first["pictures"]
    truth = np.where(first["truth"] == VOID, 0, first["truth"]) > 0
    columns = [
        PictureColumn("image", lambda axes, row: show_picture(axes, pictures[row])),
        PictureColumn("true mask", lambda axes, row: _laid_over(axes, pictures[row], truth[row])),
        *(PictureColumn(panel.title, partial(_kept, panel, pictures)) for panel in models.panels),
    ]
    note = f"patches with the most attention of the best head of an image; {models.note}"
    line = " / ".join(labels) or common_line(scene.table)
    return picture_page(scene, columns, len(pictures), line, note)


def _kept(panel: MeasuredModel, pictures: Picture, axes: Axes, row: int) -> None:
    _laid_over(axes, pictures[row], panel.arrays["kept"][row])


def _laid_over(axes: Axes, picture: Picture, mask: npt.NDArray[np.bool_]) -> None:
    show_picture(axes, picture, faint=True)
    laid = np.where(mask, 1.0, np.nan)
    axes.imshow(
        laid,
        cmap=ListedColormap([COLOURS[1]]),
        vmin=0,
        vmax=1,
        alpha=0.6,
        interpolation="nearest",
        extent=(0, 1, 1, 0),
    )
