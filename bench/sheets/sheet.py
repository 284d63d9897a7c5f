"""A sheet: a table as it is shown, whatever it was made from: labels on several levels, cells, best ones marked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Key = tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """A cell as it is shown.

    Attributes:
        value: the number or word.
        std: after ±; empty where there is none.
        delta: a difference, with its sign; empty where there is none.
        mark: what is written above the value: † for significant.
        rank: 1 for the best of its comparison, 2 for the second, 0 otherwise.
        note: for machines and tooltips.
        sign: what is written behind everything: a verdict.
        facts: more of it for machines, by the names of their columns.
    """

    value: str
    std: str = ""
    delta: str = ""
    mark: str = ""
    rank: int = 0
    note: str = ""
    sign: str = ""
    facts: tuple[tuple[str, str | float | None], ...] = ()

    @property
    def plain(self) -> str:
        """Everything in one line of plain text: ``51.525† ± 0.449 (+10.1) ≠``."""
        std, delta = f" ± {self.std}" if self.std else "", f" ({self.delta})" if self.delta else ""
        return f"{self.value}{self.mark}{std}{delta}" + (f" {self.sign}" if self.sign else "")


@dataclass(frozen=True)
class Sheet:
    """Rows and columns of shown cells.

    Attributes:
        name: for labels and macros: ``gta/table2``.
        title: the caption's first sentence.
        stub: names of the levels of the row labels.
        columns: labels of each column, outermost level first; all of one length.
        rows: labels of each row, one a level of the stub.
        cells: by row, then by column.
        notes: sentences below the table.
    """

    name: str
    title: str
    stub: Key
    columns: tuple[Key, ...]
    rows: tuple[Key, ...]
    cells: tuple[tuple[Shown, ...], ...]
    notes: tuple[str, ...] = ()


def legend(sheet: Sheet, best: str, second: str) -> tuple[str, ...]:
    """What a reader has to know of how the best are marked, as a note; none where nothing is marked.

    Args:
        sheet: with or without marked cells.
        best: how the format marks the best.
        second: how it marks the second best.
    """
    if not any(cell.rank for row in sheet.cells for cell in row):
        return ()
    return (f"{best}: the best, {second}: the second best, by their means alone; no test stands behind either.",)


@dataclass(frozen=True)
class Span:
    """A label over several neighbours: ``count`` of them from ``start``."""

    label: str
    start: int
    count: int


def spans(keys: Sequence[Key], level: int) -> list[Span]:
    """Neighbours that share their labels down to a level, as one span each; an empty label never joins."""
    found: list[Span] = []
    for place, key in enumerate(keys):
        alike = found and key[level] and keys[place - 1][: level + 1] == key[: level + 1]
        if alike:
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(Span(key[level], place, 1))
    return found


def ranks(values: Sequence[float], lower: bool = False) -> list[int]:
    """1 for each best value and 2 for each second one, 0 for the others; nan is never marked, nor is a value alone."""
    there = sorted({value for value in values if not math.isnan(value)}, reverse=not lower)
    if sum(not math.isnan(value) for value in values) < 2 or len(there) < 2:
        return [0] * len(values)
    return [1 + there.index(value) if value in there[:2] else 0 for value in values]


def marked(cells: Iterable[Sequence[Shown]], places: Sequence[Sequence[int]]) -> tuple[tuple[Shown, ...], ...]:
    """The cells with their ranks."""
    return tuple(
        tuple(replace(cell, rank=rank) for cell, rank in zip(row, line, strict=True))
        for row, line in zip(cells, places, strict=True)
    )
