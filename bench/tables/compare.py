"""From cells to a table: statistics of each cell, how it compares with others, and with what was published.

What computes is imported when there is something to compute: NumPy takes a third of a command's start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from bench.errors import InputError
from bench.metrics import Metric
from bench.notation import fixed, none_if_nan
from bench.plan.table import Contest, Place, Plan, PlannedCell, TablePlan
from bench.records.store import Store
from bench.stats.family import holm
from bench.stats.verdict import NOT_COMPARABLE, Verdict
from bench.tables.cells import Cell, Cells, cells_of
from bench.tables.gains import Gain, gain_of
from bench.tables.judging import verdicts_on
from bench.tables.margins import printed_gain
from bench.tables.results import Results, results_of
from bench.tables.testing import name_of, settled, sizes

if TYPE_CHECKING:
    from bench.stats.difference import MeanDifference
    from bench.tables.claim import Claim
    from bench.tables.group import BestGroup
    from bench.tables.outcome import Outcome

STRONGER = 5
"""The second dagger stands at alpha / 5, so 0.01 beside 0.05."""


@dataclass(frozen=True)
class Entry:
    """A cell with its statistics; None is what cannot be computed.

    Attributes:
        std: sample standard deviation (n - 1); None for n < 2.
        delta: mean minus the baseline's mean, unrounded, of pairs over the seeds that both have; None for the baseline
            and without one.
        p: two-sided p against the baseline, by the table's test.
        p_holm: p after Holm's correction in the table's family.
        low: lower end of the confidence interval of ``delta``, by itself, at 1 - alpha; None where there is no test.
        high: its upper end.
        estimate: ``delta`` as the interval has it.
        superiority: the chance that a run of this cell beats one of the baseline, as the runs show it.
        significant: ``p_holm <= alpha``.
        rank: 1 for what prints as the best mean of its contest, 2 for the second, 0 otherwise; 0 where only one of a
            contest has a value.
        near: best, or too near the best to be told from it.
        published_rank: the same as ``rank`` of the published numbers.
        verdict: on the published number; None where there is none, or nothing is run for the table.
        gain: what ours says of the printed difference to the baseline; None where there is none, or not both are run.
    """

    planned: PlannedCell
    cell: Cell
    mean: float | None = None
    std: float | None = None
    delta: float | None = None
    p: float | None = None
    p_holm: float | None = None
    low: float | None = None
    high: float | None = None
    superiority: float | None = None
    estimate: MeanDifference | None = None
    significant: bool = False
    rank: int = 0
    near: bool = False
    published_rank: int = 0
    verdict: Verdict | None = None
    gain: Gain | None = None

    @property
    def n(self) -> int:
        """Finished seeds."""
        return self.cell.n

    @property
    def is_average(self) -> bool:
        """Whether it is the mean of other cells."""
        return bool(self.planned.averages)


@dataclass(frozen=True)
class Table:
    """A planned table with what the records say: entries by row, then by column.

    Its plan's rules name the test that was used, never ``auto``.
    """

    plan: TablePlan
    entries: tuple[tuple[Entry, ...], ...]
    claims: tuple[Claim, ...] = ()
    groups: tuple[BestGroup, ...] = ()

    def at(self, place: Place) -> Entry:
        """The entry at a place."""
        return self.entries[place[0]][place[1]]

    def places(self) -> Iterator[tuple[Place, Entry]]:
        """Every entry with its place."""
        for row, line in enumerate(self.entries):
            for column, entry in enumerate(line):
                yield (row, column), entry

    @cached_property
    def finished(self) -> tuple[Entry, ...]:
        """Entries of runs with at least one value."""
        return tuple(entry for _, entry in self.places() if entry.n and not (entry.is_average or entry.planned.counted))

    @property
    def heading(self) -> str:
        """The title line: title, metric, and what all cells have in common."""
        return title_line(self.plan, self.plan.measured)

    @cached_property
    def test_name(self) -> str:
        """What captions call the test that was used."""
        test = self.plan.rules.test
        counts = [sizes(test, entry.cell, base.cell)[0] for _, entry, base in self.pairs() if entry.p is not None]
        return name_of(self.plan.rules, counts)

    @property
    def has_rates(self) -> bool:
        """Whether every cell with a value is at a sampling rate, as a figure of rates needs it."""
        return all("rate" in entry.planned.axes for entry in self.finished)

    def pairs(self) -> Iterator[tuple[Contest, Entry, Entry]]:
        """Every comparison whose both sides have values: its contest, the cell and its baseline."""
        for contest in self.plan.contests:
            for place, base in contest.pairs:
                if self.at(place).n and self.at(base).n:
                    yield contest, self.at(place), self.at(base)


def title_line(plan: TablePlan, measured: str = "") -> str:
    """A table's title with what is measured and what all its cells have in common."""
    behind = ", ".join(filter(None, (measured, *plan.common)))
    return f"{plan.title} – {behind}" if behind else plan.title


def fill(plan: Plan, store: Store, selector: Metric | None = None) -> tuple[Table, ...]:
    """The tables of a plan with what the store has of them.

    ``selector`` is the metric by which points of curves and candidates are picked; by default that which is shown.

    Raises:
        InputError: there are too many seeds for the exact test.
    """
    results = results_of(plan, store, selector)
    return tuple(fill_table(table, results) for table in plan.tables)


def fill_table(table: TablePlan, results: Results) -> Table:
    """A table with what is known of its runs. Raises ``InputError`` where there are too many seeds for its test."""
    try:
        return compare(table, cells_of(table, results))
    except ValueError as error:
        raise InputError(f"{table.name}: {error}") from None


def compare(plan: TablePlan, cells: Cells) -> Table:
    """Summarise cells and compare them, within each contest, by the table's test and then Holm's correction.

    Raises:
        ValueError: there are too many seeds for the exact test.
    """
    entries: dict[Place, Entry] = {}
    for (row, column), planned in plan.places():
        cell = cells[row][column]
        entries[row, column] = Entry(planned, cell)
        if cell.summary is not None:
            entries[row, column] = Entry(planned, cell, cell.summary.mean, none_if_nan(cell.summary.std))
    plan = settled(plan)
    families: list[list[Place]] = []
    for contest in plan.contests:
        _mark(entries, contest)
        families.append(_test(entries, contest, plan))
    if plan.rules.family == "table":
        families = [[place for family in families for place in family]]
    for family in families:
        _correct(entries, family, plan.rules.alpha)
    groups = tuple(filter(None, (_mark_near(entries, contest, plan) for contest in plan.contests)))
    if any(each.candidates or each.counted or cells[row][column].values for (row, column), each in plan.places()):
        for place, verdict in verdicts_on(plan, cells).items():
            entries[place] = replace(entries[place], verdict=verdict)
        for contest in plan.contests:
            _judge_gains(entries, contest, plan)
    grid = tuple(tuple(entries[row, at] for at in range(len(plan.columns))) for row in range(len(plan.rows)))
    return Table(plan, grid, _claims(plan, cells) if plan.rules.across else (), groups)


def _claims(plan: TablePlan, cells: Cells) -> tuple[Claim, ...]:
    """What the table claims over its datasets."""
    from bench.tables.across import claims_of

    return tuple(claims_of(plan, cells))


def ranks(values: Sequence[float], decimals: Sequence[int], sign: int) -> list[int]:
    """1 for each value that prints as the best, 2 for each that prints as the second, 0 for the others.

    Args:
        values: nan where there is none; a value alone has no rank.
        decimals: digits after the point of each, as printed.
        sign: 1 where more is better, -1 where less is.
    """
    numbers = {place: value for place, value in enumerate(values) if not math.isnan(value)}
    ranked = [0] * len(values)
    if len(numbers) < 2:
        return ranked

    def like(best: float) -> list[int]:
        return [at for at, value in numbers.items() if fixed(value, decimals[at]) == fixed(best, decimals[at])]

    first = like(max(numbers.values(), key=lambda value: sign * value))
    rest = {*numbers.values()} - {numbers[at] for at in first}
    second = like(max(rest, key=lambda value: sign * value)) if rest else []
    for rank, places in ((2, second), (1, first)):
        for place in places:
            ranked[place] = rank
    return ranked


def _mark(entries: dict[Place, Entry], contest: Contest) -> None:
    """The ranks of a contest's means, and of its published numbers."""
    inside = [entries[place] for place in contest.places]
    decimals = [entry.planned.decimals for entry in inside]
    sign = inside[0].planned.metric.sign if inside else 1
    ours = ranks([entry.cell.mean for entry in inside], decimals, sign)
    published = ranks([entry.planned.published for entry in inside], decimals, -1 if contest.lower else 1)
    for place, rank, printed in zip(contest.places, ours, published, strict=True):
        entries[place] = replace(entries[place], rank=rank, published_rank=printed)


def _mark_near(entries: dict[Place, Entry], contest: Contest, plan: TablePlan) -> BestGroup | None:
    """Mark what cannot be told from the best of a contest."""
    cells = {place: entries[place].cell for place in contest.places if entries[place].mean is not None}
    if not cells:
        return None
    from bench.tables.group import group_of

    sign = entries[contest.places[0]].planned.metric.sign
    group = group_of(contest, cells, sign, plan.rules)
    marked = {_as_printed(entries[place]) for place in (group.places if group else ())}
    for place in cells:
        # what prints like a marked one is marked, too: nobody could see why it is not
        is_near = entries[place].rank == 1 or _as_printed(entries[place]) in marked
        entries[place] = replace(entries[place], near=is_near)
    return group


def _as_printed(entry: Entry) -> str:
    return fixed(entry.cell.mean, entry.planned.decimals)


def _test(entries: dict[Place, Entry], contest: Contest, plan: TablePlan) -> list[Place]:
    """Test each cell of a contest against its baseline. Returns the places of what was compared."""
    rivals: dict[Place, list[Place]] = {}
    for place, base in contest.pairs:
        if entries[place].mean is not None and entries[base].mean is not None:
            rivals.setdefault(base, []).append(place)
    if not rivals:
        return []
    from bench.tables.outcome import compare_with

    for base, places in rivals.items():
        reference = entries[base]
        sign = reference.planned.metric.sign
        beside = [entries[place].cell for place in places]
        results = compare_with(plan.rules.test, beside, reference.cell, sign, plan.rules.folds)
        for place, result in zip(places, results, strict=True):
            entries[place] = _compared(entries[place], reference, result, plan.rules.alpha)
    return [place for places in rivals.values() for place in places]


def _compared(entry: Entry, reference: Entry, result: Outcome, alpha: float) -> Entry:
    low = high = gap = None
    if result.estimate is not None:
        half, gap = result.estimate.half_width(1 - alpha), result.estimate.gap
        low, high = gap - half, gap + half
    return replace(
        entry,
        delta=entry.cell.mean - reference.cell.mean if gap is None else gap,
        p=none_if_nan(result.p),
        low=low,
        high=high,
        superiority=none_if_nan(result.superiority),
        estimate=result.estimate,
    )


def _judge_gains(entries: dict[Place, Entry], contest: Contest, plan: TablePlan) -> None:
    """What ours says of the printed gains of a contest."""
    for place, base in contest.pairs:
        entry = entries[place]
        sides = entry, entries[base]
        if entry.delta is None or any(side.planned.ground.other_metric for side in sides):
            continue
        low, high = (math.nan if end is None else end for end in (entry.low, entry.high))
        comparable = not any(side.verdict and side.verdict.word == NOT_COMPARABLE for side in sides)
        gain = gain_of(printed_gain(plan, place, base), entry.delta, low, high, comparable)
        entries[place] = replace(entry, gain=gain)


def _correct(entries: dict[Place, Entry], family: Sequence[Place], alpha: float) -> None:
    if not family:
        return
    p_values = [entries[place].p for place in family]
    adjusted = holm([math.nan if p is None else p for p in p_values])
    for place, p in zip(family, adjusted, strict=True):
        entries[place] = replace(entries[place], p_holm=none_if_nan(float(p)), significant=bool(p <= alpha))
