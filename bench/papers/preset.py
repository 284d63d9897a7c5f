"""Protocols by name: how a group of authors trains, each value with its source, and what no setting says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.errors import InputError, Problems
from bench.papers.stated import Stated, read_stated, settings_in
from bench.reading.document import read_document
from bench.reading.keys import Key, check_keys
from bench.registry import Registry, unknown

KEYS = (
    Key("title", (str,), "whose protocol it is"),
    Key("settings", (dict,), "of the protocol, each `{value: ..., source: '...'}`"),
    Key("differs", (list, str), "what its authors do and no setting can say"),
)


@dataclass(frozen=True)
class Preset:
    """A protocol by name.

    Attributes:
        settings: those that it gives, by name.
        places: ``file:line`` of each.
        differs: what its authors do and no setting can say, a sentence or more each.
    """

    name: str
    title: str
    settings: Mapping[str, Stated]
    places: Mapping[str, str]
    differs: tuple[str, ...]


def read_preset(name: str, registry: Registry) -> Preset:
    """The preset of a name. Raises ``InputError``: there is none, an unknown key, or a value without its source."""
    if name not in registry.preset_files:
        raise InputError(unknown(name, registry.preset_files, "preset"))
    section, problems = read_document(registry.preset_files[name]), Problems()
    check_keys(section, KEYS, "key of a preset", problems)
    settings = settings_in(section, problems)
    stated = {key: read_stated(settings, key, problems) for key in settings}
    problems.stop()
    differs = section.get("differs", [])
    return Preset(
        name=name,
        title=section.text("title"),
        settings=stated,
        places={key: settings.place(key) for key in settings},
        differs=tuple(" ".join(str(each).split()) for each in (differs if isinstance(differs, list) else [differs])),
    )
