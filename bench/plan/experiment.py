"""A declared experiment: which methods, backbones, datasets, rates and seeds are compared, under which protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.cards import BackboneCard, DatasetCard
from bench.document import Section
from bench.entry import MethodEntry, read_entries, typed_entry
from bench.errors import InputError, Problems, choose
from bench.plan.overrides import Overrides
from bench.protocol import RIVALS, Protocol, read_protocol
from bench.registry import Registry
from bench.rules import ACROSS, FAMILIES, MOST_SEEDS, SELECTIONS, SPLITS, TESTS
from bench.spec import AXES, digest, percent
from bench.syntax import read_value, split_list, split_setting

__all__ = ["Experiment", "Overrides", "read_experiment"]

VARY = {
    "subset": ("dataset", "seed"),
    "init": ("dataset", "seed"),
    "order": ("dataset", "rate", "seed"),
}
"""Along which axes each draw changes unless an experiment says otherwise: never the method, so that rivals share it;
the subset not with the rate, so that smaller rates are parts of larger ones."""

_KEYS: dict[str, tuple[type, ...]] = {
    "title": (str,),
    "about": (str,),
    "methods": (list, dict),
    "backbones": (list, str),
    "datasets": (list, str),
    "rates": (list, int, float),
    "seeds": (list, int),
    "protocol": (dict,),
    "vary": (dict,),
    "exclude": (list,),
    "baseline": (str,),
    "table": (dict,),
    "next": (list,),
}
_TABLE_KEYS = ("rows", "columns", "family", "alpha", "selection", "split", "test", "across")
_CHOICES = {
    "selection": SELECTIONS,
    "split": SPLITS,
    "family": FAMILIES,
    "test": TESTS,
    "across": ACROSS,
}
_CELL_AXES = AXES[:4]

T = TypeVar("T")


@dataclass(frozen=True)
class Exclusion:
    """Cells to leave out: the names they match along some axes, and why."""

    where: tuple[tuple[str, tuple[str, ...]], ...]
    because: str
    place: str


@dataclass(frozen=True)
class TableRules:
    """How the experiment's table is laid out and tested (see ``bench.tables.Layout``)."""

    rows: tuple[str, ...] = ("dataset", "backbone", "method")
    columns: tuple[str, ...] = ("rate",)
    family: str = "column"
    alpha: float = 0.05
    selection: str = "last"
    split: str = "test"
    test: str = "welch"
    across: str = ""


@dataclass(frozen=True)
class Experiment:
    """Everything that is compared, resolved and checked.

    ``baseline`` is the label of a method; ``variant`` names what the command line changed (``demo-1f3a5c``), so that
    its tables do not take the place of those of the experiment as declared.
    """

    name: str
    variant: str
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

    @property
    def shared(self) -> tuple[str, ...]:
        """The draws that the methods' runs of one seed share and those of two seeds do not: what makes them pairs."""
        return tuple(draw for draw, axes in self.vary.items() if "seed" in axes and "method" not in axes)

    def names(self, axis: str) -> set[str]:
        """What may be written for the values along an axis: names and labels."""
        return {
            "method": {name for entry in self.methods for name in (entry.label, entry.spec.full_name)},
            "backbone": {card.name for card in self.backbones},
            "dataset": {name for card in self.datasets for name in (card.name, card.title)},
            "rate": {percent(rate) for rate in self.rates},
        }[axis]


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
        _ = self.registry.method_files  # a name that is taken twice is told first: everything else would follow from it
        self.check_keys()
        methods = self.methods()
        resolved = Experiment(
            name=self.name,
            variant=self.name + (f"-{digest(self.changes())[:6]}" if self.overrides != Overrides() else ""),
            title=str(self.text.get("title") or self.name),
            about=str(self.text.get("about") or ""),
            methods=methods,
            backbones=self.cards("backbones", self.registry.backbone),
            datasets=self.cards("datasets", self.registry.dataset),
            rates=self.rates(),
            seeds=self.seeds(),
            protocol=self.guard(self.protocol, Protocol()),
            vary=self.vary(),
            exclusions=self.exclusions(),
            baseline=self.baseline(methods),
            table=self.table(),
            next=tuple(str(line) for line in self.text.get("next") or ()),
        )
        self.refuse_twins("datasets", [card.title for card in resolved.datasets])
        self.refuse_strangers(resolved)
        self.refuse_pairs(resolved)
        self.refuse_twins("methods", [entry.label for entry in methods])
        self.problems.stop()
        return resolved

    def changes(self) -> dict[str, Any]:
        """What the command line changed; an override that is added later leaves the names of old variants alone."""
        later = ("test", "across")
        return {key: value for key, value in asdict(self.overrides).items() if value or key not in later}

    def check_keys(self) -> None:
        """Unknown keys are told; a key of the wrong form is told and then read as if it were not there."""
        nouns = {str: "a text", list: "a list", dict: "a mapping", int: "a whole number", float: "a number"}
        for key, value in list(self.text.items()):
            if key not in _KEYS:
                self.say(key, choose(key, _KEYS, "key of an experiment"))
            elif not isinstance(value, _KEYS[key]):
                self.say(key, f"'{key}' must be {' or '.join(nouns[form] for form in _KEYS[key])}, not {value!r}")
                del self.text[key]

    def methods(self) -> tuple[MethodEntry, ...]:
        own = self.own_methods()
        if not self.overrides.methods:
            return tuple(own)
        chosen: list[MethodEntry] = []
        for written in dict.fromkeys(self.typed("methods")):
            same = [entry for entry in own if written in (entry.spec.full_name, entry.label)]
            chosen += same or self.guard(lambda written=written: [typed_entry(written, self.registry)], [])  # type: ignore[misc]
        return tuple(chosen)

    def own_methods(self) -> list[MethodEntry]:
        """``methods``: a list of names, or labels with a name, or labels with {name: {hyper-parameter: value(s)}}."""
        given = self.text.get("methods")
        pairs = [(name, name) for name in given] if isinstance(given, list) else list((given or {}).items())
        if not pairs and not self.overrides.methods:
            self.say("methods", "'methods' must list at least one method")
        entries: list[MethodEntry] = []
        for label, value in pairs:
            place = given.place(label) if isinstance(given, Section) else self.text.place("methods")
            try:
                if isinstance(label, dict):
                    raise InputError(f"{place}: a list of methods holds names; 'LABEL: {{name: {{...}}}}' has settings")
                entries += read_entries(str(label), value, place, self.registry)
            except InputError as error:
                self.problems.add(error)
        return entries

    def cards(self, axis: str, find: Callable[[str], T]) -> tuple[T, ...]:
        names, place = self.listed(axis, self.typed(axis))
        found: dict[str, T] = {}
        for name in map(str, names):
            try:
                found[name] = find(name)
            except InputError as error:
                self.problems.add(f"{place}: {error}")
        return tuple(found.values())

    def rates(self) -> tuple[float, ...]:
        given, place = self.listed("rates", [read_value(part) for part in self.typed("rates")])
        wrong = [rate for rate in given if type(rate) not in (int, float) or not 0 < rate <= 100]
        for rate in wrong:
            self.problems.add(f"{place}: the rate {rate} is not allowed; it is in percent, above 0 and up to 100")
        return tuple(dict.fromkeys(float(rate) for rate in given if rate not in wrong))

    def seeds(self) -> tuple[int, ...]:
        """How many (one number), or which (a list)."""
        values, place = [read_value(part) for part in self.typed("seeds")], "--seeds"
        if self.overrides.seeds and not values:
            return ()
        if not self.overrides.seeds:
            values, place = self.text.get("seeds", 3), self.text.place("seeds")
        count = values[0] if self.overrides.seeds and len(values) == 1 else values
        which = count if isinstance(count, list) else range(count) if type(count) is int and count <= MOST_SEEDS else ()
        if not which or any(type(seed) is not int or not 0 <= seed < 2**31 for seed in which):
            most = f" (at most {MOST_SEEDS})" if type(count) is int and count > MOST_SEEDS else ""
            told = self.overrides.seeds or values
            self.problems.add(f"{place}: seeds are how many (3) or which (0,1,2), not {told}{most}")
            return ()
        return tuple(dict.fromkeys(which))

    def protocol(self) -> Protocol:
        given, place = self.section("protocol"), self.text.place("protocol")
        written: list[tuple[str, object, str]] = [(key, value, given.place(key)) for key, value in given.items()]
        for text in self.overrides.settings:
            place = "--set"
            key, value = self.guard(lambda text=text: split_setting(text, "--set"), ("", None))  # type: ignore[misc]
            written = [item for item in written if item[0] != RIVALS.get(key) or item[2] == "--set"]
            written += [(key, value, "--set")] if key else []
        return read_protocol(written, place)

    def vary(self) -> dict[str, tuple[str, ...]]:
        given = self.section("vary")
        for purpose, axes in given.items():
            if purpose not in VARY:
                self.problems.add(f"{given.place(purpose)}: {choose(purpose, VARY, 'draw')}")
            self.check_axes(axes, AXES, given.place(purpose))
        return VARY | {purpose: tuple(axes) for purpose, axes in given.items() if isinstance(axes, list)}

    def exclusions(self) -> tuple[Exclusion, ...]:
        rules = []
        for rule in self.text.get("exclude") or ():
            if not isinstance(rule, Section) or not isinstance(rule.get("because"), str) or len(rule) < 2:
                place = rule.place() if isinstance(rule, Section) else self.text.place("exclude")
                self.problems.add(f"{place}: an exclusion names axes and a reason: {{method: gta, because: '...'}}")
                continue
            where = {axis: value if isinstance(value, list) else [value] for axis, value in rule.items()}
            del where["because"]
            self.check_axes(list(where), _CELL_AXES, rule.place())
            names = tuple((axis, tuple(_written(name) for name in values)) for axis, values in where.items())
            rules.append(Exclusion(names, rule["because"], rule.place()))
        return tuple(rules)

    def refuse_strangers(self, resolved: Experiment) -> None:
        """An exclusion that names nothing of the experiment would silently leave out nothing."""
        if self.problems.found or self.overrides != Overrides():
            return
        for rule in resolved.exclusions:
            for axis, names in rule.where:
                known = resolved.names(axis)
                for name in names:
                    if name not in known:
                        self.problems.add(f"{rule.place}: {choose(name, known, f'{axis} of this experiment')}")

    def refuse_pairs(self, resolved: Experiment) -> None:
        """A paired test needs runs of one seed that share something on purpose."""
        if resolved.table.test == "paired" and not resolved.shared:
            place = "--test" if self.overrides.test else self.section("table").place("test")
            self.problems.add(
                f"{place}: a paired test is for runs of one seed that share something, and here subset, init and order "
                "all change with the method or not with the seed ('vary'); take welch or permutation"
            )

    def baseline(self, methods: Sequence[MethodEntry]) -> str | None:
        """The label to compare with; None where the command line left it out of the methods."""
        name = self.text.get("baseline")
        found = [entry.label for entry in methods if name in (entry.label, entry.spec.full_name)]
        if name is not None and not found and not self.overrides.methods:
            self.say("baseline", choose(str(name), [entry.label for entry in methods], "method of this experiment"))
        return found[0] if found else None

    def table(self) -> TableRules:
        given: dict[str, Any] = dict(self.section("table"))
        places = dict.fromkeys([*given, *_TABLE_KEYS], self.text.place("table"))
        for key in ("selection", "split", "test", "across"):
            if written := getattr(self.overrides, key):
                given[key], places[key] = written, f"--{key}"
        for key in given:
            if key not in _TABLE_KEYS:
                self.problems.add(f"{places[key]}: {choose(key, _TABLE_KEYS, 'key of a table')}")
        for key, choices in _CHOICES.items():
            if key in given and given[key] not in choices:
                self.problems.add(f"{places[key]}: {choose(str(given[key]), choices, key)}")
        alpha = given.get("alpha", 0.05)
        if not isinstance(alpha, float) or not 0 < alpha < 1:
            self.problems.add(f"{places['alpha']}: alpha = {alpha} is not allowed; it must be a number between 0 and 1")
        for key in given.keys() & {"rows", "columns"}:
            self.check_axes(given[key], _CELL_AXES, places[key])
        laid = [given.get("rows", TableRules.rows), given.get("columns", TableRules.columns)]
        axes = [str(axis) for part in laid if isinstance(part, (list, tuple)) for axis in part]
        if sorted(axes) != sorted(_CELL_AXES):
            told = ", ".join(_CELL_AXES)
            self.problems.add(f"{places['rows']}: rows and columns together must name each of {told} once")
        kept: dict[str, Any] = {}
        for key in given.keys() & set(_TABLE_KEYS):
            kept[key] = tuple(given[key]) if isinstance(given[key], list) else given[key]
        return TableRules(**kept)

    def listed(self, axis: str, written: list[Any]) -> tuple[list[Any], str]:
        """The values along an axis, the command line's if it has some, and where they stand."""
        if written:
            return written, f"--{axis}"
        value = self.text.get(axis)
        given = value if isinstance(value, list) else [] if value is None else [value]
        if not given:
            self.say(axis, f"'{axis}' must list at least one; or give --{axis}")
        return given, self.text.place(axis)

    def section(self, key: str) -> Section:
        """The mapping under a key, empty where there is none."""
        value = self.text.get(key)
        return value if isinstance(value, Section) else Section(self.text.source, self.text.first_line)

    def typed(self, axis: str) -> list[str]:
        """What the command line lists for an axis."""
        written = str(getattr(self.overrides, axis))
        if written and not split_list(written):
            self.problems.add(f"--{axis}: '{written}' lists nothing")
        return split_list(written)

    def check_axes(self, axes: Any, allowed: Sequence[str], place: str) -> None:
        if not isinstance(axes, list):
            self.problems.add(f"{place}: a list of axes is needed, such as [{allowed[-1]}]")
        for axis in axes if isinstance(axes, list) else ():
            if axis not in allowed:
                self.problems.add(f"{place}: {choose(str(axis), allowed, 'axis')}")

    def refuse_twins(self, axis: str, labels: list[str]) -> None:
        place = f"--{axis}" if getattr(self.overrides, axis) else self.text.place(axis)
        for label in sorted({label for label in labels if labels.count(label) > 1}):
            self.problems.add(f"{place}: two of the {axis} are called '{label}'")

    def guard(self, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except InputError as error:
            self.problems.add(error)
            return otherwise

    def say(self, key: str, problem: str) -> None:
        self.problems.add(f"{self.text.place(key)}: {problem}")


def _written(name: object) -> str:
    """A name or rate of an exclusion as cells have it."""
    return percent(name) if isinstance(name, (int, float)) else str(name)
