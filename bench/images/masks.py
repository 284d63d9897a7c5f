"""Files of masks, without torch: opened, and looked at before anything is trained on them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from bench.device.limits import usable_cores
from bench.errors import InputError
from bench.images.raster import Undecodable, open_image
from bench.images.survey import Progress, Surveyed
from bench.metrics.segmentation import IGNORED
from bench.records.files import write_file

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


class _Kept(msgspec.Struct):
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


def survey_masks(
    paths: Sequence[str | Path], kept: Path | None = None, progress: Progress = lambda done, count: None
) -> list[SurveyedMask]:
    """Look at masks, in their order: decode those that are not as they were when the ``kept`` file was written.

    Where that cannot be written, nothing is kept.
    """
    seen = {mask.path: mask for mask in _earlier(kept)}
    stamps = {path: (mask.size, mask.changed) for path, mask in seen.items()}
    new = [path for path in map(str, paths) if stamps.get(path) != _stamp(path)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        for number, mask in enumerate(pool.map(_look, new), 1):
            seen[mask.path] = mask
            progress(number, len(new))
    masks = [seen[str(path)] for path in paths]
    if new and kept is not None:
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_file(kept, msgspec.json.encode(_Kept(FORMAT, masks)))
    return masks


def unusable_masks(
    images: Mapping[str, Sequence[Surveyed]], masks: Mapping[str, Sequence[SurveyedMask]], classes: int
) -> list[Surveyed]:
    """The masks of splits that stand against training, each with its problem, told as that of an image is."""
    unusable = []
    for split, surveyed in images.items():
        for image, mask in zip(surveyed, masks[split], strict=True):
            if problem := _problem(image, mask, classes):
                unusable.append(Surveyed(mask.path, mask.size, mask.changed, problem, damaged=True))
    return unusable


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
    size, changed = _stamp(path)
    try:
        levels = read_mask(path)
    except (Undecodable, InputError) as error:
        return SurveyedMask(path, size, changed, str(error).removeprefix(path).lstrip(": "))
    counted = levels[levels != IGNORED]
    highest = int(counted.max()) if counted.size else -1
    return SurveyedMask(path, size, changed, "", levels.shape[1], levels.shape[0], highest)


def _earlier(kept: Path | None) -> list[SurveyedMask]:
    """What was kept; nothing where it cannot be read."""
    if kept is None:
        return []
    try:
        earlier = msgspec.json.decode(kept.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return []
    return earlier.masks if earlier.form == FORMAT else []


def _stamp(path: str) -> tuple[int, int]:
    facts = Path(path).stat()
    return facts.st_size, facts.st_mtime_ns
