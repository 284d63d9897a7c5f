"""Lines of text under heads, in columns as wide as what stands in them: for the terminal, and as Markdown has them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest

_ROOM = 2
"""Characters by which a column is wider than its head, at least."""


def grid(rows: Sequence[Sequence[str]], heads: Sequence[str], right: Sequence[bool] = ()) -> str:
    """Columns for the terminal, with a rule below their heads. Heads and cells may have several lines.

    Args:
        rows: cells, as many in each as there are heads.
        heads: of the columns.
        right: of each column, whether it is aligned to the right; none is where this is empty.
    """
    widths = _widths(rows, heads)
    every = [heads, ["-" * width for width in widths], *rows]
    lines = [line for row in every for line in _lines(row, widths, right or [False] * len(widths))]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def pipes(rows: Sequence[Sequence[str]], heads: Sequence[str], right: Sequence[bool]) -> str:
    """The same as a table of Markdown; nothing in it has several lines."""
    widths = _widths(rows, heads)
    lines = [f"| {' | '.join(line)} |" for row in (heads, *rows) for line in _lines(row, widths, right)]
    rules = ["-" * (width + 1) for width in widths]
    sides = [f"{rule}:" if end else f":{rule}" for rule, end in zip(rules, right, strict=True)]
    return "\n".join([lines[0], f"|{'|'.join(sides)}|", *lines[1:]])


def _widths(rows: Sequence[Sequence[str]], heads: Sequence[str]) -> list[int]:
    widths = [_width(head) + _ROOM for head in heads]
    for row in rows:
        widths = [max(width, _width(cell)) for width, cell in zip(widths, row, strict=True)]
    return widths


def _lines(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[list[str]]:
    """The lines of a row, each of them a text of its column's width for each cell."""
    lines = zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    return [list(map(_padded, line, widths, right)) for line in lines]


def _padded(text: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if right else text + blank


def _width(text: str) -> int:
    """Columns of a terminal that the longest line of a text takes."""
    return max(sum(map(_taken, line)) if not line.isascii() else len(line) for line in text.split("\n"))


def _taken(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):  # it stands on another one, or is not seen
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
