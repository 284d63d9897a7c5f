"""A sheet for the terminal, never wider than asked as long as no single label is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tabulate import tabulate

from bench.notation import one_line
from bench.sheets.layout import ANY, SheetLayout
from bench.sheets.sheet import BEST, CLOSE, SECOND, Key, Sheet, Shown, spans

SIGNS = {BEST: "●", CLOSE: "○", SECOND: "◇"}


def to_text(sheet: Sheet, width: int, layout: SheetLayout = ANY) -> str:
    """The sheet for ``width`` character columns, with its title above and its rules below.

    What does not fit on one line a row is folded in this order: outer row labels become headings, differences and
    counts go below their number, columns are split into blocks, row labels go above their numbers. Nothing is cut.
    Of a layout it takes how many columns a block has at most.
    """
    rules = [line for rule in sheet.sentences(SIGNS) for line in _wrapped(one_line(rule), width, "  ")]
    rules += [line for signature in sheet.signatures for line in _signed(signature, width)]
    count, places = layout.columns_per_block or max(1, len(sheet.columns)), range(len(sheet.columns))
    parts = [_part(sheet, places[start : start + count]) for start in places[::count]] or [sheet]
    body = "\n\n".join(block for part in parts for block in _blocks(part, width))
    text = "\n".join([*_wrapped(one_line(sheet.title), width), "", body, "", *rules])
    return text.rstrip("\n") + "\n"


def _part(sheet: Sheet, places: Sequence[int]) -> Sheet:
    """The sheet with some of its columns."""
    cells = tuple(tuple(line[at] for at in places) for line in sheet.cells)
    return replace(sheet, columns=tuple(sheet.columns[at] for at in places), cells=cells)


def _wrapped(line: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _signed(signature: str, width: int) -> list[str]:
    """A signature in one piece, to be copied, where it fits; else in lines that end between its parts."""
    if len(f"Signature: {signature}") <= width:
        return [f"Signature: {signature}"]
    lines = [""]
    for part in re.findall("[^:]+:?", signature):
        if lines[-1] and len(f"  {lines[-1]}{part}") > width:
            lines.append("")
        lines[-1] += part
    return ["Signature:", *(f"  {line}" for line in lines)]


def _blocks(sheet: Sheet, width: int) -> list[str]:
    depth, columns = len(sheet.stub), range(len(sheet.columns))
    if not sheet.rows:
        return ["(nothing)"]
    for folded in (False, True):
        for labels in dict.fromkeys((depth, min(1, depth))):
            whole = _grid(sheet, columns, labels, folded)
            if _fits(whole, width):
                return [whole]
    for labels in dict.fromkeys((depth, min(1, depth), 0)):
        blocks = list(_split(sheet, width, labels))
        if all(_fits(block, width) for block in blocks):
            break
    return blocks


def _split(sheet: Sheet, width: int, labels: int) -> Iterator[str]:
    """Blocks of as many columns as fit, at least one each; without labels beside them just one each."""
    start = 0
    while start < len(sheet.columns):
        stop = start + 1
        block = _grid(sheet, range(start, stop), labels, folded=True)
        while labels and stop < len(sheet.columns):
            wider = _grid(sheet, range(start, stop + 1), labels, folded=True)
            if not _fits(wider, width):
                break
            block, stop = wider, stop + 1
        start = stop
        yield block


def _fits(block: str, width: int) -> bool:
    return max(map(len, block.splitlines())) <= width


def _grid(sheet: Sheet, places: Sequence[int], beside: int, folded: bool) -> str:
    """Some columns with the ``beside`` innermost row labels in columns of their own and the outer ones as headings."""
    outer = len(sheet.stub) - beside
    cells = [_column([row[place] for row in sheet.cells], folded) for place in places]
    lines: list[list[str]] = []
    previous, groups = sheet.rows[0], [span.count for span in spans(sheet.rows, 0) for _ in range(span.count)]
    for number, row in enumerate(sheet.rows):
        changed = [level for level, label in enumerate(row) if not lines or label != previous[level]]
        fresh = changed[0] if changed else len(row) - 1
        if lines and fresh < len(row) - 1 and (outer or max(groups[number - 1 : number + 1]) > 1):
            lines.append([" "])  # tabulate drops a row of nothing at all
        lines += [["  " * level * bool(beside) + one_line(row[level])] for level in range(fresh, outer)]
        labels = ["" if level < fresh else one_line(row[level]) for level in range(outer, len(row))]
        if labels and outer:
            labels[0] = "  " * outer + labels[0]
        lines.append([*labels, *(column[number] for column in cells)])
        previous = row
    heads = [*(one_line(name) for name in sheet.stub[outer:]), *_heads([sheet.columns[place] for place in places])]
    grid = tabulate(
        [line + [""] * (len(heads) - len(line)) for line in lines],
        headers=heads,
        disable_numparse=True,
        preserve_whitespace=True,
        colalign=["left"] * len(heads),
    )
    return "\n".join(line.rstrip() for line in grid.splitlines())


def _heads(columns: Sequence[Key]) -> list[str]:
    """A line a level; a label over several neighbours stands above the first of them."""
    lines = [[""] * len(columns) for _ in columns[0]]
    for level, line in enumerate(lines):
        for span in spans(columns, level):
            line[span.start] = one_line(span.label)
    return ["\n".join(labels) for labels in zip(*lines, strict=True)]


def _column(cells: Sequence[Shown], folded: bool) -> list[str]:
    """The cells of one column, numbers aligned to each other."""
    cells = [_one_line(cell) for cell in cells]
    numbers = [cell for cell in cells if cell.value and not cell.is_word]
    widths = tuple(max((len(getattr(cell, name)) for cell in numbers), default=0) for name in ("value", "std", "delta"))
    marked = any(cell.look for cell in numbers)
    return [_cell(cell, widths, marked, folded) for cell in cells]


def _one_line(cell: Shown) -> Shown:
    texts = {name: one_line(text) for name, text in vars(cell).items() if isinstance(text, str)}
    return Shown(**texts, is_word=cell.is_word)


def _cell(cell: Shown, widths: tuple[int, ...], marked: bool, folded: bool) -> str:
    mean, std, delta = widths
    look = f"{SIGNS.get(cell.look, ' ')} " if marked else ""
    if cell.is_word or not cell.value:
        return f"{look}{cell.value}".rstrip()
    value = f"{look}{cell.value:>{mean}}"
    if std:
        value += f" ± {cell.std:>{std}}" if cell.std else " " * (3 + std)
    behind = f"{cell.mark:1} {' '.join(filter(None, (cell.count, cell.sign)))}"
    if folded:
        return f"{value.rstrip()}\n{cell.delta:>{mean + len(look)}}{behind}".rstrip()
    return f"{value}  {cell.delta:>{delta}}{behind}".rstrip() if delta else f"{value} {behind.strip()}".rstrip()
