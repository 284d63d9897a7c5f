"""How the runs of cells did by class and by image, from the predictions that are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bench.figures.predicted import accuracy_of, class_labels, classes_of, predicted, shares_of
from bench.figures.scene import Scene
from bench.metrics import Predictions
from bench.notation import SPLITS
from bench.plan.table import Place
from bench.report.contents import PageClasses, PageImage, PageImages
from bench.tables.compare import Entry, Table
from bench.tables.results import Results

UP_TO = 400
"""Runs of a page up to which their predictions are read."""

CONFUSED = 200
"""Pairs of classes that a page holds of a cell: all of 15 classes, the most confused of more."""

IMAGES = 20
"""That are named: those most often got wrong, and those that methods disagree on."""


class KeptAnswers:
    """What the runs of a table predicted of each image."""

    def __init__(self, table: Table, results: Results) -> None:
        self.table, self.scene = table, Scene(table.plan.name, table, results)
        self.cells: dict[Place, list[Predictions]] = {}
        for place, entry in table.places():
            if entry.cell.runs:
                try:
                    self.cells[place] = predicted(entry, self.scene)
                except ValueError:  # a run kept none, or predicts no classes
                    continue

    def classes(self) -> dict[Place, PageClasses]:
        """Of each cell, how its runs did by class."""
        return {place: self._classes(self.table.at(place), every) for place, every in self.cells.items()}

    def images(self) -> Iterator[PageImages]:
        """Which images are got wrong most often, and on which methods disagree, for all that share a test split."""
        for where, places in self._settings().items():
            entries = [self.table.at(place) for place in places]
            every = [self.cells[place] for place in places]
            labels = every[0][0].labels
            if any(not np.array_equal(each.labels, labels) for runs in every for each in runs):
                continue
            names = self._names(entries[0], [each for runs in every for each in runs])
            yield _images_of(where, [entry.planned.name for entry in entries], every, names)

    def _settings(self) -> dict[str, list[Place]]:
        """The cells by the labels that they have beside the method."""
        settings = dict[str, list[Place]]()
        for place in self.cells:
            axes = self.table.at(place).planned.axes
            where = " / ".join(label for axis, label in axes.items() if axis != "method")
            settings.setdefault(where, []).append(place)
        return settings

    def _names(self, entry: Entry, every: list[Predictions]) -> list[str]:
        return class_labels(entry, self.scene, classes_of(every), most=60)

    def _classes(self, entry: Entry, every: list[Predictions]) -> PageClasses:
        labels = self._names(entry, every)
        count = max(classes_of(every), len(labels))
        shares = np.nan_to_num(np.mean([shares_of(each, count) for each in every], axis=0))
        np.fill_diagonal(shares, 0)
        order = np.argsort(-shares, axis=None, kind="stable")[:CONFUSED]
        pairs = [(int(true), int(taken)) for true, taken in zip(*np.unravel_index(order, shares.shape), strict=True)]
        accuracy = np.mean([accuracy_of(each, count) for each in every], axis=0)
        return PageClasses(
            labels=labels,
            accuracy=[None if np.isnan(value) else round(float(value), 2) for value in accuracy],
            confused=[
                (true, taken, round(float(shares[true, taken]), 2)) for true, taken in pairs if shares[true, taken]
            ],
            split=SPLITS[self.table.plan.rules.split],
            runs=len(every),
        )


def _images_of(
    where: str, methods: list[str], every: Sequence[Sequence[Predictions]], names: Sequence[str]
) -> PageImages:
    """The images of one test split, of which each method has some runs."""
    right = np.array([100 * np.mean([run.right for run in runs], axis=0) for runs in every])
    runs = [run for each in every for run in each]
    wrong = 100 - 100 * np.mean([run.right for run in runs], axis=0)
    spread = right.max(axis=0) - right.min(axis=0)
    taken = np.array([run.predicted for run in runs])

    def image(at: int) -> PageImage:
        mistakes = taken[:, at][taken[:, at] != runs[0].labels[at]]
        common = names[int(np.bincount(mistakes.astype(np.int64)).argmax())] if mistakes.size else ""
        by_method = [round(float(share), 1) for share in right[:, at]]
        return PageImage(at, names[int(runs[0].labels[at])], common, round(float(wrong[at]), 1), by_method)

    return PageImages(
        where=where,
        methods=methods,
        images=len(wrong),
        runs=len(runs),
        hardest=[image(at) for at in _largest(wrong)],
        disputed=[image(at) for at in _largest(spread)] if len(methods) > 1 else [],
    )


def _largest(values: npt.NDArray[np.float64]) -> list[int]:
    """The places of the largest values above 0, the first of equal ones first."""
    return [int(at) for at in np.argsort(-values, kind="stable")[:IMAGES] if values[at] > 0]
