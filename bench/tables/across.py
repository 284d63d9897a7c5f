"""A table over its datasets: each method against the baseline, with the claim named that each p is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from bench.notation import fixed, one_line
from bench.papers.published import Key
from bench.plan.table import PlannedCell, TablePlan
from bench.rules import PAIRED
from bench.stats.across import LIKE_THESE, THESE, over_datasets, stratified_permutation, stratified_signs
from bench.stats.family import holm
from bench.stats.reach import refusal
from bench.stats.samples import Floats, mean_std
from bench.tables.cells import Cell, Cells
from bench.tables.claim import DEALT, FLIPPED, RANKED, Claim, Compared
from bench.tables.testing import paired_values

Group = Mapping[str, Mapping[str, tuple[float, ...]]]
"""What is compared over datasets: the values of each seed, by method and dataset."""

Rivals = Mapping[str, Mapping[str, tuple[PlannedCell, Cell]]]
"""As ``Group``, with all that is known of each: cells that have a mean, and how they are printed."""

T = TypeVar("T")


def by_dataset(plan: TablePlan, grid: Sequence[Sequence[T | None]]) -> dict[Key, dict[str, dict[str, T]]]:
    """What a grid has of each cell, by method and dataset, apart for all other labels.

    Averages are left out, and what is None or empty. Rates are kept apart because runs of one dataset at several rates
    share images; they are not independent.

    Args:
        plan: its table.
        grid: such as the values of its cells, by row and column.
    """
    groups: dict[Key, dict[str, dict[str, T]]] = {}
    for (row, column), planned in plan.places():
        item = grid[row][column]
        if item and "dataset" in planned.axes:
            methods = groups.setdefault(planned.where, {})
            methods.setdefault(planned.name, {})[planned.axes["dataset"]] = item
    return groups


def claims_of(plan: TablePlan, cells: Cells) -> Iterator[Claim]:
    """What a table claims over its datasets, as its rules ask: methods against the baseline of their contests."""
    baselines = dict[str, dict[str, None]]()
    for contest in plan.contests:
        for place, base in contest.pairs:
            method, baseline = (plan.cells[row][column].name for row, column in (place, base))
            baselines.setdefault(baseline, {})[method] = None
    pairs = [zip(planned, line, strict=True) for planned, line in zip(plan.cells, cells, strict=True)]
    groups = by_dataset(plan, [[pair if pair[1].n else None for pair in line] for line in pairs])
    for where, group in groups.items():
        for baseline, methods in baselines.items():
            compared = {name: cells for name, cells in group.items() if name in methods or name == baseline}
            if baseline in compared:
                claim = claimed(plan.rules.across, where, compared, baseline, plan.rules.alpha, is_paired(plan))
                yield replace(claim, decimals=plan.gap_decimals)


def is_paired(plan: TablePlan) -> bool:
    """Whether the runs of one seed are compared as pairs."""
    return plan.rules.test in PAIRED


def claimed(across: str, where: Key, group: Rivals, baseline: str, alpha: float, paired: bool = False) -> Claim:
    """One claim about the methods of a group, ``these`` or ``like-these``, or why it cannot be made.

    ``paired`` says that runs of one seed are pairs; about datasets like these only means count.
    """
    group = {baseline: group[baseline], **group}
    if across == "these":
        return _on_these(where, group, baseline, alpha, paired)
    return _on_like_these(where, group, baseline, alpha)


def complete(group: Group) -> tuple[list[str], list[str], Floats]:
    """The methods with any value, the datasets on which all of them have one, and the means: (datasets, methods)."""
    methods = [method for method, values in group.items() if values]
    common = [name for name in _datasets(group) if methods and all(name in group[method] for method in methods)]
    means = [[mean_std(group[method][name])[0] for method in methods] for name in common]
    return methods, common, np.array(means, dtype=np.float64).reshape(len(common), len(methods))


def _datasets(group: Mapping[str, Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for items in group.values() for name in items))


def _on_these(where: Key, group: Rivals, baseline: str, alpha: float, paired: bool) -> Claim:
    base = {name: cell for name, (_, cell) in group[baseline].items()}
    samples: dict[str, dict[str, tuple[Sequence[float], Sequence[float]]]] = {}
    unused = dict[str, None]()
    for method, cells in group.items():
        if method == baseline:
            continue
        sides = {name: _sides(cell, base[name], paired) for name, (_, cell) in cells.items() if name in base}
        unused |= dict.fromkeys(name for name, side in sides.items() if not all(side))
        samples[method] = {name: side for name, side in sides.items() if all(side)}
    samples = {method: sides for method, sides in samples.items() if len(sides) > 1}
    lacking = "without a pair of seeds" if paired else "of which only summaries are known"
    left_out = f"left out, as datasets {lacking}: {', '.join(map(one_line, unused))}" if unused else ""
    if not samples:
        note = "not testable: it takes two datasets or more on which a method and the baseline have finished"
        return Claim(THESE, where, baseline, note="; ".join(filter(None, (note, left_out))))
    test = stratified_signs if paired else stratified_permutation
    p_values = [test(*map(list, zip(*sides.values(), strict=True))) for sides in samples.values()]
    reasons = [_out_of_reach([*sides.values()], paired, alpha, len(samples)) for sides in samples.values()]
    note = reasons[0] if all(reasons) else ""
    compared = tuple(
        _compared(group, method, baseline, [*sides], p, float(p_holm), _gaps(sides.values()))
        for (method, sides), p, p_holm in zip(samples.items(), p_values, holm(p_values), strict=True)
    )
    notes = "; ".join(filter(None, (note, left_out)))
    return Claim(THESE, where, baseline, compared, note=notes, test=FLIPPED if paired else DEALT)


def _sides(cell: Cell, base: Cell, paired: bool) -> tuple[Sequence[float], Sequence[float]]:
    """The values of a method and the baseline on one dataset; empty where they cannot be tested."""
    return paired_values(cell, base) if paired else (cell.values, base.values)


def _out_of_reach(
    sides: Sequence[tuple[Sequence[float], Sequence[float]]], paired: bool, alpha: float, comparisons: int
) -> str:
    counts = [len(side) for pair in sides for side in pair]
    if paired:
        return refusal("stratified_signs", sum(counts) // 2, alpha=alpha, comparisons=comparisons)
    return refusal("stratified_permutation", *counts, alpha=alpha, comparisons=comparisons)


def _on_like_these(where: Key, group: Rivals, baseline: str, alpha: float) -> Claim:
    methods, common, means = complete(
        {method: {name: (cell.mean,) for name, (_, cell) in cells.items()} for method, cells in group.items()}
    )
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
        _compared(group, method, baseline, common, float(p), float(p_holm))
        for method, p, p_holm in zip(rivals, tests.p, tests.p_holm, strict=True)
    )
    lacking = [one_line(name) for name in _datasets(group) if name not in common]
    left_out = f"left out, as not all methods have finished there: {', '.join(lacking)}" if lacking else ""
    notes = "; ".join(filter(None, (tests.note, left_out)))
    return Claim(LIKE_THESE, where, baseline, compared, tests.friedman, notes, test=RANKED)


def _gaps(sides: Iterable[tuple[Sequence[float], Sequence[float]]]) -> list[tuple[float, float]]:
    """The means of what is tested, of pairs over the seeds that both have."""
    return [(mean_std(ours)[0], mean_std(theirs)[0]) for ours, theirs in sides]


def _compared(
    group: Rivals,
    method: str,
    baseline: str,
    names: Sequence[str],
    p: float,
    p_holm: float,
    means: Sequence[tuple[float, float]] = (),
) -> Compared:
    """A method of a claim, with its mean gap and how often it is better, worse or alike as printed.

    ``means`` of the method and the baseline on each dataset are those of the cells by default.
    """
    cells, base = group[method], group[baseline]
    means = means or [(cells[name][1].mean, base[name][1].mean) for name in names]
    gap = float(np.mean([ours - theirs for ours, theirs in means]))
    signs = [_better(cells[name][0], *sides) for name, sides in zip(names, means, strict=True)]
    return Compared(method, gap, len(names), p, p_holm, signs.count(1), signs.count(0), signs.count(-1))


def _better(planned: PlannedCell, mean: float, base_mean: float) -> int:
    """1 where a mean is better than the baseline's, -1 where it is worse, 0 where they print alike."""
    first, second = (float(fixed(each, planned.decimals)) for each in (mean, base_mean))
    return planned.metric.sign * ((first > second) - (first < second))
