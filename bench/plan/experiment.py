"""A declared experiment: which methods, backbones, datasets, rates and seeds are compared, under which protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from bench.cards import BackboneCard, DatasetCard
from bench.cards.dataset import FOLDER
from bench.cards.folder import told_apart
from bench.cards.names import comma_hint, split_names
from bench.entry import Chosen, MethodRow, read_entries, typed_entry
from bench.errors import InputError, Problems, choose
from bench.metrics import Metric
from bench.plan.averages import Average, read_averages
from bench.plan.every import ALL, every_method, stands_for_all
from bench.plan.experiment_keys import CELL_AXES, KEYS, ROWS, TABLE_KEYS
from bench.plan.further import of_dataset, refuse_elsewhere
from bench.plan.overrides import Overrides, find_at, read_margin, read_seeds
from bench.plan.presets import PRESET, layered, parted
from bench.plan.settings import noted, refuse_unplain, section_of, typed_layer, untyped
from bench.plan.table import TableRules
from bench.protocol import Protocol, read_protocol
from bench.rate import Rate, rate_label, read_rate, refuse_shares
from bench.reading.document import Section
from bench.reading.keys import check_keys
from bench.reading.syntax import split_list
from bench.records.kept import NOTHING, Keep, read_keep
from bench.registry import Registry
from bench.rules import PAIRED
from bench.spec import AXES

VARY = {"subset": ("dataset", "seed"), "init": ("dataset", "seed"), "order": ("dataset", "rate", "seed")}
"""Along which axes each draw changes unless an experiment says otherwise: never the method, so that rivals share it;
the subset not with the rate, so that smaller rates are parts of larger ones."""

T = TypeVar("T")


@dataclass(frozen=True)
class Exclusion:
    """Cells to leave out: the names they match along some axes, and why."""

    where: tuple[tuple[str, tuple[str, ...]], ...]
    because: str
    place: str


@dataclass(frozen=True)
class Experiment:
    """Everything that is compared, resolved and checked.

    ``baseline`` is the label of a method, empty for none; ``metrics`` are by the name of the dataset; ``protocols`` are
    by the settings that rows have for themselves, none of which is the protocol of all others.
    """

    name: str
    title: str
    methods: tuple[MethodRow, ...]
    backbones: tuple[BackboneCard, ...]
    datasets: tuple[DatasetCard, ...]
    rates: tuple[Rate, ...]
    seeds: tuple[int, ...]
    protocols: Mapping[Chosen, Protocol]
    vary: Mapping[str, tuple[str, ...]]
    exclusions: tuple[Exclusion, ...]
    baseline: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: Mapping[str, Metric]
    averages: tuple[Average, ...]
    rules: TableRules
    changes: str
    keep: Keep
    next: tuple[str, ...]

    @property
    def shares_draws(self) -> bool:
        """Whether the methods' runs of one seed share a draw that those of two seeds do not: they are pairs."""
        return any("seed" in axes and "method" not in axes for axes in self.vary.values())

    def names(self, axis: str) -> set[str]:
        return {
            "method": {name for row in self.methods for name in row.names},
            "backbone": {card.name for card in self.backbones},
            "dataset": {name for card in self.datasets for name in (card.name, card.without_further, card.title)},
            "rate": {rate_label(rate) for rate in self.rates},
        }[axis]


def read_experiment(target: str, registry: Registry, overrides: Overrides | None = None) -> Experiment:
    """A registered experiment or a YAML file, with the command line's overrides, checked as a whole.

    Raises ``InputError``: all that is wrong, each with its place, what is allowed and the nearest valid choice.
    """
    return _Reader(registry.experiment(target), Path(target).stem, registry, overrides or Overrides()).experiment()


class _Reader:
    """Reads one experiment; problems are collected, so that all are told at once."""

    def __init__(self, text: Section, name: str, registry: Registry, overrides: Overrides) -> None:
        self.text, self.name, self.registry, self.overrides = text, name, registry, overrides
        self.problems = Problems()

    def experiment(self) -> Experiment:
        _ = self.registry.method_files  # a name that is taken twice is told first: everything else would follow from it
        check_keys(self.text, KEYS, "key of an experiment", self.problems)
        with noted(self.problems):
            self.overrides.check(self.registry.metrics)
        layout = section_of(self.text, "table")
        check_keys(layout, TABLE_KEYS, "key of a table", self.problems)
        methods = self.methods()
        rows, columns = self.layout(layout)
        datasets = told_apart(self.datasets())
        metrics = self.metrics(layout, datasets, methods)
        experiment = Experiment(
            name=self.name,
            title=str(self.text.get("title") or self.name),
            methods=methods,
            backbones=self.cards("backbones", self.registry.backbone),
            datasets=datasets,
            rates=self.rates(),
            seeds=self.seeds(),
            protocols=self.protocols(methods),
            vary=self.vary(),
            exclusions=self.exclusions(),
            baseline=self.baseline(methods),
            rows=rows,
            columns=columns,
            metrics=metrics,
            averages=read_averages(layout, datasets, metrics, bool(self.overrides.datasets), self.problems),
            rules=self.rules(layout),
            changes=self.overrides.changes,
            keep=self.keep(),
            next=tuple(str(line) for line in self.text.get("next") or ()),
        )
        self.refuse_twins("datasets", [card.title for card in datasets])
        self.refuse_strangers(experiment)
        self.refuse_pairs(experiment, layout)
        self.refuse_twins("methods", [row.label for row in methods])
        self.problems.stop()
        return experiment

    def methods(self) -> tuple[MethodRow, ...]:
        declared = self.declared_methods()
        if not self.overrides.methods:
            return tuple(declared)
        rows: list[MethodRow] = []
        for written in dict.fromkeys(split_list(self.overrides.methods)):
            with noted(self.problems):
                self.refuse_other_case(written, declared)
                rows += [row for row in declared if written in row.names] or [
                    MethodRow(written, (typed_entry(written, self.registry),), "--methods")
                ]
        return tuple(rows)

    def refuse_other_case(self, written: str, declared: Sequence[MethodRow]) -> None:
        meant = {row.label.lower(): row.label for row in declared}.get(written.lower(), written)
        if written != meant and written not in self.registry.method_files:
            raise InputError(f"--methods: no method is called '{written}'; did you mean '{meant}'?")

    def declared_methods(self) -> list[MethodRow]:
        """``methods``: ``all``, names, or labels with a name or with {name: {hyper-parameter: value(s)}}."""
        methods = self.text.get("methods")
        if isinstance(methods, str) and methods != ALL:
            self.problems.add(f"{self.text.place('methods')}: 'methods' must be a list or a mapping, or all")
            return []
        pairs = list(methods.items()) if isinstance(methods, dict) else [(name, name) for name in as_list(methods)]
        if not pairs and not self.overrides.methods:
            self.problems.add(f"{self.text.place('methods')}: 'methods' must list at least one method")
        rows, rest, at = list[MethodRow](), None, 0
        for label, value in pairs:
            place = methods.place(label) if isinstance(methods, Section) else self.text.place("methods")
            if stands_for_all(label, value) and not isinstance(methods, list):
                rest, at = (value, place), len(rows)
            else:
                rows += self.method_rows(label, value, place)
        if rest:
            value, place = rest
            with noted(self.problems):
                every = list(every_method(self.registry, value, rows, place))
                rows[at:at] = [row for label, value in every for row in self.method_rows(label, value, place)]
        return rows

    def method_rows(self, label: object, value: object, place: str) -> list[MethodRow]:
        """The row of a label, or of each of its candidates; none where it is wrong, which is noted."""
        with noted(self.problems):
            if isinstance(label, dict):
                raise InputError(f"{place}: a list of methods holds names; 'LABEL: {{name: {{...}}}}' has settings")
            written = untyped(value, typed_layer(self.overrides.settings, Problems()))
            entries = refuse_unplain(read_entries(str(label), written, place, self.registry), place)
            if self.text.get("sweep") == ROWS:
                return [MethodRow(entry.label, (entry,), place) for entry in entries]
            return [MethodRow(str(label), tuple(entries), place)]
        return []

    def datasets(self) -> tuple[DatasetCard, ...]:
        cards = self.cards("datasets", lambda name: self.overrides.dataset(name, self.registry))
        if self.overrides.skip_damaged and cards and not any(card.reader == FOLDER for card in cards):
            self.problems.add("--skip-damaged: none of the datasets is a folder of images")
        return cards

    def cards(self, axis: str, find: Callable[[str], T]) -> tuple[T, ...]:
        typed = getattr(self.overrides, axis)
        names, place = self.listed(axis, split_names(typed))
        cards: dict[str, T] = {}
        for name in map(str, names):
            try:
                cards[name] = find(name)
            except InputError as error:
                self.problems.add(f"{place}: {error}{comma_hint(name, typed)}")
        return tuple(cards.values())

    def rates(self) -> tuple[Rate, ...]:
        typed: tuple[Rate, ...] = ()
        with noted(self.problems):
            typed = self.overrides.typed_rates()
        written, place = self.listed("rates", list(typed))
        if not typed:
            with noted(self.problems):
                refuse_shares(written, place)
        rates: list[Rate] = []
        for rate in written:
            with noted(self.problems):
                rates.append(read_rate(rate, place))
        return tuple(dict.fromkeys(rates))

    def seeds(self) -> tuple[int, ...]:
        with noted(self.problems):
            return self.overrides.typed_seeds() or read_seeds(self.text.get("seeds", 3), self.text.place("seeds"))
        return ()

    def protocols(self, methods: Sequence[MethodRow]) -> dict[Chosen, Protocol]:
        """The protocol of all rows, and that of each candidate with settings of its own."""
        section, preset = section_of(self.text, "protocol"), self.text.get("protocol")
        declared = {key: (value, section.place(key)) for key, value in section.items()}
        if isinstance(preset, str):
            declared = {PRESET: (preset, self.text.place("protocol"))}
        typed = typed_layer(self.overrides.settings, self.problems)
        places: dict[Chosen, str] = {(): "--set" if typed else self.text.place("protocol")}
        for row in methods:
            places |= {entry.settings: row.place for entry in row.candidates if entry.settings}
        protocols: dict[Chosen, Protocol] = {}
        with noted(self.problems):
            lowest, highest = parted(declared, self.registry), parted(typed, self.registry)
            for settings, row_place in places.items():
                with noted(self.problems):
                    of_row = parted({key: (value, row_place) for key, value in settings}, self.registry)
                    protocols[settings] = read_protocol(layered(lowest, of_row, highest), places[()])
        return protocols

    def vary(self) -> dict[str, tuple[str, ...]]:
        section = section_of(self.text, "vary")
        for purpose, axes in section.items():
            if purpose not in VARY:
                self.problems.add(f"{section.place(purpose)}: {choose(purpose, VARY, 'draw')}")
            self.check_axes(axes, AXES, section.place(purpose))
        return VARY | {purpose: tuple(axes) for purpose, axes in section.items() if isinstance(axes, list)}

    def exclusions(self) -> tuple[Exclusion, ...]:
        rules = []
        for rule in self.text.get("exclude") or ():
            if not isinstance(rule, Section) or not isinstance(rule.get("because"), str) or len(rule) < 2:
                place = rule.place() if isinstance(rule, Section) else self.text.place("exclude")
                self.problems.add(f"{place}: an exclusion names axes and a reason: {{method: gta, because: '...'}}")
                continue
            axes = [axis for axis in rule if axis != "because"]
            self.check_axes(axes, CELL_AXES, rule.place())
            listed = [rule[axis] if isinstance(rule[axis], list) else [rule[axis]] for axis in axes]
            names = [
                tuple(_as_in_cells(name, axis) for name in values) for axis, values in zip(axes, listed, strict=True)
            ]
            rules.append(Exclusion(tuple(zip(axes, names, strict=True)), rule["because"], rule.place()))
        return tuple(rules)

    def refuse_strangers(self, experiment: Experiment) -> None:
        """An exclusion that names nothing of the experiment would silently leave out nothing."""
        if self.problems.found or self.overrides != Overrides():
            return
        for rule in experiment.exclusions:
            for axis, names in rule.where:
                allowed = experiment.names(axis)
                for name in names:
                    if name not in allowed:
                        self.problems.add(f"{rule.place}: {choose(name, allowed, f'{axis} of this experiment')}")

    def refuse_pairs(self, experiment: Experiment, layout: Section) -> None:
        """A paired test needs runs of one seed that share something on purpose."""
        if experiment.rules.test in PAIRED and not experiment.shares_draws:
            place = "--test" if self.overrides.test else layout.place("test")
            self.problems.add(
                f"{place}: a paired test is for runs of one seed that share something, and here subset, init and order "
                "all change with the method or not with the seed ('vary'); take welch or permutation"
            )

    def baseline(self, methods: Sequence[MethodRow]) -> str:
        """The label to compare with; empty where the command line left it out of the methods."""
        name = self.text.get("baseline")
        labels = [row.label for row in methods if name in row.names]
        if name is not None and not labels and not self.overrides.methods:
            problem = choose(str(name), [row.label for row in methods], "method of this experiment")
            self.problems.add(f"{self.text.place('baseline')}: {problem}")
        return labels[0] if labels else ""

    def keep(self) -> Keep:
        with noted(self.problems):
            return read_keep(str(self.text.get("keep", "none")), self.text.place("keep"))
        return NOTHING

    def layout(self, layout: Section) -> tuple[tuple[str, ...], tuple[str, ...]]:
        axes = {"rows": ["dataset", "backbone", "method"], "columns": ["rate"]}
        for key in axes:
            if key in layout:
                axes[key] = [str(axis) for axis in layout[key]]
                self.check_axes(layout[key], CELL_AXES, layout.place(key))
        if sorted(axes["rows"] + axes["columns"]) != sorted(CELL_AXES):
            place = layout.place("rows") if "rows" in layout else self.text.place("table")
            self.problems.add(f"{place}: rows and columns together must name each of {', '.join(CELL_AXES)} once")
        return tuple(axes["rows"]), tuple(axes["columns"])

    def metrics(
        self, layout: Section, datasets: Sequence[DatasetCard], methods: Sequence[MethodRow]
    ) -> dict[str, Metric]:
        """What is shown of each dataset: what is typed, or else written, or else usual for it."""
        metrics, place = dict[str, Metric](), ""
        for card in datasets:
            name, place = card.metric, card.name
            if self.overrides.metric:
                name, place = self.overrides.metric, "--metric"
            elif layout.get("metric"):
                name, place = layout["metric"], layout.place("metric")
            with noted(self.problems):
                metrics[card.name] = of_dataset(find_at(name, self.registry.metrics, place), card)
        tasks = {card.task for card in datasets}
        asked = next(iter(metrics.values()), None)
        names = {entry.spec.names for row in methods for entry in row.candidates}
        with noted(self.problems):
            split = self.overrides.split or str(layout.get("split", "test"))
            refuse_elsewhere(asked, datasets, names, self.registry, place, split)
        if asked is not None and asked.compute and asked.task not in tasks:
            theirs = (each.name for each in self.registry.metrics.values() if each.compute and each.task in tasks)
            allowed = f"the datasets are for {', '.join(sorted(tasks))}, which has {', '.join(theirs)}"
            self.problems.add(f"{place}: {asked.name} is of {asked.task}, and {allowed}")
        return metrics

    def rules(self, layout: Section) -> TableRules:
        alpha = layout.get("alpha", 0.05)
        if not 0 < alpha < 1:
            place = layout.place("alpha")
            self.problems.add(f"{place}: alpha = {alpha} is not allowed; it must be a number between 0 and 1")
        if "margin" in layout:
            with noted(self.problems):
                read_margin(layout["margin"], layout.place("margin"))
        typed: dict[str, Any] = {}
        with noted(self.problems):
            typed = self.overrides.rules
        rules = {"sweep": self.text.get("sweep", ROWS), **layout, **typed}
        if rules["sweep"] == ROWS:
            del rules["sweep"]
        return TableRules(**{field.name: rules[field.name] for field in fields(TableRules) if field.name in rules})

    def listed(self, axis: str, typed: list[Any]) -> tuple[list[Any], str]:
        """The values along an axis, the command line's if it has some, and where they stand."""
        if getattr(self.overrides, axis):
            return typed, f"--{axis}"
        values, place = as_list(self.text.get(axis, [])), self.text.place(axis)
        if not values:
            example = ", such as --datasets folder:PATH" if axis == "datasets" else ""
            self.problems.add(f"{place}: '{axis}' must list at least one; or give --{axis}{example}")
        return values, place

    def check_axes(self, axes: Any, allowed: Sequence[str], place: str) -> None:
        if not isinstance(axes, list):
            self.problems.add(f"{place}: a list of axes is needed, such as [{allowed[-1]}]")
            return
        for axis in axes:
            if axis not in allowed:
                self.problems.add(f"{place}: {choose(str(axis), allowed, 'axis')}")

    def refuse_twins(self, axis: str, labels: list[str]) -> None:
        place = f"--{axis}" if getattr(self.overrides, axis) else self.text.place(axis)
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            self.problems.add(f"{place}: two of the {axis} are called '{label}'")


def as_list(value: object) -> list[Any]:
    """What is listed, one thing alone as a list of it; none where there is nothing."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _as_in_cells(name: object, axis: str) -> str:
    """A name or rate of an exclusion as cells have it."""
    if axis == "rate":
        with contextlib.suppress(InputError):  # whatever is none is told as a stranger
            return rate_label(read_rate(name, ""))
    return str(name)
