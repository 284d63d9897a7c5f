"""A declared experiment: which methods, backbones, datasets, rates and seeds are compared, under which protocol."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench.cards import BackboneCard, DatasetCard, MethodCard
from bench.document import Section, parse_document
from bench.errors import InputError, Problems, choose
from bench.hyper import Value
from bench.registry import Registry
from bench.spec import AXES, Protocol, Recipe, declared

KEYS = (
    "title",
    "about",
    "methods",
    "backbones",
    "datasets",
    "rates",
    "seeds",
    "protocol",
    "vary",
    "exclude",
    "baseline",
    "table",
    "next",
)
TABLE_KEYS = ("rows", "columns", "family", "alpha", "selection")
SELECTIONS = ("last", "best-val", "best-test")
VARY = {
    "subset": ("dataset", "seed"),
    "init": ("dataset", "seed"),
    "order": ("dataset", "rate", "seed"),
}
"""Along which axes each draw changes unless an experiment says otherwise: never the method, so that rivals share it;
the subset not with the rate, so that smaller rates are parts of larger ones."""

Card = TypeVar("Card", BackboneCard, DatasetCard)


@dataclass(frozen=True)
class MethodEntry:
    """A row of the comparison: a method with its hyper-parameters, under a label."""

    label: str
    card: MethodCard
    hyper: tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Exclusion:
    """Cells to leave out: the names they match along some axes, and why."""

    where: tuple[tuple[str, tuple[str, ...]], ...]
    because: str


@dataclass(frozen=True)
class TableRules:
    """How the experiment's table is laid out and tested (see ``bench.tables.Layout``)."""

    rows: tuple[str, ...] = ("dataset", "backbone", "method")
    columns: tuple[str, ...] = ("rate",)
    family: str = "column"
    alpha: float = 0.05
    selection: str = "last"


@dataclass(frozen=True)
class Experiment:
    """Everything that is compared, resolved and checked."""

    name: str
    title: str
    about: str
    methods: tuple[MethodEntry, ...]
    backbones: tuple[BackboneCard, ...]
    datasets: tuple[DatasetCard, ...]
    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    protocol: Protocol
    vary: Mapping[str, tuple[str, ...]]
    exclusions: tuple[Exclusion, ...]
    baseline: str | None
    table: TableRules
    next: tuple[str, ...]


@dataclass(frozen=True)
class Overrides:
    """What the command line puts in the place of an experiment's own axes; empty texts change nothing.

    Attributes:
        methods: ``"ce,gta(weight=0.3)"``; a bare name has the experiment's hyper-parameters, if it has the method.
        backbones: ``"micro_vit,timm:vit_tiny_patch16_224@none"``.
        datasets: ``"digits,folder:PATH"``.
        rates: ``"15,100"``, in percent.
        seeds: how many (``"5"``), or which (``"0,1,7"``).
        settings: protocol values such as ``("steps=100", "lr=1e-4")``.
        selection: which point of the curve a table reads.
    """

    methods: str = ""
    backbones: str = ""
    datasets: str = ""
    rates: str = ""
    seeds: str = ""
    settings: Sequence[str] = field(default=())
    selection: str = ""


def read_experiment(target: str, registry: Registry, overrides: Overrides | None = None) -> Experiment:
    """A registered experiment, a paper table or a YAML file, with the command line's overrides, checked as a whole.

    Raises:
        InputError: all that is wrong, each with its place, what is allowed and the nearest valid choice.
    """
    return _Reader(registry.experiment(target), Path(target).stem, registry, overrides or Overrides()).experiment()


class _Reader:
    """Reads one experiment; problems are collected, so that all are told at once."""

    def __init__(self, text: Section, name: str, registry: Registry, overrides: Overrides) -> None:
        self.text, self.name, self.registry, self.overrides = text, name, registry, overrides
        self.problems = Problems()

    def experiment(self) -> Experiment:
        for key in self.text:
            if key not in KEYS:
                self.problems.add(f"{self.text.place(key)}: {choose(key, KEYS, 'key of an experiment')}")
        methods = self.methods()
        backbones = self.cards("backbones", self.overrides.backbones, self.registry.backbone)
        datasets = self.cards("datasets", self.overrides.datasets, self.registry.dataset)
        resolved = Experiment(
            name=self.name,
            title=str(self.text.get("title") or self.name),
            about=str(self.text.get("about") or ""),
            methods=methods,
            backbones=backbones,
            datasets=datasets,
            rates=self.rates(),
            seeds=self.seeds(),
            protocol=self.protocol(),
            vary=self.vary(),
            exclusions=self.exclusions(),
            baseline=self.baseline(methods),
            table=self.table(),
            next=tuple(str(line) for line in self.text.get("next") or ()),
        )
        self.unique("dataset", [card.title for card in datasets])
        self.unique("method", [entry.label for entry in methods])
        self.problems.stop()
        return resolved

    def methods(self) -> tuple[MethodEntry, ...]:
        entries = self.guarded(self.own_methods, [])
        if not self.overrides.methods:
            return tuple(entries)
        chosen: list[MethodEntry] = []
        for written in split_list(self.overrides.methods):
            own = [entry for entry in entries if written in (entry.card.name, entry.label)]
            chosen += own or self.guarded(lambda written=written: [self.written_method(written)], [])
        return tuple(chosen)

    def own_methods(self) -> list[MethodEntry]:
        """``methods``: a list of names, or labels with a name, or labels with {name: {hyper-parameter: value(s)}}."""
        given = self.text.get("methods")
        if isinstance(given, list):
            pairs: list[tuple[str, Any]] = [(str(name), name) for name in given]
        elif isinstance(given, dict):
            pairs = list(given.items())
        else:
            if not self.overrides.methods:
                self.problems.add(f"{self.text.place('methods')}: 'methods' must list at least one method")
            return []
        place = given.place if isinstance(given, Section) else lambda key: self.text.place("methods")
        return [entry for label, value in pairs for entry in self.guarded(lambda: self.entry(label, value, place(label)), [])]

    def entry(self, label: str, value: Any, place: str) -> list[MethodEntry]:
        if isinstance(value, str):
            return [MethodEntry(label, card := self.card(value, place), card.resolve({}, place))]
        if not (isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), (dict, type(None)))):
            raise InputError(f"{place}: '{label}' must be a method's name, or {{name: {{hyper-parameter: value}}}}")
        name, given = next(iter(value.items()))
        card = self.card(name, place)
        axes = [[(key, one) for one in (many if isinstance(many, list) else [many])] for key, many in (given or {}).items()]
        swept = [key for key, many in (given or {}).items() if isinstance(many, list)]
        entries = []
        for point in itertools.product(*axes):
            told = ", ".join(f"{key}={one}" for key, one in point if key in swept)
            entries.append(MethodEntry(f"{label} ({told})" if told else label, card, card.resolve(dict(point), place)))
        return entries

    def card(self, name: str, place: str) -> MethodCard:
        try:
            return self.registry.method(name)
        except InputError as error:
            if len(error.problems) == 1 and error.problems[0].startswith("no method"):
                raise InputError(f"{place}: {error}") from None
            raise

    def written_method(self, written: str) -> MethodEntry:
        """A method of the command line: ``name`` or ``name(hyper=value, ...)``."""
        match = re.fullmatch(r"([^()]+)(?:\((.*)\))?", written)
        if match is None:
            raise InputError(f"--methods: '{written}' is not of the form name or name(hyper-parameter=value)")
        given = dict(setting(pair, "--methods") for pair in split_list(match[2] or ""))
        card = self.card(match[1].strip(), "--methods")
        return MethodEntry(written, card, card.resolve(given, "--methods"))

    def cards(self, axis: str, written: str, find: Callable[[str], Card]) -> tuple[Card, ...]:
        names, place = split_list(written), f"--{axis}"
        if not names:
            given, place = self.text.get(axis), self.text.place(axis)
            names = [str(name) for name in given] if isinstance(given, list) else []
        if not names:
            self.problems.add(f"{place}: '{axis}' must list at least one; or give --{axis} NAME[,NAME]")
        found: dict[str, Card] = {}
        for name in names:
            try:
                found[name] = find(name)
            except InputError as error:
                self.problems.add(f"{place}: {error}")
        return tuple(found.values())

    def rates(self) -> tuple[float, ...]:
        given, place = self.list_of("rates", self.overrides.rates)
        rates = []
        for rate in given:
            if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 100:
                self.problems.add(f"{place}: the rate {rate!r} is not allowed; a rate is in percent, above 0 and up to 100")
            else:
                rates.append(float(rate))
        return tuple(dict.fromkeys(rates))

    def seeds(self) -> tuple[int, ...]:
        written = self.overrides.seeds
        if (given := self.text.get("seeds", 3)) and not isinstance(given, list):
            given = [given]
        place = "--seeds" if written else self.text.place("seeds")
        values = [plain(part) for part in split_list(written)] if written else given or []
        if not values or any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in values):
            self.problems.add(f"{place}: seeds are how many (3) or which (0,1,2), whole numbers; not {written or given!r}")
            return ()
        single = len(values) == 1 and not isinstance(self.text.get("seeds"), list) or len(values) == 1 and bool(written)
        if single and values[0] == 0:
            self.problems.add(f"{place}: at least one seed is needed")
        return tuple(range(values[0])) if single else tuple(dict.fromkeys(values))

    def protocol(self) -> Protocol:
        given = self.text.get("protocol") or Section(self.text.source, self.text.first_line)
        if not isinstance(given, Section):
            self.problems.add(f"{self.text.place('protocol')}: 'protocol' must hold settings such as steps: 300")
            return Protocol()
        written = [(key, value, given.place(key)) for key, value in given.items()]
        for text in self.overrides.settings:
            key, value = self.guarded(lambda text=text: setting(text, "--set"), ("", None))
            written = [item for item in written if (item[0], key) not in {("epochs", "steps"), ("steps", "epochs")}]
            written += [(key, value, "--set")] if key else []
        return self.guarded(lambda: protocol_of(written, self.text.place("protocol")), Protocol())

    def vary(self) -> dict[str, tuple[str, ...]]:
        vary = {purpose: tuple(axes) for purpose, axes in VARY.items()}
        for purpose, axes in (self.text.get("vary") or {}).items():
            place = self.text["vary"].place(purpose)
            if purpose not in VARY:
                self.problems.add(f"{place}: {choose(purpose, VARY, 'draw')}")
            for axis in axes if isinstance(axes, list) else [axes]:
                if axis not in AXES:
                    self.problems.add(f"{place}: {choose(str(axis), AXES, 'axis')}")
            vary[purpose] = tuple(sorted(set(map(str, axes if isinstance(axes, list) else [axes]))))
        return vary

    def exclusions(self) -> tuple[Exclusion, ...]:
        rules = []
        for rule in self.text.get("exclude") or ():
            if not isinstance(rule, Section) or not isinstance(rule.get("because"), str):
                place = rule.place() if isinstance(rule, Section) else self.text.place("exclude")
                self.problems.add(f"{place}: an exclusion names axes and a reason: {{method: gta, because: '...'}}")
                continue
            for axis in rule.keys() - {"because", "method", "backbone", "dataset", "rate"}:
                self.problems.add(f"{rule.place(axis)}: {choose(axis, AXES[:4], 'axis')}")
            where = {axis: value for axis, value in rule.items() if axis in AXES[:4]}
            names = {axis: value if isinstance(value, list) else [value] for axis, value in where.items()}
            rules.append(Exclusion(tuple((a, tuple(f"{v:g}" if a == "rate" else str(v) for v in n)) for a, n in names.items()), rule["because"]))
        return tuple(rules)

    def baseline(self, methods: Sequence[MethodEntry]) -> str | None:
        """The label to compare with; None where the command line left it out of the methods."""
        name = self.text.get("baseline")
        found = [entry.label for entry in methods if name in (entry.label, entry.card.name)]
        if name is not None and not found and not self.overrides.methods:
            labels = [entry.label for entry in methods]
            self.problems.add(f"{self.text.place('baseline')}: {choose(str(name), labels, 'method of this experiment')}")
        return found[0] if found else None

    def table(self) -> TableRules:
        given = dict(self.text.get("table") or {})
        if self.overrides.selection:
            given["selection"] = self.overrides.selection
        for key in given.keys() - set(TABLE_KEYS):
            self.problems.add(f"{self.text.place('table')}: {choose(key, TABLE_KEYS, 'key of a table')}")
        for axis in [*given.get("rows", ()), *given.get("columns", ())]:
            if axis not in AXES[:4]:
                self.problems.add(f"{self.text.place('table')}: {choose(str(axis), AXES[:4], 'axis')}")
        if given.get("selection", "last") not in SELECTIONS:
            place = "--selection" if self.overrides.selection else self.text.place("table")
            self.problems.add(f"{place}: {choose(str(given['selection']), SELECTIONS, 'selection rule')}")
        if given.get("family", "column") not in ("column", "table"):
            self.problems.add(f"{self.text.place('table')}: family is 'column' or 'table', not {given['family']!r}")
        kept = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items() if key in TABLE_KEYS}
        return TableRules(**kept)

    def list_of(self, axis: str, written: str) -> tuple[list[Any], str]:
        given, place = [plain(part) for part in split_list(written)], f"--{axis}"
        if not given:
            value, place = self.text.get(axis), self.text.place(axis)
            given = list(value) if isinstance(value, list) else [] if value is None else [value]
        if not given:
            self.problems.add(f"{place}: '{axis}' must list at least one; or give --{axis}")
        return given, place

    def unique(self, axis: str, labels: list[str]) -> None:
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            self.problems.add(f"{self.text.place(axis + 's')}: two {axis}s are called '{label}'; label one of them anew")

    def guarded(self, read: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return read()
        except InputError as error:
            self.problems.add(error)
            return otherwise


def protocol_of(written: Sequence[tuple[str, object, str]], place: str) -> Protocol:
    """A protocol from (key, value, place) in order, the last one of a key counting; the recipe's keys stand beside.

    Raises:
        InputError: an unknown key, a wrong value, or neither or both of steps and epochs.
    """
    problems = Problems()
    known = {"recipe": declared(Recipe), "protocol": declared(Protocol)}
    values: dict[str, dict[str, Any]] = {"recipe": {}, "protocol": {}}
    for key, value, where in written:
        part = next((part for part in known if key in known[part]), None)
        if part is None:
            problems.add(f"{where}: {choose(key, known['recipe'] | known['protocol'], 'protocol setting')}")
            continue
        try:
            values[part][key] = known[part][key].check(value, f"{where}: protocol")
        except InputError as error:
            problems.add(error)
    recipe = Recipe(**values["recipe"])
    if not problems.found and bool(recipe.steps) == bool(recipe.epochs):
        problems.add(f"{place}: a protocol gives either steps or epochs (such as steps: 300)")
    if recipe.steps and recipe.warmup >= recipe.steps:
        problems.add(f"{place}: the warm-up ({recipe.warmup} steps) must be shorter than the schedule ({recipe.steps})")
    problems.stop()
    return Protocol(recipe=recipe, **values["protocol"])


def setting(text: str, option: str) -> tuple[str, Value]:
    """``key=value`` as a pair. Raises ``InputError`` where it is not of that form."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{option}: '{text}' is not of the form key=value")
    return key.strip(), plain(value.strip())


def plain(text: str) -> Any:
    """A value written on the command line, as YAML reads it."""
    try:
        value = parse_document(f"value: {text}", "command line")["value"]
    except InputError:
        return text
    return value if isinstance(value, (bool, int, float, str, list)) or value is None else text


def split_list(text: str) -> list[str]:
    """``a, b(c, d)`` as ``["a", "b(c, d)"]``: commas inside parentheses do not split."""
    parts = re.split(r",(?![^()]*\))", text)
    return [part.strip() for part in parts if part.strip()]
