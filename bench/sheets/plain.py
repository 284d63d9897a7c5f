"""A sheet as text within the width of a terminal, and as GitHub Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from bench.sheets.sheet import Key, Sheet, Shown, legend, spans
from bench.tables.markdown import escape
from bench.tables.notation import one_line

BEST, SECOND = "●", "◇"
"""An open circle means "not distinguishable from the best" in tables of one's own; here nothing is tested."""


def to_text(sheet: Sheet, width: int) -> str:
    """Plain text of at most ``width`` columns where labels leave room; what does not fit stands in further blocks."""
    parts = ["\n".join(textwrap.wrap(one_line(sheet.title), max(width, 20)))]
    parts += [_block(sheet, columns) for columns in _blocks(sheet, width)]
    notes = [*legend(sheet, BEST, SECOND), *filter(None, sheet.notes)]
    parts += ["\n".join(textwrap.wrap(one_line(note), max(width, 20))) for note in notes]
    return "\n\n".join(parts) + "\n"


def to_markdown(sheet: Sheet) -> str:
    """A pipe table; the best in bold, the second underlined as HTML allows in Markdown."""
    heads = [escape(name) for name in sheet.stub]
    heads += [escape(" / ".join(filter(None, column))) for column in sheet.columns]
    rows = [
        [*map(escape, label), *map(_in_markdown, cells)] for label, cells in zip(sheet.rows, sheet.cells, strict=True)
    ]
    align = ["left"] * len(sheet.stub) + ["right"] * len(sheet.columns)
    body = tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    told = (*legend(sheet, "Bold", "underlined"), *sheet.notes)
    notes = "".join(f"\n- {escape(note)}" for note in told)
    return f"**{escape(sheet.title)}**\n\n{body}\n" + (f"{notes}\n" if notes else "")


def _in_markdown(cell: Shown) -> str:
    value = escape(cell.value + cell.mark) + (f" ± {escape(cell.std)}" if cell.std else "")
    value = f"**{value}**" if cell.rank == 1 else f"<u>{value}</u>" if cell.rank == 2 else value
    return value + (f" ({escape(cell.delta)})" if cell.delta else "") + (f" {escape(cell.sign)}" if cell.sign else "")


def _blocks(sheet: Sheet, width: int) -> list[list[int]]:
    """Columns in groups, each of which fits; at least one column a group."""
    stub = sum(_wide([name], labels) for name, *labels in zip(sheet.stub, *sheet.rows, strict=True))
    blocks: list[list[int]] = [[]]
    used = stub
    for number, column in enumerate(sheet.columns):
        wide = _wide(column, [f"{BEST} {row[number].plain}" for row in sheet.cells])
        if blocks[-1] and used + wide > width:
            blocks.append([])
            used = stub
        blocks[-1].append(number)
        used += wide
    return blocks


def _wide(heads: Sequence[str], texts: Sequence[str]) -> int:
    """What a column takes: tabulate gives a heading two places more, and each column two before the next."""
    return max(*(len(one_line(head)) + 2 for head in heads), *(len(one_line(text)) for text in texts)) + 2


def _block(sheet: Sheet, columns: Sequence[int]) -> str:
    heads = [*map(one_line, sheet.stub)]
    heads += _heads([sheet.columns[number] for number in columns])
    lines, before = [], ("",) * len(sheet.stub)
    for label, cells in zip(sheet.rows, sheet.cells, strict=True):
        same = next((level for level in range(len(label)) if label[level] != before[level]), len(label) - 1)
        told = ["" if level < same else one_line(text) for level, text in enumerate(label)]
        ranked = {number for number in columns if any(row[number].rank for row in sheet.cells)}
        lines.append([*told, *(_in_text(cells[number], number in ranked) for number in columns)])
        before = label
    table = tabulate(
        lines, headers=heads, disable_numparse=True, preserve_whitespace=True, colalign=["left"] * len(heads)
    )
    return "\n".join(line.rstrip() for line in table.splitlines())


def _heads(columns: Sequence[Key]) -> list[str]:
    """A line a level; a label over several neighbours stands above the first of them."""
    lines = [[""] * len(columns) for _ in columns[0]]
    for level, line in enumerate(lines):
        for span in spans(columns, level):
            line[span.start] = one_line(span.label)
    return ["\n".join(line[number] for line in lines) for number in range(len(columns))]


def _in_text(cell: Shown, ranked: bool) -> str:
    sign = f"{(' ', BEST, SECOND)[cell.rank]} " if ranked else ""
    return f"{sign}{one_line(cell.plain)}".rstrip()
