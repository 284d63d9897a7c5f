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
from bench.plan.experiment import Exclusion, Experiment
from bench.plan.table import Candidate, Contest, Place, Plan, PlannedCell, TablePlan
from bench.protocol import Protocol
from bench.spec import AXES, RunSpec, digest, draw_cell, method_identity, percent, with_seeds

MOST = 1_000_000
"""Runs of a plan: more take minutes to plan, and nobody trains them."""

METHOD, DATASET = "method", "dataset"


def expand(experiment: Experiment) -> Plan:
    """The table of every method × backbone × dataset × rate of an experiment, with the runs of what is not left out.

    Raises:
        InputError: nothing is left, two seeds of a cell are the same run, or there are more than ``MOST`` runs.
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
    table = _laid_out(experiment, cells)
    plan = Plan(experiment.name, experiment.title, (table,), experiment.changes, experiment.next)
    if not plan.unique:
        raise InputError(f"{experiment.name}: nothing is left to run: {'; '.join(plan.reasons)}")
    _refuse_equal_seeds(experiment.name, cells)
    return plan


def run_spec(
    method: MethodEntry,
    backbone: BackboneCard,
    dataset: DatasetCard,
    rate: float,
    seed: int,
    protocol: Protocol,
    vary: Mapping[str, Sequence[str]],
) -> RunSpec:
    """One run: a method on a backbone and a dataset at a rate (in percent), with its seeds drawn.

    ``vary`` gives the axes along which each draw changes (see ``bench.plan.experiment.VARY``).
    """
    return run_specs(method, backbone, dataset, rate, [seed], protocol, vary)[0]


def run_specs(
    method: MethodEntry,
    backbone: BackboneCard,
    dataset: DatasetCard,
    rate: float,
    seeds: Sequence[int],
    protocol: Protocol,
    vary: Mapping[str, Sequence[str]],
) -> list[RunSpec]:
    """The runs of a cell, one a seed (see ``run_spec``)."""
    spec = method.spec
    along = {
        "method": digest(method_identity(spec)),
        "backbone": backbone.means,
        "dataset": dataset.means,
        "rate": rate,
    }
    assert {*along, "seed"} == set(AXES)
    drawn = list(zip(seeds, draw_cell(along, seeds, vary), strict=True))
    if not drawn:
        return []
    first = RunSpec(
        method=spec,
        backbone=backbone.named,
        dataset=dataset.named,
        rate=rate,
        protocol=protocol,
        seeds=drawn[0][1],
        seed=drawn[0][0],
    )
    return with_seeds(first, drawn)


def unserved(method: MethodEntry, backbone: BackboneCard) -> str:
    """Why a backbone cannot serve a method; empty where it can."""
    lacking = sorted(method.needs - backbone.offers)
    if not lacking:
        return ""
    offered = ", ".join(sorted(backbone.offers)) or "nothing of the kind"
    return f"{method.spec.full_name} needs {', '.join(lacking)}, and {backbone.name} offers {offered}"


def _cell(
    experiment: Experiment, dataset: DatasetCard, backbone: BackboneCard, method: MethodRow, rate: float
) -> PlannedCell:
    metric = experiment.metrics[dataset.name]
    axes = {"dataset": dataset.title, "backbone": backbone.name, "method": method.label, "rate": percent(rate)}
    reason = _why_not(experiment.exclusions, method, backbone, dataset, rate)
    candidates: list[Candidate] = []
    for entry in () if reason else method.candidates:
        protocol = experiment.protocols[entry.settings]
        runs = run_specs(entry, backbone, dataset, rate, experiment.seeds, protocol, experiment.vary)
        candidates.append(Candidate(entry.label, tuple(runs)))
    return PlannedCell(
        axes,
        name=method.label,
        candidates=tuple(candidates),
        reason=reason,
        metric=metric,
        decimals=metric.decimals,
    )


def _laid_out(experiment: Experiment, cells: Sequence[PlannedCell]) -> TablePlan:
    """The cells in their rows and columns; axes with one label are said in the heading, but for the methods."""
    labels = {axis: tuple(dict.fromkeys(cell.axes[axis] for cell in cells)) for axis in cells[0].axes}
    baseline = experiment.baseline
    return lay_out(
        TablePlan(
            name=experiment.name,
            title=experiment.title,
            measured=heading_of((cell.metric for cell in cells), experiment.rules.split),
            stub=experiment.rows,
            rows=(),
            columns=(experiment.columns,),
            cells=(tuple(cells),),
            baseline=baseline or "",
            rules=experiment.rules,
        ),
        labels,
    )


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
    row_axes = tuple(axis for axis in loose.stub if axis == METHOD or len(labels[axis]) > 1)
    column_axes = tuple(axis for axis in loose.columns[0] if axis == METHOD or len(labels[axis]) > 1)
    constant = {
        axis: labels[axis][0] for axis in (*loose.stub, *loose.columns[0]) if axis not in row_axes + column_axes
    }
    cells: dict[tuple[Key, Key], PlannedCell] = {}
    for cell in loose.cells[0]:
        place = tuple(cell.axes[axis] for axis in row_axes), tuple(cell.axes[axis] for axis in column_axes)
        if place in cells:
            raise ValueError(f"two cells at row '{' / '.join(place[0])}', column '{' / '.join(place[1])}'")
        held = (axis for axis in cell.axes if axis not in (METHOD, DATASET) and axis not in constant)
        cells[place] = replace(cell, where=tuple(cell.axes[axis] for axis in held))

    def absent(row: Key, column: Key) -> PlannedCell:
        axes = {**constant, **dict(zip(row_axes, row, strict=True)), **dict(zip(column_axes, column, strict=True))}
        alike = loose.cells[0][0]
        return PlannedCell(axes, name=axes[METHOD], metric=alike.metric, decimals=alike.decimals)

    rows = _ordered({row for row, _ in cells}, row_axes, labels)
    columns = _ordered({column for _, column in cells}, column_axes, labels)
    grid = tuple(tuple(cells.get((row, column)) or absent(row, column) for column in columns) for row in rows)
    if not row_axes:
        row_axes, rows = ("metric",), ((loose.measured,),)
    if not column_axes:
        columns = ((loose.measured,),)
    common = tuple(f"{axis} {label}" for axis, label in constant.items())
    table = replace(loose, common=common, stub=row_axes, rows=rows, columns=columns, cells=grid)
    within = tuple(axis for axis in row_axes + column_axes if axis != METHOD)
    return replace(table, within=within, contests=_contests(table, constant))


def _ordered(keys: Iterable[Key], axes: Key, labels: Mapping[str, Key]) -> tuple[Key, ...]:
    """Keys sorted label by label, so that rows which share an outer label stand together."""
    return tuple(
        sorted(keys, key=lambda key: [labels[axis].index(label) for axis, label in zip(axes, key, strict=True)])
    )


def _contests(table: TablePlan, constant: Mapping[str, str]) -> tuple[Contest, ...]:
    """Cells that are equal in every axis but the method."""
    groups: dict[Key, list[Place]] = {}
    for place, cell in table.places():
        if cell.axes and not cell.quoted:
            groups.setdefault(tuple(label for axis, label in cell.axes.items() if axis != METHOD), []).append(place)
    contests = []
    for places in groups.values():
        axes = table.cells[places[0][0]][places[0][1]].axes
        where = tuple(label for axis, label in axes.items() if axis != METHOD and axis not in constant)
        bases = [place for place in places if table.cells[place[0]][place[1]].name == table.baseline]
        pairs = tuple((place, base) for base in bases for place in places if place != base)
        contests.append(Contest(where, tuple(places), pairs))
    return tuple(contests)


def _why_not(
    exclusions: Iterable[Exclusion], method: MethodRow, backbone: BackboneCard, dataset: DatasetCard, rate: float
) -> str:
    for entry in method.candidates:
        if reason := unserved(entry, backbone):
            return reason
    names = {
        "method": method.names,
        "backbone": {backbone.name},
        "dataset": {dataset.name, dataset.title},
        "rate": {percent(rate)},
    }
    matching = (rule for rule in exclusions if all(names[axis] & set(allowed) for axis, allowed in rule.where))
    return next((rule.because for rule in matching), "")


def _refuse_equal_seeds(name: str, cells: Iterable[PlannedCell]) -> None:
    problems = Problems()
    for cell in cells:
        for candidate in cell.candidates:
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
