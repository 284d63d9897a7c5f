"""A table over its datasets: each method against the baseline, with the claim named that each p is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.notation import one_line
from bench.papers.published import Key
from bench.plan.table import TablePlan
from bench.stats.across import LIKE_THESE, THESE, over_datasets, stratified_permutation
from bench.stats.family import holm
from bench.stats.reach import refusal
from bench.stats.samples import Floats, mean_std
from bench.tables.cells import Cells
from bench.tables.claim import Claim, Compared

Group = Mapping[str, Mapping[str, tuple[float, ...]]]
"""What is compared over datasets: the values of each seed, by method and dataset."""


def by_dataset(plan: TablePlan, values: Sequence[Sequence[tuple[float, ...]]]) -> dict[Key, Group]:
    """Values of cells, by row and column, by method and dataset, apart for all other labels; averages are left out.

    Rates are kept apart because runs of one dataset at several rates share images; they are not independent.
    """
    groups: dict[Key, dict[str, dict[str, tuple[float, ...]]]] = {}
    for (row, column), planned in plan.places():
        if values[row][column] and "dataset" in planned.axes:
            methods = groups.setdefault(planned.where, {})
            methods.setdefault(planned.name, {})[planned.axes["dataset"]] = values[row][column]
    return {**groups}


def claims_of(plan: TablePlan, cells: Cells) -> Iterator[Claim]:
    """What a table claims over its datasets, as its rules ask: methods against the baseline of their contests."""
    rivals = dict[str, dict[str, None]]()
    for contest in plan.contests:
        for place, base in contest.pairs:
            method, baseline = (plan.cells[row][column].name for row, column in (place, base))
            rivals.setdefault(baseline, {})[method] = None
    groups = by_dataset(plan, [[cell.values for cell in line] for line in cells])
    for where, group in groups.items():
        for baseline, methods in rivals.items():
            compared = {name: values for name, values in group.items() if name in methods or name == baseline}
            if baseline in compared:
                claim = claimed(plan.rules.across, where, compared, baseline, plan.rules.alpha)
                yield replace(claim, decimals=plan.gap_decimals)


def claimed(across: str, where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    """One claim about the methods of a group, ``these`` or ``like-these``, or why it cannot be made."""
    claim = _on_these if across == "these" else _on_like_these
    return claim(where, {baseline: group[baseline], **group}, baseline, alpha)


def complete(group: Group) -> tuple[list[str], list[str], Floats]:
    """The methods with any value, the datasets on which all of them have one, and the means: (datasets, methods)."""
    methods = [method for method, values in group.items() if values]
    common = [name for name in _datasets(group) if methods and all(name in group[method] for method in methods)]
    means = [[mean_std(group[method][name])[0] for method in methods] for name in common]
    return methods, common, np.array(means, dtype=np.float64).reshape(len(common), len(methods))


def _datasets(group: Group) -> list[str]:
    return list(dict.fromkeys(name for values in group.values() for name in values))


def _on_these(where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    shared = {method: [name for name in values if name in group[baseline]] for method, values in group.items()}
    shared = {method: names for method, names in shared.items() if method != baseline and len(names) > 1}
    if not shared:
        note = "not testable: it takes two datasets or more on which a method and the baseline have finished"
        return Claim(THESE, where, baseline, note=note)
    p_values, notes = list[float](), list[str]()
    for method, names in shared.items():
        samples, base_samples = ([group[side][name] for name in names] for side in (method, baseline))
        p_values.append(stratified_permutation(samples, base_samples))
        counts = [len(group[side][name]) for name in names for side in (method, baseline)]
        notes.append(refusal("stratified_permutation", *counts, alpha=alpha, comparisons=len(shared)))
    compared = tuple(
        Compared(method, _gap(group, method, baseline, names), len(names), p, float(p_holm))
        for (method, names), p, p_holm in zip(shared.items(), p_values, holm(p_values), strict=True)
    )
    return Claim(THESE, where, baseline, compared, note=notes[0] if all(notes) else "")


def _on_like_these(where: Key, group: Group, baseline: str, alpha: float) -> Claim:
    methods, common, means = complete(group)
    if baseline not in methods or len(methods) < 2:
        untestable = "a method and the baseline must have finished on the same datasets"
    elif not common:
        untestable = "there is no dataset on which all have finished"
    else:
        untestable = refusal("wilcoxon", len(common), alpha=alpha)
    if untestable:
        return Claim(LIKE_THESE, where, baseline, note=f"not testable: {untestable}")
    tests = over_datasets(means, methods.index(baseline), alpha)
    rivals = [method for method in methods if method != baseline]
    compared = tuple(
        Compared(method, _gap(group, method, baseline, common), len(common), float(p), float(p_holm))
        for method, p, p_holm in zip(rivals, tests.p, tests.p_holm, strict=True)
    )
    lacking = [one_line(name) for name in _datasets(group) if name not in common]
    left_out = f"left out, as not all methods have finished there: {', '.join(lacking)}" if lacking else ""
    return Claim(
        LIKE_THESE,
        where,
        baseline,
        compared,
        tests.friedman,
        note="; ".join(filter(None, (tests.note, left_out))),
    )


def _gap(group: Group, method: str, baseline: str, names: Sequence[str]) -> float:
    gaps = [mean_std(group[method][name])[0] - mean_std(group[baseline][name])[0] for name in names]
    return float(np.mean(gaps))
