"""What the runs of a cell predicted of each image, at the points that are selected."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.figures.scene import Scene
from bench.metrics import NotKept, Predictions
from bench.tables.compare import Entry

Floats = npt.NDArray[np.float64]


def split_of(scene: Scene) -> str:
    """Whose images are meant: those of the split that was asked for, or else of the table's."""
    return scene.split or scene.table.plan.rules.split


def predicted(entry: Entry, scene: Scene) -> list[Predictions]:
    """The predictions of each seed of a cell.

    Raises ``ValueError``: the predictions of a run are lacking or damaged, or no point of it is selected.
    """
    results, rule = scene.records, scene.table.plan.rules.selection
    each = []
    for spec in entry.cell.runs:
        run = results.finished[spec.id]
        at = results.scores.point(run, rule, results.picking(entry.planned))
        try:
            predictions = results.scores.predictions(run, split_of(scene))[at]
        except NotKept as lacking:
            raise ValueError(f"run {spec.id}: {lacking}") from None
        if not isinstance(predictions, Predictions):
            raise ValueError(f"run {spec.id}: it predicts no class of an image")
        each.append(predictions)
    return each


def counts_of(predictions: Predictions, classes: int) -> Floats:
    """(classes, classes), how many images of each true class (along the rows) were taken for each."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predictions.labels.astype(np.int64), predictions.predicted.astype(np.int64)), 1.0)
    return counts


def shares_of(predictions: Predictions, classes: int) -> Floats:
    """The same in percent of the images of each true class; nan where a class has none."""
    counts = counts_of(predictions, classes)
    images = counts.sum(axis=1, keepdims=True)
    shares: Floats = 100 * np.divide(counts, images, out=np.full_like(counts, np.nan), where=images > 0)
    return shares


def accuracy_of(predictions: Predictions, classes: int) -> Floats:
    """(classes,), the share of the images of each class that is right, in percent; nan where a class has none."""
    labels = predictions.labels.astype(np.int64)
    images = np.bincount(labels, minlength=classes).astype(np.float64)
    right = np.bincount(labels, weights=predictions.right, minlength=classes)
    accuracy: Floats = 100 * np.divide(right, images, out=np.full(classes, np.nan), where=images > 0)
    return accuracy


def classes_of(each: list[Predictions]) -> int:
    """How many classes some predictions are about: as many as the highest label needs."""
    return 1 + max(int(max(seed.labels.max(initial=0), seed.predicted.max(initial=0))) for seed in each)


def class_labels(entry: Entry, scene: Scene, classes: int, most: int = 26) -> list[str]:
    """The names of the classes where a run kept them, with the middle of long ones left out; else their numbers."""
    results = scene.records
    kept = (results.scores.class_names(results.finished[spec.id]) for spec in entry.cell.runs)
    names = next(filter(None, kept), ())
    if len(names) < classes:
        return [str(label) for label in range(classes)]
    return [_short(name, most) for name in names]


def _short(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    half = (most - 1) // 2
    return f"{name[:half]}…{name[-half:]}"
