"""How the runs of a cell did by class, from the predictions that are kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.figures.predicted import accuracy_of, class_labels, classes_of, predicted, shares_of
from bench.figures.scene import Scene
from bench.metrics import Predictions
from bench.notation import SPLITS
from bench.plan.table import Place
from bench.report.contents import PageClasses
from bench.tables.compare import Entry, Table
from bench.tables.results import Results

UP_TO = 400
"""Runs of a page up to which their predictions are read."""

CONFUSED = 200
"""Pairs of classes that a page holds of a cell: all of 15 classes, the most confused of more."""


def classes_of_cells(table: Table, results: Results) -> Iterator[tuple[Place, PageClasses]]:
    """Of each cell whose runs kept what they predicted of classes."""
    scene = Scene(table.plan.name, table, results)
    for place, entry in table.places():
        if entry.cell.runs:
            try:
                every = predicted(entry, scene)
            except ValueError:  # a run kept none, or predicts no classes
                continue
            yield place, _page_classes(entry, scene, every)


def _page_classes(entry: Entry, scene: Scene, every: list[Predictions]) -> PageClasses:
    count = classes_of(every)
    labels = class_labels(entry, scene, count, most=60)
    count = max(count, len(labels))
    shares = np.nan_to_num(np.mean([shares_of(each, count) for each in every], axis=0))
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:CONFUSED]
    pairs = [(int(true), int(taken)) for true, taken in zip(*np.unravel_index(order, shares.shape), strict=True)]
    accuracy = np.mean([accuracy_of(each, count) for each in every], axis=0)
    return PageClasses(
        labels=labels,
        accuracy=[None if np.isnan(value) else round(float(value), 2) for value in accuracy],
        confused=[(true, taken, round(float(shares[true, taken]), 2)) for true, taken in pairs if shares[true, taken]],
        split=SPLITS[scene.table.plan.rules.split],
        runs=len(every),
    )
