"""From a paper's tables to the runs that give their cells: labels become methods, backbones, datasets, rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.document import Section, read_document
from bench.entry import MethodEntry, read_entries
from bench.errors import InputError, Problems, choose
from bench.experiment import SELECTIONS, VARY
from bench.grid import run_spec, unserved
from bench.overrides import Overrides, read_value, split_list, split_setting
from bench.protocol import Protocol, read_protocol
from bench.published import PublishedTable
from bench.registry import Registry
from bench.spec import RunSpec, percent

AXES = ("method", "backbone", "dataset", "rate")
_ASSIGNABLE = (*AXES, "settings", "not_run", "average")
_RUNS_KEYS = ("axes", "labels", "baseline", "settings", "seeds")
_PROTOCOL_KEYS = ("title", "settings", "seeds", "selection", "sweep", "notes")


@dataclass(frozen=True)
class Stated:
    """A value with who states it: the paper, the released code, or nobody (our choice)."""

    value: Any
    source: str


@dataclass(frozen=True)
class PaperProtocol:
    """What a paper says about how its runs are trained and scored.

    Attributes:
        settings: of ``bench.protocol``, by name.
        seeds: how many.
        selection: the rule by which a run is scored.
        sweep: the rule by which one of several weights is chosen, on ``val`` or ``test``.
        notes: what the settings cannot say.
        place: the file.
    """

    settings: Mapping[str, Stated]
    seeds: Stated
    selection: Stated
    sweep: Stated
    notes: tuple[str, ...]
    place: str


@dataclass(frozen=True)
class Candidate:
    """The runs of one method with its hyper-parameters, one a seed."""

    label: str
    runs: tuple[RunSpec, ...]


@dataclass(frozen=True)
class PlannedCell:
    """How a cell is obtained.

    Attributes:
        candidates: one, or several of which the best one counts (a weight that is swept).
        average: it is the mean of its row's other cells.
        reason: why there is nothing to run; empty where there is.
    """

    candidates: tuple[Candidate, ...] = ()
    average: bool = False
    reason: str = ""


@dataclass(frozen=True)
class TablePlan:
    """A published table with how each of its cells is obtained, by row and column; ``baseline`` is a row's label."""

    table: PublishedTable
    cells: tuple[tuple[PlannedCell, ...], ...]
    selection: str
    sweep: str
    baseline: str


@dataclass(frozen=True)
class PaperPlan:
    """The runs of some tables, which the command line may have ``changed``; what several cells need is trained once."""

    name: str
    tables: tuple[TablePlan, ...]
    changed: bool = False

    @property
    def unique(self) -> dict[str, RunSpec]:
        """The runs by id, each once."""
        return {spec.id: spec for _, spec in self._runs()}

    @property
    def needed(self) -> int:
        """Runs counted once for each cell that needs them."""
        return sum(1 for _ in self._runs())

    @property
    def reasons(self) -> Counter[str]:
        """Why cells are not run, with how many."""
        return Counter(cell.reason for plan in self.tables for row in plan.cells for cell in row if cell.reason)

    def _runs(self) -> Sequence[tuple[str, RunSpec]]:
        return [
            (plan.table.name, spec)
            for plan in self.tables
            for row in plan.cells
            for cell in row
            for candidate in cell.candidates
            for spec in candidate.runs
        ]


def plan_paper(target: str, registry: Registry, overrides: Overrides | None = None) -> PaperPlan:
    """The plan of one table (``gta/table2``) or of all results tables of a paper (``gta``).

    The overrides keep some cells: those whose method, backbone, dataset or rate is named. They may change seeds and
    settings.

    Raises:
        InputError: all that is wrong with the declarations, each with its place.
    """
    overrides = overrides or Overrides()
    names = [name for name in registry.table_files if target in (name, name.partition("/")[0])]
    problems, plans = Problems(), []
    for name in names:
        table = registry.published(name)
        if table.kind != "results" and target != name:
            continue
        try:
            plans.append(_Planner(table, registry, overrides).plan())
        except InputError as error:
            problems.add(error)
    problems.stop()
    changed = overrides != Overrides()
    plan = PaperPlan(target, tuple(plans), changed)
    if changed and not plan.unique:
        raise InputError(f"{target}: what the command line asks for leaves no cell to run")
    return plan


def read_paper_protocol(section: Section) -> PaperProtocol:
    """A paper's protocol from its file.

    Raises:
        InputError: an unknown key, or a value without its source.
    """
    problems = Problems()
    for key in section:
        if key not in _PROTOCOL_KEYS:
            problems.add(f"{section.place(key)}: {choose(key, _PROTOCOL_KEYS, 'key of a protocol')}")

    def stated(owner: Section, key: str) -> Stated:
        given = owner.get(key)
        if not isinstance(given, dict) or set(given) != {"value", "source"} or not isinstance(given["source"], str):
            problems.add(f"{owner.place(key)}: '{key}' must be {{value: ..., source: 'paper ...'}}")
            return Stated(None, "")
        return Stated(given["value"], given["source"])

    settings = section.get("settings")
    if not isinstance(settings, Section):
        settings = Section(section.source, section.first_line)
        problems.add(f"{section.place('settings')}: 'settings' must be a mapping")
    found = PaperProtocol(
        settings={key: stated(settings, key) for key in settings},
        seeds=stated(section, "seeds"),
        selection=stated(section, "selection"),
        sweep=stated(section, "sweep"),
        notes=tuple(str(note) for note in section.get("notes") or ()),
        place=section.source,
    )
    for key, rule in (("selection", found.selection), ("sweep", found.sweep)):
        if rule.source and rule.value not in SELECTIONS:
            problems.add(f"{section.place(key)}: {choose(str(rule.value), SELECTIONS, key)}")
    problems.stop()
    return found


class _Planner:
    """Plans one table; problems are collected, so that all are told at once."""

    def __init__(self, table: PublishedTable, registry: Registry, overrides: Overrides) -> None:
        self.table, self.registry, self.overrides = table, registry, overrides
        self.problems, self.entries = Problems(), dict[str, list[MethodEntry]]()
        runs = table.runs
        self.declared = runs if isinstance(runs, Section) else Section(table.place, 1)
        for key in self.declared:
            if key not in _RUNS_KEYS:
                self.problems.add(f"{self.declared.place(key)}: {choose(key, _RUNS_KEYS, 'key of runs')}")
        path = registry.protocol_files.get(table.paper)
        self.protocol = read_paper_protocol(read_document(path)) if path else None

    def plan(self) -> TablePlan:
        if not self.declared or self.protocol is None:
            reason = f"{self.table.name} declares no runs: it is shown as published"
            cells = [[PlannedCell(reason=reason)] * len(self.table.columns) for _ in self.table.rows]
            return TablePlan(self.table, tuple(map(tuple, cells)), "last", "best-val", "")
        self.check_labels()
        self.problems.stop()
        cells = [
            [self.cell(row, column, printed.value) for column, printed in zip(self.table.columns, line, strict=True)]
            for row, line in zip(self.table.rows, self.table.cells, strict=True)
        ]
        self.problems.stop()
        return TablePlan(
            self.table,
            tuple(map(tuple, cells)),
            self.overrides.selection or str(self.protocol.selection.value),
            str(self.protocol.sweep.value),
            str(self.declared.get("baseline") or ""),
        )

    def check_labels(self) -> None:
        """Every label that is assigned something is one of the table, and what it is assigned can be."""
        known = {label for key in (*self.table.rows, *self.table.columns) for label in key}
        for label, given in self.section("labels").items():
            place = self.section("labels").place(label)
            if label not in known:
                self.problems.add(f"{place}: {choose(label, known, 'label of this table')}")
            for key in given if isinstance(given, dict) else ["a text"]:
                if key not in _ASSIGNABLE:
                    self.problems.add(f"{place}: {choose(str(key), _ASSIGNABLE, 'axis')}")

    def cell(self, row: Sequence[str], column: Sequence[str], printed: str) -> PlannedCell:
        """What the labels of a cell amount to; those of the row count after those of the column."""
        axes: dict[str, Any] = {**self.section("axes")}
        settings = {**self.section("settings")}
        for label in (*column, *row):
            given = self.section("labels").get(label) or {}
            settings |= given.get("settings") or {}
            axes |= given
        if not printed:
            return PlannedCell()
        if axes.get("not_run"):
            return PlannedCell(reason=str(axes["not_run"]))
        if axes.get("average"):
            return PlannedCell(average=True)
        if lacking := [axis for axis in AXES if axis not in axes]:
            where = " / ".join((*row, *column))
            self.problems.add(f"{self.table.place}: the cell {where} has no {', '.join(lacking)}; give labels or axes")
            return PlannedCell()
        try:
            return self.runs(axes, settings)
        except InputError as error:
            self.problems.add(error)
            return PlannedCell()

    def runs(self, axes: Mapping[str, Any], settings: Mapping[str, Any]) -> PlannedCell:
        entries = self.methods(axes["method"])
        backbone, dataset = self.registry.backbone(str(axes["backbone"])), self.registry.dataset(str(axes["dataset"]))
        rate = float(axes["rate"])
        kept = {"backbones": backbone.name, "datasets": dataset.name, "rates": percent(rate).removesuffix(" %")}
        for axis, name in kept.items():
            if (wanted := split_list(getattr(self.overrides, axis))) and name not in wanted:
                return PlannedCell(reason="not among what the command line asks for")
        if wanted := split_list(self.overrides.methods):
            entries = [entry for entry in entries if entry.spec.full_name in wanted]
            if not entries:
                return PlannedCell(reason="not among what the command line asks for")
        if reason := next((why for entry in entries if (why := unserved(entry, backbone))), ""):
            return PlannedCell(reason=reason)
        protocol = self.settings(settings)
        return PlannedCell(
            tuple(
                Candidate(
                    entry.label,
                    tuple(run_spec(entry, backbone, dataset, rate, seed, protocol, VARY) for seed in self.seeds()),
                )
                for entry in entries
            )
        )

    def methods(self, written: Any) -> list[MethodEntry]:
        key = repr(written)
        if key not in self.entries:
            name = written if isinstance(written, str) else "+".join(written)
            self.entries[key] = read_entries(name, written, self.declared.place("labels"), self.registry)
        return self.entries[key]

    def settings(self, own: Mapping[str, Any]) -> Protocol:
        """The paper's protocol, with what the table or a label gives in its place, and the command line's last."""
        assert self.protocol is not None
        written = {key: (stated.value, self.protocol.place) for key, stated in self.protocol.settings.items()}
        given = {key: (value, self.declared.place("settings")) for key, value in own.items()}
        typed = {key: (value, "--set") for key, value in (split_setting(t, "--set") for t in self.overrides.settings)}
        for later in (given, typed):
            for key in later.keys() & {"epochs", "steps"}:
                written.pop({"epochs": "steps", "steps": "epochs"}[key], None)
            written |= later
        return read_protocol([(key, value, place) for key, (value, place) in written.items()], self.protocol.place)

    def seeds(self) -> Sequence[int]:
        assert self.protocol is not None
        if not self.overrides.seeds:
            return range(int(self.declared.get("seeds", self.protocol.seeds.value)))
        values = [read_value(part) for part in split_list(self.overrides.seeds)]
        if not values or any(type(value) is not int or value < 0 for value in values):
            raise InputError(f"--seeds {self.overrides.seeds}: seeds are how many (3) or which (0,1,2)")
        return range(values[0]) if len(values) == 1 else values

    def section(self, key: str) -> Section:
        found = self.declared.get(key)
        return found if isinstance(found, Section) else Section(self.declared.source, self.declared.first_line)
