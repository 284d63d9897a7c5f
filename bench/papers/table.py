"""A paper's table in its own layout: with what was published, with what the records say, or with both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.papers.plan import Candidate, PlannedCell, TablePlan
from bench.papers.published import Key, PublishedTable, Ranking
from bench.report import score
from bench.sheets import Sheet, Shown, marked, ranks
from bench.stats import holm, mean_std, welch
from bench.store import Finished
from bench.tables.notation import fixed, signed

SOURCES = ("published", "ours", "both")
ALPHA = 0.05
MISSING = "–"


@dataclass(frozen=True)
class Ours:
    """What the records say about a cell.

    Attributes:
        values: the score of each finished seed, in percent.
        planned: seeds that were asked for.
        chosen: which candidate it is, where there were several.
        reason: why nothing is run for it; empty where something is.
    """

    values: tuple[float, ...] = ()
    planned: int = 0
    chosen: str = ""
    reason: str = ""

    @property
    def mean(self) -> float:
        """Their mean; nan without any."""
        return mean_std(self.values)[0] if self.values else math.nan


def paper_sheet(plan: TablePlan, source: str, finished: Mapping[str, Finished]) -> Sheet:
    """The table as ``published``, ``ours`` or ``both``, the best of each comparison marked."""
    if source == "published":
        return published_sheet(plan.table)
    return our_sheet(plan, finished) if source == "ours" else both_sheet(plan, finished)


def published_sheet(table: PublishedTable) -> Sheet:
    """The table as printed."""
    cells = [[Shown(cell.value, cell.std, cell.delta) for cell in row] for row in table.cells]
    numbers = [[cell.number for cell in row] for row in table.cells]
    notes = (table.note,) if table.note else ()
    return _sheet(table, "as published", marked(cells, places(table, numbers)), notes)


def our_sheet(plan: TablePlan, finished: Mapping[str, Finished]) -> Sheet:
    """The table with the means of finished runs, ± their sample standard deviation."""
    found = measured(plan, finished)
    marks = against_baseline(plan, found)
    cells = [[_shown(plan, number, at, ours, marks) for at, ours in enumerate(row)] for number, row in enumerate(found)]
    numbers = [[ours.mean for ours in row] for row in found]
    return _sheet(plan.table, "ours", marked(cells, places(plan.table, numbers)), _rules(plan, found, bool(marks)))


def both_sheet(plan: TablePlan, finished: Mapping[str, Finished]) -> Sheet:
    """Published and ours side by side; the difference, ours less published, stands behind ours."""
    published, ours, found = published_sheet(plan.table), our_sheet(plan, finished), measured(plan, finished)
    cells = []
    for number, (left, right) in enumerate(zip(published.cells, ours.cells, strict=True)):
        line: list[Shown] = []
        for at, (printed, own) in enumerate(zip(left, right, strict=True)):
            cell = plan.table.cells[number][at]
            gap = found[number][at].mean - cell.number
            delta = "" if math.isnan(gap) else signed(gap, cell.decimals)
            line += [printed, Shown(own.value, own.std, delta, own.mark, own.rank, own.note)]
        cells.append(tuple(line))
    columns = tuple((*column, kind) for column in plan.table.columns for kind in ("published", "ours"))
    notes = (*published.notes, *ours.notes, "The difference in brackets behind ours is ours less published.")
    return Sheet(
        plan.table.name,
        heading(plan.table, "published and ours"),
        plan.table.stub,
        columns,
        plan.table.rows,
        tuple(cells),
        notes,
    )


def heading(table: PublishedTable, source: str) -> str:
    """The title line: paper, title, metric and whose numbers they are."""
    metric = f", {table.metric}" if table.metric else ""
    return f"{table.paper.upper()}, {table.title}{metric} ({source})"


def measured(plan: TablePlan, finished: Mapping[str, Finished]) -> list[list[Ours]]:
    """What the records say, by row and column; averages are over the row's other cells of the same kind."""
    found = [[_measured(plan, cell, finished) for cell in row] for row in plan.cells]
    for number, row in enumerate(plan.cells):
        for at, cell in enumerate(row):
            if cell.average:
                found[number][at] = _average(plan, found[number], at)
    return found


def choose(
    candidates: Sequence[Candidate], sweep: str, selection: str, finished: Mapping[str, Finished]
) -> Candidate | None:
    """The candidate whose mean is best on the validation (``best-val``) or the test split (``best-test``).

    Its runs are scored at the points that the selection rule picks. None before all candidates have run: a choice
    among some of them would not be the sweep's. None too where there is no validation split.
    """
    if len(candidates) == 1:
        return candidates[0]
    split = "val" if sweep == "best-val" else "test"
    means = []
    for candidate in candidates:
        curves = [finished[spec.id].curve for spec in candidate.runs if spec.id in finished]
        if len(curves) < len(candidate.runs):
            return None
        means.append(float(np.mean([score(curve, selection, split) for curve in curves])))
    return candidates[int(np.nanargmax(means))] if not all(map(math.isnan, means)) else None


def against_baseline(plan: TablePlan, found: Sequence[Sequence[Ours]]) -> dict[tuple[int, int], float]:
    """Welch p of each cell against its baseline, Holm-corrected over a column of rows that the paper compares."""
    corrected: dict[tuple[int, int], float] = {}
    for pairs in compared_rows(plan):
        for at in range(len(plan.table.columns)):
            there = [(row, base) for row, base in pairs if found[row][at].values]
            values = [(found[row][at].values, found[base][at].values) for row, base in there]
            p = [welch(own, reference) if reference else math.nan for own, reference in values]
            for (row, _), value in zip(there, holm(p), strict=True):
                if not math.isnan(value):
                    corrected[row, at] = float(value)
    return corrected


def compared_rows(plan: TablePlan) -> Iterator[list[tuple[int, int]]]:
    """Pairs of a row and its baseline, the nearest one above it or the first; a list for those compared together."""
    for rows in _groups(plan.table).values():
        bases = [row for row in rows if set(plan.baselines) & set(plan.table.rows[row])]
        if bases:
            others = [row for row in rows if row not in bases]
            yield [(row, max((base for base in bases if base < row), default=bases[0])) for row in others]


def places(table: PublishedTable, numbers: Sequence[Sequence[float]]) -> list[list[int]]:
    """The rank of each cell among those that the paper compares it with: 1 best, 2 second, 0 otherwise."""
    found = [[0] * len(table.columns) for _ in table.rows]
    if table.ranking is None:
        return found
    for at, column in enumerate(table.columns):
        inner = column[-1]
        if inner in table.ranking.skip:
            continue
        lower = table.ranking.columns.get(inner, table.ranking.order) == "lower"
        for rows in _groups(table).values():
            for row, rank in zip(rows, ranks([numbers[row][at] for row in rows], lower), strict=True):
                found[row][at] = rank
    return found


def _sheet(table: PublishedTable, source: str, cells: tuple[tuple[Shown, ...], ...], notes: tuple[str, ...]) -> Sheet:
    return Sheet(table.name, heading(table, source), table.stub, table.columns, table.rows, cells, notes)


def _groups(table: PublishedTable) -> dict[Key, list[int]]:
    """The rows that are compared with each other."""
    ranking, groups = table.ranking or Ranking(), dict[Key, list[int]]()
    for number, label in enumerate(table.rows):
        groups.setdefault(tuple(label[table.stub.index(level)] for level in ranking.within), []).append(number)
    return groups


def _measured(plan: TablePlan, cell: PlannedCell, finished: Mapping[str, Finished]) -> Ours:
    if not cell.candidates:
        return Ours(reason=cell.reason)
    chosen = choose(cell.candidates, plan.sweep, plan.selection, finished)
    runs = (chosen or cell.candidates[0]).runs
    if chosen is None:
        return Ours(planned=len(runs))
    scores = [score(finished[spec.id].curve, plan.selection) for spec in runs if spec.id in finished]
    values = tuple(value for value in scores if not math.isnan(value))
    return Ours(values, len(runs), chosen.label if len(cell.candidates) > 1 else "")


def _average(plan: TablePlan, row: Sequence[Ours], at: int) -> Ours:
    column = plan.table.columns[at]
    alike = [
        number
        for number, other in enumerate(plan.table.columns)
        if number != at and (len(column) == 1 or other[-1] == column[-1])
    ]
    means = [row[number].mean for number in alike]
    return Ours((float(np.mean(means)),), 1) if means and not any(map(math.isnan, means)) else Ours(planned=1)


def _shown(plan: TablePlan, row: int, at: int, ours: Ours, marks: Mapping[tuple[int, int], float]) -> Shown:
    printed = plan.table.cells[row][at]
    if not ours.values:
        empty = not printed.value or (not ours.planned and not ours.reason)
        return Shown("" if empty else MISSING, note=ours.reason or ("" if empty else "no run has finished"))
    mean, std = mean_std(ours.values)
    decimals = printed.decimals if printed.number == printed.number else 2
    counted = "" if len(ours.values) == ours.planned else f"n={len(ours.values)} of {ours.planned}"
    note = "; ".join(filter(None, [ours.chosen, counted]))
    mark = "†" if marks.get((row, at), 1.0) <= ALPHA else ""
    return Shown(fixed(mean, decimals), "" if math.isnan(std) else fixed(std, decimals), mark=mark, note=note)


def _rules(plan: TablePlan, found: Sequence[Sequence[Ours]], tested: bool) -> tuple[str, ...]:
    """What a reader has to know about our numbers."""
    cells = [
        (cell, ours) for row, line in zip(plan.cells, found, strict=True) for cell, ours in zip(row, line, strict=True)
    ]
    counts = sorted({len(ours.values) for cell, ours in cells if ours.values and not cell.average})
    if not counts:
        return tuple(note for note in (plan.note, f"{MISSING}: no run has finished.") if note)
    n = f"n={counts[-1]}" if len(counts) == 1 else f"n={counts[0]} to {counts[-1]}"
    swept = any(len(cell.candidates) > 1 for cell, _ in cells)
    looks, split = " (an oracle that looks at the test split)", "validation" if plan.sweep == "best-val" else "test"
    base = plan.baselines[0] if len(plan.baselines) == 1 else "the nearest baseline above"
    notes = [
        plan.note,
        f"± is the sample standard deviation over {n} seeds; a cell of one seed has none."
        if counts[-1] > 1
        else "Each number is of one seed.",
        f"Selection rule: {plan.selection}{looks * (plan.selection == 'best-test')}.",
        f"Of swept hyper-parameters the best on the {split} split{looks * (split == 'test')} count." if swept else "",
        f"† p ≤ {ALPHA}: Welch's t against {base}, Holm-corrected within a column's comparison." if tested else "",
        f"{MISSING}: not run, or not finished."
        if any(not ours.values and (ours.planned or ours.reason) for _, ours in cells)
        else "",
    ]
    return tuple(note for note in notes if note)
