"""Tables from somebody's own numbers: what a file says of each cell becomes the cells of the usual tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from bench.errors import InputError, Problems, choose
from bench.imports.directions import DEFAULT, NOTHING, Directions, in_suite, is_lower, is_share, metric_of
from bench.imports.gathered import AXES, Gathered, Imported, Mean
from bench.imports.numbers import decimals_of
from bench.metrics import METRICS, Metric
from bench.notation import fixed
from bench.papers.published import Printed
from bench.plan.grid import DATASET, METHOD, lay_out
from bench.plan.table import Ground, PlannedCell, TablePlan, TableRules
from bench.rules import PAIRED
from bench.stats.samples import Summary
from bench.tables.cells import Cell
from bench.tables.compare import Table, compare
from bench.tables.outcome import compare_with

MIXED = 2.0
"""A value of a share above it is in percent, so that one below 1 beside it may be none."""

PLAIN = TableRules()
QUOTED = " (quoted)"
MOST_DECIMALS = 6
UNNAMED = "value"
"""What the metric of a file is called that names none, where somebody says which way it goes and no more."""


@dataclass(frozen=True)
class ImportedMetric:
    """A metric of a file as a table shows it.

    Attributes:
        name: what the file calls it.
        scale: what its values are multiplied by.
        remark: what has to be known of that; empty where nothing has.
        declares: whether it is known how many decimals are usual.
    """

    name: str
    metric: Metric
    scale: int = 1
    remark: str = ""
    declares: bool = False


@dataclass(frozen=True)
class Wish:
    """How somebody wants the tables; by default the decimals follow from the numbers.

    Attributes:
        averages: whether columns are shown that are the average of others.
    """

    title: str = ""
    baseline: str | None = None
    rules: TableRules = PLAIN
    decimals: int | None = None
    averages: bool = True


def measures_of(
    imported: Imported,
    directions: Directions = NOTHING,
    scale: int | None = None,
    metrics: Mapping[str, Metric] = METRICS,
    only: str | None = None,
) -> list[ImportedMetric]:
    """The metrics of a file: which way each goes, and whether its values are shares that are shown in percent.

    Args:
        imported: the file.
        directions: what somebody says.
        scale: 1 or 100, where somebody says it.
        metrics: those of the suite and of plug-ins.
        only: the name of one of several metrics, in the file or in the suite.

    Raises:
        InputError: nobody knows whether more or less is better, or a share is outside 0 to 100.
    """
    names = imported.metrics
    if only is not None:
        names = [name for name in names if only in (name, metric_of(name, metrics).name)]
        if not names:
            raise InputError(f"--metric: {choose(only, imported.metrics, 'metric')}")
    called = _called(imported, names, directions)
    unknown, lower = list[str](), dict[str, bool]()
    for name in names:
        says = directions.says(called[name])
        says = imported.lower.get(name) if says is None else says
        says = is_lower(called[name], metrics) if says is None else says
        if says is None:
            unknown.append(name)
        else:
            lower[name] = says
    if unknown:
        typed = ",".join(unknown[:4])
        quoted = f"'{typed}'" if " " in typed else typed
        which = f"metric{'s' * (len(unknown) > 1)} {', '.join(unknown[:4])}{', ...' * (len(unknown) > 4)}"
        raise InputError(f"{imported.path}: {which}: is more better, or less? --higher {quoted} or --lower {quoted}")
    problems = Problems()
    measures = [_measure(imported, name, called[name], lower[name], scale, metrics, problems) for name in names]
    problems.stop()
    return measures


def tables(imported: Imported, measures: Sequence[ImportedMetric], wish: Wish) -> list[Table]:
    """One table a metric, in the order of the file, with the comparisons of every table of the suite.

    Where no rate varies, the datasets are the columns; otherwise the rates are. A cell whose seeds are some of those
    that its method has elsewhere is incomplete, and marked. Numbers that somebody else published of a method that has
    runs stand in its cells, with a verdict; those of another method are a row of their own, and are never tested.

    Raises:
        InputError: the baseline is none of the methods, or only a quoted one.
        ValueError: there are too many seeds for the exact test.
    """
    by_metric: dict[str, list[Gathered]] = {measure.name: [] for measure in measures}
    for cell in imported.cells:
        if cell.metric in by_metric and (wish.averages or not cell.is_average):
            by_metric[cell.metric].append(cell)
    _check_baseline(by_metric.values(), wish.baseline)
    return [_filled(imported, by_metric[measure.name], measure, wish) for measure in measures]


def _called(imported: Imported, names: Sequence[str], directions: Directions) -> dict[str, str]:
    """What each metric is called: of a file that names none, as it is called where its direction is said."""
    called = dict(zip(names, names, strict=True))
    if directions.of_all and len(names) > 1:
        typed = "--lower" if directions.all_lower else "--higher"
        raise InputError(f"{typed}: of which metric? name it: {', '.join(names[:6])}{', ...' * (len(names) > 6)}")
    if names == [DEFAULT] and directions.of_all:
        called[DEFAULT] = UNNAMED
    elif names == [DEFAULT] and len(directions.names) == 1:
        (called[DEFAULT],) = directions.names
    small = {name.lower() for name in (*imported.metrics, *called.values())}
    for name in sorted(directions.names):
        if name.lower() not in small:
            option = "--lower" if name in directions.lower else "--higher"
            raise InputError(f"{option}: {choose(name, imported.metrics, 'metric')}")
    return called


def _measure(
    imported: Imported,
    name: str,
    called: str,
    lower: bool,
    scale: int | None,
    metrics: Mapping[str, Metric],
    problems: Problems,
) -> ImportedMetric:
    metric = metric_of(called, metrics, lower)
    numbers = [(value, row) for cell in imported.cells if cell.metric == name for value, row in _numbers(cell)]
    values = [value for value, _ in numbers]
    is_percent = is_share(called, metrics)
    are_shares = is_percent and name not in imported.is_percent and _are_shares(values)
    factor = scale or (100 if are_shares else 1)
    remark = ""
    small = sorted(value for value in values if 0 < value < 1)
    if (is_percent or name in imported.is_percent) and scale is None and small and max(values) > MIXED:
        raise InputError(
            f"{imported.path}: {called}: {len(small)} values are below 1 ({small[0]:g}) and others up to "
            f"{max(values):g}: shares and percent mixed? --scale 1 says that all are percent"
        )
    if are_shares and scale is None and called == DEFAULT:
        raise InputError(
            f"{imported.path}: no metric is named, and all values are 0 to 1: --higher accuracy, if they are that, "
            "or --lower NAME"
        )
    if factor == 100:
        metric = replace(metric, unit="%")
        remark = "Values are shares of 1 in the file, and shown times 100."
    elif are_shares:
        metric = replace(metric, unit="", low=None, high=None, per_image=False)
        return ImportedMetric(name, metric)
    for value, row in numbers:
        if is_percent and not 0 <= value * factor <= 100:
            more = "; another metric is named by --higher NAME or --lower NAME" if called == DEFAULT else ""
            problems.add(f"{imported.rows.place(row)}: {called} is 0 to 100; value is {value:.12g}{more}")
            break
    declares = factor == 100 or is_percent or in_suite(called, metrics) is not None
    return ImportedMetric(name, metric, factor, remark, declares)


def _numbers(cell: Gathered) -> Iterator[tuple[float, int]]:
    """Every number of a cell with its row."""
    yield from zip(cell.values, cell.rows, strict=True)
    for mean in (cell.stated, cell.quoted):
        if mean is not None:
            yield mean.number.value, mean.row


def _are_shares(values: Sequence[float]) -> bool:
    return bool(values) and min(values) >= 0 and max(values) <= 1 and any(0 < value < 1 for value in values)


def _check_baseline(metrics: Iterable[Sequence[Gathered]], baseline: str | None) -> None:
    for cells in metrics:
        methods = _run_methods(cells)
        if baseline is None or baseline in methods:
            continue
        if baseline in {cell.axes[METHOD] for cell in cells}:
            raise InputError(f"--baseline {baseline}: it is only quoted, and a quoted number is never tested")
        raise InputError("--baseline: " + choose(baseline, methods, METHOD))


def _run_methods(cells: Iterable[Gathered]) -> set[str]:
    """The methods with runs, or means of runs, of the file."""
    return {cell.axes[METHOD] for cell in cells if cell.values or cell.failed or cell.missing or cell.stated}


def _filled(imported: Imported, gathered: Sequence[Gathered], measure: ImportedMetric, wish: Wish) -> Table:
    """The table of a metric, with as many decimals as it takes that what the test separates does not print alike."""
    cells = _Cells(imported, gathered, measure)
    decimals = cells.decimals() if wish.decimals is None else wish.decimals
    table = compare(*cells.laid(wish, decimals))
    while wish.decimals is None and decimals < MOST_DECIMALS and _ties(table):
        decimals += 1
        table = compare(*cells.laid(wish, decimals))
    return table


def _ties(table: Table) -> bool:
    """Whether a mean prints as the best does although the table's test tells the two apart."""
    for contest in table.plan.contests:
        first = [table.at(place) for place in contest.places if table.at(place).rank == 1]
        if len(first) < 2:
            continue
        best = max(first, key=lambda entry: entry.planned.metric.sign * entry.cell.mean)
        others = (entry for entry in first if entry.cell.mean != best.cell.mean)
        test = table.plan.rules.test if table.plan.rules.test in PAIRED else "welch"
        tested = (compare_with(test, [entry.cell], best.cell, 1, table.plan.rules.folds) for entry in others)
        if any(outcome.p <= table.plan.rules.alpha for (outcome,) in tested):
            return True
    return False


class _Cells:
    """The cells of one metric of a file, by their axes, with numbers as they are shown."""

    def __init__(self, imported: Imported, gathered: Sequence[Gathered], measure: ImportedMetric) -> None:
        self.imported, self.gathered, self.measure = imported, gathered, measure
        self.run_methods = _run_methods(gathered)
        self.planned = _planned_runs(imported, gathered)
        self.cells = {self._key(cell): self._cell(cell) for cell in gathered}

    def laid(self, wish: Wish, decimals: int) -> tuple[TablePlan, list[list[Cell]]]:
        """The plan of the table and the cells in its order."""
        metric = self.measure.metric
        axes = [axis for axis in AXES if axis in self.gathered[0].axes]
        has_rates = len({cell.axes.get("rate") for cell in self.gathered}) > 1
        columns = tuple(axis for axis in (("rate",) if has_rates else (DATASET,)) if axis in axes)
        planned = [self._planned(cell, decimals) for cell in self.gathered]
        loose = TablePlan(
            name=wish.title,
            title=wish.title,
            measured=metric.heading + " (lower is better)" * metric.lower,
            stub=tuple(axis for axis in axes if axis not in columns),
            rows=(),
            columns=(columns,),
            cells=(tuple(planned),),
            baseline=wish.baseline or "",
            rules=wish.rules,
            notes=("Shares of 1 are shown times 100.",) if self.measure.remark else (),
        )
        labels = {axis: tuple(dict.fromkeys(cell.axes[axis] for cell in planned)) for axis in axes}
        plan = lay_out(loose, labels)
        cells = [[self.cells.get(tuple(cell.axes.items()), Cell()) for cell in line] for line in plan.cells]
        contests = tuple(replace(contest, lower=metric.lower) for contest in plan.contests)
        averages = {cell.axes[DATASET] for cell in self.gathered if cell.is_average}
        quoted = {cell.name for cell in planned if cell.quoted}
        grid = tuple(tuple(_without(averages, quoted, cell) for cell in line) for line in plan.cells)
        return replace(plan, cells=grid, contests=contests), cells

    def decimals(self) -> int:
        """Digits after the point: the metric's, or two of the smallest deviation; so many that no deviation is 0."""
        summaries = [cell.summary for cell in self.cells.values() if cell.summary is not None]
        quoted = [cell.quoted.number.times(self.measure.scale) for cell in self.gathered if cell.quoted]
        stds = [each.std for each in summaries] + [number.deviation for number in quoted]
        smallest = min((std for std in stds if std > 0), default=0.0)  # nan > 0 is False
        metric = self.measure.metric
        if self.measure.declares:
            decimals = metric.decimals
            while smallest and decimals < MOST_DECIMALS and not float(fixed(smallest, decimals)):
                decimals += 1
            return decimals
        if smallest:
            return min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(smallest))))
        written = [decimals_of(number.digits) for number in quoted]
        written += [decimals_of(f"{mean:.12g}") for mean in (each.mean for each in summaries)]
        return min(MOST_DECIMALS, max(written, default=0))

    def _key(self, cell: Gathered) -> tuple[tuple[str, str], ...]:
        return tuple(self._axes(cell).items())

    def _axes(self, cell: Gathered) -> dict[str, str]:
        """The axes of a cell; a method of which there are quoted numbers alone is said to be quoted."""
        if cell.axes[METHOD] in self.run_methods:
            return dict(cell.axes)
        return {**cell.axes, METHOD: cell.axes[METHOD] + QUOTED}

    def _planned(self, cell: Gathered, decimals: int) -> PlannedCell:
        axes, quoted = self._axes(cell), cell.quoted
        printed = None if quoted is None else _printed(quoted, self.measure.scale)
        return PlannedCell(
            axes,
            name=axes[METHOD],
            metric=self.measure.metric,
            decimals=decimals,
            printed=printed,
            ground=Ground(runs=(quoted and quoted.n) or 1),
            quoted=cell.axes[METHOD] not in self.run_methods,
        )

    def _cell(self, cell: Gathered) -> Cell:
        scale = self.measure.scale
        if cell.stated is not None:
            number = cell.stated.number.times(scale)
            return Cell(planned=cell.stated.n or 0, stated=Summary(number.value, number.deviation, cell.stated.n or 1))
        values = [_times(value, scale) for value in cell.values]
        planned = self.planned.get(id(cell), 0)
        if not self.imported.has_seeds:
            return Cell(tuple(values), (), planned, len(cell.failed), _failures(cell, planned))
        number_of = self.imported.number
        ordered = sorted(zip((number_of[seed] for seed in cell.seeds), values, strict=True))
        seeds = tuple(seed for seed, _ in ordered)
        failures = _failures(cell, planned)
        return Cell(tuple(value for _, value in ordered), seeds, planned, len(cell.failed), failures)


def _failures(cell: Gathered, planned: int) -> str:
    return f"{len(cell.failed)} of {planned} runs failed" if cell.failed else ""


def _planned_runs(imported: Imported, gathered: Sequence[Gathered]) -> dict[int, int]:
    """How many runs each cell should have, by its id: the most that its method has elsewhere with its seeds in them.

    A file does not say what was planned. That another method, or the same one with other seeds, was run more often
    leaves nothing open here.
    """
    by_method: dict[str, list[set[tuple[str, ...]]]] = {}
    planned, seeds_of = dict[int, int](), dict[int, set[tuple[str, ...]]]()
    for cell in gathered:
        seeds = {*cell.seeds, *cell.missing, *cell.failed}
        planned[id(cell)] = len(cell.values) + len(cell.missing) + len(cell.failed)
        seeds_of[id(cell)] = seeds
        alike = by_method.setdefault(cell.axes[METHOD], [])
        if seeds not in alike:
            alike.append(seeds)
    if not imported.has_seeds:
        return planned
    for cell in gathered:
        seeds = seeds_of[id(cell)]
        if seeds:
            planned[id(cell)] = max(len(each) for each in by_method[cell.axes[METHOD]] if seeds <= each)
    return planned


def _without(averages: set[str], quoted: set[str], cell: PlannedCell) -> PlannedCell:
    """A cell; an average is of no dataset, so that nothing counts it as one, and what is quoted is not to be run."""
    if cell.name in quoted:
        cell = replace(cell, quoted=True)
    if cell.axes.get(DATASET) not in averages:
        return cell
    return replace(cell, axes={axis: label for axis, label in cell.axes.items() if axis != DATASET})


def _printed(mean: Mean, scale: int) -> Printed:
    number = mean.number.times(scale)
    return Printed(f"{Decimal(number.digits):f}", number.std)


def _times(value: float, scale: int) -> float:
    """A value times the scale, without what binary fractions add."""
    return value if scale == 1 else float(f"{value * scale:.12g}")
