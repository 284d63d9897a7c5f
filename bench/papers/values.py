"""All values of a paper's protocol with who states each: those of its file, of its tables, and those nobody gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.entry import SETTINGS
from bench.papers.preset import Preset
from bench.papers.protocol import PaperProtocol, read_paper_protocol
from bench.papers.published import published_table
from bench.papers.sources import KINDS, NOBODY, OURS, UNSORTED, kind_of
from bench.papers.stated import LabelValue, Stated
from bench.protocol import RIVALS, Protocol, Recipe, declared
from bench.reading.document import read_document
from bench.registry import Registry

DEFAULT = f"{OURS}: the suite's default"
RULES = ("seeds", "selection", "sweep", "margin")


@dataclass(frozen=True)
class PaperValue:
    """A value that the runs of a paper's tables have.

    Attributes:
        name: of a setting or a rule, or of a hyper-parameter with its method: ``lr``, ``seeds``, ``gta.weight``.
        source: who states it; empty where nobody is named.
        places: the tables, each with a label that has it, or with none where all cells do; empty where it is the
            protocol's.
        because: why it is not the paper's; empty where nobody says so.
    """

    name: str
    value: Any
    source: str
    places: tuple[tuple[str, str], ...]
    because: str = ""

    @property
    def kind(self) -> str:
        """Of its source, as ``sources.kind_of`` tells it."""
        return kind_of(self.source)


def values_of(paper: str, registry: Registry) -> list[PaperValue]:
    """The values of a paper's protocol and, behind them, of its tables; equal ones with the same source are one.

    What neither the paper's protocol nor a table gives of a method's hyper-parameters is on the method's card. Raises
    ``InputError`` where a file is malformed.
    """
    of_tables = dict[str, PaperValue]()
    for name in registry.tables_of([paper]):
        for each in published_table(name, registry).values:
            value = _value(_name(each), each.stated, (name.partition("/")[2], each.label))
            meaning = repr(replace(value, places=()))
            places = dict.fromkeys((*of_tables.get(meaning, value).places, *value.places))
            of_tables[meaning] = replace(value, places=(*places,))
    protocol = read_paper_protocol(read_document(registry.protocol_files[paper]))
    return [*_of_protocol(protocol), *of_tables.values()]


def values_of_preset(preset: Preset) -> list[PaperValue]:
    """The values of a protocol by name; what it does not give is as it is without it."""
    return [_value(name, stated) for name, stated in preset.settings.items()]


def others_of(paper: str, registry: Registry) -> dict[str, list[tuple[str, str]]]:
    """Tables and labels whose cells are not compared with what is printed, by the reason that the labels state."""
    reasons = dict[str, list[tuple[str, str]]]()
    for name in registry.tables_of([paper]):
        for (_, label), because in published_table(name, registry).others.items():
            reasons.setdefault(because, []).append((name.partition("/")[2], label))
    return reasons


def counts(values: Iterable[PaperValue]) -> Mapping[str, int]:
    """How many there are of each kind of source; those of none of ``sources.KINDS`` only where there are some."""
    kinds = Counter(value.kind for value in values)
    unsorted = [UNSORTED] if kinds[UNSORTED] else []
    return {kind: kinds[kind] for kind in (*KINDS, *unsorted, NOBODY)}


def counts_in_words(values: Iterable[PaperValue]) -> str:
    """``counts`` in a line: "paper 31, released code 24, another paper 2, our choice 24, none without a source"."""
    numbers = dict(counts(values))
    without = numbers.pop(NOBODY)
    stated = [f"{kind} {number}" for kind, number in numbers.items()]
    return ", ".join([*stated, f"{without or 'none'} without a source"])


def _of_protocol(protocol: PaperProtocol) -> Iterator[PaperValue]:
    stated = {**protocol.settings, **{rule: getattr(protocol, rule) for rule in RULES if getattr(protocol, rule)}}
    for name, value in stated.items():
        yield _value(name, value)
    for name, setting in {**declared(Recipe), **declared(Protocol)}.items():
        if name not in stated and RIVALS.get(name) not in stated:
            yield PaperValue(name, setting.default, DEFAULT, ())


def _value(name: str, stated: Stated, *places: tuple[str, str]) -> PaperValue:
    return PaperValue(name, stated.value, stated.source, places, stated.because)


def _name(value: LabelValue) -> str:
    """``lr`` of a setting, wherever it stands; ``gta.weight`` of a hyper-parameter."""
    *owners, name = value.path
    return name if not owners or owners[-1] == SETTINGS else f"{owners[-1]}.{name}"
