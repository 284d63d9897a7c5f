"""The published numbers checked against each other and against what counts of right answers can give.

Five checks, each of what a table prints:

- ``average``: the mean of the row's values;
- ``delta``: the cell less the cell of the row above, or of the row that the table's ``audit: {delta: ...}`` names;
- ``accuracy``: whether an accuracy can be the mean of the stated runs on the stated test images
  (``bench.papers.attainable``);
- ``deviation``: whether a ± can be their sample (n - 1) or population (n) standard deviation;
- ``repeated``: whether a cell that several tables show has one value.

Where a number was computed, before or after rounding, is unknown; what either can explain is no finding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from bench.errors import InputError, choose
from bench.notation import signed
from bench.papers.attainable import (
    POPULATION,
    SAMPLE,
    Interval,
    deviation_is_attainable,
    half_unit,
    nearest_accuracy,
    nearest_deviation,
    rounded,
    totals,
)
from bench.papers.labels import assigned, matches
from bench.papers.published import Key, Printed, PublishedTable, published_table
from bench.papers.sample import Sample, Samples
from bench.papers.targets import tables_of
from bench.reading.keys import Key as Declared
from bench.reading.keys import names
from bench.registry import Registry

CHECKS = ("average", "delta", "accuracy", "deviation", "repeated")
FINDING, EXPLAINED, NOT_CHECKED = "finding", "explained", "not checked"
_AVERAGE = re.compile(r"(avg|average|mean)\.?", re.IGNORECASE)
KEYS = (
    Declared("delta", (dict,), "by row label, the row that its printed differences are to", default="the row above"),
    Declared("not_checked", (dict,), "by label, why a cell's accuracy is not checked"),
    Declared("test", (dict,), "by label, the number of test images", default="that of the dataset's card"),
    Declared("runs", (int,), "of how many runs a value is the mean", default="the protocol's seeds"),
)
_MAXIMUM = 9
"""Runs beyond which nearly every deviation is attainable, so that the search for one is not worth its time."""


At = tuple[PublishedTable, int, int]
"""A cell: its table, row and column."""


@dataclass(frozen=True)
class Finding:
    """What one check says of one cell.

    Attributes:
        table: ``paper/table``.
        row: the row's labels.
        column: the column's labels.
        check: one of ``CHECKS``.
        printed: the number as printed.
        computed: what follows from the other numbers.
        verdict: the arithmetic in words.
        kind: ``finding``; ``explained`` by rounding; or ``not checked``, with the reason as its verdict.
    """

    table: str
    row: Key
    column: Key
    check: str
    printed: str
    computed: str
    verdict: str
    kind: str = FINDING


@dataclass
class Audit:
    """What the checks of some tables found.

    Attributes:
        found: all findings, what rounding explains, and what was not checked.
        checked: how many cells each check looked at.
        sample_only: deviations that can be a sample one and not a population one.
        population_only: the reverse.
    """

    found: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    sample_only: int = 0
    population_only: int = 0

    def of(self, kind: str) -> list[Finding]:
        """The findings of a kind."""
        return [finding for finding in self.found if finding.kind == kind]


def audit(targets: Collection[str], registry: Registry) -> Audit:
    """Check the results tables that are named, by themselves (``gta/table2``) or by their paper; all if none is.

    Raises:
        InputError: there is no such paper or table, or an ``audit`` section names what its table has not.
    """
    wanted = tables_of(targets, registry)
    papers = {name.partition("/")[0] for name in wanted}
    names = [name for name in registry.table_files if name.partition("/")[0] in papers]
    tables = [table for table in (published_table(name, registry) for name in names) if table.kind == "results"]
    return audit_tables(tables, Samples(registry), wanted)


def audit_tables(tables: Sequence[PublishedTable], samples: Samples, only: Collection[str] = ()) -> Audit:
    """Check tables of papers, or ``only`` some of them; cells that recur are compared with the paper's other tables.

    Raises:
        InputError: as ``audit``.
    """
    result = Audit()
    for table in tables:
        if only and table.name not in only:
            continue
        check_declared(table)
        for number, column, cell in _cells(table):
            _check_average(table, number, column, result)
            if cell.delta:
                _check_delta(table, number, column, result)
            _check_accuracy(table, number, column, samples, result)
    _check_repeated(tables, samples, result, only)
    return result


def check_declared(table: PublishedTable) -> None:
    """Raise ``InputError`` where a table's ``audit`` section has an unknown key or names labels that are not there."""
    place = table.place
    for key in table.audit:
        if key not in names(KEYS):
            raise InputError(f"{place}: audit: {choose(key, names(KEYS), 'key')}")
    keys = [(*row, *column) for row in table.rows for column in table.columns]
    selectors = [*(table.audit.get("not_checked") or {}), *(table.audit.get("test") or {})]
    for row, reference in (table.audit.get("delta") or {}).items():
        selectors += [row, reference]
    for selector in selectors:
        if not any(matches(key, selector) for key in keys):
            known = {label for key in keys for label in key if label}
            raise InputError(f"{place}: audit: {choose(selector, known, 'label of this table')}")


def _cells(table: PublishedTable) -> Iterator[tuple[int, int, Printed]]:
    for number, row in enumerate(table.cells):
        for column, cell in enumerate(row):
            if cell.number == cell.number:
                yield number, column, cell


def _plain(cell: Printed) -> str:
    """The digits of a printed number."""
    return cell.value.rstrip("*†‡").replace(",", "")


def _told(value: Fraction, decimals: int) -> str:
    return f"{float(value):.{decimals}f}"


def _add(result: Audit, at: At, check: str, texts: tuple[str, str, str], kind: str) -> None:
    """Note what a check says of a cell: ``texts`` are what is printed, what is computed, and the verdict."""
    table, row, column = at
    result.found.append(Finding(table.name, table.rows[row], table.columns[column], check, *texts, kind))


def _check_average(table: PublishedTable, row: int, column: int, result: Audit) -> None:
    if not _is_average(table, column):
        return
    inner = table.columns[column][1:]
    others = [at for at, key in enumerate(table.columns) if key[1:] == inner and not _is_average(table, at)]
    cells = [table.cells[row][at] for at in others]
    printed = _plain(table.cells[row][column])
    if not cells or any(cell.number != cell.number for cell in cells):
        reason = "a value that the average is over is not printed"
        _add(result, (table, row, column), "average", (printed, "", reason), NOT_CHECKED)
        return
    result.checked["average"] += 1
    mean = sum((Fraction(_plain(cell)) for cell in cells), Fraction(0)) / len(cells)
    slack = sum((half_unit(_plain(cell)) for cell in cells), Fraction(0)) / len(cells)
    if mean in rounded(printed):
        return
    most, decimals = slack + half_unit(printed), table.cells[row][column].decimals + 1
    gap = abs(mean - Fraction(printed))
    verdict = (
        f"the mean of the {len(cells)} printed values is {_told(mean, decimals)}; printed is {printed}; they differ by "
        f"{_told(gap, decimals)}, and rounding explains at most {float(most):g}"
    )
    kind = EXPLAINED if gap <= most else FINDING
    _add(result, (table, row, column), "average", (printed, _told(mean, decimals), verdict), kind)


def _is_average(table: PublishedTable, column: int) -> bool:
    labels = table.columns[column]
    return bool(assigned(table, (), labels).get("average")) or any(_AVERAGE.fullmatch(label) for label in labels)


def _check_delta(table: PublishedTable, row: int, column: int, result: Audit) -> None:
    printed, cell = table.cells[row][column].delta, table.cells[row][column]
    reference = _reference(table, row)
    other = table.cells[reference][column] if reference is not None else Printed("")
    if reference is None or other.number != other.number:
        reason = "the row that it is a difference to has no number here"
        _add(result, (table, row, column), "delta", (printed, "", reason), NOT_CHECKED)
        return
    result.checked["delta"] += 1
    sign = -1 if printed[0] in "-−↓" else 1
    stated, value, base = sign * Fraction(printed[1:]), _plain(cell), _plain(other)
    difference = Fraction(value) - Fraction(base)
    if difference == stated:
        return
    most = half_unit(value) + half_unit(base) + half_unit(printed)
    computed = signed(float(difference), max(cell.decimals, other.decimals))
    gap = abs(difference - stated)
    verdict = (
        f"{value} less {base} ({' / '.join(filter(None, table.rows[reference]))}) is {computed}; printed is {printed}; "
        f"they differ by {float(gap):g}, and rounding explains at most {float(most):g}"
    )
    kind = EXPLAINED if gap <= most else FINDING
    _add(result, (table, row, column), "delta", (printed, computed, verdict), kind)


def _reference(table: PublishedTable, row: int) -> int | None:
    """The row that a row's differences are to."""
    for selector, named in (table.audit.get("delta") or {}).items():
        if matches(table.rows[row], selector):
            return next((at for at, labels in enumerate(table.rows) if matches(labels, named)), None)
    return row - 1 if row else None


def _check_accuracy(table: PublishedTable, row: int, column: int, samples: Samples, result: Audit) -> None:
    cell, sample = table.cells[row][column], samples.of(table, table.rows[row], table.columns[column])
    printed = _plain(cell)
    if sample.reason:
        _add(result, (table, row, column), "accuracy", (printed, "", sample.reason), NOT_CHECKED)
        return
    result.checked["accuracy"] += 1
    given, wide = rounded(printed), rounded(printed).widened(half_unit(printed))
    fits = bool(totals(given, sample.images, sample.runs))
    if not fits:
        total, nearest = nearest_accuracy(Fraction(printed), sample.images, sample.runs)
        computed, explained = _told(nearest, cell.decimals + 2), sample.runs > 1 and nearest in wide
        verdict = _accuracy_verdict(printed, sample, total, computed)
        kind = EXPLAINED if explained else FINDING
        _add(result, (table, row, column), "accuracy", (printed, computed, verdict), kind)
        if not explained:
            return
    if cell.std:
        possible = totals(given if fits else wide, sample.images, sample.runs)
        _check_deviation(table, row, column, sample, possible, result)


def _accuracy_verdict(printed: str, sample: Sample, total: int, computed: str) -> str:
    n, m = sample.images, sample.runs
    what = f"{m} runs on {n} test images have a mean K/{n * m}" if m > 1 else f"one run on {n} test images has k/{n}"
    verdict = (
        f"{what}, of which none prints as {printed}: the nearest is {total}/{n * m} = {computed}, and rounding "
        f"explains at most {float(half_unit(printed)):g} ({sample.source})"
    )
    more = next((runs for runs in range(2, 6) if totals(rounded(printed), n, runs)), 0) if m == 1 else 0
    return verdict + (f"; a mean of {more} runs can be" if more else "")


def _check_deviation(
    table: PublishedTable, row: int, column: int, sample: Sample, possible: range, result: Audit
) -> None:
    printed = table.cells[row][column].std
    if not 1 < sample.runs <= _MAXIMUM:
        reason = "one run has no deviation" if sample.runs < 2 else f"{sample.runs} runs can have nearly any deviation"
        _add(result, (table, row, column), "deviation", (printed, "", reason), NOT_CHECKED)
        return
    result.checked["deviation"] += 1

    def attainable(deviation: Interval, less: int) -> bool:
        return any(deviation_is_attainable(at, deviation, sample.images, sample.runs, less) for at in possible)

    given = rounded(printed)
    as_sample, as_population = attainable(given, SAMPLE), attainable(given, POPULATION)
    result.sample_only += as_sample and not as_population
    result.population_only += as_population and not as_sample
    if as_sample or as_population:
        return
    # runs that were rounded first, each by half a unit at most, move their deviation by at most √2 of that
    wide = given.widened(Fraction(3, 2) * half_unit(_plain(table.cells[row][column])))
    explained = attainable(wide, SAMPLE) or attainable(wide, POPULATION)
    near = [nearest_deviation(at, Fraction(printed), sample.images, sample.runs, SAMPLE) for at in possible]
    computed = f"{min(near, key=lambda each: abs(each - float(printed))):.{len(printed.partition('.')[2]) + 1}f}"
    verdict = (
        f"no {sample.runs} accuracies k/{sample.images} with the printed mean have a standard deviation that prints as "
        f"{printed}, with n - 1 or with n; the nearest with n - 1 is {computed} ({sample.source})"
    )
    kind = EXPLAINED if explained else FINDING
    _add(result, (table, row, column), "deviation", (printed, computed, verdict), kind)


def _check_repeated(tables: Sequence[PublishedTable], samples: Samples, result: Audit, only: Collection[str]) -> None:
    first = dict[tuple[str, str], tuple[PublishedTable, int, int, str]]()
    for table in tables:
        for row, column, cell in _cells(table):
            name, method = samples.identity(table, table.rows[row], table.columns[column])
            here = (table, row, column, method)
            earlier = [first.setdefault((table.paper, key), here) for key in (method, name) if key]
            # a name alone is trusted where one of the two cells declares no method: 0.1 is a τ here and an α there
            same = [at for at in earlier if at[0] is not table and (at[3] == method or not (at[3] and method))]
            for at in {(at[0].name, at[1], at[2]): at for at in same}.values():
                if not only or {table.name, at[0].name} & {*only}:
                    _compare(at[:3], (table, row, column), cell, result)


def _compare(earlier: At, later: At, cell: Printed, result: Audit) -> None:
    table, row, column = earlier
    before, now = _plain(table.cells[row][column]), _plain(cell)
    result.checked["repeated"] += 1
    gap, most = abs(Fraction(before) - Fraction(now)), half_unit(before) + half_unit(now)
    if len(before.partition(".")[2]) == len(now.partition(".")[2]):
        most = Fraction(0)
    if not gap:
        return
    where = " / ".join(filter(None, (*table.rows[row], *table.columns[column])))
    verdict = (
        f"printed is {now} here and {before} in {table.name} ({where}); they differ by {float(gap):g}, and rounding "
        f"explains at most {float(most):g}"
    )
    kind = EXPLAINED if gap <= most else FINDING
    _add(result, later, "repeated", (now, before, verdict), kind)
