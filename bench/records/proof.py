"""What a record's predictions are, and whether a record without a checksum can be true.

Such records are all of classification: their scores are held against their counts, and against what was predicted.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.metrics import METRICS, TOP1, NotKept, Predictions, TaskPredictions
from bench.reading.ordinary import open_ordinary
from bench.records.record import Record, Scores
from bench.records.seal import Unfit

if TYPE_CHECKING:
    import numpy.typing as npt

Arrays: TypeAlias = "Mapping[str, npt.NDArray[Any]]"

PREDICTIONS = "predictions.npz"

UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What a file of predictions that is none, or is damaged, makes NumPy raise."""

_EXACT = 1e-9
"""How far a number of right answers may be from a whole one, of all images: what rounding makes."""

_NEAR = 1e-3
"""How far another metric may be from what is computed of the predictions, of its size: sums are rounded otherwise."""


def read_predictions(
    path: Path, split: str, kind: type[TaskPredictions] = Predictions, least: bool = False
) -> tuple[Arrays, Arrays]:
    """The arrays that were kept of a split: of each point, (points, images, ...), and of all, (images, ...).

    They are named as a kind of predictions has them; what older runs did not keep lacks. ``least``: no more of each
    point than the first array, which is always there.

    Raises one of ``UNREADABLE`` where there is none such, or it is damaged, or no ordinary file.
    """
    import numpy as np

    with open_ordinary(path) as file, np.load(file, allow_pickle=False) as arrays:
        named = {name: kept_name(split, name) for name in (*kind.of_points, *kind.of_split)}
        first, *more = kind.of_points
        wanted = [first, *([] if least else (name for name in more if named[name] in arrays))]
        return (
            {name: np.asarray(arrays[named[name]]) for name in wanted},
            {name: np.asarray(arrays[named[name]]) for name in kind.of_split},
        )


def kept_name(split: str, name: str) -> str:
    """What an array of a split is called in the file: ``test`` for what has no name, ``test_labels``."""
    return f"{split}_{name}" if name else split


def of_points(of_point: Arrays, of_split: Arrays, points: int, kind: type[TaskPredictions]) -> list[TaskPredictions]:
    """The predictions at each point. Raises ``ValueError`` where the arrays are not those of so many points."""
    (images, *each), *_ = (array.shape or (0,) for array in of_split.values())
    shapes = [array.shape for array in of_point.values()]
    if any(shape != (points, images, *each) for shape in shapes):
        raise ValueError("they are not those of the record's curve")
    if any(array.dtype.kind not in "biuf" for array in (*of_point.values(), *of_split.values())):
        raise ValueError("they are no numbers")
    return [kind.of({**{name: array[at] for name, array in of_point.items()}, **of_split}) for at in range(points)]


def prove(record: Record, folder: Path, top1_alone: bool = False) -> None:
    """Hold a record's scores against the numbers of images it names, and the predictions in its folder.

    With ``top1_alone`` no other metric is computed, which takes a fifth of the time. Raises ``Unfit`` where a score
    cannot be true.
    """
    for split, images in (("val", record.validation_images), ("test", record.test_images)):
        of_points = [(point.test if split == "test" else point.val) or {} for point in record.curve]
        if not any(of_points):
            continue
        if images:
            for point, scores in zip(record.curve, of_points, strict=True):
                _require_shares(scores, images, f"at step {point.step} {split}.")
        predictions = _predictions(folder / PREDICTIONS, split, len(record.curve), top1_alone)
        if top1_alone:
            of_points = [{TOP1.name: scores.get(TOP1.name)} for scores in of_points]
        for point, scores, predicted in zip(record.curve, of_points, predictions, strict=False):
            _require_same(scores, predicted, f"at step {point.step} {split}.")


def _require_shares(scores: Scores, images: int, place: str) -> None:
    """Of so many images, only some shares are whole numbers of them."""
    for name, score in scores.items():
        right = (score or 0) * images / 100
        if name in METRICS and METRICS[name].per_image and abs(right - round(right)) > _EXACT * images:
            raise Unfit(f"{place}{name} is {score:g} %, which is no share of {images} images")


def _predictions(path: Path, split: str, points: int, least: bool) -> list[TaskPredictions]:
    """What was predicted at each point; nothing where that was not kept, or cannot be read."""
    try:
        of_point, of_split = read_predictions(path, split, least=least)
    except UNREADABLE:
        return []
    try:
        return of_points(of_point, of_split, points, Predictions)
    except ValueError:
        raise Unfit(f"the points of its curve are not those at which '{split}' was predicted") from None


def _require_same(scores: Scores, predictions: TaskPredictions, place: str) -> None:
    for name, score in scores.items():
        metric = METRICS.get(name)
        if metric is None or not metric.of_curve or score is None:
            continue
        try:
            value = metric.of(predictions)
        except NotKept:
            continue
        tolerance = _EXACT * 100 if metric.per_image else _NEAR * max(1.0, abs(value))
        if not abs(value - score) <= tolerance:
            raise Unfit(f"{place}{name} is {score:g}, and by its predictions {value:g}")
