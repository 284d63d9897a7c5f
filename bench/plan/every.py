"""``all`` among an experiment's methods: every method found, so that one whose file is added is compared too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bench.entry import SETTINGS, MethodRow
from bench.errors import InputError
from bench.registry import Registry

ALL = "all"
PLAIN = "ce"
"""What policies act on where nobody says on what: fine-tuning with cross-entropy alone."""


def stands_for_all(label: object, value: object) -> bool:
    """Whether an entry of ``methods`` is for every method: ``all`` alone, or with settings and no name."""
    has_no_name = value in (None, ALL) or (isinstance(value, Mapping) and value.keys() <= {SETTINGS})
    return label == ALL and has_no_name


def every_method(registry: Registry, value: object, rows: Iterable[MethodRow], place: str) -> Iterator[tuple[str, Any]]:
    """Label and value of a row for each method found that no other row trains, with the settings of ``all``.

    A policy acts on plain fine-tuning. Raises ``InputError``: a method is called ``all`` itself.
    """
    if ALL in registry.method_files:
        file = registry.method_files[ALL]
        raise InputError(f"{place}: 'all' is every method, and {file} is called so, too: write the names, or rename it")
    entries = [entry for row in rows for entry in row.candidates]
    trained = {entry.card.name for entry in entries if not entry.policies}
    trained |= {card.name for entry in entries for card, _ in entry.policies}
    settings = {SETTINGS: value[SETTINGS]} if isinstance(value, Mapping) and SETTINGS in value else {}
    for name in registry.method_files:
        if name not in trained:
            chain = [PLAIN, name] if registry.method(name).policy else [name]
            yield "+".join(chain), {**{part: {} for part in chain}, **settings}
