"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from tabulate import tabulate

from bench.tables.notation import fixed, one_line, signed
from bench.tables.table import Entry, Table

SPECIAL = re.compile(r"[\\`*_|<>\[\]~$]|&(?=#?\w+;)")


def to_markdown(table: Table) -> str:
    """A pipe table with its title above and its rules as a list below; bold marks the best."""
    heads = [escape(axis) for axis in table.row_axes]
    heads += [escape(" / ".join(column) or table.layout.metric) for column in table.columns]
    rows = [
        [*map(escape, row), *(_cell(table, table.entries.get((row, column))) for column in table.columns)]
        for row in table.rows
    ]
    align = ["left"] * len(table.row_axes) + ["right"] * len(table.columns)
    body = tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    rules = "\n".join(f"- {escape(rule)}" for rule in table.rules("Bold", "Bold"))
    return f"**{escape(table.heading)}**\n\n{body}\n\n{rules}\n"


def escape(label: str) -> str:
    """A label as literal text on one line: no markup, no HTML, no new table column."""
    return SPECIAL.sub(r"\\\g<0>", one_line(label))


def _cell(table: Table, entry: Entry | None) -> str:
    word = table.word(entry)
    if entry is None or entry.mean is None or word is not None:
        return escape(word or "")
    digits = table.layout.decimals
    value = fixed(entry.mean, digits) + ("" if entry.std is None else f" ± {fixed(entry.std, digits)}")
    gap = "" if entry.delta is None else signed(entry.delta, digits) + table.dagger(entry)
    return " ".join(
        part for part in (f"**{value}**" if entry.indistinguishable else value, gap, table.count(entry)) if part
    )
