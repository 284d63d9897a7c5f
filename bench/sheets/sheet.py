"""A sheet: a table as it is shown, with labels on several levels, the best marked, and its rules in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from typing import Any

Key = tuple[str, ...]
Value = str | int | float | bool | None
Record = Mapping[str, Value]

BEST, CLOSE, SECOND = "best", "close", "second"
"""How a cell stands out: it has the best mean, cannot be told from it, or is the second by its mean."""


@dataclass(frozen=True)
class Shown:
    """A cell as it is shown.

    Attributes:
        value: the number or word.
        std: after ±; empty where there is none.
        delta: a difference, with its sign; empty where there is none.
        mark: † or ‡ for significant.
        count: how many seeds there are, where it is not the usual number.
        sign: a verdict.
        look: ``BEST``, ``CLOSE``, ``SECOND``, or empty.
        hover: what a page says of it on request.
        is_word: whether ``value`` stands in the place of a number.
    """

    value: str
    std: str = ""
    delta: str = ""
    mark: str = ""
    count: str = ""
    sign: str = ""
    look: str = ""
    hover: str = ""
    is_word: bool = False


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
        notes: sentences below the table, before what the marks mean.
        legend: what each look means; empty where that is not to be said.
        remarks: sentences after what the marks mean.
        by_means: looks go by the means alone, so the best is bold and the second underlined; else everything that
            cannot be told from the best is bold, and the best underlined too.
        records: one for each cell, for machines: full numbers by the names of their columns.
        facts: what is the same for all of them.
        signatures: of the tables that it shows (``bench.tables.signature``).
    """

    name: str
    title: str
    stub: Key
    columns: tuple[Key, ...]
    rows: tuple[Key, ...]
    cells: tuple[tuple[Shown, ...], ...]
    notes: tuple[str, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    by_means: bool = False
    records: tuple[Record, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    signatures: tuple[str, ...] = ()

    def sentences(self, signs: Mapping[str, str]) -> tuple[str, ...]:
        """All that stands below the table, by the sign that a format has for each look; one sign is one sentence."""
        meanings: dict[str, list[str]] = {}
        for look, meaning in self.legend:
            if not meaning:
                continue
            meanings.setdefault(signs[look], []).append(meaning)
        legend = (f"{sign}: {', and what is '.join(each)}." for sign, each in meanings.items())
        return tuple(filter(None, (*self.notes, *legend, *self.remarks)))

    def texts(self) -> Iterator[str]:
        """All that is printed of it."""
        yield from (self.title, *self.stub, *self.notes, *self.remarks, *(meaning for _, meaning in self.legend))
        yield from chain(*self.columns, *self.rows)
        for cell in chain(*self.cells):
            yield from (text for text in vars(cell).values() if isinstance(text, str))

    def is_bold(self, cell: Shown) -> bool:
        """Whether a cell is shown in bold."""
        return cell.look in (BEST, CLOSE)

    def is_underlined(self, cell: Shown) -> bool:
        """Whether a cell is underlined."""
        return bool(cell.look) and cell.look == self._underlined

    @property
    def _underlined(self) -> str:
        """The second; where bold is shared the best, to be told from the others; else nothing is."""
        if self.by_means:
            return SECOND
        return BEST if any(look == CLOSE for look, _ in self.legend) else ""

    def emphasis(self) -> dict[str, str]:
        """The signs of a format that has bold and underlined text."""
        return {BEST: "Bold", CLOSE: "Bold", self._underlined: "Underlined"}


@dataclass(frozen=True)
class Span:
    """A label over several neighbours: ``count`` of them from ``start``."""

    label: str
    start: int
    count: int


def turned(sheet: Sheet) -> Sheet:
    """The sheet with its columns as rows; the levels of what were columns have no names."""
    return replace(
        sheet,
        stub=("",) * len(sheet.columns[0]),
        columns=sheet.rows,
        rows=sheet.columns,
        cells=tuple(zip(*sheet.cells, strict=True)),
    )


def spans(keys: Sequence[Key], level: int) -> list[Span]:
    """Neighbours that share their labels down to a level, as one span each; an empty label never joins."""
    starts = []
    for place, key in enumerate(keys):
        if not place or not key[level] or keys[place - 1][: level + 1] != key[: level + 1]:
            starts.append(place)
    return [Span(keys[start][level], start, stop - start) for start, stop in pairwise([*starts, len(keys)])]
