"""Whether a record without a checksum can be true: its scores are held against its counts, and what was predicted."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.metrics import METRICS, TOP1, NotKept, Predictions
from bench.metrics.predictions import ARRAYS
from bench.reading.ordinary import open_ordinary
from bench.records.record import Record, Scores
from bench.records.seal import Unfit

PREDICTIONS = "predictions.npz"

UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""What a file of predictions that is none, or is damaged, makes NumPy raise."""

_EXACT = 1e-9
"""How far a number of right answers may be from a whole one, of all images: what rounding makes."""

_NEAR = 1e-3
"""How far another metric may be from what is computed of the predictions, of its size: sums are rounded otherwise."""


def read_predictions(
    path: Path, split: str, names: Iterable[str] = ARRAYS
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
    """Predicted classes (points, images), labels (images,) and the other arrays of a split, each (points, images).

    Of the other arrays, those that are named and there.

    Raises one of ``UNREADABLE`` where there is none such, or it is damaged, or no ordinary file.
    """
    with open_ordinary(path) as file, np.load(file, allow_pickle=False) as arrays:
        stored = {name: np.asarray(arrays[f"{split}_{name}"]) for name in names if f"{split}_{name}" in arrays}
        return np.asarray(arrays[split]), np.asarray(arrays[f"{split}_labels"]), stored


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
        predictions = _predictions(folder / PREDICTIONS, split, len(record.curve), () if top1_alone else ARRAYS)
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


def _predictions(path: Path, split: str, points: int, names: Iterable[str]) -> list[Predictions]:
    """What was predicted at each point; nothing where that was not kept, or cannot be read."""
    try:
        predicted, labels, stored = read_predictions(path, split, names)
    except UNREADABLE:
        return []
    if any(array.shape != (points, labels.size) for array in (predicted, *stored.values())):
        raise Unfit(f"the points of its curve are not those at which '{split}' was predicted")
    return [
        Predictions(predicted[at], labels, {name: array[at] for name, array in stored.items()}) for at in range(points)
    ]


def _require_same(scores: Scores, predictions: Predictions, place: str) -> None:
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
