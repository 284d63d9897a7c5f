"""Settings of the protocol where they are written: in layers, of which a later one wins, and one plain value each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.entry import SETTINGS, Chosen, MethodEntry
from bench.errors import InputError, Problems
from bench.protocol import RIVALS
from bench.reading.document import Section
from bench.reading.syntax import split_setting


@contextlib.contextmanager
def noted(problems: Problems) -> Iterator[None]:
    """Inside, what is wrong is noted among the problems, and ends no more than what is inside."""
    try:
        yield
    except InputError as error:
        problems.add(error)


def section_of(owner: Section, key: str) -> Section:
    """The mapping under a key, empty where there is none."""
    section = owner.get(key)
    return section if isinstance(section, Section) else Section(owner.source, owner.first_line)


def overlaid(*layers: Mapping[str, tuple[object, str]]) -> list[tuple[str, object, str]]:
    """Settings with their places, later ones in the place of earlier ones and of what these exclude (epochs, steps)."""
    settings: dict[str, tuple[object, str]] = {}
    for layer in layers:
        for key in layer.keys() & RIVALS.keys():
            settings.pop(RIVALS[key], None)
        settings |= layer
    return [(key, value, place) for key, (value, place) in settings.items()]


def typed_layer(texts: Sequence[str], problems: Problems) -> dict[str, tuple[object, str]]:
    """The settings that are typed, a layer by itself; those that cannot be read are told among the problems."""
    layer: dict[str, tuple[object, str]] = {}
    for text in texts:
        with noted(problems):
            key, value = split_setting(text, "--set")
            layer[key] = (value, "--set")
    return layer


def untyped(method: Any, typed: Mapping[str, object]) -> Any:
    """A method as it is written, without settings of its own that are typed: what is typed is no longer swept."""
    if not isinstance(method, dict) or not isinstance(method.get(SETTINGS), dict) or not typed:
        return method
    gone = {*typed, *(RIVALS[key] for key in typed if key in RIVALS)}
    return {**method, SETTINGS: {key: value for key, value in method[SETTINGS].items() if key not in gone}}


def refuse_unplain(entries: Sequence[MethodEntry], place: str) -> Sequence[MethodEntry]:
    """The candidates of a method. Raises ``InputError`` where two are one, or a setting has no plain value."""
    for entry in entries:
        plain_settings(dict(entry.settings), place)
    if len({(entry.spec, entry.settings) for entry in entries}) < len(entries):
        raise InputError(
            f"{place}: '{entries[0].label}' and another of its candidates are one: a value is listed twice"
        )
    return entries


def plain_settings(settings: Mapping[str, Any], place: str) -> Chosen:
    """Settings of the protocol with one value each. Raises ``InputError`` where one is a list or a mapping."""
    for name, value in settings.items():
        if isinstance(value, (list, dict)):
            raise InputError(f"{place}: settings: {name} must be one value, not {value!r}")
    return tuple(settings.items())
