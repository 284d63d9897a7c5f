"""A paper's table in its own layout: with what was published, with what the records say, or with both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.papers.comparisons import claims_over, compared_rows, comparison_groups, orientation
from bench.papers.judging import ALPHA, SIGNS, Grounds, facts, verdict_notes, verdicts
from bench.papers.measured import Ours, failure_notes, measured
from bench.papers.published import PublishedTable
from bench.plan.paper import TablePlan
from bench.records.store import Finished
from bench.sheets import Sheet, Shown, marked, ranks
from bench.stats import holm, mean_std
from bench.tables.notation import fixed, signed
from bench.tables.testing import DRAWS, out_of_reach, p_value, pairing, sizes, test_name

MISSING = "–"


@dataclass(frozen=True)
class Rules:
    """How our numbers are tested and judged.

    Attributes:
        test: by which rows are compared with their baseline (see ``bench.tables.testing``).
        across: the claim over datasets, ``these`` or ``like-these``; empty for none.
        grounds: what the verdicts rest on, from ``bench.papers.judging.grounds_of``; None for no verdicts.
        failed: the class of failure of each run that failed, by run id.
        command: what trains the runs that are missing; empty where that is not to be said.
    """

    test: str = "welch"
    across: str = ""
    grounds: Grounds | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


PLAIN = Rules()


def paper_sheet(plan: TablePlan, source: str, finished: Mapping[str, Finished], rules: Rules = PLAIN) -> Sheet:
    """The table as ``published``, ``ours`` or ``both``, the best of each comparison marked.

    Raises:
        ValueError: there are too many seeds for the exact test.
    """
    if source == "published":
        return published_sheet(plan.table)
    return our_sheet(plan, finished, rules) if source == "ours" else both_sheet(plan, finished, rules)


def published_sheet(table: PublishedTable) -> Sheet:
    """The table as printed."""
    cells = [[Shown(cell.value, cell.std, cell.delta) for cell in row] for row in table.cells]
    numbers = [[cell.number for cell in row] for row in table.cells]
    notes = (table.note,) if table.note else ()
    return _sheet(table, "as published", marked(cells, places(table, numbers)), notes)


def our_sheet(plan: TablePlan, finished: Mapping[str, Finished], rules: Rules = PLAIN) -> Sheet:
    """The table with the means of finished runs, ± their sample standard deviation, and the verdict on what is printed.

    Raises:
        ValueError: there are too many seeds for the exact test.
    """
    return _our_sheet(plan, measured(plan, finished, rules.failed), rules)


def _our_sheet(plan: TablePlan, found: Sequence[Sequence[Ours]], rules: Rules) -> Sheet:
    marks = against_baseline(plan, found, rules.test)
    cells = [[_shown(plan, number, at, ours, marks) for at, ours in enumerate(row)] for number, row in enumerate(found)]
    numbers = [[ours.mean for ours in row] for row in found]
    values, empty = [[one.values for one in row] for row in found], [[one.why_empty for one in row] for row in found]
    notes = [*_rules(plan, found), *_tested(plan, found, marks, rules.test), *_missing(found, rules.command)]
    notes += failure_notes(plan, found)
    if rules.across:
        notes += claims_over(plan, values, rules.across, ALPHA)
    if rules.grounds is not None:
        judged = verdicts(plan, values, [[one.seeds for one in row] for row in found], empty, rules.grounds)
        cells = [
            [
                shown if verdict is None else replace(shown, sign=SIGNS[verdict.word], facts=facts(verdict))
                for shown, verdict in zip(line, row, strict=True)
            ]
            for line, row in zip(cells, judged, strict=True)
        ]
        notes += verdict_notes(plan.table, judged, numbers)
    return _sheet(plan.table, "ours", marked(cells, places(plan.table, numbers)), tuple(notes))


def both_sheet(plan: TablePlan, finished: Mapping[str, Finished], rules: Rules = PLAIN) -> Sheet:
    """Published and ours side by side; the difference, ours less published, stands behind ours."""
    found = measured(plan, finished, rules.failed)
    published, ours = published_sheet(plan.table), _our_sheet(plan, found, rules)
    cells = []
    for number, (left, right) in enumerate(zip(published.cells, ours.cells, strict=True)):
        line: list[Shown] = []
        for at, (printed, own) in enumerate(zip(left, right, strict=True)):
            cell = plan.table.cells[number][at]
            gap = found[number][at].mean - cell.number
            delta = "" if math.isnan(gap) else signed(gap, cell.decimals)
            line += [printed, replace(own, delta=delta)]
        cells.append(tuple(line))
    columns = tuple((*column, kind) for column in plan.table.columns for kind in ("published", "ours"))
    differ = any(own.delta for line in cells for own in line[1::2])
    told = ("The difference in brackets behind ours is ours less published.",) if differ else ()
    notes = (*published.notes, *ours.notes, *told)
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


def against_baseline(
    plan: TablePlan, found: Sequence[Sequence[Ours]], test: str = "welch"
) -> dict[tuple[int, int], float]:
    """A test's p of each cell against its baseline, Holm-corrected over a column of rows that the paper compares.

    Raises:
        ValueError: there are too many seeds for the exact test.
    """
    corrected: dict[tuple[int, int], float] = {}
    for family in _families(plan, found):
        p = [_p(test, found[row][at], found[base][at]) for row, base, at in family]
        for (row, _, at), value in zip(family, holm(p), strict=True):
            if not math.isnan(value):
                corrected[row, at] = float(value)
    return corrected


def places(table: PublishedTable, numbers: Sequence[Sequence[float]]) -> list[list[int]]:
    """The rank of each cell among those that the paper compares it with: 1 best, 2 second, 0 otherwise."""
    found = [[0] * len(table.columns) for _ in table.rows]
    for at in range(len(table.columns)):
        sign = orientation(table, at)
        if not sign:
            continue
        for rows in comparison_groups(table).values():
            for row, rank in zip(rows, ranks([numbers[row][at] for row in rows], sign < 0), strict=True):
                found[row][at] = rank
    return found


def _sheet(table: PublishedTable, source: str, cells: tuple[tuple[Shown, ...], ...], notes: tuple[str, ...]) -> Sheet:
    return Sheet(table.name, heading(table, source), table.stub, table.columns, table.rows, cells, notes)


def _families(plan: TablePlan, found: Sequence[Sequence[Ours]]) -> Iterator[list[tuple[int, int, int]]]:
    """What Holm's correction is over: row, its baseline and column of the comparisons with values on both sides."""
    for pairs in compared_rows(plan):
        for at in range(len(plan.table.columns)):
            yield [(row, base, at) for row, base in pairs if found[row][at].values and found[base][at].values]


def _p(test: str, own: Ours, base: Ours) -> float:
    """A test's p; nan for pairs that share nothing."""
    return math.nan if test == "paired" and not shared_draws(own, base) else p_value(test, own, base)


def shared_draws(own: Ours, base: Ours) -> list[str]:
    """The draws that the runs of every seed share which both sides have."""
    theirs = {spec.seed: spec.seeds for spec in base.runs}
    pairs = [(spec.seeds, theirs[spec.seed]) for spec in own.runs if spec.seed in theirs]
    return [draw for draw in DRAWS if pairs and all(getattr(a, draw) == getattr(b, draw) for a, b in pairs)]


def _tested(
    plan: TablePlan, found: Sequence[Sequence[Ours]], marks: Mapping[tuple[int, int], float], test: str
) -> Iterator[str]:
    """What a reader has to know of the test: its name, what makes pairs of runs, where it cannot reach alpha."""
    if not marks:
        if test == "paired" and any(_families(plan, found)):
            yield "No paired test: it takes two seeds on both sides whose runs share a draw."
        return
    base = plan.baselines[0] if len(plan.baselines) == 1 else "the nearest baseline above"
    name = "Welch's t" if test == "welch" else f"{test_name(test)}"
    yield f"† p ≤ {ALPHA}: {name} against {base}, Holm-corrected within a column's comparison."
    families = [[one for one in family if (one[0], one[2]) in marks] for family in _families(plan, found)]
    if test == "paired":
        pairs = [shared_draws(found[row][at], found[base][at]) for family in families for row, base, at in family]
        yield pairing(draw for draw in DRAWS if all(draw in shared for shared in pairs))
    told = [
        out_of_reach(test, [sizes(test, found[row][at], found[base][at]) for row, base, at in family], ALPHA)
        for family in families
        if family
    ]
    for why in dict.fromkeys(filter(None, told)):
        places = "" if all(told) else f" in {told.count(why)} of {len(told)} comparisons of a column"
        yield f"No † can stand{places}: {why}."


def _shown(plan: TablePlan, row: int, at: int, ours: Ours, marks: Mapping[tuple[int, int], float]) -> Shown:
    printed = plan.table.cells[row][at]
    if not ours.values:
        why = ours.why_empty if printed.value else ours.reason
        return Shown(MISSING if printed.value and why else "", note=why)
    mean, std = mean_std(ours.values)
    decimals = printed.decimals if printed.number == printed.number else 2
    counted = "" if len(ours.values) == ours.planned else f"n={len(ours.values)} of {ours.planned}"
    left_out = [f"left out: {label}, {why}" for label, why in ours.left_out]
    note = "; ".join(filter(None, [ours.chosen, *left_out, counted, ours.failed]))
    mark = "†" if marks.get((row, at), 1.0) <= ALPHA else ""
    return Shown(fixed(mean, decimals), "" if math.isnan(std) else fixed(std, decimals), mark=mark, note=note)


def _rules(plan: TablePlan, found: Sequence[Sequence[Ours]]) -> Iterator[str]:
    """What a reader has to know about our numbers, beside their tests."""
    if plan.note:
        yield plan.note
    cells = [
        (cell, ours) for row, line in zip(plan.cells, found, strict=True) for cell, ours in zip(row, line, strict=True)
    ]
    counts = sorted({len(ours.values) for cell, ours in cells if ours.values and not cell.average})
    if not counts:
        return
    n = f"n={counts[-1]}" if len(counts) == 1 else f"n={counts[0]} to {counts[-1]}"
    swept = any(len(cell.candidates) > 1 for cell, _ in cells)
    looks, split = " (an oracle that looks at the test split)", "validation" if plan.sweep == "best-val" else "test"
    if counts[-1] > 1:
        yield f"± is the sample standard deviation over {n} seeds; a cell of one seed has none."
    else:
        yield "Each number is of one seed."
    yield f"Selection rule: {plan.selection}{looks * (plan.selection == 'best-test')}."
    if swept:
        yield f"Of swept hyper-parameters the best on the {split} split{looks * (split == 'test')} count."


def _missing(found: Sequence[Sequence[Ours]], command: str) -> Iterator[str]:
    """Why cells are empty, each reason once, and what fills them."""
    cells = [ours for row in found for ours in row]
    if any(ours.why_empty and not ours.reason for ours in cells):
        trains = f"; '{command}' trains what is missing" if command else ""
        there = any(ours.values for ours in cells)
        yield f"{MISSING}: {'not run, or not finished' if there else 'no run has finished'}{trains}."
    for reason, count in Counter(ours.reason for ours in cells if ours.reason).items():
        yield f"{MISSING}: {count} cell{'s are' if count > 1 else ' is'} not run: {reason}."
