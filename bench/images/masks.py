"""Files of masks, without torch: opened, and looked at before anything is trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bench.device.limits import usable_cores
from bench.errors import InputError
from bench.images.raster import Undecodable, open_image
from bench.images.survey import Progress, Surveyed, keep, read_kept, stamp
from bench.metrics.segmentation import IGNORED

FORMAT = 1
"""Raised when something else is kept of a mask, or is found out in another way."""


class SurveyedMask(msgspec.Struct, frozen=True, array_like=True):
    """What was seen of a mask file.

    Attributes:
        size, changed: bytes, and when they were written in ns; by them a file is unchanged again.
        problem: why it is no mask; empty where it is one.
        width, height: in pixels.
        highest: its highest level that counts; -1 where it has none.
    """

    path: str
    size: int
    changed: int
    problem: str = ""
    width: int = 0
    height: int = 0
    highest: int = -1


class _Masks(msgspec.Struct):
    form: int
    masks: list[SurveyedMask]


def read_mask(path: str | Path) -> npt.NDArray[np.uint8]:
    """The levels of a mask, (H, W), as they are stored. Raises ``InputError``: it cannot be decoded, or is no mask."""
    with open_image(path) as image:
        form, mode = image.format, image.mode
        few_bits = mode == "L" and ";" in str(getattr(image, "tile", ""))
        stored = np.array(image)
    if form != "PNG" or few_bits or mode not in ("L", "P"):
        what = "of less than 8 bits" if few_bits else f"with channels {mode}"
        allowed = "a mask is a PNG with one channel of 8 bits, or with a palette"
        raise InputError(f"{path}: it is no mask: {allowed}, and this is a {form} {what}")
    return stored


def unusable_masks(
    images: Mapping[str, Sequence[Surveyed]],
    masks: Mapping[str, Sequence[str | Path]],
    classes: int,
    kept: Path | None = None,
    progress: Progress = lambda done, count: None,
) -> list[Surveyed]:
    """The masks of splits that stand against training, each with its problem, told as that of an image is.

    Those are decoded that are not as they were when the ``kept`` file was written (``bench.images.survey.keep``).

    Args:
        images: of each split, surveyed.
        masks: of each split, that of each of its images in turn.
        classes: how many there are; 256 where any level is one.
        kept: what was seen of masks earlier; None where nothing is kept.
        progress: is told how many masks are decoded, and of how many.
    """
    seen = _survey([str(path) for paths in masks.values() for path in paths], kept, progress)
    unusable = []
    for split, surveyed in images.items():
        for image, path in zip(surveyed, masks[split], strict=True):
            mask = seen[str(path)]
            if problem := _problem(image, mask, classes):
                unusable.append(Surveyed(mask.path, mask.size, mask.changed, problem, damaged=True))
    return unusable


def _survey(paths: Sequence[str], kept: Path | None, progress: Progress) -> dict[str, SurveyedMask]:
    """What is seen of masks, by their paths."""
    earlier = read_kept(kept, _Masks) if kept else None
    seen = {mask.path: mask for mask in earlier.masks} if earlier and earlier.form == FORMAT else {}
    stamps = {path: (mask.size, mask.changed) for path, mask in seen.items()}
    new = [path for path in paths if stamps.get(path) != stamp(path)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number, mask in enumerate(pool.map(_look, new), 1):
            seen[mask.path] = mask
            progress(number, len(new))
    if new:
        keep(kept, _Masks(FORMAT, [seen[path] for path in paths]))
    return seen


def _problem(image: Surveyed, mask: SurveyedMask, classes: int) -> str:
    if mask.problem:
        return mask.problem
    if not image.problem and (image.width, image.height) != (mask.width, mask.height):
        return f"a mask of {mask.width} × {mask.height} pixels for an image of {image.width} × {image.height}"
    if mask.highest >= classes:
        allowed = f"{classes} classes: levels are 0 to {classes - 1}, and {IGNORED} is left out"
        return f"it has the level {mask.highest}, and there are {allowed}"
    return ""


def _look(path: str) -> SurveyedMask:
    size, changed = stamp(path)
    try:
        levels = read_mask(path)
    except (Undecodable, InputError) as error:
        return SurveyedMask(path, size, changed, str(error).removeprefix(path).lstrip(": "))
    counted = levels[levels != IGNORED]
    highest = int(counted.max()) if counted.size else -1
    return SurveyedMask(path, size, changed, "", levels.shape[1], levels.shape[0], highest)
