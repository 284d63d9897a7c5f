"""A table over its datasets: each method against the baseline, with the claim named that each p is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.notation import one_line
from bench.papers.published import Key
from bench.plan.table import TablePlan
from bench.stats.across import LIKE_THESE, THESE, over_datasets, stratified_permutation
from bench.stats.family import holm
from bench.stats.reach import OutOfReachError, refusal
from bench.stats.samples import Floats, mean_std
from bench.tables.cells import Cells
from bench.tables.claim import Claim, Compared

Group = Mapping[str, Mapping[str, tuple[float, ...]]]
"""What is compared over datasets: the values of each seed, by method and dataset."""


def by_dataset(plan: TablePlan, values: Sequence[Sequence[tuple[float, ...]]]) -> dict[Key, Group]:
    """Values of cells by method and dataset, apart for all other labels.

    Rates are kept apart because runs of one dataset at several rates share images; they are not independent.

    Args:
        plan: the table.
        values: by row and column; cells without any are left out, and so are averages.
    """
    groups: dict[Key, dict[str, dict[str, tuple[float, ...]]]] = {}
    for (row, column), planned in plan.places():
        if values[row][column] and "dataset" in planned.axes:
            methods = groups.setdefault(planned.where, {})
            methods.setdefault(planned.name, {})[planned.axes["dataset"]] = values[row][column]
    return {where: dict(methods) for where, methods in groups.items()}


def claims_of(plan: TablePlan, cells: Cells) -> Iterator[Claim]:
    """What a table claims over its datasets, as its rules ask: methods against the baseline of their contests."""
    rivals = dict[str, dict[str, None]]()
    for contest in plan.contests:
        for place, base in contest.pairs:
            method, baseline = (plan.cells[row][column].name for row, column in (place, base))
            rivals.setdefault(baseline, {})[method] = None
    values = [[cell.values for cell in line] for line in cells]
    for where, group in by_dataset(plan, values).items():
        for baseline, methods in rivals.items():
            compared = {name: values_of for name, values_of in group.items() if name in methods or name == baseline}
            if baseline in compared:
                yield claimed(plan.rules.across, where, compared, baseline, plan.rules.alpha)


def claimed(across: str, where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    """One claim about the methods of a group, or why it cannot be made.

    Args:
        across: ``these`` or ``like-these``.
        where: the labels that the group has in common.
        group: the values by method and dataset.
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
