"""What models for segmentation take the pixels of some images for, beside the true masks."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.figures.measured import MeasuredModels, sketches_of_models
from bench.figures.pictures import Picture, PictureColumn, picture_page, show_picture
from bench.figures.scene import Scene, Sketch, common_line
from bench.papers.published import Key

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "predicted_masks"

VOID = 255

NAMED = 12
"""Classes up to which a legend names those that are met."""


def sketches(scene: Scene) -> list[Sketch]:
    """A figure for each setting: a row an image, a column a model."""
    return sketches_of_models(scene, MEASURE, drawn, source=False)


def drawn(scene: Scene, labels: Key, models: MeasuredModels) -> Figure:
    """The figure of a setting."""
    panels, first = models.panels, models.panels[0].arrays
    pictures: Picture = first["pictures"]
    columns = [
        PictureColumn("image", lambda axes, row: show_picture(axes, pictures[row])),
        PictureColumn("true mask", partial(_laid_over, pictures, first["truth"])),
        *(PictureColumn(panel.title, partial(_laid_over, pictures, panel.arrays["predicted"])) for panel in panels),
    ]
    met = np.unique([first["truth"], *(panel.arrays["predicted"] for panel in panels)])
    handles = {str(first["classes"][level]): Patch(color=_colours()[level]) for level in met[met != VOID]}
    line = " / ".join(labels) or common_line(scene.table)
    return picture_page(scene, columns, len(pictures), line, models.note, handles if len(handles) <= NAMED else {})


def _laid_over(pictures: Picture, masks: npt.NDArray[np.uint8], axes: Axes, row: int) -> None:
    show_picture(axes, pictures[row], faint=True)
    colours = np.concatenate([_colours(), np.full((256, 1), 0.6)], 1)
    colours[VOID, 3] = 0  # what counts for nothing is left as it is
    axes.imshow(colours[masks[row]], interpolation="nearest", extent=(0, 1, 1, 0))


def _colours() -> npt.NDArray[np.float64]:
    """(256, 3): a colour for each class; those of neighbouring numbers are far apart."""
    colours = np.array(colormaps["tab20"].colors)  # type: ignore[attr-defined]
    return np.resize(np.concatenate([colours[::2], colours[1::2]]), (256, 3))
