"""From a paper's tables to the runs that give their cells: labels become methods, backbones, datasets, rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.cards import BackboneCard
from bench.document import Section, read_document
from bench.entry import MethodEntry, read_entries
from bench.errors import InputError, Problems, choose
from bench.papers.labels import TOGETHER, assigned
from bench.papers.protocol import is_count, no_count, read_paper_protocol
from bench.papers.published import PublishedTable
from bench.plan.experiment import VARY
from bench.plan.grid import run_spec, unserved
from bench.plan.overrides import Overrides
from bench.protocol import RIVALS, Protocol, read_protocol
from bench.registry import Registry
from bench.rules import MOST_SEEDS, SWEEPS
from bench.spec import RunSpec, percent
from bench.syntax import read_value, split_chain, split_list, split_setting

AXES = ("method", "backbone", "dataset", "rate")
NOT_ASKED = "not among what the command line asks for"

_ASSIGNABLE = (*AXES, "hyper", "settings", "seeds", "not_run", "average")
_RUNS_KEYS = ("axes", "labels", "columns", "baseline", "settings", "seeds", "note")
_MAPPINGS = ("axes", "labels", "columns", "settings")


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
    """A published table with how each of its cells is obtained, by row and column.

    Attributes:
        table: as published.
        cells: by row, then by column.
        selection: the rule by which a run is scored.
        sweep: the rule by which one of several candidates is chosen.
        baselines: labels of the rows that the others are compared with, each with the nearest one above it.
        note: what has to be known about our runs, beside the protocol.
    """

    table: PublishedTable
    cells: tuple[tuple[PlannedCell, ...], ...]
    selection: str
    sweep: str
    baselines: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class PaperPlan:
    """The runs of some tables, which the command line may have ``changed``; what several cells need is trained once."""

    name: str
    tables: tuple[TablePlan, ...]
    changed: bool = False

    @property
    def unique(self) -> dict[str, RunSpec]:
        """The runs by id, each once."""
        return {spec.id: spec for spec in self._runs()}

    @property
    def needed(self) -> int:
        """Runs counted once for each cell that needs them."""
        return sum(1 for _ in self._runs())

    @property
    def reasons(self) -> Counter[str]:
        """Why cells are not run, with how many."""
        return Counter(cell.reason for plan in self.tables for row in plan.cells for cell in row if cell.reason)

    def _runs(self) -> Sequence[RunSpec]:
        cells = [cell for plan in self.tables for row in plan.cells for cell in row]
        return [spec for cell in cells for candidate in cell.candidates for spec in candidate.runs]


def plan_paper(target: str, registry: Registry, overrides: Overrides | None = None) -> PaperPlan:
    """The plan of one table (``gta/table2``) or of all results tables of a paper (``gta``).

    The overrides keep some cells: those whose method, backbone, dataset or rate is named; ``NAME@FILE`` keeps those
    of the backbone ``NAME`` and gives it these weights. They may change seeds, settings and the selection; a selection
    of ``best-val`` or ``best-test`` holds for swept weights too.

    Raises:
        InputError: all that is wrong with the declarations, each with its place; or nothing is left to run.
    """
    overrides, cards = overrides or Overrides(), _Cards(registry)
    names = [name for name in registry.table_files if target in (name, name.partition("/")[0])]
    problems, plans = Problems(), []
    for name in names:
        table = registry.published(name)
        if table.kind != "results" and target != name:
            continue
        try:
            plans.append(_Planner(table, cards, overrides).plan())
        except InputError as error:
            problems.add(error)
    problems.stop()
    for axis, wanted in _asked(overrides).items():
        for name in sorted(wanted - cards.met[axis]):
            problems.add(f"--{axis}s: {choose(name, cards.met[axis], f'{axis} of {target}')}")
    problems.stop()
    changed = overrides != Overrides()
    plan = PaperPlan(target, tuple(plans), changed)
    if changed and not plan.unique:
        raise InputError(f"{target}: nothing is left to run: {'; '.join(plan.reasons)}")
    return plan


def _asked(overrides: Overrides) -> dict[str, set[str]]:
    """The cells that the command line keeps, along each axis; all, where it names none."""
    return {axis: set(split_list(getattr(overrides, f"{axis}s"))) for axis in AXES}


class _Cards:
    """Cards and rows, each read once for all cells of a paper."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.backbone, self.dataset = cache(registry.backbone), cache(registry.dataset)
        self.entries = dict[str, list[MethodEntry]]()
        self.met: dict[str, set[str]] = {"method": set(), "backbone": set(), "dataset": set(), "rate": set()}

    def methods(self, parts: Mapping[str, Any], place: str) -> list[MethodEntry]:
        key = repr(parts)
        if key not in self.entries:
            self.entries[key] = read_entries("+".join(parts), dict(parts), place, self.registry)
        return self.entries[key]


class _Planner:
    """Plans one table; problems are collected, so that all are told at once."""

    def __init__(self, table: PublishedTable, cards: _Cards, overrides: Overrides) -> None:
        self.table, self.cards, self.overrides, self.problems = table, cards, overrides, Problems()
        runs = table.runs
        self.declared = runs if isinstance(runs, Section) else Section(table.place, 1)
        for key in self.declared:
            if key not in _RUNS_KEYS:
                self.problems.add(f"{self.declared.place(key)}: {choose(key, _RUNS_KEYS, 'key of runs')}")
            elif key in _MAPPINGS and not isinstance(self.declared[key] or {}, dict):
                self.problems.add(f"{self.declared.place(key)}: '{key}' must be a mapping")
        path = cards.registry.protocol_files.get(table.paper)
        self.protocol = read_paper_protocol(read_document(path)) if path else None
        self.labels, self.columns = self.section("labels"), self.section("columns")

    def plan(self) -> TablePlan:
        if not self.declared or self.protocol is None:
            reason = f"{self.table.name} declares no runs: it is shown as published"
            cells = [[PlannedCell(reason=reason)] * len(self.table.columns) for _ in self.table.rows]
            return TablePlan(self.table, tuple(map(tuple, cells)), "last", "best-val")
        self.check_labels()
        for axis in self.section("axes"):
            if axis not in AXES:
                self.problems.add(f"{self.section('axes').place(axis)}: {choose(axis, AXES, 'axis')}")
        baselines = self.baselines()
        self.problems.stop()
        cells = [
            [self.cell(row, column, printed.value) for column, printed in zip(self.table.columns, line, strict=True)]
            for row, line in zip(self.table.rows, self.table.cells, strict=True)
        ]
        self.problems.stop()
        typed, note = self.overrides.selection, " ".join(str(self.declared.get("note") or "").split())
        selection = typed or str(self.protocol.selection.value)
        sweep = typed if typed in SWEEPS else str(self.protocol.sweep.value)
        return TablePlan(self.table, tuple(map(tuple, cells)), selection, sweep, baselines, note)

    def check_labels(self) -> None:
        """Every label that is assigned something is one of the table, in one sense, and what it is assigned can be."""
        rows, columns = ({label for key in keys for label in key} for keys in (self.table.rows, self.table.columns))
        met = [{*row, *column} for row in self.table.rows for column in self.table.columns]
        for section, known in ((self.labels, (rows | columns) - {""}), (self.columns, columns - {""})):
            for written, given in section.items():
                place, parts = section.place(written), written.split(TOGETHER)
                for label in {*parts} - known:
                    self.problems.add(f"{place}: {choose(label, known, 'label of this table')}")
                if known.issuperset(parts) and not any(labels.issuperset(parts) for labels in met):
                    self.problems.add(f"{place}: no cell has the labels {' and '.join(parts)} together")
                if section is self.labels and written in rows & columns and written not in self.columns:
                    self.problems.add(f"{place}: '{written}' is a row and a column; its column stands under 'columns'")
                self.check_assigned(given, place)

    def check_assigned(self, given: object, place: str) -> None:
        if not isinstance(given, dict):
            self.problems.add(f"{place}: a label is assigned a mapping, such as {{method: ce}}, not {given!r}")
            return
        for key, value in given.items():
            if key not in _ASSIGNABLE:
                self.problems.add(f"{place}: {choose(str(key), _ASSIGNABLE, 'axis')}")
            parts = value.values() if key == "hyper" and isinstance(value, dict) else ()
            if key in ("settings", "hyper") and not all(isinstance(part, dict) for part in (value, *parts)):
                self.problems.add(f"{place}: {key} must be a mapping (hyper: of a method to a mapping), not {value!r}")
        for name in given["hyper"] if isinstance(given.get("hyper"), dict) else ():
            if name not in self.cards.registry.method_files:
                self.problems.add(f"{place}: {choose(str(name), self.cards.registry.method_files, 'method')}")

    def baselines(self) -> tuple[str, ...]:
        """The labels of the rows that others are compared with."""
        given = self.declared.get("baseline") or []
        labels = list(given) if isinstance(given, list) else [given]
        known = {label for row in self.table.rows for label in row if label}
        for label in labels:
            if not isinstance(label, str) or label not in known:
                self.problems.add(f"{self.declared.place('baseline')}: {choose(str(label), known, 'row')}")
        return tuple(labels)

    def cell(self, row: Sequence[str], column: Sequence[str], printed: str) -> PlannedCell:
        """What the labels of a cell amount to: those of the row after the column's, and several together last."""
        if not printed:
            return PlannedCell()
        axes = assigned(self.table, row, column)
        if axes.get("not_run"):
            return PlannedCell(reason=str(axes["not_run"]))
        if axes.get("average"):
            return PlannedCell(average=True)
        if lacking := [axis for axis in AXES if axis not in axes]:
            where = " / ".join((*row, *column))
            self.problems.add(f"{self.table.place}: the cell {where} has no {', '.join(lacking)}; give labels or axes")
            return PlannedCell()
        try:
            return self.runs(axes)
        except InputError as error:
            self.problems.add(error)
            return PlannedCell()

    def runs(self, axes: Mapping[str, Any]) -> PlannedCell:
        name, methods = str(axes["backbone"]), split_list(self.overrides.methods)
        weighted = split_list(self.overrides.backbones)
        name = next((other for other in weighted if other.partition("@")[0] == name), name)
        dataset, rate = self.cards.dataset(str(axes["dataset"])), self.rate(axes["rate"])
        entries = self.methods(axes["method"], axes["hyper"])
        backbone = self.cards.backbone(name)
        names = {
            "method": {entry.spec.full_name for entry in entries},
            "backbone": {name},
            "dataset": {dataset.name, dataset.plain_name},
            "rate": {percent(rate).removesuffix(" %")},
        }
        for axis, met in names.items():
            self.cards.met[axis] |= met
        if any(wanted and not names[axis] & wanted for axis, wanted in _asked(self.overrides).items()):
            return PlannedCell(reason=NOT_ASKED)
        entries = [entry for entry in entries if not methods or entry.spec.full_name in methods]
        protocol, seeds = self.settings(axes["settings"]), self.seeds(axes["seeds"])
        if reason := next((why for entry in entries if (why := unserved(entry, backbone))), "") or _unshipped(backbone):
            return PlannedCell(reason=reason)
        found = []
        for entry in entries:
            runs = (run_spec(entry, backbone, dataset, rate, seed, protocol, VARY) for seed in seeds)
            found.append(Candidate(entry.label, tuple(runs)))
        return PlannedCell(tuple(found))

    def rate(self, written: object) -> float:
        """A sampling rate in percent."""
        if type(written) in (int, float) and 0 < float(str(written)) <= 100:
            return float(str(written))
        place = self.labels.place()
        raise InputError(f"{place}: the rate {written} is not allowed; it is in percent, above 0 and up to 100")

    def methods(self, written: Any, hyper: Mapping[str, Mapping[str, Any]]) -> list[MethodEntry]:
        """The rows of a method, with the hyper-parameters that labels give to it in the place of its own."""
        if isinstance(written, str):
            written = {name: {} for name in split_chain(written)}
        parts = dict(written) if isinstance(written, dict) else {}
        parts |= {name: {**(parts[name] or {}), **values} for name, values in hyper.items() if name in parts}
        return self.cards.methods(parts, self.labels.place())

    def settings(self, own: Mapping[str, Any]) -> Protocol:
        """The paper's protocol, with what the table or a label gives in its place, and the command line's last."""
        assert self.protocol is not None
        written = {key: (stated.value, self.protocol.place) for key, stated in self.protocol.settings.items()}
        given = {key: (value, self.declared.place("settings")) for key, value in own.items()}
        typed = {key: (value, "--set") for key, value in (split_setting(t, "--set") for t in self.overrides.settings)}
        for later in (given, typed):
            for key in later.keys() & RIVALS.keys():
                written.pop(RIVALS[key], None)
            written |= later
        return read_protocol([(key, value, place) for key, (value, place) in written.items()], self.protocol.place)

    def seeds(self, own: object) -> Sequence[int]:
        assert self.protocol is not None
        if not self.overrides.seeds:
            if own is not None and not is_count(own):
                raise InputError(f"{self.declared.place('seeds')}: {no_count(own)}")
            return range(int(self.protocol.seeds.value if own is None else str(own)))
        values = [read_value(part) for part in split_list(self.overrides.seeds)]
        sound = all(type(value) is int and 0 <= value < 2**31 for value in values)
        if not values or not sound or (len(values) == 1 and not is_count(values[0])):
            raise InputError(f"--seeds {self.overrides.seeds}: seeds are how many (1 to {MOST_SEEDS}) or which (0,1,2)")
        return range(values[0]) if len(values) == 1 else values

    def section(self, key: str) -> Section:
        found = self.declared.get(key)
        return found if isinstance(found, Section) else Section(self.declared.source, self.declared.first_line)


def _unshipped(backbone: BackboneCard) -> str:
    """Why runs of a backbone cannot be planned, as their ids depend on its weights; empty where they can."""
    try:
        backbone.require_weights()
    except InputError:
        return (
            f"the weights of {backbone.name} are not here: 'bench show {backbone.name}' says where they are published, "
            f"'bench convert {backbone.name} CHECKPOINT' puts them in place"
        )
    return ""
