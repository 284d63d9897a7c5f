"""A sheet for a paper: booktabs with multirow and multicolumn, and a file of macros with a command for each cell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.sheets.sheet import Key, Sheet, Shown, Span, spans
from bench.tables.latex import escape

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def to_latex(sheet: Sheet) -> str:
    """A ``table`` environment; the best in bold, the second underlined, spread and differences small."""
    caption = " ".join(f"{line.rstrip('.')}." for line in (sheet.title, *sheet.notes) if line)
    spec = "l" * len(sheet.stub) + "r" * len(sheet.columns)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}, \usepackage{multirow} and \usepackage{adjustbox}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', sheet.name)}}}",
            r"\smallskip",
            r"\begin{adjustbox}{max width=\textwidth}",
            rf"\begin{{tabular}}{{{spec}}}",
            *_lines(sheet),
            r"\end{tabular}",
            r"\end{adjustbox}",
            r"\end{table}",
            "",
        ]
    )


def to_macros(sheet: Sheet) -> str:
    r"""A ``\newcommand`` for each value, ± and difference, to be used in prose: ``\gtaTableTwoCUBGTAFifteen``."""
    lines, used = [f"% {escape(sheet.title)}"], set()
    for label, cells in zip(sheet.rows, sheet.cells, strict=True):
        for column, cell in zip(sheet.columns, cells, strict=True):
            name = _macro_name(sheet.name, label, column)
            while name in used:
                name += "X"
            used.add(name)
            parts = {"": cell.value, "Std": cell.std, "Delta": cell.delta}
            lines += [rf"\newcommand{{\{name}{part}}}{{{escape(text)}}}" for part, text in parts.items() if text]
    return "\n".join(lines) + "\n"


def _lines(sheet: Sheet) -> Iterator[str]:
    yield r"\toprule"
    yield from _head(sheet)
    yield r"\midrule"
    yield from _body(sheet)
    yield r"\bottomrule"


def _head(sheet: Sheet) -> Iterator[str]:
    depth, before = len(sheet.columns[0]), len(sheet.stub)
    for level in range(depth):
        names = [escape(name) if level == depth - 1 else "" for name in sheet.stub]
        found = spans(sheet.columns, level)
        cells = [
            rf"\multicolumn{{{span.count}}}{{c}}{{{escape(span.label)}}}" if span.count > 1 or span.label else ""
            for span in found
        ]
        yield " & ".join([*names, *cells]) + r" \\"
        rules = [
            rf"\cmidrule(lr){{{before + span.start + 1}-{before + span.start + span.count}}}"
            for span in found
            if level < depth - 1 and span.label
        ]
        if rules:
            yield " ".join(rules)


def _body(sheet: Sheet) -> Iterator[str]:
    starts = [{span.start: span for span in spans(sheet.rows, level)} for level in range(len(sheet.stub))]
    before = starts[0][0]
    for number, (label, cells) in enumerate(zip(sheet.rows, sheet.cells, strict=True)):
        group = starts[0].get(number, before)
        if group is not before and max(group.count, before.count) > 1:
            yield r"\midrule"
        labels = [_label(starts[level].get(number), text) for level, text in enumerate(label)]
        yield " & ".join([*labels, *map(_cell, cells)]) + r" \\"
        before = group


def _label(span: Span | None, text: str) -> str:
    if span is None:
        return ""
    shown: str = escape(text)
    return rf"\multirow{{{span.count}}}{{*}}{{{shown}}}" if span.count > 1 else shown


def _cell(cell: Shown) -> str:
    value: str = escape(cell.value + cell.mark)
    value = rf"\textbf{{{value}}}" if cell.rank == 1 else rf"\underline{{{value}}}" if cell.rank == 2 else value
    std = rf" {{\scriptsize$\pm$ {escape(cell.std)}}}" if cell.std else ""
    delta = rf" {{\scriptsize({escape(cell.delta)})}}" if cell.delta else ""
    return value + std + delta


def _macro_name(name: str, row: Key, column: Key) -> str:
    """Letters only, as TeX wants it: digits as words, everything else a word boundary."""
    text = " ".join((name, *row, *column)).replace("%", " percent ")
    text = "".join(f" {_DIGITS[int(char)]} " if char.isdigit() and char.isascii() else char for char in text)
    words = re.findall(r"[A-Za-z]+", text)
    return "".join([words[0].lower(), *(word[0].upper() + word[1:] for word in words[1:])])
