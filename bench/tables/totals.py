"""Columns that sum a table up: the average of each row by seed, and the mean rank of each method over the columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bench.errors import InputError
from bench.metrics import Metric
from bench.papers.published import Key
from bench.plan.table import Contest, Place, PlannedCell, TablePlan
from bench.stats.across import mean_ranks
from bench.stats.samples import Summary
from bench.tables.cells import Cell, average
from bench.tables.compare import Entry, Table, compare

AVERAGE, RANK = "Avg.", "Rank"
"""What the columns are called."""

MEAN_RANK = Metric("mean_rank", "mean rank", "", lower=True, low=1, decimals=2, of_run=lambda _: math.nan)

QUOTED = "quoted numbers have no seeds to take the average of"
STATED = "the average is taken by seed, and of some cells no more than mean ± is known"
METRICS = "its columns have several metrics"
INCOMPLETE = "not every column of its row has a number"


def extended(table: Table, with_average: bool = False, with_ranks: bool = False) -> Table:
    """A table with a column ``Avg.``, a column ``Rank``, or both, behind the others, which stay as they are.

    An average is the mean over the columns of a row, for each seed that all of them have; ± and tests are of these
    averages, and what is compared among them is a family of its own for Holm's correction. A cell has none, and says
    why, where its row is not complete or has several metrics. A mean rank is over the columns in which every method of
    its group that has any number has one; ties share theirs. It has no ± and no test.

    Raises:
        InputError: the table has averages or such a column already, or methods stand along its columns.
    """
    name, contests = table.plan.name, _groups(table)
    for asked, label, option in ((with_average, AVERAGE, "--average"), (with_ranks, RANK, "--ranks")):
        if asked and (any(label in key for key in table.plan.columns) or _has_averages(table.plan)):
            raise InputError(f"{option}: {name} has averages of its own, or a column '{label}'")
        if asked and not contests:
            raise InputError(f"{option}: no column of {name} has two methods to compare; let them stand along its rows")
        if asked and len(table.plan.columns) < 2:
            raise InputError(f"{option}: {name} has one column alone")
    columns = list(range(len(table.plan.columns)))
    parts = [_averaged(table, contests, columns)] if with_average else []
    parts += [_ranked(table, contests, columns)] if with_ranks else []
    for part in parts:
        table = _beside(table, part)
    return table


def _has_averages(plan: TablePlan) -> bool:
    return any(cell.averages for _, cell in plan.places())


def _groups(table: Table) -> list[Contest]:
    """The rows that are compared with each other, as contests of column 0; of several choices of rows the largest."""
    groups: dict[tuple[int, ...], list[Contest]] = {}
    for contest in table.plan.contests:
        if len({column for _, column in contest.places}) == 1 and len(contest.places) > 1:
            groups.setdefault(tuple(row for row, _ in contest.places), []).append(contest)
    merged, taken = list[Contest](), set[int]()
    for rows, alike in sorted(groups.items(), key=lambda group: -len(group[0])):
        if taken & {*rows}:
            continue
        taken |= {*rows}
        shared = [label for label in alike[0].where if all(label in contest.where for contest in alike)]
        pairs = tuple(((row, 0), (base, 0)) for (row, _), (base, _) in alike[0].pairs)
        merged.append(Contest((*shared, AVERAGE), tuple((row, 0) for row in rows), pairs))
    return merged


def _averaged(table: Table, contests: Sequence[Contest], columns: Sequence[int]) -> Table:
    """The column of averages, compared like any other."""
    planned, cells = list[tuple[PlannedCell, ...]](), list[list[Cell]]()
    values = [[entry.cell for entry in line] for line in table.entries]
    for row, line in enumerate(table.entries):
        places = tuple((row, column) for column in columns)
        planned.append((_planned(table, row, line[0].planned.metric, places),))
        reason = _why_none(line)
        mean = Cell(reason=reason) if reason else average(values, places)
        cells.append([Cell(reason=mean.lacking) if mean.lacking else mean])
    plan = _column(table.plan, AVERAGE, planned, contests)
    compared = compare(plan, cells)
    return replace(compared, plan=replace(plan, notes=tuple(_about_averages(compared, len(columns)))))


def _why_none(line: Sequence[Entry]) -> str:
    """Why a row has no average; empty where it has one."""
    if any(entry.planned.quoted for entry in line):
        return QUOTED
    if len({entry.planned.metric for entry in line if entry.planned.axes}) > 1:
        return METRICS
    if any(entry.mean is None for entry in line):
        return INCOMPLETE
    return STATED if any(entry.cell.stated for entry in line) else ""


def _about_averages(table: Table, count: int) -> Iterator[str]:
    yield f"{AVERAGE}: for each seed the mean over the {count} columns of its row; ± is over these means."
    tested = sum(entry.p is not None for _, entry in table.places())
    if tested:
        comparisons = f"{tested} comparison{'s' * (tested > 1)}"
        yield f"The averages are tested like a column, Holm-corrected over their {comparisons}."


def _ranked(table: Table, contests: Sequence[Contest], columns: Sequence[int]) -> Table:
    """The column of mean ranks."""
    ranks = dict[int, tuple[float, int]]()
    for contest in contests:
        rows = [row for row, _ in contest.places if any(entry.mean is not None for entry in table.entries[row])]
        common = [at for at in columns if all(table.entries[row][at].mean is not None for row in rows)]
        if len(rows) > 1 and common:
            scores = [[_score(table.entries[row][at]) for row in rows] for at in common]
            means = mean_ranks(np.array(scores)).tolist()
            ranks |= {row: (mean, len(common)) for row, mean in zip(rows, means, strict=True)}
    planned, entries = list[tuple[PlannedCell, ...]](), list[tuple[Entry, ...]]()
    for row in range(len(table.entries)):
        cell, rank = _planned(table, row, MEAN_RANK, tuple((row, at) for at in columns)), ranks.get(row)
        planned.append((cell,))
        if rank is None:
            entries.append((Entry(cell, Cell(reason=_why_no_rank(table.entries[row]))),))
        else:
            entries.append((Entry(cell, Cell(stated=Summary(rank[0], n=rank[1])), rank[0]),))
    counts = {count for _, count in ranks.values()}
    over = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{max(counts, default=0)}"
    note = f"{RANK}: the mean rank over the {over} columns in which all methods have a number, 1 is best; not tested."
    plan = _column(table.plan, RANK, planned, ())
    return Table(replace(plan, notes=(note,) if counts else ()), tuple(entries))


def _score(entry: Entry) -> float:
    """What is ranked: higher is better."""
    return entry.planned.metric.sign * entry.cell.mean


def _why_no_rank(line: Sequence[Entry]) -> str:
    if any(entry.planned.quoted for entry in line):
        return "quoted numbers are not ranked"
    return "there is no column in which it and all other methods have a number"


def _planned(table: Table, row: int, metric: Metric, places: tuple[Place, ...]) -> PlannedCell:
    """A cell about a whole row: of what the row is, but of no dataset and no rate."""
    line = [entry.planned for entry in table.entries[row] if entry.planned.axes]
    first = line[0] if line else PlannedCell()
    shared = {axis: label for axis, label in first.axes.items() if all(cell.axes.get(axis) == label for cell in line)}
    axes = {axis: label for axis, label in shared.items() if axis not in ("dataset", "rate")}
    decimals = metric.decimals if metric is MEAN_RANK else first.decimals
    return replace(
        first,
        axes=axes,
        candidates=(),
        averages=places,
        reason="",
        metric=metric,
        decimals=decimals,
        printed=None,
        quoted=False,
        unlike=False,
        names_metric=metric is MEAN_RANK or first.names_metric,
    )


def _column(
    plan: TablePlan, label: str, cells: Sequence[tuple[PlannedCell, ...]], contests: Sequence[Contest]
) -> TablePlan:
    """The plan of one further column: tested in a family of its own, and with no claim of its own."""
    key: Key = (*("" for _ in plan.columns[0][1:]), label)
    rules = replace(plan.rules, across="")
    return replace(plan, columns=(key,), cells=tuple(cells), contests=tuple(contests), rules=rules, notes=())


def _beside(table: Table, part: Table) -> Table:
    """A table with a further column behind its own; what is compared within the table stays what it was."""
    plan, column = table.plan, part.plan
    cells = tuple((*line, *more) for line, more in zip(plan.cells, column.cells, strict=True))
    entries = tuple((*line, *more) for line, more in zip(table.entries, part.entries, strict=True))
    notes, moved = (*plan.notes, *column.notes), len(plan.columns)
    groups = tuple(
        replace(group, places=frozenset((row, at + moved) for row, at in group.places)) for group in part.groups
    )
    wider = replace(plan, columns=(*plan.columns, *column.columns), cells=cells, notes=notes)
    return replace(table, plan=wider, entries=entries, groups=(*table.groups, *groups))
