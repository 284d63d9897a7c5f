"""From a paper's tables to the runs that give their cells: labels become methods, backbones, datasets, rates."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from bench.cards import DatasetCard
from bench.cards.names import split_names
from bench.entry import SETTINGS, Chosen
from bench.errors import InputError, Problems, choose
from bench.metrics import TOP1, Metric
from bench.notation import counted, listed
from bench.papers.labels import assigned, method_parts, others
from bench.papers.published import Key as Labels
from bench.papers.published import PublishedTable, published_table, telling_labels
from bench.plan import deviations
from bench.plan.assignments import AXES, Assignments
from bench.plan.cards import Cards
from bench.plan.experiment import VARY
from bench.plan.facts import counted_cell
from bench.plan.further import refuse_elsewhere
from bench.plan.grid import run_specs
from bench.plan.lists import drawn, serves
from bench.plan.overrides import Overrides, find_at, read_seeds
from bench.plan.presets import in_steps, parted
from bench.plan.serving import unserved
from bench.plan.settings import noted, overlaid, plain_settings, section_of
from bench.plan.table import Candidate, Contest, Ground, Plan, PlannedCell, TablePlan, TableRules
from bench.protocol import Protocol, read_protocol
from bench.rate import WHOLE, Rate, rate_label, read_rate
from bench.records.kept import validation_metric
from bench.registry import Registry

NOT_ASKED = "not among what the command line asks for"
NOT_PRINTED = "nothing is printed there"


def plan_paper(target: str, registry: Registry, overrides: Overrides | None = None) -> Plan:
    """The plan of one table (``gta/table2``) or of all results tables of a paper (``gta``); else as ``plan_papers``."""
    (plan,) = plan_papers([target], registry, overrides)
    return plan


def plan_papers(targets: Sequence[str], registry: Registry, overrides: Overrides | None = None) -> list[Plan]:
    """The plans of some papers and tables, each of which may lack what the others have of what is asked for.

    The overrides keep some cells: those whose method, backbone, dataset or rate is named, by its name or its label;
    ``NAME@FILE`` keeps those of the backbone ``NAME`` and gives it these weights, or those of the dataset ``NAME`` at
    the rate that a list of training images stands for; ``NAME@VARIANT`` takes the place of the dataset's declared use.
    They may change seeds, settings and rules; a selection of ``best-val`` or ``best-test`` holds for swept values too.
    Raises ``InputError``: all that is wrong with the declarations, each with its place; or nothing is left to run.
    """
    overrides, cards = overrides or Overrides(), Cards(registry)
    overrides.check(registry.metrics)
    together = " ".join(targets)
    if overrides.skip_damaged:
        raise InputError(f"--skip-damaged: {together}: published tables are of no folder of images")
    problems, planned = Problems(), dict[str, TablePlan]()
    tables = {name: published_table(name, registry) for name in registry.tables_of(targets)}
    for name, table in tables.items():
        if table.kind == "results" or name in targets:
            with noted(problems):
                planned[name] = _Planner(table, cards, overrides).plan()
    problems.stop()
    refuse_unmet(overrides, cards, together)
    plans = []
    for target in targets:
        of_target = tuple(table for name, table in planned.items() if target in (name, name.partition("/")[0]))
        plans.append(Plan(target, "", of_target, overrides.changes))
    if overrides.chooses_runs and not any(plan.unique for plan in plans):
        reasons = dict.fromkeys(reason for plan in plans for reason in plan.reasons)
        why = "; ".join(reasons) or "its numbers are counted, and 'bench table' has them"
        raise InputError(f"{together}: nothing is left to run: {why}")
    return plans


def plan_table(table: PublishedTable, cards: Cards, overrides: Overrides) -> TablePlan:
    """The plan of one table as it was read. Raises ``InputError``: all that is wrong with it."""
    return _Planner(table, cards, overrides).plan()


def refuse_unmet(overrides: Overrides, cards: Cards, together: str) -> None:
    """Raise ``InputError`` where something is typed along an axis that no planned cell has."""
    problems = Problems()
    for axis, wanted in overrides.kept.items():
        for name in sorted(wanted - cards.met[axis]):
            problem = cards.unmet.get(name) or choose(name, cards.met[axis], f"{axis} of {together}")
            problems.add(f"--{axis}s: {problem}")
    problems.stop()


class _Planner:
    """Plans one table; problems are collected, so that all are told at once."""

    def __init__(self, table: PublishedTable, cards: Cards, overrides: Overrides) -> None:
        self.table, self.cards, self.overrides, self.problems = table, cards, overrides, Problems()
        self.labels = Assignments(table, cards.registry, self.problems)
        self.declared, self.place = self.labels.declared, self.labels.labels.place()
        self.protocol = cards.samples.protocol(table.paper)
        self.read = cache(self.read_settings)
        self.lists: dict[str, None] = {}
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
            self.labels.check()
            with noted(self.problems):  # settings are wrong or right whatever else a cell lacks
                self.settings(section_of(self.declared, "settings"), (), typed=True)
            baselines = self.labels.baselines()
        self.problems.stop()
        cells = [[self.cell(row, at) for at in range(len(table.columns))] for row in range(len(table.rows))]
        own_runs = {(row, at) for row, line in enumerate(cells) for at, cell in enumerate(line) if not cell.averages}
        printed = {(row, at) for row, at in own_runs if not table.cells[row][at].is_blank}
        if self.unlabelled and self.unlabelled.keys() == printed:
            self.problems.add(next(iter(self.unlabelled.values())))  # what no cell has was forgotten
        self.problems.stop()
        with noted(self.problems):
            self.refuse_elsewhere(cell for line in cells for cell in line if cell.candidates)
        self.problems.stop()
        note = " ".join(str(self.declared.get("note") or "").split())
        heading = table.metric_as_printed or (self.metric.heading if self.metric else "")
        paper = (self.protocol.short_title if self.protocol else "") or table.paper.upper()
        return TablePlan(
            name=table.name,
            title=f"{paper}, {table.title}",
            measured=self.typed_metric.heading if self.typed_metric else heading,
            stub=table.stub,
            rows=table.rows,
            columns=table.columns,
            cells=tuple(map(tuple, cells)),
            contests=tuple(self.contests(baselines)),
            within=(*(table.ranking.within if table.ranking else ()), *(["column"] if len(table.columns) > 1 else [])),
            baseline=baselines[0] if len(baselines) == 1 else "the nearest baseline above" if baselines else "",
            rules=rules,
            notes=(*([note] if note else []), *self.lists),
            published_note=table.note,
            published_measured=heading if any(cell.unlike for line in cells for cell in line) else "",
        )

    def refuse_elsewhere(self, cells: Iterable[PlannedCell]) -> None:
        """Raise ``InputError`` where no run is scored where the typed metric's name says."""
        specs = [spec for cell in cells for candidate in cell.candidates for spec in candidate.runs[:1]]
        datasets = [self.cards.dataset(name) for name in dict.fromkeys(spec.dataset.name for spec in specs)]
        methods = {spec.method.names for spec in specs}
        refuse_elsewhere(self.typed_metric, datasets, methods, self.cards.registry, "--metric", self.rules().split)

    def find_metric(self, name: str, place: str) -> Metric:
        return find_at(name, self.cards.registry.metrics, place)

    def rules(self) -> TableRules:
        stated = {"selection": self.protocol.selection, "sweep": self.protocol.sweep} if self.protocol else {}
        if self.protocol and self.protocol.margin:
            stated["margin"] = self.protocol.margin
        return TableRules(**{rule: stated.value for rule, stated in stated.items()} | self.overrides.rules)

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
        """What the labels of a cell amount to: those of the row after the column's, and several together last.

        A cell in which nothing is printed has no runs: nothing of them could be held against the paper.
        """
        printed = self.table.cells[row][at]
        if not printed.value:
            return PlannedCell()
        axes = assigned(self.table, self.table.rows[row], self.table.columns[at])
        printed_metric = self.metric or TOP1
        metric = self.typed_metric or printed_metric
        of: dict[str, str] = {}
        if not (axes.get("average") or "fact" in axes):
            of = {axis: str(axes[axis]) for axis in ("dataset", "backbone") if axis in axes}
            of |= {"rate": rate_label(read_rate(axes["rate"], self.place))} if "rate" in axes else {}
        if "metric" in axes:
            metric = printed_metric = self.find_metric(str(axes["metric"]), self.place)
        unlike, has_number = metric != printed_metric, printed.number == printed.number
        cell = PlannedCell(
            axes={**of, "method": self.labels.name(row)},
            name=self.labels.name(row),
            where=self.labels.where(row, at),
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
        because = others(self.table, self.table.rows[row], self.table.columns[at])
        of_label = "; ".join(why for path, why in because.items() if why and path[0] in ("average", "label"))
        if "fact" in axes:
            with noted(self.problems):
                reasons = [why for path, why in because.items() if why and path[0] in (*AXES, "fact", "label")]
                differs = "; ".join(dict.fromkeys(reasons))
                cell = dataclasses.replace(cell, ground=Ground(differs=differs))
                return counted_cell(cell, axes, self.cards, self.table.paper, self.place)
            return cell
        runs = self.cards.samples.runs_of(self.table, axes)[0] or 1
        if axes.get("average"):
            alike = self.table.alike(at)
            alike = [column for column in alike if not self.table.cells[row][column].is_blank] or alike
            ground = Ground(runs, differs=of_label, other_metric=bool(self.scored(cell)))
            return dataclasses.replace(cell, averages=tuple((row, column) for column in alike), ground=ground)
        if printed.is_blank:
            return dataclasses.replace(cell, reason=NOT_PRINTED)
        if lacking := [axis for axis in AXES if axis not in axes]:
            where = " / ".join((*self.table.rows[row], *self.table.columns[at]))
            problem = f"{self.table.place}: the cell {where} has no {', '.join(lacking)}; give labels or axes"
            if labels := self.labels.unassigned(row, at):
                self.unlabelled[row, at] = problem
                why = f"no label says what '{' / '.join(labels)}' is: it is shown as published"
                return dataclasses.replace(cell, reason=why)
            self.problems.add(problem)
            return cell
        with noted(self.problems):
            return self.runs(row, at, cell, axes)
        return cell

    def runs(self, row: int, at: int, cell: PlannedCell, axes: Mapping[str, Any]) -> PlannedCell:
        typed, declared = split_names(self.overrides.backbones), str(axes["backbone"])
        name = next((backbone for backbone in typed if backbone.partition("@")[0] == declared), declared)
        of_paper, rate = self.cards.dataset(str(axes["dataset"])), read_rate(axes["rate"], self.place)
        dataset, rate_run = self.typed_dataset(str(axes["dataset"]), rate)
        entries = self.cards.methods(method_parts(axes["method"], axes["hyper"]), self.place)
        backbone, labels = self.cards.backbone(name), {axis: self.labels.named(row, at, axis) for axis in AXES}
        names = {
            "method": labels["method"] | {entry.spec.full_name for entry in entries},
            "backbone": labels["backbone"] | {name},
            "dataset": labels["dataset"] | {dataset.name, of_paper.name, dataset.plain_name, dataset.title},
            "rate": labels["rate"] | {rate_label(rate).removesuffix(" %")},
        }
        in_its_place = self.typed_datasets(dataset.plain_name)
        names["dataset"] |= {name for name in in_its_place if self.cards.dataset(name).name == dataset.name}
        method = entries[0].spec.full_name
        of = {"dataset": dataset.name, "backbone": backbone.name, "method": method, "rate": rate_label(rate_run)}
        cell = dataclasses.replace(cell, axes=of)
        for axis, met in names.items():
            self.cards.met[axis] |= met
        wanted = self.overrides.kept
        if any(wanted[axis] and not names[axis] & wanted[axis] for axis in AXES):
            return dataclasses.replace(cell, reason=NOT_ASKED)
        if wanted["method"] and not labels["method"] & wanted["method"]:
            entries = [entry for entry in entries if entry.spec.full_name in wanted["method"]]
        if reason := next(filter(None, (unserved(entry, backbone, dataset) for entry in entries)), ""):
            return dataclasses.replace(cell, reason=reason)
        seeds, settings = self.seeds(axes["seeds"]), axes["settings"]
        candidates = []
        for entry in entries:
            protocol = self.settings(settings, entry.settings, typed=True)
            runs = run_specs(entry, backbone, dataset, rate_run, seeds, protocol, VARY)
            candidates.append(Candidate(entry.label, tuple(runs), entry.swept, entry.chooses))
        spec = candidates[0].runs[0]
        protocols = spec.protocol, self.settings(settings, entries[0].settings, typed=False)
        assert self.protocol is not None
        because = others(self.table, self.table.rows[row], self.table.columns[at])
        of_weights = [*deviations.of_weights(spec, declared, self.cards.backbone)]
        of_data = [*deviations.of_data(dataset, of_paper, rate, self.table.paper)]
        for axis, differences in (("backbone", of_weights), ("dataset", of_data)):
            if differences:  # what is typed stands in the place of what is declared, and is told instead
                because.pop((axis,), None)
        differs = [
            *deviations.of_settings(*protocols, self.protocol, {*settings, *dict(entries[0].settings)}),
            *deviations.of_rules(self.rules(), self.protocol, len(candidates)),
            *of_weights,
            *of_data,
            *deviations.of_declared(because, self.protocol, spec.method.names, *protocols),
            *self.scored(cell),
        ]
        images = dataset.splits.get("test") if cell.metric.per_image else None
        runs_of_paper = self.cards.samples.runs_of(self.table, axes)[0] or 1
        ground = Ground(runs_of_paper, images, "; ".join(differs), bool(self.scored(cell)))
        usual = validation_metric(dataset.metric)
        return dataclasses.replace(
            cell, candidates=tuple(candidates), usual=usual, lack=backbone.absence, ground=ground
        )

    def typed_datasets(self, plain_name: str) -> list[str]:
        """What is typed in the place of a declared dataset: its variants, and lists of training images."""
        return [name for name in split_names(self.overrides.datasets) if name.startswith(f"{plain_name}@")]

    @cached_property
    def rates(self) -> Mapping[str, Collection[Rate]]:
        """At which rates the table has each dataset."""
        rates: dict[str, dict[Rate, None]] = {}
        for row, column in itertools.product(self.table.rows, self.table.columns):
            axes = assigned(self.table, row, column)
            if {"dataset", "rate"} <= axes.keys():
                rates.setdefault(str(axes["dataset"]), {})[read_rate(axes["rate"], self.place)] = None
        return rates

    def typed_dataset(self, name: str, rate: Rate) -> tuple[DatasetCard, Rate]:
        """The dataset of a cell's runs and their rate: as declared; a variant that is typed; or a list that stands for
        the rate, all of whose images are trained on.
        """
        declared, serving = self.cards.dataset(name), dict[str, DatasetCard]()
        for typed in self.typed_datasets(declared.plain_name):
            card, rates = self.cards.dataset(typed), self.rates[name]
            if "list" not in card.facts:
                return card, rate
            if serves(card, declared, rate, rates):
                serving[typed] = card
                continue
            images = counted(card.splits["train"], "training image")
            at = ", ".join(f"{rate_label(each)} draws {drawn(declared, each):,}" for each in rates)
            self.cards.unmet[typed] = f"{typed}: a list of {images} stands for no rate of {self.table.name} ({at})"
        if len(serving) > 1:
            several = f"{listed((*serving,))} stand for one rate of {self.table.name}, {rate_label(rate)}"
            raise InputError(f"--datasets: {several}; give one a rate")
        for card in serving.values():
            images = counted(card.splits["train"], "training image")
            self.lists[f"{declared.title} at {rate_label(rate)}: {images} of a list, {card.title}."] = None
            return card, WHOLE
        return declared, rate

    def settings(self, of_label: Mapping[str, Any], of_method: Chosen, typed: bool) -> Protocol:
        """The paper's protocol, over it what the table, a label or a method gives, and the command line's last."""
        settings = tuple(self.overrides.typed_settings().items()) if typed else ()
        return self.read(plain_settings(of_label, self.place), of_method, settings)

    def read_settings(self, of_label: Chosen, of_method: Chosen, typed: Chosen) -> Protocol:
        assert self.protocol is not None
        place = self.declared.place("settings")
        preset, beside = parted({key: (value, "--set") for key, value in typed}, self.cards.registry)
        layers = [
            {key: (stated.value, self.protocol.place) for key, stated in self.protocol.settings.items()},
            preset,
            {key: (value, self.stated_at.get((key, repr(value)), place)) for key, value in of_label},
            {key: (value, place) for key, value in of_method},
            beside,
        ]
        return read_protocol(in_steps(overlaid(*layers), (preset,)), self.protocol.place)

    @cached_property
    def stated_at(self) -> Mapping[tuple[str, str], str]:
        """Where a table gives a setting a value, first."""
        settings = [each for each in self.table.values if each.path[0] == SETTINGS]
        return {(each.path[1], repr(each.stated.value)): each.place for each in reversed(settings)}

    def seeds(self, declared: object) -> tuple[int, ...]:
        assert self.protocol is not None
        stated = (declared, self.declared.place("seeds"))
        if declared is None:
            stated = (self.protocol.seeds.value, self.protocol.place)
        return self.overrides.typed_seeds() or read_seeds(*stated)

    def scored(self, cell: PlannedCell) -> list[str]:
        printed = self.metric or TOP1
        return [*deviations.of_score(cell.metric, printed, cell.unlike, self.overrides.split, self.rules().selection)]
