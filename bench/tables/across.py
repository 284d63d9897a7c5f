"""A table over its datasets: each method against the baseline, with the claim named that each p is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats import LIKE_THESE, THESE, holm, mean_std, refusal, stratified_permutation, wilcoxon
from bench.tables.cells import METHOD
from bench.tables.notation import one_line, signed
from bench.tables.table import Table

DATASET = "dataset"

Values = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Across:
    """A method against the baseline over datasets, at one backbone, rate, and so on.

    Attributes:
        where: the labels that are held equal.
        method: its label.
        baseline: the baseline's.
        gap: the mean over datasets of the difference of means, in the table's unit.
        datasets: over how many, those on which both have finished.
        these: p on these datasets (stratified permutation), Holm-corrected over the methods.
        like: p on datasets like these (Wilcoxon signed-rank), so corrected too; nan where that cannot be tested.
        note: why it cannot, or why it cannot be significant, with the arithmetic.
    """

    where: tuple[str, ...]
    method: str
    baseline: str
    gap: float
    datasets: int
    these: float
    like: float
    note: str = ""

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        where = f", {' / '.join(map(one_line, self.where))}" if self.where else ""
        like = f"p = {self.like:.3g}" if not math.isnan(self.like) else "not testable"
        note = f" ({self.note})" if self.note else ""
        return (
            f"{one_line(self.method)} against {one_line(self.baseline)}{where}: {signed(self.gap, 2)} over "
            f"{self.datasets} datasets; {THESE}: p = {self.these:.3g}; {LIKE_THESE}: {like}{note}."
        )


def across_datasets(table: Table) -> tuple[Across, ...]:
    """Every method against the baseline over the datasets, apart for each backbone and rate.

    Rates are kept apart because runs of one dataset at several rates share images; they are not independent.

    Raises:
        ValueError: the table has no baseline, or no cells differ in their dataset.
    """
    baseline = table.layout.baseline
    if baseline is None:
        raise ValueError("methods are compared over datasets with a baseline, and the table has none")
    groups: dict[tuple[str, ...], dict[str, dict[str, tuple[float, ...]]]] = {}
    for entry in table.finished:
        axes = entry.cell.axes
        where = tuple(label for axis, label in axes.items() if axis not in (METHOD, DATASET))
        groups.setdefault(where, {}).setdefault(axes[METHOD], {})[axes.get(DATASET, "")] = entry.cell.values
    found = [one for where, group in groups.items() for one in _compared(where, group, baseline, table.layout.alpha)]
    if not found:
        raise ValueError("methods are compared over two datasets or more, on which both have finished")
    return tuple(found)


def _compared(where: tuple[str, ...], group: Mapping[str, Values], baseline: str, alpha: float) -> list[Across]:
    shared = {
        method: [name for name in values if name in group.get(baseline, {})]
        for method, values in group.items()
        if method != baseline
    }
    shared = {method: names for method, names in shared.items() if len(names) > 1}
    these, like, gaps, notes = [], [], [], []
    for method, names in shared.items():
        own, reference = ([group[one][name] for name in names] for one in (method, baseline))
        differences = [mean_std(a)[0] - mean_std(b)[0] for a, b in zip(own, reference, strict=True)]
        gaps.append(float(np.mean(differences)))
        these.append(stratified_permutation(own, reference))
        hopeless = refusal("wilcoxon", len(names), alpha=alpha)
        like.append(math.nan if hopeless else wilcoxon(differences))
        notes.append(hopeless or refusal("wilcoxon", len(names), alpha=alpha, comparisons=len(shared)))
    return [
        Across(where, method, baseline, gap, len(shared[method]), float(p), float(q), note)
        for method, gap, p, q, note in zip(shared, gaps, holm(these), holm(like), notes, strict=True)
    ]


def across_text(found: Sequence[Across]) -> str:
    """The sentences, with what they have in common said once."""
    rule = (
        f"Over datasets, Holm-corrected over the methods. '{THESE}': stratified permutation of seeds. "
        f"'{LIKE_THESE}': Wilcoxon's signed-rank test, a dataset one pair."
    )
    return "\n".join([rule, *(f"  {one.sentence}" for one in found)]) + "\n"
