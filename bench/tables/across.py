"""A table over its datasets: each method against the baseline, with the claim named that each p is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats import (
    LIKE_THESE,
    THESE,
    Floats,
    OutOfReachError,
    holm,
    mean_std,
    over_datasets,
    refusal,
    stratified_permutation,
    wilcoxon,
)
from bench.tables.cells import METHOD
from bench.tables.claim import Claim, Compared, Key
from bench.tables.notation import one_line, signed
from bench.tables.table import Table

DATASET = "dataset"
Values = Mapping[str, tuple[float, ...]]
Group = Mapping[str, Values]
"""What is compared over datasets: the values of each seed, by method and dataset."""


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

    where: Key
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


def groups(table: Table) -> dict[Key, dict[str, dict[str, tuple[float, ...]]]]:
    """The values of a table's finished cells by method and dataset, apart for each backbone and rate.

    Rates are kept apart because runs of one dataset at several rates share images; they are not independent.
    """
    found: dict[Key, dict[str, dict[str, tuple[float, ...]]]] = {}
    for entry in table.finished:
        axes = entry.cell.axes
        where = tuple(
            label for axis, label in axes.items() if axis not in (METHOD, DATASET) and axis not in table.constant
        )
        found.setdefault(where, {}).setdefault(axes[METHOD], {})[axes.get(DATASET, "")] = entry.cell.values
    return found


def claims(table: Table) -> tuple[Claim, ...]:
    """What the table's layout claims over its datasets, for each backbone and rate; empty where it claims nothing."""
    layout = table.layout
    if not layout.across or layout.baseline is None:
        return ()
    alike = groups(table).items()
    return tuple(claimed(layout.across, where, group, layout.baseline, layout.alpha) for where, group in alike)


def claimed(across: str, where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    """One claim about the methods of a group, or why it cannot be made.

    Args:
        across: ``these`` or ``like-these``.
        where: the labels that the group has in common.
        group: the values.
        baseline: the method that the others are compared with.
        alpha: level of the family of the methods.
    """
    find = _on_these if across == "these" else _on_like_these
    return find(where, {baseline: group.get(baseline, {}), **group}, baseline, alpha)


def complete(group: Group) -> tuple[list[str], list[str], Floats]:
    """The methods with any value, the datasets on which all of them have one, and the means: (datasets, methods)."""
    methods = [method for method, values in group.items() if values]
    common = [name for name in (group[methods[0]] if methods else ()) if all(name in group[one] for one in methods)]
    means = [[mean_std(group[method][name])[0] for method in methods] for name in common]
    return methods, common, np.array(means, dtype=np.float64).reshape(len(common), len(methods))


def across_datasets(table: Table) -> tuple[Across, ...]:
    """Every method against the baseline over the datasets with both claims, apart for each backbone and rate.

    Raises:
        ValueError: the table has no baseline, or no cells differ in their dataset.
    """
    baseline = table.layout.baseline
    if baseline is None:
        raise ValueError("methods are compared over datasets with a baseline, and the table has none")
    alike = groups(table).items()
    found = [one for where, group in alike for one in _compared(where, group, baseline, table.layout.alpha)]
    if not found:
        raise ValueError("methods are compared over two datasets or more, on which both have finished")
    return tuple(found)


def across_text(found: Sequence[Across]) -> str:
    """The sentences, with what they have in common said once."""
    rule = (
        f"Over datasets, Holm-corrected over the methods. '{THESE}': stratified permutation of seeds. "
        f"'{LIKE_THESE}': Wilcoxon's signed-rank test, a dataset one pair."
    )
    return "\n".join([rule, *(f"  {one.sentence}" for one in found)]) + "\n"


def _compared(where: Key, group: Group, baseline: str, alpha: float) -> list[Across]:
    shared = _shared(group, baseline)
    these, like, gaps, notes = [], [], [], []
    for method, names in shared.items():
        gaps.append(_gap(group, method, baseline, names))
        these.append(_stratified(group, method, baseline, names))
        hopeless = refusal("wilcoxon", len(names), alpha=alpha)
        differences = [mean_std(group[method][name])[0] - mean_std(group[baseline][name])[0] for name in names]
        like.append(math.nan if hopeless else wilcoxon(differences))
        notes.append(hopeless or refusal("wilcoxon", len(names), alpha=alpha, comparisons=len(shared)))
    return [
        Across(where, method, baseline, gap, len(shared[method]), float(p), float(q), note)
        for method, gap, p, q, note in zip(shared, gaps, holm(these), holm(like), notes, strict=True)
    ]


def _on_these(where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    shared = _shared(group, baseline)
    if not shared:
        note = "not testable: it takes two datasets or more on which a method and the baseline have finished"
        return Claim(THESE, where, baseline, note=note)
    p = [_stratified(group, method, baseline, names) for method, names in shared.items()]
    compared = tuple(
        Compared(method, _gap(group, method, baseline, names), len(names), own, float(corrected))
        for (method, names), own, corrected in zip(shared.items(), p, holm(p), strict=True)
    )
    told = []
    for method, names in shared.items():
        counts = [len(group[one][name]) for name in names for one in (method, baseline)]
        told.append(refusal("stratified_permutation", *counts, alpha=alpha, comparisons=len(shared)))
    return Claim(THESE, where, baseline, compared, note=told[0] if all(told) else "")


def _on_like_these(where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    methods, common, means = complete(group)
    if baseline not in methods or len(methods) < 2:
        note = "not testable: a method and the baseline must have finished on the same datasets"
        return Claim(LIKE_THESE, where, baseline, note=note)
    try:
        found = over_datasets(means.reshape(-1, len(methods)), methods.index(baseline), alpha) if common else None
    except OutOfReachError as error:
        return Claim(LIKE_THESE, where, baseline, note=f"not testable: {error}")
    if found is None:
        return Claim(LIKE_THESE, where, baseline, note="not testable: there is no dataset on which all have finished")
    others = [next(methods[place] for place in pair if methods[place] != baseline) for pair in found.pairs]
    compared = tuple(
        Compared(method, _gap(group, method, baseline, common), len(common), float(p), float(corrected))
        for method, p, corrected in zip(others, found.p, found.p_holm, strict=True)
    )
    every = dict.fromkeys(name for values in group.values() for name in values)
    lacking = [name for name in every if name not in common]
    left = f"left out, as not all methods have finished there: {', '.join(map(one_line, lacking))}" if lacking else ""
    note = "; ".join(filter(None, (found.note, left)))
    return Claim(LIKE_THESE, where, baseline, compared, found.friedman, note)


def _shared(group: Group, baseline: str) -> dict[str, list[str]]:
    """By method, the datasets on which it and the baseline have finished, where there are two or more."""
    there = group.get(baseline, {})
    found = {
        method: [name for name in values if name in there] for method, values in group.items() if method != baseline
    }
    return {method: names for method, names in found.items() if len(names) > 1}


def _stratified(group: Group, method: str, baseline: str, names: Sequence[str]) -> float:
    own, reference = ([group[one][name] for name in names] for one in (method, baseline))
    return stratified_permutation(own, reference)


def _gap(group: Group, method: str, baseline: str, names: Sequence[str]) -> float:
    gaps = [mean_std(group[method][name])[0] - mean_std(group[baseline][name])[0] for name in names]
    return float(np.mean(gaps))
