"""What is typed of a table that says nothing of its runs and test images: ``--runs`` and ``--test-images``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bench.errors import InputError, choose
from bench.notation import listed
from bench.papers.average import is_average_label
from bench.papers.published import PublishedTable
from bench.papers.sample import Sample, Samples
from bench.registry import Registry


@dataclass(frozen=True)
class Typed:
    """Of how many runs values are the mean (0: not typed), and on how many test images, by label; "" is any column."""

    runs: int = 0
    images: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.runs or self.images)


class TypedSamples(Samples):
    """Looks up what the cells of one table in a file are measured on: what is typed comes first.

    Raises ``InputError``: a typed label is none of the table, or what should be accuracies in percent are shares.
    """

    def __init__(self, registry: Registry, typed: Typed, table: PublishedTable) -> None:
        super().__init__(registry)
        self.typed = typed
        keys = (*table.rows, *table.columns)
        labels = {label for key in keys for label in key if label}
        for label in filter(None, typed.images):
            if label not in labels:
                raise InputError(f"{table.place}: --test-images: {choose(label, labels, 'row or column')}")
        if typed.images and _are_shares(table):
            raise InputError(f"{table.place}: --test-images is for accuracies in percent; no number here is above 1")

    def of(self, table: PublishedTable, row: Sequence[str], column: Sequence[str]) -> Sample:
        sample = super().of(table, row, column)
        if sample.images and not sample.runs:
            return replace(sample, reason=f"{sample.reason} (--runs N)")
        if not sample.reason or table.runs or any(map(is_average_label, column)):
            return sample
        lacking = ["of how many test images it is an accuracy (--test-images N, or LABEL=N)"]
        lacking += [] if self.typed.runs else ["of how many runs it is the mean (--runs N)"]
        return Sample(reason=f"nobody says {listed(tuple(lacking))}")

    def runs_of(self, table: PublishedTable, axes: Mapping[str, Any]) -> tuple[int, str]:
        if runs := self.typed.runs:
            return runs, f"{runs} run{'s' * (runs != 1)} as typed"
        return super().runs_of(table, axes)

    def declared_images(self, table: PublishedTable, labels: Sequence[str], axes: Mapping[str, Any]) -> int:
        for label, images in self.typed.images.items():
            if label in labels:
                return images
        every = self.typed.images.get("", 0)
        is_accuracy = axes.get("metric") in (None, "top1") and not axes.get("average") and not axes.get("not_run")
        if every and is_accuracy and not any(map(is_average_label, labels)) and _has_decimals(table, labels):
            return every
        return super().declared_images(table, labels, axes)


def _has_decimals(table: PublishedTable, labels: Sequence[str]) -> bool:
    """Whether the column that has some of these labels prints decimals: sizes and epochs have none."""
    columns = [at for at, key in enumerate(table.columns) if {*key} <= {*labels}]
    return any(line[at].decimals for line in table.cells for at in columns)


def _are_shares(table: PublishedTable) -> bool:
    numbers = [cell.number for line in table.cells for cell in line if not math.isnan(cell.number)]
    return bool(numbers) and max(numbers) <= 1
