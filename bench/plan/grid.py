"""From a declared experiment to the plan of its table, with all that is wrong in it said before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.cards import BackboneCard, DatasetCard
from bench.entry import MethodEntry, MethodRow
from bench.errors import InputError, Problems
from bench.metrics import Metric
from bench.papers.published import Key
from bench.plan.averages import average_cells, notes_of, with_places
from bench.plan.experiment import Exclusion, Experiment
from bench.plan.serving import unserved
from bench.plan.table import Candidate, Contest, Place, Plan, PlannedCell, TablePlan
from bench.protocol import Protocol
from bench.rate import Rate, rate_label
from bench.records.kept import validation_metric
from bench.spec import AXES, RunSpec, draw_cell, method_digest, with_seeds

MOST = 1_000_000
"""Runs of a plan: more take minutes to plan, and nobody trains them."""

METHOD, DATASET = "method", "dataset"


def expand(experiment: Experiment) -> Plan:
    """The table of every method × backbone × dataset × rate of an experiment, with the runs of what is not left out.

    Raises ``InputError``: nothing is left, two seeds of a cell are the same run, or there are more than ``MOST`` runs.
    """
    candidates = sum(len(row.candidates) for row in experiment.methods)
    axes_of = (experiment.datasets, experiment.backbones, experiment.rates, experiment.seeds)
    if (count := candidates * math.prod(map(len, axes_of))) > MOST:
        raise InputError(f"{experiment.name}: {count:,} runs; at most {MOST:,} can be planned at a time, so divide it")
    cells = [
        _cell(experiment, dataset, backbone, method, rate)
        for dataset, backbone, method, rate in itertools.product(
            experiment.datasets, experiment.backbones, experiment.methods, experiment.rates
        )
    ]
    averages = [average for average in experiment.averages if average.complete]
    cells += average_cells(averages, cells)
    loose = TablePlan(
        name=experiment.name,
        title=experiment.title,
        measured=heading_of((cell.metric for cell in cells), experiment.rules.split),
        stub=experiment.rows,
        rows=(),
        columns=(experiment.columns,),
        cells=(tuple(cells),),
        baseline=experiment.baseline,
        rules=experiment.rules,
        notes=notes_of(experiment.averages),
    )
    # axes with one label are said in the heading, but for the methods
    table = lay_out(loose, {axis: tuple(dict.fromkeys(cell.axes[axis] for cell in cells)) for axis in AXES[:4]})
    table = with_places(table, averages)
    plan = Plan(experiment.name, experiment.title, (table,), experiment.changes, experiment.next, experiment.keep)
    if not plan.unique:
        raise InputError(f"{experiment.name}: nothing is left to run: {'; '.join(plan.reasons)}")
    _refuse_equal_seeds(experiment.name, cells)
    return plan


def run_specs(
    method: MethodEntry,
    backbone: BackboneCard,
    dataset: DatasetCard,
    rate: Rate,
    seeds: Sequence[int],
    protocol: Protocol,
    vary: Mapping[str, Sequence[str]],
) -> list[RunSpec]:
    """The runs of a cell, one a seed: a method on a backbone and a dataset at a rate.

    ``vary`` gives the axes along which each draw changes (see ``bench.plan.experiment.VARY``).
    """
    spec = method.spec
    axes = {"method": method_digest(spec), "backbone": backbone.means, "dataset": dataset.means, "rate": rate}
    drawn = draw_cell(axes, seeds, vary)
    if not drawn:
        return []
    first = RunSpec(spec, backbone.planned, dataset.named, rate, protocol, drawn[0], seeds[0], dataset.further_means)
    return with_seeds(first, zip(seeds, drawn, strict=True))


def _cell(
    experiment: Experiment, dataset: DatasetCard, backbone: BackboneCard, method: MethodRow, rate: Rate
) -> PlannedCell:
    metric = experiment.metrics[dataset.name]
    axes = {"dataset": dataset.title, "backbone": backbone.name, "method": method.label, "rate": rate_label(rate)}
    reason = _why_not(experiment.exclusions, method, backbone, dataset, rate)
    usual = validation_metric(dataset.metric)
    cell = PlannedCell(axes, method.label, reason=reason, metric=metric, usual=usual, decimals=metric.decimals)
    if reason:
        return cell
    candidates: list[Candidate] = []
    for entry in method.candidates:
        protocol = experiment.protocols[entry.settings]
        runs = run_specs(entry, backbone, dataset, rate, experiment.seeds, protocol, experiment.vary)
        candidates.append(Candidate(entry.label, tuple(runs), entry.swept, entry.chooses))
    return replace(cell, candidates=tuple(candidates), lack=backbone.absence)


def heading_of(metrics: Iterable[Metric], split: str) -> str:
    """What is measured, as a title line says it: ``top-1 (%)``."""
    headings = []
    for metric in metrics:
        is_validation = split == "val" and metric.of_curve
        headings.append(f"validation {metric.heading}" if is_validation else metric.heading)
    return ", ".join(dict.fromkeys(headings))


def lay_out(loose: TablePlan, labels: Mapping[str, Key]) -> TablePlan:
    """A table of cells that are told apart by their axes.

    Args:
        loose: all cells in one line; ``stub`` names the axes along the rows, the one key of ``columns`` those along
            the columns.
        labels: along each axis, in their order.

    Raises:
        ValueError: two cells fall on one place.
    """
    varied = {axis for axis, values in labels.items() if axis == METHOD or len(values) > 1}
    row_axes = tuple(axis for axis in loose.stub if axis in varied)
    column_axes = tuple(axis for axis in loose.columns[0] if axis in varied)
    constant = {axis: labels[axis][0] for axis in (*loose.stub, *loose.columns[0]) if axis not in varied}
    cells: dict[tuple[Key, Key], PlannedCell] = {}
    for cell in loose.cells[0]:
        row, column = (tuple(cell.axes[axis] for axis in axes) for axes in (row_axes, column_axes))
        if (row, column) in cells:
            raise ValueError(f"two cells at row '{' / '.join(row)}', column '{' / '.join(column)}'")
        held = (label for axis, label in cell.axes.items() if axis not in (METHOD, DATASET, *constant))
        cells[row, column] = replace(cell, where=tuple(held))

    def absent(row: Key, column: Key) -> PlannedCell:
        axes = {**constant, **dict(zip(row_axes + column_axes, row + column, strict=True))}
        alike = loose.cells[0][0]
        return PlannedCell(axes, name=axes[METHOD], metric=alike.metric, decimals=alike.decimals)

    rows = _ordered({row for row, _ in cells}, row_axes, labels)
    columns = _ordered({column for _, column in cells}, column_axes, labels)
    grid = tuple(tuple(cells.get((row, column)) or absent(row, column) for column in columns) for row in rows)
    stub = row_axes or ("metric",)
    table = replace(
        loose,
        common=tuple(f"{axis} {label}" for axis, label in constant.items()),
        stub=stub,
        rows=rows if row_axes else ((loose.measured,),),
        columns=columns if column_axes else ((loose.measured,),),
        cells=grid,
        within=tuple(axis for axis in stub + column_axes if axis != METHOD),
    )
    return replace(table, contests=_contests(table, constant))


def _ordered(keys: Iterable[Key], axes: Key, labels: Mapping[str, Key]) -> tuple[Key, ...]:
    """Keys sorted label by label, so that rows which share an outer label stand together."""
    return tuple(
        sorted(keys, key=lambda key: [labels[axis].index(label) for axis, label in zip(axes, key, strict=True)])
    )


def _contests(table: TablePlan, constant: Mapping[str, str]) -> tuple[Contest, ...]:
    """Cells that are equal in every axis but the method."""
    groups: dict[tuple[tuple[str, str], ...], list[Place]] = {}
    bases = {place for place, cell in table.places() if cell.name == table.baseline}
    for place, cell in table.places():
        if cell.axes and not cell.quoted:
            setting = tuple((axis, label) for axis, label in cell.axes.items() if axis != METHOD)
            groups.setdefault(setting, []).append(place)
    contests = []
    for axes, places in groups.items():
        where = tuple(label for axis, label in axes if axis not in constant)
        pairs = [(place, base) for base in places if base in bases for place in places if place != base]
        contests.append(Contest(where, tuple(places), tuple(pairs)))
    return tuple(contests)


def _why_not(
    exclusions: Iterable[Exclusion], method: MethodRow, backbone: BackboneCard, dataset: DatasetCard, rate: Rate
) -> str:
    for entry in method.candidates:
        if reason := unserved(entry, backbone, dataset):
            return reason
    names = {
        "method": method.names,
        "backbone": {backbone.name},
        "dataset": {dataset.name, dataset.without_further, dataset.title},
        "rate": {rate_label(rate)},
    }
    matching = (rule for rule in exclusions if all(names[axis] & set(allowed) for axis, allowed in rule.where))
    return next((rule.because for rule in matching), "")


def _refuse_equal_seeds(name: str, cells: Iterable[PlannedCell]) -> None:
    problems = Problems()
    for candidate in (candidate for cell in cells for candidate in cell.candidates):
        if len({spec.id for spec in candidate.runs}) == len(candidate.runs):
            continue
        seen: dict[str, int] = {}
        for spec in candidate.runs:
            if spec.id in seen:
                problems.add(
                    f"{name}: seeds {seen[spec.id]} and {spec.seed} are one and the same run; "
                    "let 'vary' name 'seed' for subset, init or order"
                )
            seen[spec.id] = spec.seed
    problems.stop()
