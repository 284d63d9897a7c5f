"""What a paper says about how its runs are trained and scored, each value with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import Problems, choose
from bench.reading.document import Section
from bench.reading.keys import Key, check_keys
from bench.rules import MOST_SEEDS, SELECTIONS, SWEEPS

KEYS = (
    Key("title", (str,), "of which paper"),
    Key("settings", (dict,), "of the protocol, each `{value: ..., source: '...'}`"),
    Key("seeds", (dict,), "how many runs a value is the mean of, with its source"),
    Key("selection", (dict,), "the point of its curve at which a run is scored, with its source"),
    Key("sweep", (dict,), "the split on which one of several weights is chosen, with its source"),
    Key("notes", (list, str), "what the settings cannot say"),
)


@dataclass(frozen=True)
class Stated:
    """A value with who states it: the paper, the released code, or nobody (our choice)."""

    value: Any
    source: str


@dataclass(frozen=True)
class PaperProtocol:
    """What a paper says about how its runs are trained and scored.

    Attributes:
        settings: of ``bench.protocol``, by name.
        seeds: how many.
        selection: the rule by which a run is scored.
        sweep: the rule by which one of several weights is chosen, on ``val`` or ``test``.
        notes: what the settings cannot say.
        place: the file.
    """

    settings: Mapping[str, Stated]
    seeds: Stated
    selection: Stated
    sweep: Stated
    notes: tuple[str, ...]
    place: str


def read_paper_protocol(section: Section) -> PaperProtocol:
    """A paper's protocol from its file.

    Raises:
        InputError: an unknown key, or a value without its source.
    """
    problems = Problems()
    check_keys(section, KEYS, "key of a protocol", problems)

    def stated(owner: Section, key: str) -> Stated:
        given = owner.get(key)
        if not isinstance(given, dict) or set(given) != {"value", "source"} or not isinstance(given["source"], str):
            problems.add(f"{owner.place(key)}: '{key}' must be {{value: ..., source: 'paper ...'}}")
            return Stated(None, "")
        return Stated(given["value"], given["source"])

    settings = section.get("settings")
    if not isinstance(settings, Section):
        settings = Section(section.source, section.first_line)
        problems.add(f"{section.place('settings')}: 'settings' must be a mapping")
    notes = section.get("notes") or []
    found = PaperProtocol(
        settings={key: stated(settings, key) for key in settings},
        seeds=stated(section, "seeds"),
        selection=stated(section, "selection"),
        sweep=stated(section, "sweep"),
        notes=tuple(str(note) for note in (notes if isinstance(notes, list) else [notes])),
        place=section.source,
    )
    for key, rule, rules in (("selection", found.selection, SELECTIONS), ("sweep", found.sweep, SWEEPS)):
        if rule.source and rule.value not in rules:
            problems.add(f"{section.place(key)}: {choose(str(rule.value), rules, key)}")
    if found.seeds.source and not is_count(found.seeds.value):
        problems.add(f"{section.place('seeds')}: {no_count(found.seeds.value)}")
    problems.stop()
    return found


def is_count(value: object) -> bool:
    """Whether something is a number of seeds."""
    return type(value) is int and 1 <= value <= MOST_SEEDS


def no_count(value: object) -> str:
    """Why it is none."""
    most = f" and at most {MOST_SEEDS:,}" if type(value) is int and value > MOST_SEEDS else ""
    return f"seeds is how many, at least 1{most}; it is {value!r}"
