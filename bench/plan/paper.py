"""From a paper's tables to the runs that give their cells: labels become methods, backbones, datasets, rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from bench.cards.names import split_names
from bench.entry import Chosen
from bench.errors import InputError, Problems, choose
from bench.metrics import TOP1, Metric
from bench.notation import listed
from bench.papers.labels import TOGETHER, assigned, method_parts
from bench.papers.published import Key as Labels
from bench.papers.published import PublishedTable, published_table, telling_labels
from bench.papers.stated import OTHERS
from bench.plan import deviations
from bench.plan.cards import Cards, unshipped
from bench.plan.experiment import VARY
from bench.plan.facts import FACTS, counted_cell
from bench.plan.grid import run_specs, unserved
from bench.plan.overrides import Overrides, find_at, read_rate, read_seeds, refuse_shares
from bench.plan.settings import noted, overlaid, plain_settings, section_of
from bench.plan.table import Candidate, Contest, Ground, Plan, PlannedCell, TablePlan, TableRules
from bench.protocol import Protocol, read_protocol
from bench.reading.document import Section
from bench.reading.keys import Key, check_keys
from bench.registry import Registry, unknown
from bench.spec import percent

AXES = ("method", "backbone", "dataset", "rate")
NOT_ASKED = "not among what the command line asks for"

KEYS = (
    Key("axes", (dict,), "what all cells are of: `{backbone: vit_base, rate: 100}`"),
    Key("labels", (dict,), "what a label stands for: `{CUB: {dataset: cub200}}`; `A & B` is a cell that has both"),
    Key("columns", (dict,), "the same for a label that is a row too, of the column alone"),
    Key("baseline", (str, list), "the row, or rows, that others are compared with; of several the nearest above"),
    Key("settings", (dict,), "of the protocol, in the place of the paper's"),
    Key("seeds", (int,), "how many", default="the protocol's"),
    Key("note", (str,), "what has to be known about our runs"),
)
ASSIGNABLE = (
    *(Key(axis, (str, dict) if axis == "method" else (str, int, float), f"the {axis}") for axis in AXES),
    Key("hyper", (dict,), "hyper-parameters of a method, beside those it has: `{gta: {weight: 1}}` (see *Values*)"),
    Key("settings", (dict,), "settings of the protocol (see *Values*)"),
    Key("seeds", (int,), "how many"),
    Key("metric", (str,), "what is measured (`bench list metrics`)", default="the table's"),
    Key("fact", (str,), f"a number that needs no run, as cards have it: {listed(tuple(FACTS))}"),
    Key("average", (bool,), "the mean of the row's other cells of its kind"),
    Key("not_run", (str,), "why nothing is run for it"),
    *OTHERS,
)


def plan_paper(target: str, registry: Registry, overrides: Overrides | None = None) -> Plan:
    """The plan of one table (``gta/table2``) or of all results tables of a paper (``gta``).

    The overrides keep some cells: those whose method, backbone, dataset or rate is named, by its name or its label;
    ``NAME@FILE`` keeps those of the backbone ``NAME`` and gives it these weights. They may change seeds, settings and
    rules; a selection of ``best-val`` or ``best-test`` holds for swept values too. Raises ``InputError``: all that is
    wrong with the declarations, each with its place; or nothing is left to run.
    """
    overrides, cards = overrides or Overrides(), Cards(registry)
    overrides.check(registry.metrics)
    if overrides.skip_damaged:
        raise InputError(f"--skip-damaged: {target} is a published table, of no folder of images")
    names = [name for name in registry.table_files if target in (name, name.partition("/")[0])]
    problems, tables = Problems(), []
    for name in names:
        table = published_table(name, registry)
        if table.kind != "results" and target != name:
            continue
        with noted(problems):
            tables.append(_Planner(table, cards, overrides).plan())
    problems.stop()
    for axis, wanted in overrides.kept.items():
        for name in sorted(wanted - cards.met[axis]):
            problems.add(f"--{axis}s: {choose(name, cards.met[axis], f'{axis} of {target}')}")
    problems.stop()
    plan = Plan(target, "", tuple(tables), overrides.changes)
    if overrides.chooses_runs and not plan.unique:
        raise InputError(f"{target}: nothing is left to run: {'; '.join(plan.reasons)}")
    return plan


class _Planner:
    """Plans one table; problems are collected, so that all are told at once."""

    def __init__(self, table: PublishedTable, cards: Cards, overrides: Overrides) -> None:
        self.table, self.cards, self.overrides, self.problems = table, cards, overrides, Problems()
        runs = table.runs
        self.declared = runs if isinstance(runs, Section) else Section(table.place, 1)
        check_keys(self.declared, KEYS, "key of runs", self.problems)
        self.protocol = cards.samples.protocol(table.paper)
        self.labels, self.columns = section_of(self.declared, "labels"), section_of(self.declared, "columns")
        self.read = cache(self.read_settings)
        self.typed_metric = overrides.typed_metric(cards.registry.metrics)
        self.metric: Metric | None = None
        self.unlabelled: dict[tuple[int, int], str] = {}

    def plan(self) -> TablePlan:
        table, rules, baselines = self.table, self.rules(), list[str]()
        try:
            self.metric = self.find_metric(table.metric, table.metric_place) if table.metric else None
        except InputError as error:
            self.problems.add(f"{error}; what a paper calls it stands under 'metric_as_printed'")
        if self.declared and self.protocol:
            self.check_labels()
            with noted(self.problems):  # settings are wrong or right whatever else a cell lacks
                self.settings(section_of(self.declared, "settings"), (), typed=True)
            self.check_values(section_of(self.declared, "axes"))
            self.check_rates()
            baselines = self.baselines()
        self.problems.stop()
        cells = [[self.cell(row, at) for at in range(len(table.columns))] for row in range(len(table.rows))]
        own_runs = {(row, at) for row, line in enumerate(cells) for at, cell in enumerate(line) if not cell.averages}
        printed = {(row, at) for row, at in own_runs if table.cells[row][at].value}
        if self.unlabelled and self.unlabelled.keys() == printed:
            self.problems.add(next(iter(self.unlabelled.values())))  # what no cell has was forgotten
        self.problems.stop()
        note = " ".join(str(self.declared.get("note") or "").split())
        heading = table.metric_as_printed or (self.metric.heading if self.metric else "")
        return TablePlan(
            name=table.name,
            title=f"{table.paper.upper()}, {table.title}",
            measured=self.typed_metric.heading if self.typed_metric else heading,
            stub=table.stub,
            rows=table.rows,
            columns=table.columns,
            cells=tuple(map(tuple, cells)),
            contests=tuple(self.contests(baselines)),
            within=(*(table.ranking.within if table.ranking else ()), *(["column"] if len(table.columns) > 1 else [])),
            baseline=baselines[0] if len(baselines) == 1 else "the nearest baseline above" if baselines else "",
            rules=rules,
            notes=(note,) if note else (),
            published_note=table.note,
            published_measured=heading if any(cell.unlike for line in cells for cell in line) else "",
        )

    def find_metric(self, name: str, place: str) -> Metric:
        return find_at(name, self.cards.registry.metrics, place)

    def rules(self) -> TableRules:
        stated = {"selection": self.protocol.selection, "sweep": self.protocol.sweep} if self.protocol else {}
        if self.protocol and self.protocol.margin:
            stated["margin"] = self.protocol.margin
        return TableRules(**{rule: stated.value for rule, stated in stated.items()} | self.overrides.rules)

    def check_labels(self) -> None:
        """Every label that is assigned something is one of the table, in one sense, and what it is assigned can be."""
        rows, columns = ({label for key in keys for label in key} for keys in (self.table.rows, self.table.columns))
        for label in self.labels:
            if label in rows & columns and label not in self.columns:
                place = self.labels.place(label)
                self.problems.add(f"{place}: '{label}' is a row and a column; its column stands under 'columns'")
        self.check_section(self.labels, (rows | columns) - {""})
        self.check_section(self.columns, columns - {""})

    def check_section(self, section: Section, table_labels: set[str]) -> None:
        """What a section assigns to labels, one of the known or several together."""
        cells = [{*row, *column} for row in self.table.rows for column in self.table.columns]
        for key, meaning in section.items():
            place, labels = section.place(key), key.split(TOGETHER)
            for label in {*labels} - table_labels:
                self.problems.add(f"{place}: {choose(label, table_labels, 'label of this table')}")
            if table_labels.issuperset(labels) and not any(cell.issuperset(labels) for cell in cells):
                self.problems.add(f"{place}: no cell has the labels {' and '.join(labels)} together")
            if isinstance(meaning, Section):
                self.check_values(meaning)
                self.check_hyper(meaning.get("hyper") or {}, place)
            else:
                self.problems.add(f"{place}: a label is assigned a mapping, such as {{method: ce}}, not {meaning!r}")

    def check_hyper(self, hyper: Mapping[str, Any], place: str) -> None:
        for name, values in hyper.items():
            if not isinstance(values, dict):
                self.problems.add(f"{place}: hyper must be a mapping of a method to a mapping, not {hyper!r}")
            elif name not in self.cards.registry.method_files:
                self.problems.add(f"{place}: {unknown(str(name), self.cards.registry.method_files, 'method')}")

    def check_values(self, values: Section) -> None:
        check_keys(values, ASSIGNABLE, "axis", self.problems)
        readers: dict[str, Callable[[Any, str], object]] = {
            "rate": read_rate,
            "seeds": read_seeds,
            "metric": self.find_metric,
            "settings": plain_settings,
        }
        for key in [key for key in readers if key in values]:
            with noted(self.problems):
                readers[key](values[key], values.place(key))

    def check_rates(self) -> None:
        """The rates of a table are in percent, all of them together."""
        owners = [section_of(self.declared, "axes"), *self.labels.values(), *self.columns.values()]
        rates = [owner["rate"] for owner in owners if isinstance(owner, Section) and "rate" in owner]
        with noted(self.problems):
            refuse_shares(rates, self.declared.place("labels"))

    def baselines(self) -> list[str]:
        declared = self.declared.get("baseline") or []
        labels = declared if isinstance(declared, list) else [declared]
        row_labels = {label for row in self.table.rows for label in row if label}
        for label in labels:
            if not isinstance(label, str) or label not in row_labels:
                self.problems.add(f"{self.declared.place('baseline')}: {choose(str(label), row_labels, 'row')}")
        return [label for label in labels if isinstance(label, str)]

    def contests(self, baselines: Sequence[str]) -> Iterator[Contest]:
        """For each column the rows that the paper compares, each with the nearest baseline above it, or the first."""
        table = self.table
        groups = dict[Labels, list[int]]()
        for row in range(len(table.rows)):
            groups.setdefault(table.group_of(row), []).append(row)
        for shared, rows in groups.items():
            bases = [row for row in rows if {*baselines} & {*table.rows[row]}]
            compared = [row for row in rows if row not in bases] if bases else []
            pairs = [(row, max((base for base in bases if base < row), default=bases[0])) for row in compared]
            for at in range(len(table.columns)):
                sign = table.orientation(at)
                if sign or (table.ranking is None and bases):
                    yield Contest(
                        where=tuple(filter(None, (*shared, *telling_labels(table.columns, at)))),
                        places=tuple((row, at) for row in rows if table.cells[row][at].value),
                        pairs=tuple(((row, at), (base, at)) for row, base in pairs),
                        lower=sign < 0,
                    )

    def cell(self, row: int, at: int) -> PlannedCell:
        """What the labels of a cell amount to: those of the row after the column's, and several together last."""
        printed = self.table.cells[row][at]
        if not printed.value:
            return PlannedCell()
        axes = assigned(self.table, self.table.rows[row], self.table.columns[at])
        printed_metric = self.metric or TOP1
        metric = self.typed_metric or printed_metric
        of: dict[str, str] = {}
        if not (axes.get("average") or "fact" in axes):
            of = {axis: str(axes[axis]) for axis in ("dataset", "backbone") if axis in axes}
            of |= {"rate": percent(read_rate(axes["rate"], self.labels.place()))} if "rate" in axes else {}
        if "metric" in axes:
            metric = printed_metric = self.find_metric(str(axes["metric"]), self.labels.place())
        unlike, has_number = metric != printed_metric, printed.number == printed.number
        cell = PlannedCell(
            axes={**of, "method": self.name(row)},
            name=self.name(row),
            where=self.where(row, at),
            metric=metric,
            decimals=metric.decimals if unlike else printed.decimals if has_number else 2,
            printed=printed,
            unlike=unlike,
            names_metric=bool(self.typed_metric or self.metric or "metric" in axes),
        )
        if not self.declared or self.protocol is None:
            return dataclasses.replace(cell, reason=f"{self.table.name} declares no runs: it is shown as published")
        if axes.get("not_run"):
            return dataclasses.replace(cell, reason=str(axes["not_run"]))
        if "fact" in axes:
            with noted(self.problems):
                return counted_cell(cell, axes, self.cards, self.table.paper, self.labels.place())
            return cell
        runs = self.cards.samples.runs_of(self.table, axes)[0] or 1
        if axes.get("average"):
            averages = tuple((row, column) for column in self.table.alike(at))
            return dataclasses.replace(
                cell, averages=averages, ground=Ground(runs, other_metric=bool(self.scored(cell)))
            )
        if lacking := [axis for axis in AXES if axis not in axes]:
            where = " / ".join((*self.table.rows[row], *self.table.columns[at]))
            problem = f"{self.table.place}: the cell {where} has no {', '.join(lacking)}; give labels or axes"
            if labels := self.unassigned(row, at):
                self.unlabelled[row, at] = problem
                why = f"no label says what '{' / '.join(labels)}' is: it is shown as published"
                return dataclasses.replace(cell, reason=why)
            self.problems.add(problem)
            return cell
        with noted(self.problems):
            return self.runs(cell, axes, {axis: self.named(row, at, axis) for axis in AXES}, Ground(runs))
        return cell

    def runs(
        self, cell: PlannedCell, axes: Mapping[str, Any], labels: Mapping[str, set[str]], ground: Ground
    ) -> PlannedCell:
        typed, declared = split_names(self.overrides.backbones), str(axes["backbone"])
        name = next((backbone for backbone in typed if backbone.partition("@")[0] == declared), declared)
        dataset, rate = self.cards.dataset(str(axes["dataset"])), read_rate(axes["rate"], self.labels.place())
        entries = self.cards.methods(method_parts(axes["method"], axes["hyper"]), self.labels.place())
        backbone = self.cards.backbone(name)
        names = {
            "method": labels["method"] | {entry.spec.full_name for entry in entries},
            "backbone": labels["backbone"] | {name},
            "dataset": labels["dataset"] | {dataset.name, dataset.plain_name, dataset.title},
            "rate": labels["rate"] | {percent(rate).removesuffix(" %")},
        }
        method = entries[0].spec.full_name
        of = {"dataset": dataset.name, "backbone": backbone.name, "method": method, "rate": percent(rate)}
        cell = dataclasses.replace(cell, axes=of)
        for axis, met in names.items():
            self.cards.met[axis] |= met
        wanted = self.overrides.kept
        if any(wanted[axis] and not names[axis] & wanted[axis] for axis in AXES):
            return dataclasses.replace(cell, reason=NOT_ASKED)
        if wanted["method"] and not labels["method"] & wanted["method"]:
            entries = [entry for entry in entries if entry.spec.full_name in wanted["method"]]
        reasons = [*(unserved(entry, backbone) for entry in entries), unshipped(backbone)]
        if reason := next(filter(None, reasons), ""):
            return dataclasses.replace(cell, reason=reason)
        seeds, settings = self.seeds(axes["seeds"]), axes["settings"]
        candidates = []
        for entry in entries:
            protocol = self.settings(settings, entry.settings, typed=True)
            runs = run_specs(entry, backbone, dataset, rate, seeds, protocol, VARY)
            candidates.append(Candidate(entry.label, tuple(runs)))
        spec = candidates[0].runs[0]
        of_paper = self.settings(settings, entries[0].settings, typed=False)
        assert self.protocol is not None
        differs = [
            *deviations.of_settings(spec.protocol, of_paper, self.protocol, settings),
            *deviations.of_rules(self.rules(), self.protocol, len(candidates)),
            *deviations.of_weights(spec, declared, self.cards.backbone),
            *deviations.of_data(dataset, self.table.paper),
            *self.scored(cell),
        ]
        images = dataset.splits.get("test") if cell.metric.per_image else None
        ground = Ground(ground.runs, images, "; ".join(differs), bool(self.scored(cell)))
        return dataclasses.replace(cell, candidates=tuple(candidates), ground=ground)

    def settings(self, of_label: Mapping[str, Any], of_method: Chosen, typed: bool) -> Protocol:
        """The paper's protocol, over it what the table, a label or a method gives, and the command line's last."""
        settings = tuple(self.overrides.typed_settings().items()) if typed else ()
        return self.read(plain_settings(of_label, self.labels.place()), of_method, settings)

    def read_settings(self, of_label: Chosen, of_method: Chosen, typed: Chosen) -> Protocol:
        assert self.protocol is not None
        place = self.declared.place("settings")
        layers = [
            {key: (stated.value, self.protocol.place) for key, stated in self.protocol.settings.items()},
            {key: (value, place) for key, value in of_label},
            {key: (value, place) for key, value in of_method},
            {key: (value, "--set") for key, value in typed},
        ]
        return read_protocol(overlaid(*layers), self.protocol.place)

    def seeds(self, declared: object) -> tuple[int, ...]:
        assert self.protocol is not None
        stated = (declared, self.declared.place("seeds"))
        if declared is None:
            stated = (self.protocol.seeds.value, self.protocol.place)
        return self.overrides.typed_seeds() or read_seeds(*stated)

    def scored(self, cell: PlannedCell) -> list[str]:
        printed = self.metric or TOP1
        return [*deviations.of_score(cell.metric, printed, cell.unlike, self.overrides.split)]

    def named(self, row: int, at: int, axis: str) -> set[str]:
        """The labels of a cell that stand for a method, a backbone, a dataset or a rate."""
        of_row = {label for label in self.table.rows[row] if axis in (self.labels.get(label) or {})}
        return of_row | {label for label in self.table.columns[at] if axis in self.of_column(label)}

    def of_column(self, label: str) -> Mapping[str, Any]:
        """What a label of a column is assigned; a row of that name may mean something else."""
        return self.columns.get(label) or self.labels.get(label) or {}

    def unassigned(self, row: int, at: int) -> list[str]:
        """The labels of a cell that are assigned nothing, alone or together with others."""
        assigned_labels = {label for key in (*self.labels, *self.columns) for label in key.split(TOGETHER)}
        labels = (*self.table.rows[row], *self.table.columns[at])
        return [label for label in labels if label and label not in assigned_labels]

    def name(self, row: int) -> str:
        within = self.table.group_of(row)
        labels = [label for label in self.no_dataset(self.table.rows[row]) if label not in within]
        return " / ".join(labels or self.table.rows[row])

    def where(self, row: int, at: int) -> Labels:
        """The labels that a claim over datasets holds equal."""
        columns = [label for label in telling_labels(self.table.columns, at) if label]
        columns = [label for label in columns if "dataset" not in self.of_column(label)]
        return (*self.no_dataset(self.table.group_of(row)), *columns)

    def no_dataset(self, row: Iterable[str]) -> Labels:
        """Labels of a row without those that stand for a dataset, and without empty ones."""
        return tuple(label for label in row if label and "dataset" not in (self.labels.get(label) or {}))
