"""Figures that are grids of pictures: a row an image, a column for what is shown of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.page import Page
from bench.figures.scene import Scene
from bench.figures.style import WIDTHS

Picture = npt.NDArray[np.uint8]

COLUMN, MOST_COLUMNS = 4, 9
"""Pictures side by side up to which a column is wide enough, and that fit a page."""


@dataclass(frozen=True)
class PictureColumn:
    """What is shown of each image.

    Attributes:
        title: above it.
        draw: into the axes of the image of a number.
    """

    title: str
    draw: Callable[[Axes, int], None]


def picture_page(
    scene: Scene,
    columns: Sequence[PictureColumn],
    rows: int,
    line: str,
    note: str,
    handles: Mapping[str, Any] | None = None,
) -> Figure:
    """A grid under the table's title, with a legend of handles; it grows with the number of rows.

    Raises ``ValueError``: there are more columns than can be told apart.
    """
    if len(columns) > MOST_COLUMNS:
        raise ValueError(f"{len(columns)} pictures beside one another are too many; choose some with --methods")
    inches = WIDTHS[scene.width or ("column" if len(columns) <= COLUMN else "page")]
    page = Page(inches, len(columns), inches / len(columns))
    titles = [column.title for column in columns] + [""] * (len(columns) * (rows - 1))
    for number, axes in enumerate(page.add(titles, "", "")):
        row, column = divmod(number, len(columns))
        columns[column].draw(axes, row)
        axes.set_axis_off()
    page.title(scene.table.plan.title, line)
    page.legend(handles or {}, note)
    return squared(page)


def squared(page: Page) -> Figure:
    """The figure of a page whose panels are as high as they are wide; what is drawn in them fills them."""
    for axes in page.panels:
        axes.set_aspect("auto")
    down = math.ceil(len(page.panels) / page.across)
    page.drawing.set_size_inches(page.width, down * (page.panel_height + 0.8) + 1)  # so high that nothing collapses
    page.drawing.draw_without_rendering()
    page.panel_height = page.panels[0].get_position().width * page.width
    return page.fitted()


def show_picture(axes: Axes, picture: Picture, faint: bool = False) -> None:
    """A picture (S, S, C) of one or three channels; faint, in grey, below what is laid over it."""
    colours = picture.mean(-1) if faint or picture.shape[-1] == 1 else picture
    axes.imshow(colours, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=(0, 1, 1, 0))
