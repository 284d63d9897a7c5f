"""From a declared experiment to its runs, with everything that is wrong in it said at once and before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cards import BackboneCard, DatasetCard
from bench.entry import MethodEntry
from bench.errors import InputError, Problems
from bench.plan.experiment import Exclusion, Experiment
from bench.protocol import Protocol
from bench.spec import AXES, RunSpec, digest, draw_cell, method_identity, percent, with_seeds

MOST = 1_000_000
"""Runs of a plan: more take minutes to plan, and nobody trains them."""


@dataclass(frozen=True)
class Planned:
    """A run and what it is called along each axis of the experiment.

    Attributes:
        spec: the run.
        axes: the labels ``method``, ``backbone``, ``dataset``, ``rate``.
    """

    spec: RunSpec
    axes: Mapping[str, str]


@dataclass(frozen=True)
class Excluded:
    """A cell that is left out, and why."""

    axes: Mapping[str, str]
    reason: str


@dataclass(frozen=True)
class Plan:
    """What an experiment amounts to.

    Attributes:
        experiment: what was declared.
        runs: in the order of the experiment; two may have one id, and then it is trained once.
        excluded: cells that are left out.
    """

    experiment: Experiment
    runs: tuple[Planned, ...]
    excluded: tuple[Excluded, ...]

    @property
    def unique(self) -> dict[str, RunSpec]:
        """The runs by id, each once."""
        return {planned.spec.id: planned.spec for planned in self.runs}


def expand(experiment: Experiment) -> Plan:
    """Every method × backbone × dataset × rate × seed of an experiment that is not left out.

    Raises:
        InputError: nothing is left, two seeds of a cell are the same run, or there are more than ``MOST`` runs.
    """
    axes_of = (experiment.datasets, experiment.backbones, experiment.methods, experiment.rates, experiment.seeds)
    if (count := math.prod(map(len, axes_of))) > MOST:
        raise InputError(f"{experiment.name}: {count:,} runs; at most {MOST:,} can be planned at a time, so divide it")
    runs: list[Planned] = []
    excluded: list[Excluded] = []
    cells = itertools.product(experiment.datasets, experiment.backbones, experiment.methods, experiment.rates)
    for dataset, backbone, method, rate in cells:
        axes = {
            "dataset": dataset.title,
            "backbone": backbone.name,
            "method": method.label,
            "rate": percent(rate),
        }
        reason = _why_not(experiment.exclusions, method, backbone, dataset, rate)
        if reason:
            excluded.append(Excluded(axes, reason))
        else:
            where = (method, backbone, dataset, rate)
            protocol, vary = experiment.protocol, experiment.vary
            runs += [Planned(spec, axes) for spec in run_specs(*where, experiment.seeds, protocol, vary)]
    if not runs:
        reasons = "; ".join(dict.fromkeys(cell.reason for cell in excluded))
        raise InputError(f"{experiment.name}: nothing is left to run: {reasons}")
    _refuse_equal_seeds(experiment, runs)
    return Plan(experiment, tuple(runs), tuple(excluded))


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


def _why_not(
    exclusions: Iterable[Exclusion], method: MethodEntry, backbone: BackboneCard, dataset: DatasetCard, rate: float
) -> str:
    if reason := unserved(method, backbone):
        return reason
    names = {
        "method": {method.label, method.spec.full_name},
        "backbone": {backbone.name},
        "dataset": {dataset.name, dataset.title},
        "rate": {percent(rate)},
    }
    matching = (rule for rule in exclusions if all(names[axis] & set(allowed) for axis, allowed in rule.where))
    return next((rule.because for rule in matching), "")


def _refuse_equal_seeds(experiment: Experiment, runs: Sequence[Planned]) -> None:
    if len({planned.spec.id for planned in runs}) == len(runs):
        return
    problems = Problems()
    cells: dict[tuple[Any, ...], dict[str, int]] = {}
    for planned in runs:
        seen = cells.setdefault(tuple(planned.axes.items()), {})
        if planned.spec.id in seen:
            first, second = seen[planned.spec.id], planned.spec.seed
            problems.add(
                f"{experiment.name}: seeds {first} and {second} are one and the same run; "
                "let 'vary' name 'seed' for subset, init or order"
            )
        seen[planned.spec.id] = planned.spec.seed
    problems.stop()
