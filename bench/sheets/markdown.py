"""A sheet as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from tabulate import tabulate

from bench.notation import one_line
from bench.sheets.sheet import BEST, CLOSE, SECOND, Sheet, Shown

SPECIAL = re.compile(r"[\\`*_|<>\[\]~$]|&(?=#?\w+;)")


def to_markdown(sheet: Sheet) -> str:
    """A pipe table with its title above and its rules as a list below; bold marks the best."""
    heads = [escape(name) for name in sheet.stub]
    heads += [escape(" / ".join(filter(None, column))) for column in sheet.columns]
    rows = [[*map(escape, label), *map(_cell, cells)] for label, cells in zip(sheet.rows, sheet.cells, strict=True)]
    align = ["left"] * len(sheet.stub) + ["right"] * len(sheet.columns)
    body = tabulate(rows, headers=heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    signs = {BEST: "Bold", CLOSE: "Bold", SECOND: "Underlined"}
    signed = [f"Signature: {signature}" for signature in sheet.signatures]
    rules = "\n".join(f"- {escape(rule)}" for rule in [*sheet.sentences(signs), *signed])
    return f"**{escape(sheet.title)}**\n\n{body}\n" + (f"\n{rules}\n" if rules else "")


def escape(label: str) -> str:
    """A label as literal text on one line: no markup, no HTML, no new table column."""
    return SPECIAL.sub(r"\\\g<0>", one_line(label))


def _cell(cell: Shown) -> str:
    value = escape(cell.value) + (f" ± {escape(cell.std)}" if cell.std else "")
    if cell.look in (BEST, CLOSE):
        value = f"**{value}**"
    elif cell.look == SECOND:
        value = f"<u>{value}</u>"
    gap = escape(cell.delta + cell.mark)
    return " ".join(filter(None, (value, gap, escape(cell.count), escape(cell.sign))))
