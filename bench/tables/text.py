"""A table for the terminal, never wider than asked as long as no single label is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from tabulate import tabulate

from bench.tables.notation import fixed, one_line, signed
from bench.tables.table import Entry, Key, Table

BEST, CLOSE = "●", "○"


def to_text(table: Table, width: int) -> str:
    """The table for ``width`` character columns, with its title above and its rules below.

    What does not fit on one line a row is folded in this order: outer row labels become headings, differences and
    counts go below their number, columns are split into blocks, row labels go above their numbers. Nothing is cut.
    """
    rules = [line for rule in table.rules(BEST, CLOSE) for line in _wrapped(one_line(rule), width, "  ")]
    body = "\n\n".join(_blocks(table, width))
    return "\n".join([*_wrapped(one_line(table.heading), width), "", body, "", *rules]) + "\n"


def _wrapped(line: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _blocks(table: Table, width: int) -> list[str]:
    depth = len(table.row_axes)
    for folded in (False, True):
        for beside in dict.fromkeys((depth, min(1, depth))):
            if _fits(whole := _grid(table, table.columns, beside, folded), width):
                return [whole]
    for beside in dict.fromkeys((min(1, depth), 0)):
        blocks = list(_split(table, width, beside))
        if all(_fits(block, width) for block in blocks):
            break
    return blocks


def _split(table: Table, width: int, beside: int) -> Iterator[str]:
    """Blocks of as many columns as fit, at least one each; without labels beside them just one each."""
    start = 0
    while start < len(table.columns):
        stop = start + 1
        block = _grid(table, table.columns[start:stop], beside, folded=True)
        while beside and stop < len(table.columns):
            wider = _grid(table, table.columns[start : stop + 1], beside, folded=True)
            if not _fits(wider, width):
                break
            block, stop = wider, stop + 1
        start = stop
        yield block


def _fits(block: str, width: int) -> bool:
    return max(map(len, block.splitlines())) <= width


def _grid(table: Table, columns: tuple[Key, ...], beside: int, folded: bool) -> str:
    """The body with the ``beside`` innermost row labels in columns of their own and the outer ones as headings."""
    outer = len(table.row_axes) - beside
    cells = [_column(table, column, folded) for column in columns]
    lines: list[list[str]] = []
    before: Key = ()
    for i, row in enumerate(table.rows):
        fresh = next((k for k, label in enumerate(row) if before[k : k + 1] != (label,)), len(row))
        if before and fresh < len(row) - 1:
            lines.append([" "])  # tabulate drops a row of nothing at all
        lines += [["  " * k * bool(beside) + one_line(row[k])] for k in range(fresh, outer)]
        shown = ["" if k < fresh else one_line(row[k]) for k in range(outer, len(row))]
        indent = "  " * outer if beside else ""
        lines.append([indent + label if k == 0 else label for k, label in enumerate(shown)] + [c[i] for c in cells])
        before = row
    names = [one_line(axis) for axis in table.row_axes[outer:]]
    heads = ["\n".join(map(one_line, column)) or one_line(table.layout.metric) for column in columns]
    count = len(names) + len(heads)
    grid = tabulate(
        [line + [""] * (count - len(line)) for line in lines],
        headers=names + heads,
        disable_numparse=True,
        preserve_whitespace=True,
        colalign=["left"] * count,
    )
    return "\n".join(line.rstrip() for line in grid.splitlines())


def _column(table: Table, column: Key, folded: bool) -> list[str]:
    """The entries of one column, numbers aligned to each other."""
    entries = [table.entries.get((row, column)) for row in table.rows]
    numbers = [entry for entry in entries if entry is not None and table.word(entry) is None]
    digits = table.layout.decimals
    mean = max((len(fixed(e.mean, digits)) for e in numbers if e.mean is not None), default=0)
    std = max((len(fixed(e.std, digits)) for e in numbers if e.std is not None), default=0)
    delta = max((len(signed(e.delta, digits)) for e in numbers if e.delta is not None), default=0)
    return [_cell(table, entry, (mean, std, delta), folded) for entry in entries]


def _cell(table: Table, entry: Entry | None, widths: tuple[int, int, int], folded: bool) -> str:
    word = table.word(entry)
    if entry is None or entry.mean is None or word is not None:
        return f"  {word}"
    mean, std, delta = widths
    digits = table.layout.decimals
    bullet = BEST if entry.best else CLOSE if entry.indistinguishable else " "
    value = f"{bullet} {fixed(entry.mean, digits):>{mean}}"
    if std:
        value += f" ± {fixed(entry.std, digits):>{std}}" if entry.std is not None else " " * (3 + std)
    gap = "" if entry.delta is None else signed(entry.delta, digits)
    below = f"{table.dagger(entry):1} {table.count(entry)}"
    if folded:
        return f"{value.rstrip()}\n{gap:>{mean + 2}}{below}".rstrip()
    return f"{value}  {gap:>{delta}}{below}".rstrip() if delta else f"{value} {below.strip()}".rstrip()
