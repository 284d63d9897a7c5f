"""A candidate of a comparison: a method with its hyper-parameters, the policies that act on it, and its settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.cards import MethodCard
from bench.cards.demands import VALIDATION, reached_demands
from bench.errors import InputError
from bench.hyper import Value
from bench.reading.syntax import split_call, split_chain
from bench.registry import Registry, unknown
from bench.spec import MethodSpec

MOST_CANDIDATES = 1000
"""How many candidates the lists of one method may span."""


SETTINGS = "settings"
"""Stands beside a method's name in a file, for settings of the protocol that are its own."""

FORMS = (
    ("gta", "a method at its defaults"),
    ("gta+transmix", "with a policy that acts on it"),
    ("{gta: {weight: 1}}", "with a hyper-parameter of its own"),
    ("{gta: {weight: [0.1, 1, 10]}}", "swept: three candidates, of which the best on the validation split counts"),
    ("{gta: {weight: [1, 10]}, transmix: {}}", "swept, with a policy"),
    ("{linear: {}, settings: {lr: [1e-3, 1e-2]}}", "with settings of the protocol that are its own, swept likewise"),
)
"""How a method may be written behind its label, by example, with what it means."""

Chosen = tuple[tuple[str, Any], ...]
"""Names with a value each."""


@dataclass(frozen=True)
class MethodEntry:
    """A method under its label, with the settings of the protocol that are its own.

    Each policy acts on what the ones before it made. ``swept`` are the values of lists that make it this candidate.
    """

    label: str
    card: MethodCard
    hyper: tuple[tuple[str, Value], ...]
    policies: tuple[tuple[MethodCard, tuple[tuple[str, Value], ...]], ...] = ()
    settings: Chosen = ()
    swept: Chosen = ()

    @property
    def parts(self) -> tuple[tuple[MethodCard, tuple[tuple[str, Value], ...]], ...]:
        """The method and its policies, each with its hyper-parameters."""
        return ((self.card, self.hyper), *self.policies)

    @property
    def needs(self) -> frozenset[str]:
        return self.card.needs.union(*(card.needs for card, _ in self.policies))

    @property
    def chooses(self) -> bool:
        """Whether its code chooses on the validation split, with these hyper-parameters."""
        return any(reached_demands(card.demands, VALIDATION, dict(hyper)) for card, hyper in self.parts)

    @property
    def spec(self) -> MethodSpec:
        policies = tuple(MethodSpec(card.name, card.means, hyper) for card, hyper in self.policies)
        return MethodSpec(self.card.name, self.card.means, self.hyper, policies)


@dataclass(frozen=True)
class MethodRow:
    """A method of a table with its candidates: one, or several of which the best one counts."""

    label: str
    candidates: tuple[MethodEntry, ...]
    place: str

    @property
    def names(self) -> set[str]:
        """What may be written for it: its label, and the name of what is trained."""
        return {self.label, *(entry.spec.full_name for entry in self.candidates)}


def read_entries(label: str, value: Any, place: str, registry: Registry) -> list[MethodEntry]:
    """A method of a file, written in one of ``FORMS``, or as many candidates as the values that are lists span.

    Raises ``InputError``: it has another form, or names what there is not.
    """
    parts = _parts(label, value, place)
    written = [(owner, name, values) for owner, settings in parts.items() for name, values in settings.items()]
    lists = [(owner, name, values) for owner, name, values in written if isinstance(values, list)]
    for _, name, values in lists:
        if not values:
            raise InputError(f"{place}: '{label}': the list of {name} is empty")
    spanned = math.prod(len(values) for _, _, values in lists)
    if spanned > MOST_CANDIDATES:
        most = f"at most {MOST_CANDIDATES:,} are allowed"
        raise InputError(f"{place}: '{label}': its lists span {spanned:,} candidates; {most}")
    names = [name for owner, settings in parts.items() for name in settings]
    entries = []
    for point in itertools.product(*(values for _, _, values in lists)):
        candidate = {owner: dict(settings) for owner, settings in parts.items()}
        marks: dict[str, Any] = {}
        for (owner, name, _), picked in zip(lists, point, strict=True):
            candidate[owner][name] = picked
            marks[f"{owner}.{name}" if names.count(name) > 1 else name] = picked
        settings = tuple(candidate.pop(SETTINGS, {}).items())
        entry = _entry(_marked(label, marks), [*candidate.items()], settings, place, registry)
        entries.append(replace(entry, swept=tuple(marks.items())))
    return entries


def _marked(label: str, values: Mapping[str, Any]) -> str:
    """The label of a candidate: with its values in the places that the label has for them, and the others behind it."""
    rest = []
    for name, value in values.items():
        if f"{{{name}}}" in label:
            label = label.replace(f"{{{name}}}", str(value))
        else:
            rest.append(f"{name}={value}")
    return f"{label} ({', '.join(rest)})" if rest else label


def _parts(label: str, value: Any, place: str) -> dict[str, dict[str, Any]]:
    """What is written for a method and each of its policies, and its settings, by name."""
    if isinstance(value, str):
        chain = _chain(value, place)
        if len({*chain}) < len(chain):
            raise InputError(f"{place}: '{label}': {max(chain, key=chain.count)} stands there twice")
        value = dict.fromkeys(chain)
    parts = {str(name): settings or {} for name, settings in value.items()} if isinstance(value, dict) else {}
    if parts.keys() <= {SETTINGS} or not all(isinstance(settings, dict) for settings in parts.values()):
        raise InputError(f"{place}: '{label}' must be a method's name, or {{name: {{hyper-parameter: value}}}}")
    return parts


def typed_entry(text: str, registry: Registry) -> MethodEntry:
    """A row of the command line: ``gta(weight=1)+transmix``. Raises ``InputError`` where it is not of that form."""
    calls = [split_call(part, "--methods") for part in _chain(text, "--methods")]
    return _entry(text, calls, (), "--methods", registry)


def _chain(text: str, place: str) -> list[str]:
    """A method and its policies as written, none of them empty."""
    parts = split_chain(text)
    if not parts or text.strip()[0] == "+" or text.strip()[-1] == "+":
        raise InputError(f"{place}: '{text}' must be a method's name, or one with policies behind it: gta+transmix")
    return parts


def _entry(
    label: str, calls: Sequence[tuple[str, Mapping[str, Any]]], settings: Chosen, place: str, registry: Registry
) -> MethodEntry:
    for name, _ in calls:
        if name not in registry.method_files:
            if meant := registry.meant(name):
                raise InputError(f"{place}: no method is called '{name}'; {meant}")
            raise InputError(f"{place}: {unknown(name, registry.method_files, 'method')}")
    cards = [registry.method(name) for name, _ in calls]
    for card in cards[1:]:
        if not card.policy:
            policies = [name for name in registry.method_files if registry.method(name).policy]
            which = ", ".join(policies) or "there is none"
            raise InputError(f"{place}: '{label}': {card.name} cannot act on another method; policies can ({which})")
    resolved = [(card, card.resolve(hyper, place)) for card, (_, hyper) in zip(cards, calls, strict=True)]
    return MethodEntry(label, *resolved[0], tuple(resolved[1:]), settings)
