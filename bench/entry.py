"""A row of a comparison: a method with its hyper-parameters, and the policies that act on it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cards import MethodCard
from bench.errors import InputError, choose
from bench.hyper import Value
from bench.registry import Registry
from bench.spec import MethodSpec
from bench.syntax import split_call, split_chain

MOST_ROWS = 1000
"""Into how many rows the lists of hyper-parameters of one row may span."""


@dataclass(frozen=True)
class MethodEntry:
    """A row under its label; each policy acts on what the ones before it made."""

    label: str
    card: MethodCard
    hyper: tuple[tuple[str, Value], ...]
    policies: tuple[tuple[MethodCard, tuple[tuple[str, Value], ...]], ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """What the method and its policies need of a backbone."""
        return self.card.needs.union(*(card.needs for card, _ in self.policies))

    @property
    def spec(self) -> MethodSpec:
        """What a run's spec keeps of the row."""
        policies = tuple(MethodSpec(card.name, card.means, hyper) for card, hyper in self.policies)
        return MethodSpec(self.card.name, self.card.means, self.hyper, policies)


def read_entries(label: str, value: Any, place: str, registry: Registry) -> list[MethodEntry]:
    """A row of an experiment, or as many as the hyper-parameters that are lists span.

    Args:
        label: what tables call it.
        value: ``gta``, ``gta+transmix``, ``{gta: {weight: 1}}`` or ``{gta: {weight: [1, 10]}, transmix: {}}``.
        place: where it is written.
        registry: the methods there are.

    Raises:
        InputError: it has another form, or names what there is not.
    """
    if isinstance(value, str):
        chain = _chain(value, place)
        value = {name: {} for name in chain}
        if len(value) < len(chain):
            raise InputError(f"{place}: '{label}': {max(chain, key=chain.count)} stands there twice")
    parts = {name: given or {} for name, given in value.items()} if isinstance(value, dict) else {}
    if not parts or not all(isinstance(given, dict) for given in parts.values()):
        raise InputError(f"{place}: '{label}' must be a method's name, or {{name: {{hyper-parameter: value}}}}")
    axes = [((part, name), values) for part, given in parts.items() for name, values in given.items()]
    swept = [key for key, values in axes if isinstance(values, list)]
    for key, values in axes:
        if values == []:
            raise InputError(f"{place}: '{label}': the list of {key[1]} is empty")
    spanned = math.prod(len(values) for _, values in axes if isinstance(values, list))
    if spanned > MOST_ROWS:
        raise InputError(f"{place}: '{label}': its lists span {spanned:,} rows; at most {MOST_ROWS:,} are allowed")
    found = []
    for point in itertools.product(*([(key, one) for one in (v if key in swept else [v])] for key, v in axes)):
        told = ", ".join(f"{key[1]}={one}" for key, one in point if key in swept)
        chosen = [(part, {key[1]: one for key, one in point if key[0] == part}) for part in parts]
        found.append(_entry(f"{label} ({told})" if told else label, chosen, place, registry))
    return found


def typed_entry(written: str, registry: Registry) -> MethodEntry:
    """A row of the command line: ``gta(weight=1)+transmix``. Raises ``InputError`` where it is not of that form."""
    chosen = [split_call(part, "--methods") for part in _chain(written, "--methods")]
    return _entry(written, chosen, "--methods", registry)


def _chain(written: str, place: str) -> list[str]:
    """A method and its policies as written, none of them empty."""
    parts = split_chain(written)
    if not parts or written.strip()[0] == "+" or written.strip()[-1] == "+":
        raise InputError(f"{place}: '{written}' must be a method's name, or one with policies behind it: gta+transmix")
    return parts


def _entry(label: str, chosen: Sequence[tuple[str, Mapping[str, Any]]], place: str, registry: Registry) -> MethodEntry:
    cards = [_card(name, place, registry) for name, _ in chosen]
    resolved = [(card, card.resolve(given, place)) for card, (_, given) in zip(cards, chosen, strict=True)]
    for card in cards[1:]:
        if not card.policy:
            told = ", ".join(name for name in registry.method_files if registry.method(name).policy) or "there is none"
            raise InputError(f"{place}: '{label}': {card.name} cannot act on another method; policies can ({told})")
    return MethodEntry(label, *resolved[0], tuple(resolved[1:]))


def _card(name: str, place: str, registry: Registry) -> MethodCard:
    if name not in registry.method_files:
        raise InputError(f"{place}: {choose(name, registry.method_files, 'method')}")
    return registry.method(name)
