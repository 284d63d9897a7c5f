"""The published numbers checked against each other and against what counts of right answers can give.

Seven checks, each of what a table prints:

- ``average``: the mean of the row's values (``bench.papers.average``);
- ``delta``: the cell less the cell of the row above, or of the row that the table's ``audit: {delta: ...}`` names;
- ``accuracy``: whether an accuracy can be the mean of the stated runs on the stated test images
  (``bench.papers.attainable``);
- ``deviation``: whether a ± can be their sample (n - 1) or population (n) standard deviation;
- ``spread``: whether a ± can be of the same noise as those beside it (``bench.papers.spread``);
- ``duplicate``: whether a row or a column repeats another one's numbers (``bench.papers.duplicates``);
- ``repeated``: whether a cell that several tables show has one value.

Where a number was computed, before or after rounding, is unknown; what either can explain is no finding.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction
from pathlib import Path

from bench.errors import InputError, choose
from bench.notation import fixed, signed
from bench.papers.attainable import (
    POPULATION,
    SAMPLE,
    Interval,
    deviation_is_attainable,
    half_unit,
    largest_deviation,
    nearest_accuracy,
    nearest_deviation,
    rounded,
    totals,
)
from bench.papers.average import check_averages, differ
from bench.papers.duplicates import check_duplicates
from bench.papers.findings import At, Audit, cells_of
from bench.papers.labels import matches
from bench.papers.loose import is_file, read_loose
from bench.papers.published import Printed, PublishedTable, published_table
from bench.papers.sample import Sample, Samples
from bench.papers.spread import check_spread
from bench.papers.typed import Typed, TypedSamples
from bench.reading.keys import Key as Declared
from bench.reading.keys import names
from bench.registry import Registry

CHECKS = ("average", "delta", "accuracy", "deviation", "spread", "duplicate", "repeated")
KEYS = (
    Declared("delta", (dict,), "by row label, the row that its printed differences are to", default="the row above"),
    Declared("not_checked", (dict,), "by label, why a cell's accuracy is not checked"),
    Declared("test", (dict,), "by label, the number of test images", default="that of the dataset's card"),
    Declared("runs", (int,), "of how many runs a value is the mean", default="the protocol's seeds"),
)
_MAXIMUM = 9
"""Runs beyond which nearly every deviation is attainable, so that the search for one is not worth its time."""


def audit(targets: Collection[str], registry: Registry, typed: Typed | None = None) -> Audit:
    """Check the results tables that are named, by themselves (``gta/table2``), by their paper or file; all if none is.

    A file is a CSV or YAML of one table, of which ``typed`` says what it does not.

    Raises ``InputError``: there is no such paper, table or file, a file cannot be read, an ``audit`` section names what
    its table has not, or ``typed`` says something though no file is named.
    """
    paths = [Path(target) for target in targets if is_file(target)]
    named = [target for target in targets if not is_file(target)]
    typed = typed or Typed()
    if typed and not paths:
        raise InputError("--runs and --test-images are about a table in a file; name one (bench audit my.csv)")
    result = Audit()
    if named or not paths:
        wanted = registry.tables_of(named)
        names = registry.tables_of({name.partition("/")[0] for name in wanted})
        tables = [table for name in names if (table := published_table(name, registry)).kind == "results"]
        audit_tables(tables, Samples(registry), wanted, result)
    for path in paths:
        table = read_loose(path)
        audit_tables([table], TypedSamples(registry, typed, table), result=result)
    return result


def audit_tables(
    tables: Sequence[PublishedTable], samples: Samples, only: Collection[str] = (), result: Audit | None = None
) -> Audit:
    """Check tables of papers, or ``only`` some of them; cells that recur are compared with the paper's other tables.

    The findings are added to ``result``, where one is given, and returned. Raises ``InputError``: as ``audit``.
    """
    result = result or Audit()
    for table in tables:
        if only and table.name not in only:
            continue
        check_declared(table)
        check_averages(table, result)
        for at in cells_of(table):
            if at.cell.delta:
                _check_delta(at, result)
            _check_accuracy(at, samples.of(table, *at.labels), result)
        check_spread(table, samples, result)
        check_duplicates(table, result)
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
        f"{differ(f'{float(gap):g}', most)}"
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
    accuracy = rounded(printed)
    possible = totals(accuracy, sample.images, sample.runs)
    if possible and sample.images * sample.runs >= 10 ** (at.cell.decimals + 2):
        result.pass_over(at, "accuracy", printed, _any_number(sample, at.cell.decimals))
    else:
        result.checked["accuracy"] += 1
    if not possible:
        total, nearest = nearest_accuracy(Fraction(printed), sample.images, sample.runs)
        computed = fixed(float(nearest), at.cell.decimals + 2)
        accuracy = accuracy.widened(half_unit(printed))
        explained = sample.runs > 1 and nearest in accuracy
        verdict = _accuracy_verdict(printed, sample, total, computed)
        result.note(at, "accuracy", printed, computed, verdict, explained)
        if not explained:
            return
        possible = totals(accuracy, sample.images, sample.runs)
    if at.cell.std:
        _check_deviation(at, sample, possible, result)


def _any_number(sample: Sample, decimals: int) -> str:
    what = f"the mean of {sample.runs} runs" if sample.runs > 1 else "one run"
    return (
        f"every number of {decimals} decimal{'s' * (decimals != 1)} can be {what} on {sample.images} test images, "
        f"as K/{sample.images * sample.runs} has no coarser steps"
    )


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
    if sample.runs > 1 and possible and _is_too_large(at, sample, possible, result):
        return
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


def _is_too_large(at: At, sample: Sample, possible: range, result: Audit) -> bool:
    """Whether a ± is more than accuracies from 0 to 100 with the printed mean can have; it is noted then."""
    printed = at.cell.std
    most = max(largest_deviation(total, sample.images, sample.runs, SAMPLE) for total in possible)
    if rounded(printed).low <= most:
        return False
    result.checked["deviation"] += 1
    computed = f"{most:.{len(printed.partition('.')[2]) + 1}f}"
    verdict = (
        f"{sample.runs} accuracies from 0 to 100 with a mean of {at.cell.digits} have a standard deviation of at most "
        f"{computed}, with n - 1; printed is {printed}, of which rounding explains at most "
        f"{float(half_unit(printed)):g} ({sample.source})"
    )
    result.note(at, "deviation", printed, computed, verdict)
    return True


def _check_repeated(tables: Sequence[PublishedTable], samples: Samples, result: Audit, only: Collection[str]) -> None:
    """A cell is compared with the first one of another table that trains the same, and of the same name in print."""
    first = dict[tuple[str, str], tuple[At, str]]()
    for table in tables:
        for at in cells_of(table):
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
    verdict += differ(f"{float(gap):g}", most)
    result.note(later, "repeated", value, first_value, verdict, gap <= most)
