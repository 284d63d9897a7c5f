"""The runs of a table as a page has them: a part for neighbouring cells, with what its runs have in common once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import uncoloured
from bench.metrics import METRICS, Cost
from bench.notation import none_if_nan
from bench.plan.table import Candidate, Place, PlannedCell, TablePlan
from bench.reading.ordinary import open_ordinary
from bench.records.record import FailedRecord, Point, Record, Stored
from bench.records.scores import cost_of
from bench.records.store import Finished, Store
from bench.report.contents import PageCandidateRuns, PageCellRuns, PageClasses, PagePoint, PageRun, PageRuns
from bench.rules import SELECTIONS
from bench.spec import RunSpec
from bench.tables.results import Results

TOGETHER = 200
"""Runs in a part, as far as whole cells allow."""

MANY = 20_000
"""Runs from which a page has the last point of each curve alone, and no log of a run that finished."""

LINES, BYTES = 20, 4000
"""Of the end of a log, at most."""

COSTS = {"seconds": "seconds", "memory": "peak_memory", "trained": "trainable"}
"""The columns for cost, and the metric that each shows."""

_COSTS = {name: METRICS[metric] for name, metric in COSTS.items()}
_TAKEN = {metric.heading: metric for metric in METRICS.values() if metric.of_run is not None}

HARDWARE = ("platform", "processor", "instructions", "cores", "memory_bytes", "threads", "gpus", "cuda")
VERSIONS = ("python", "packages")


@dataclass
class InCommon:
    """Plain data that many runs have in common, each of which stands once."""

    items: list[dict[str, Any]] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)

    def place(self, item: dict[str, Any]) -> int:
        """Where something stands, which is put there if it is new."""
        key = msgspec.json.encode(item)
        if key not in self.places:
            self.places[key] = len(self.items)
            self.items.append(item)
        return self.places[key]


@dataclass
class Gathering:
    """What is gathered from the records of a page's runs.

    Attributes:
        many: whether there are so many that each is told in short.
        versions: of all runs.
        hardware: likewise.
        costs: of each finished run by its id, by the names of ``COSTS``.
        metrics: that the runs were scored by.
    """

    store: Store
    many: bool = False
    versions: InCommon = field(default_factory=InCommon)
    hardware: InCommon = field(default_factory=InCommon)
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)
    has_validation: bool = False

    def parts_of(
        self, plan: TablePlan, results: Results, classes: Mapping[Place, PageClasses]
    ) -> Iterator[tuple[list[Place], PageRuns]]:
        """The parts that the runs of a table make up, each with the places of its cells."""
        failures = self.store.failures() if results.failed else {}
        for cells in _groups(plan):
            specs = [spec for _, cell in cells for candidate in cell.candidates for spec in candidate.runs]
            folders = dict.fromkeys(results.finished[each.id].folder for each in specs if each.id in results.finished)
            records = {record.id: (record, folder) for record, folder in self.store.records(folders)}
            part = _Part(self, results, records, failures)
            inside = [
                PageCellRuns(place, [part.candidate(each, cell) for each in cell.candidates], classes.get(place))
                for place, cell in cells
            ]
            yield [place for place, _ in cells], PageRuns(inside, part.specs.items, part.made.items)


@dataclass
class _Part:
    """A part while it is made."""

    gathering: Gathering
    results: Results
    records: Mapping[str, tuple[Record, Path]]
    failures: Mapping[str, Stored]
    specs: InCommon = field(default_factory=InCommon)
    made: InCommon = field(default_factory=InCommon)

    def candidate(self, candidate: Candidate, cell: PlannedCell) -> PageCandidateRuns:
        label = candidate.label if len(cell.candidates) > 1 else ""
        return PageCandidateRuns(label, [self.run(spec, cell) for spec in candidate.runs])

    def run(self, spec: RunSpec, cell: PlannedCell) -> PageRun:
        if spec.id in self.records:
            return self.done(spec, cell, *self.records[spec.id])
        if spec.id in self.failures and self.results.has_failed(spec):
            return self.failed(spec, self.failures[spec.id])
        return PageRun(spec.id, spec.seed, "missing")

    def done(self, spec: RunSpec, cell: PlannedCell, record: Record, folder: Path) -> PageRun:
        finished, gathering = self.results.finished[spec.id], self.gathering
        gathering.metrics |= dict.fromkeys(record.curve[-1].test)
        gathering.has_validation = gathering.has_validation or record.curve[-1].val is not None
        cost = cost_of(record)
        gathering.costs[spec.id] = _costs(cost)
        picked = dict(_picked(finished, cell, self.results))
        curve = record.curve
        if gathering.many:
            curve, picked = curve[-1:], {"last": 0} if picked.get("last") is not None else {}
        return PageRun(
            **self.head(record, spec),
            status="done",
            curve=[_point(point) for point in curve],
            score=record.score,
            took=_took(cost),
            picked=picked,
            log="" if gathering.many else log_tail(folder),
            facts=_facts(record, cost),
        )

    def failed(self, spec: RunSpec, stored: Stored) -> PageRun:
        record = stored.record
        assert isinstance(record, FailedRecord), "it is one of the failures"
        error = {
            "class": record.error.failed_of,
            "kind": record.error.kind,
            "message": uncoloured(record.error.message),
        }
        if record.error.trace:
            error["trace"] = uncoloured(record.error.trace)
        return PageRun(**self.head(record, spec), status="failed", failure=error, log=log_tail(stored.folder))

    def head(self, record: Record | FailedRecord, spec: RunSpec) -> dict[str, Any]:
        """What records of all runs have."""
        shared = {name: value for name, value in record.spec.items() if name not in ("seed", "seeds")}
        facts = record.environment.facts
        return {
            "id": spec.id,
            "seed": spec.seed,
            "seeds": vars(spec.seeds) if not self.gathering.many else {},
            "spec": self.specs.place(shared),
            "versions": self.gathering.versions.place(_only(facts, VERSIONS)),
            "hardware": self.gathering.hardware.place(_only(facts, HARDWARE)),
            "made": self.made.place(_but(facts, (*VERSIONS, *HARDWARE))),
            "command": record.command,
            "repeat": record.repeat,
        }


def _groups(plan: TablePlan) -> Iterator[list[tuple[Place, PlannedCell]]]:
    """The cells with runs, as many together as have ``TOGETHER`` runs."""
    group, runs = list[tuple[Place, PlannedCell]](), 0
    for place, cell in plan.places():
        count = sum(len(candidate.runs) for candidate in cell.candidates)
        if group and runs + count > TOGETHER:
            yield group
            group, runs = [], 0
        if count:
            group.append((place, cell))
            runs += count
    if group:
        yield group


def _costs(cost: Cost) -> dict[str, float]:
    """What a run took, by the columns for cost; what was not measured is not there."""
    values = {name: metric.of_run(cost) for name, metric in _COSTS.items() if metric.of_run is not None}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _took(cost: Cost) -> dict[str, float]:
    """All that a run took, by what its metrics are called."""
    values = {heading: metric.of_run(cost) for heading, metric in _TAKEN.items() if metric.of_run is not None}
    return {heading: _rounded(value) for heading, value in values.items() if not math.isnan(value)}


def _picked(run: Finished, cell: PlannedCell, results: Results) -> Iterator[tuple[str, int]]:
    """By selection rule, the place of the point that it picks; none by a rule that finds no point."""
    for rule in SELECTIONS:
        with contextlib.suppress(ValueError):
            yield rule, results.scores.point(run, rule, results.picking(cell))


def _point(point: Point) -> PagePoint:
    return PagePoint(
        point.step,
        _scores(point.test),
        _scores(point.val or {}),
        _scores(point.loss),
        None if point.learning_rate is None else _rounded(point.learning_rate),
        point.seconds,
    )


def _scores(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else _rounded(value) for name, value in scores.items()}


def _rounded(value: float) -> float:
    """Six digits, which is more than anybody sees of a curve."""
    return float(f"{value:.6g}")


def _facts(record: Record, cost: Cost) -> dict[str, Any]:
    """What else a record says of a run, by what it is called."""
    facts: dict[str, Any] = {
        "training images": record.subset and f"{record.subset.images} of {record.subset.of}",
        "validation images": record.validation_images or None,
        "test images": record.test_images,
        "trained parameters": none_if_nan(cost.trained),
        "chosen on validation": dict(record.chosen) if record.chosen else None,
        "damaged images left out": dict(record.left_out) if record.left_out else None,
        "taken up": record.taken_up or None,
        "processes": record.ranks or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _only(facts: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: facts[name] for name in names if facts.get(name) not in (None, [], {})}


def _but(facts: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in names and value not in (None, [], {})}


def log_tail(folder: Path) -> str:
    """The last lines of a run's log, without what would steer a terminal; empty where it has none."""
    try:
        with open_ordinary(folder / "log.txt") as file:
            file.seek(max(0, file.seek(0, 2) - BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(uncoloured(text).splitlines()[-LINES:])
