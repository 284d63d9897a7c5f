"""Values with who states them: those of a protocol, and those that a table's labels are assigned.

A value is written ``{value: 0.1, source: paper 4}``. Where it is not what the paper did, ``as: other`` stands beside
it with ``because: "..."``, and a cell whose runs use it is not comparable with what is printed; so of a label too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import Problems
from bench.papers.sources import KINDS, OURS, kind_of
from bench.reading.document import Section
from bench.reading.keys import Key, check_keys

VALUE, SOURCE, AS, BECAUSE = "value", "source", "as", "because"
SEEDS = "seeds"
OTHER = "other"
FORM = "{value: ..., source: 'paper ...'}"
OTHERS = (
    Key(AS, (str,), "it is not what the paper did, so that no cell of it is compared with what is printed", (OTHER,)),
    Key(BECAUSE, (str,), "why not; it stands beside `as: other`"),
)
KEYS = (
    Key(VALUE, (bool, int, float, str, list), "the value, or a list that is swept"),
    Key(SOURCE, (str,), f"who states it, and where; best begun with {' or '.join(f'`{kind}`' for kind in KINDS)}"),
    *OTHERS,
)
PARTS = ("axes", "labels", "columns")
"""Of a table's ``runs``: where things are assigned."""


@dataclass(frozen=True)
class Stated:
    """A value with who states it: the paper, the released code, or nobody (our choice).

    ``because`` says why it is not the paper's; empty where it is, or where nobody knows better.
    """

    value: Any
    source: str
    because: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether neither the paper nor its code states it."""
        return kind_of(self.source) == OURS


@dataclass(frozen=True)
class LabelValue:
    """A value that a table's ``runs`` give: of a setting or a hyper-parameter.

    Attributes:
        part: where in ``runs`` it stands: ``settings``, ``seeds``, ``axes``, ``labels`` or ``columns``.
        label: of the row or column that it is assigned to; empty in ``settings``, ``seeds`` and ``axes``.
        path: the keys under which it stands there: ``("settings", "lr")``, ``("hyper", "gta", "weight")``,
            ``("method", "gta", "weight")``, ``("method", "settings", "lr")``, ``("seeds",)``.
        stated: the value; its source is empty where nobody is named.
        place: ``file:line``.
    """

    part: str
    label: str
    path: tuple[str, ...]
    stated: Stated
    place: str


@dataclass(frozen=True)
class Runs:
    """A table's ``runs`` with plain values, and apart from them who states each, and which labels are ``as: other``.

    ``others`` gives the reason by part and label.
    """

    plain: Mapping[str, Any]
    values: tuple[LabelValue, ...]
    others: Mapping[tuple[str, str], str]


def read_runs(written: object, problems: Problems) -> Runs:
    """What a table's ``runs`` say; what is wrong with a value's form is noted, and what is no mapping left as it is."""
    if not isinstance(written, Section):
        return Runs(written if isinstance(written, Mapping) else {}, (), {})
    runs, values, others = copy.deepcopy(written), list[LabelValue](), dict[tuple[str, str], str]()
    for keys, owner in _owners("settings", runs.get("settings"), depth=0):
        values += _values("settings", "", keys, owner, problems)
    if SEEDS in runs:
        values.append(_value(SEEDS, "", (SEEDS,), runs, problems))
    for part in PARTS:
        section = runs.get(part)
        assigned = section if isinstance(section, Section) else Section(runs.source, runs.first_line)
        for label, meaning in {"": assigned}.items() if part == "axes" else assigned.items():
            if not isinstance(meaning, Section):
                continue
            if because := read_because(meaning, "this label", problems):
                others[part, label] = because
            for key, depth in (("settings", 0), ("hyper", 1), ("method", 1)):
                for keys, owner in _owners(key, meaning.get(key), depth):
                    values += _values(part, label, keys, owner, problems)
            if SEEDS in meaning:
                values.append(_value(part, label, (SEEDS,), meaning, problems))
    return Runs(runs, tuple(values), others)


def settings_in(owner: Section, problems: Problems) -> Section:
    """The mapping under ``settings``; where it is none, that is noted, and nothing stands in its place."""
    settings = owner.get("settings")
    if isinstance(settings, Section):
        return settings
    problems.add(f"{owner.place('settings')}: 'settings' must be a mapping")
    return Section(owner.source, owner.first_line)


def read_stated(owner: Section, key: str, problems: Problems, may_be_other: bool = False) -> Stated:
    """The value under a key, which must have a source; it is noted where it has none, or another form."""
    written, noted = owner.get(key), len(problems.found)
    source = written.get(SOURCE) if isinstance(written, Section) and VALUE in written else None
    if not isinstance(written, Section) or not isinstance(source, str) or not source.strip():
        problems.add(f"{owner.place(key)}: '{key}' must be {FORM}")
    elif written.keys() - {VALUE, SOURCE} and not may_be_other:
        problems.add(f"{owner.place(key)}: '{key}' must be {FORM}, without {AS} and {BECAUSE}")
    else:
        stated = copy.copy(written)
        check_keys(stated, KEYS, f"key beside the value of '{key}'", problems)
        because = read_because(stated, f"'{key}'", problems) if len(problems.found) == noted else ""
        return Stated(written[VALUE], " ".join(source.split()), because)
    return Stated(None, "")


def read_because(section: Section, what: str, problems: Problems) -> str:
    """Why something is ``as: other``, empty where it is not; noted where one of the two keys is without the other."""
    if AS not in section and BECAUSE not in section:
        return ""
    because = section.get(BECAUSE)
    if section.get(AS) == OTHER and isinstance(because, str) and because.strip():
        return " ".join(because.split())
    problems.add(f"{section.place(AS if AS in section else BECAUSE)}: {what} must be as: other, because: '...', both")
    return ""


def _owners(key: str, written: object, depth: int) -> Iterator[tuple[tuple[str, ...], Section]]:
    """The mappings whose entries are values, with their keys: the one under a key, or one level below it."""
    if not isinstance(written, Section):
        return
    if not depth:
        yield (key,), written
        return
    for name, below in written.items():
        if isinstance(below, Section):
            yield (key, name), below


def _values(part: str, label: str, keys: tuple[str, ...], owner: Section, problems: Problems) -> Iterator[LabelValue]:
    """The values of a mapping; those with a source are put as plain values in their place."""
    for name in owner:
        yield _value(part, label, (*keys, name), owner, problems)


def _value(part: str, label: str, path: tuple[str, ...], owner: Section, problems: Problems) -> LabelValue:
    """The value under the last key of a path, which is put as a plain value in its place."""
    name = path[-1]
    stated = Stated(owner[name], "")
    if isinstance(owner[name], Section):
        stated = read_stated(owner, name, problems, may_be_other=name != SEEDS)
        owner[name] = stated.value
    if isinstance(stated.value, list) and any(isinstance(each, list | dict) for each in stated.value):
        problems.add(f"{owner.place(name)}: in '{name}' a list has plain values, and who states them stands beside it")
    return LabelValue(part, label, path, stated, owner.place(name))
