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

import math
import re
import statistics
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from bench.errors import InputError, choose
from bench.notation import fixed, signed
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


@dataclass(frozen=True, eq=False)
class At:
    """A cell in its table."""

    table: PublishedTable
    row: int
    column: int

    @property
    def cell(self) -> Printed:
        return self.table.cells[self.row][self.column]

    @property
    def labels(self) -> tuple[Key, Key]:
        return self.table.rows[self.row], self.table.columns[self.column]


@dataclass(frozen=True)
class Finding:
    """What one check says of one cell.

    Attributes:
        computed: what follows from the other numbers.
        kind: ``finding``; ``explained`` by rounding; or ``not checked``, with the reason as its verdict.
    """

    table: str
    row: Key
    column: Key
    check: str
    printed: str
    computed: str
    verdict: str
    kind: str


@dataclass
class Audit:
    """What the checks of some tables found.

    Attributes:
        findings: all of them, what rounding explains, and what was not checked.
        checked: how many cells each check looked at.
        sample_only: deviations that can be a sample one and not a population one.
        population_only: the reverse.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    sample_only: int = 0
    population_only: int = 0

    def of(self, kind: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]

    def note(self, at: At, check: str, printed: str, computed: str, verdict: str, explained: bool) -> None:
        kind = EXPLAINED if explained else FINDING
        self.findings.append(Finding(at.table.name, *at.labels, check, printed, computed, verdict, kind))

    def pass_over(self, at: At, check: str, printed: str, reason: str) -> None:
        self.findings.append(Finding(at.table.name, *at.labels, check, printed, "", reason, NOT_CHECKED))


def audit(targets: Collection[str], registry: Registry) -> Audit:
    """Check the results tables that are named, by themselves (``gta/table2``) or by their paper; all if none is.

    Raises ``InputError``: there is no such paper or table, or an ``audit`` section names what its table has not.
    """
    wanted = registry.tables_of(targets)
    names = registry.tables_of({name.partition("/")[0] for name in wanted})
    tables = [table for name in names if (table := published_table(name, registry)).kind == "results"]
    return audit_tables(tables, Samples(registry), wanted)


def audit_tables(tables: Sequence[PublishedTable], samples: Samples, only: Collection[str] = ()) -> Audit:
    """Check tables of papers, or ``only`` some of them; cells that recur are compared with the paper's other tables.

    Raises ``InputError``: as ``audit``.
    """
    result = Audit()
    for table in tables:
        if only and table.name not in only:
            continue
        check_declared(table)
        for at in _cells(table):
            _check_average(at, result)
            if at.cell.delta:
                _check_delta(at, result)
            _check_accuracy(at, samples.of(table, *at.labels), result)
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
            labels = {label for key in keys for label in key if label}
            raise InputError(f"{place}: audit: {choose(selector, labels, 'label of this table')}")


def _cells(table: PublishedTable) -> Iterator[At]:
    for row, line in enumerate(table.cells):
        for column, cell in enumerate(line):
            if not math.isnan(cell.number):
                yield At(table, row, column)


def _check_average(at: At, result: Audit) -> None:
    table, printed = at.table, at.cell.digits
    if not _is_average(table, at.column):
        return
    inner = table.columns[at.column][1:]
    over = [column for column, key in enumerate(table.columns) if key[1:] == inner and not _is_average(table, column)]
    cells = [table.cells[at.row][column] for column in over]
    if not cells or any(math.isnan(cell.number) for cell in cells):
        result.pass_over(at, "average", printed, "a value that the average is over is not printed")
        return
    result.checked["average"] += 1
    mean = statistics.mean(Fraction(cell.digits) for cell in cells)
    if mean in rounded(printed):
        return
    most = statistics.mean(half_unit(cell.digits) for cell in cells) + half_unit(printed)
    gap, decimals = abs(mean - Fraction(printed)), at.cell.decimals + 1
    computed = fixed(float(mean), decimals)
    verdict = (
        f"the mean of the {len(cells)} printed values is {computed}; printed is {printed}; "
        f"{_differ(fixed(float(gap), decimals), most)}"
    )
    result.note(at, "average", printed, computed, verdict, gap <= most)


def _is_average(table: PublishedTable, column: int) -> bool:
    labels = table.columns[column]
    return bool(assigned(table, (), labels).get("average")) or any(_AVERAGE.fullmatch(label) for label in labels)


def _differ(gap: str, most: Fraction) -> str:
    return f"they differ by {gap}, and rounding explains at most {float(most):g}"


def _check_delta(at: At, result: Audit) -> None:
    table, cell, printed = at.table, at.cell, at.cell.delta
    reference = _reference(table, at.row)
    minuend = table.cells[reference][at.column] if reference is not None else Printed("")
    if reference is None or math.isnan(minuend.number):
        result.pass_over(at, "delta", printed, "the row that it is a difference to has no number here")
        return
    result.checked["delta"] += 1
    sign = -1 if printed[0] in "-−↓" else 1
    value, base = cell.digits, minuend.digits
    difference = Fraction(value) - Fraction(base)
    gap = abs(difference - sign * Fraction(printed[1:]))
    if not gap:
        return
    most = half_unit(value) + half_unit(base) + half_unit(printed)
    computed = signed(float(difference), max(cell.decimals, minuend.decimals))
    verdict = (
        f"{value} less {base} ({' / '.join(filter(None, table.rows[reference]))}) is {computed}; printed is {printed}; "
        f"{_differ(f'{float(gap):g}', most)}"
    )
    result.note(at, "delta", printed, computed, verdict, gap <= most)


def _reference(table: PublishedTable, row: int) -> int | None:
    for selector, named in (table.audit.get("delta") or {}).items():
        if matches(table.rows[row], selector):
            return next((at for at, labels in enumerate(table.rows) if matches(labels, named)), None)
    return row - 1 if row else None


def _check_accuracy(at: At, sample: Sample, result: Audit) -> None:
    printed = at.cell.digits
    if sample.reason:
        result.pass_over(at, "accuracy", printed, sample.reason)
        return
    result.checked["accuracy"] += 1
    accuracy = rounded(printed)
    if not totals(accuracy, sample.images, sample.runs):
        total, nearest = nearest_accuracy(Fraction(printed), sample.images, sample.runs)
        computed = fixed(float(nearest), at.cell.decimals + 2)
        accuracy = accuracy.widened(half_unit(printed))
        explained = sample.runs > 1 and nearest in accuracy
        verdict = _accuracy_verdict(printed, sample, total, computed)
        result.note(at, "accuracy", printed, computed, verdict, explained)
        if not explained:
            return
    if at.cell.std:
        _check_deviation(at, sample, totals(accuracy, sample.images, sample.runs), result)


def _accuracy_verdict(printed: str, sample: Sample, total: int, computed: str) -> str:
    n, m = sample.images, sample.runs
    what = f"{m} runs on {n} test images have a mean K/{n * m}" if m > 1 else f"one run on {n} test images has k/{n}"
    verdict = (
        f"{what}, of which none prints as {printed}: the nearest is {total}/{n * m} = {computed}, and rounding "
        f"explains at most {float(half_unit(printed)):g} ({sample.source})"
    )
    more = next((runs for runs in range(2, 6) if totals(rounded(printed), n, runs)), 0) if m == 1 else 0
    return verdict + (f"; a mean of {more} runs can be" if more else "")


def _check_deviation(at: At, sample: Sample, possible: range, result: Audit) -> None:
    printed = at.cell.std
    if not 1 < sample.runs <= _MAXIMUM:
        reason = "one run has no deviation" if sample.runs < 2 else f"{sample.runs} runs can have nearly any deviation"
        result.pass_over(at, "deviation", printed, reason)
        return
    result.checked["deviation"] += 1

    def attainable(deviation: Interval, less: int) -> bool:
        return any(deviation_is_attainable(total, deviation, sample.images, sample.runs, less) for total in possible)

    deviation = rounded(printed)
    as_sample, as_population = attainable(deviation, SAMPLE), attainable(deviation, POPULATION)
    result.sample_only += as_sample and not as_population
    result.population_only += as_population and not as_sample
    if as_sample or as_population:
        return
    # runs that were rounded first, each by half a unit at most, move their deviation by at most √2 of that
    wide = deviation.widened(Fraction(3, 2) * half_unit(at.cell.digits))
    near = [nearest_deviation(total, Fraction(printed), sample.images, sample.runs, SAMPLE) for total in possible]
    computed = f"{min(near, key=lambda each: abs(each - float(printed))):.{len(printed.partition('.')[2]) + 1}f}"
    verdict = (
        f"no {sample.runs} accuracies k/{sample.images} with the printed mean have a standard deviation that prints as "
        f"{printed}, with n - 1 or with n; the nearest with n - 1 is {computed} ({sample.source})"
    )
    result.note(at, "deviation", printed, computed, verdict, attainable(wide, SAMPLE) or attainable(wide, POPULATION))


def _check_repeated(tables: Sequence[PublishedTable], samples: Samples, result: Audit, only: Collection[str]) -> None:
    """A cell is compared with the first one of another table that trains the same, and of the same name in print."""
    first = dict[tuple[str, str], tuple[At, str]]()
    for table in tables:
        for at in _cells(table):
            name, method = samples.identity(table, *at.labels)
            compared = list[At]()
            for key in filter(None, (method, name)):
                earlier, earlier_method = first.setdefault((table.paper, key), (at, method))
                # a name alone is trusted where one of the two cells declares no method: 0.1 is a τ here and an α there
                is_same = earlier_method == method or not (earlier_method and method)
                if earlier.table is table or earlier in compared or not is_same:
                    continue
                compared.append(earlier)
                if not only or {table.name, earlier.table.name} & {*only}:
                    _compare(earlier, at, result)


def _compare(earlier: At, later: At, result: Audit) -> None:
    first_value, value = earlier.cell.digits, later.cell.digits
    result.checked["repeated"] += 1
    gap = abs(Fraction(first_value) - Fraction(value))
    if not gap:
        return
    alike = earlier.cell.decimals == later.cell.decimals
    most = Fraction(0) if alike else half_unit(first_value) + half_unit(value)
    where = " / ".join(label for key in earlier.labels for label in key if label)
    verdict = f"printed is {value} here and {first_value} in {earlier.table.name} ({where}); "
    verdict += _differ(f"{float(gap):g}", most)
    result.note(later, "repeated", value, first_value, verdict, gap <= most)
