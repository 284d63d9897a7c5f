"""A sheet for a paper: booktabs with multirow and multicolumn, and a file of macros with a command for each cell."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.notation import one_line
from bench.sheets import siunitx
from bench.sheets.sheet import BEST, CLOSE, SECOND, Key, Sheet, Shown, Span, spans

# "[" and "*" would be read as arguments of the "\\" that ends the row above
SPECIAL = {
    **{character: "\\" + character for character in "%&#$_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "[": "{[}", "*": "{*}",
    "–": "--", "—": "---", "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "→": r"$\to$",
    "≤": r"$\leq$", "≥": r"$\geq$", "†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "α": r"$\alpha$", "β": r"$\beta$",
    "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$", "η": r"$\eta$", "λ": r"$\lambda$", "μ": r"$\mu$",
    "σ": r"$\sigma$", "τ": r"$\tau$", "²": "$^2$", "✓": r"$\surd$", "ℓ": r"$\ell$", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$", "≈": r"$\approx$", "≠": r"$\neq$", "●": r"$\bullet$", "○": r"$\circ$",
    "◇": r"$\diamond$",
}  # fmt: skip

LINE, LINES, SMALLEST = 70, 34, 0.4
"""Characters of a line, lines of a page beside the caption, and how much of their size letters keep if they can."""

LONGEST = 700
"""Characters of a caption; where it would be longer, all but its first sentence stands below the table."""

GAP, SMALL = 2.5, 0.75
"""The space between two columns, in characters, and the size of what is small."""

_BEHIND = {
    "std": r" {{\scriptsize$\pm$ {}}}",
    "delta": r" {{\scriptsize {}}}",
    "mark": "{}",
    "count": r" {{\scriptsize {}}}",
    "sign": " {}",
}
"""What stands behind a number, by the field it is in."""

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def to_latex(sheet: Sheet) -> str:
    """A ``table`` environment; the best in bold, spread and differences small.

    Columns that would be shrunk to less than ``SMALLEST`` of their size stand in blocks, one below the other.
    """
    packages = r"\usepackage{booktabs}, \usepackage{multirow} and \usepackage{adjustbox}"
    columns = [("r", _padded(column, sheet)) for column in _columns(sheet)]
    return _environment(sheet, sheet.sentences(sheet.emphasis()), packages, (), columns)


def to_siunitx(sheet: Sheet) -> str:
    """As ``to_latex`` with siunitx's S columns; signs take the place of underlining, which cannot be aligned."""
    packages = rf"\usepackage{{booktabs}}, \usepackage{{multirow}}, \usepackage{{adjustbox}} and {siunitx.PACKAGE}"
    signs = {BEST: "Bold" if sheet.by_means else "●", CLOSE: "Bold", SECOND: "◇"}
    columns = [siunitx.columns([_of_siunitx(cell, sheet) for cell in column]) for column in _columns(sheet)]
    return _environment(sheet, sheet.sentences(signs), packages, siunitx.SETUP, columns)


def _environment(
    sheet: Sheet,
    rules: Sequence[str],
    packages: str,
    setup: Sequence[str],
    columns: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """The environment around columns, each with its specification and its cells."""
    title, *notes = [escape(f"{line.rstrip('.')}.") for line in (sheet.title, *rules)]
    short = len(sheet.title) + sum(map(len, rules)) <= LONGEST
    below = [] if short else [rf"\par\smallskip\parbox{{\textwidth}}{{\footnotesize {' '.join(notes)}}}"]
    blocks = [_tabular(sheet, columns, places) for places in _blocks(sheet)]
    body = blocks[0]
    if len(blocks) > 1:
        body = [r"\begin{tabular}{@{}l@{}}"]
        for number, block in enumerate(blocks):
            body += [*([r"\\[2ex]"] if number else []), *block]
        body.append(r"\end{tabular}")
    return "\n".join(
        [
            rf"% needs {packages}",
            r"\begin{table}",
            *setup,
            r"\centering",
            rf"\caption{{{' '.join([title, *notes] if short else [title])}}}",
            rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', sheet.name)}}}",
            r"\smallskip",
            r"\begin{adjustbox}{max width=\textwidth}",
            *body,
            r"\end{adjustbox}",
            *below,
            r"\end{table}",
            "",
        ]
    )


def _tabular(sheet: Sheet, columns: Sequence[tuple[str, Sequence[str]]], places: Sequence[int]) -> list[str]:
    """Some of the columns, with the labels of the rows beside them."""
    part = replace(sheet, columns=tuple(sheet.columns[at] for at in places))
    spec = "l" * len(sheet.stub) + "".join(columns[at][0] for at in places)
    rows = [list(row) for row in zip(*(columns[at][1] for at in places), strict=True)]
    return [rf"\begin{{tabular}}{{{spec}}}", *_lines(part, rows), r"\end{tabular}"]


def _blocks(sheet: Sheet) -> list[list[int]]:
    """The columns in as few blocks as keep letters large enough, on one page; what shares a label stays together."""
    groups: list[list[int]] = []
    for at, column in enumerate(sheet.columns):
        if groups and column[:-1] and column[:-1] == sheet.columns[at - 1][:-1]:
            groups[-1].append(at)
        else:
            groups.append([at])
    stub = sum(max(len(row[level]) for row in sheet.rows) + GAP for level in range(len(sheet.stub)))
    wide = [_characters(sheet, at) for at in range(len(sheet.columns))]
    found = [[at for group in groups for at in group]]
    for count in range(1, len(groups) + 1):
        each = math.ceil(len(groups) / count)
        blocks = [[at for group in groups[at : at + each] for at in group] for at in range(0, len(groups), each)]
        scale = min(1.0, LINE / (stub + max(sum(wide[at] for at in block) for block in blocks)))
        tall = len(blocks) * (len(sheet.rows) + len(sheet.columns[0]) + 1) * scale
        if count > 1 and tall > LINES:
            break
        found = blocks
        if scale >= SMALLEST:
            break
    return found


def _characters(sheet: Sheet, at: int) -> float:
    """About how wide a column is, in characters of the text's size."""
    cells = [row[at] for row in sheet.cells]
    parts = (
        max(len(cell.value + cell.mark) for cell in cells),
        SMALL * max((len(cell.std) + 3 for cell in cells if cell.std), default=0),
        SMALL * max((len(cell.delta) + 1 for cell in cells if cell.delta), default=0),
        SMALL * max(len(cell.count) for cell in cells),
        max((2 for cell in cells if cell.sign), default=0),
    )
    return max(sum(parts), len(sheet.columns[at][-1])) + GAP


def _columns(sheet: Sheet) -> list[list[Shown]]:
    return [[row[at] for row in sheet.cells] for at in range(len(sheet.columns))]


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


def _lines(sheet: Sheet, cells: Sequence[Sequence[str]]) -> Iterator[str]:
    yield r"\toprule"
    yield from _head(sheet)
    yield r"\midrule"
    yield from _body(sheet, cells)
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


def _body(sheet: Sheet, shown: Sequence[Sequence[str]]) -> Iterator[str]:
    starts = [{span.start: span for span in spans(sheet.rows, level)} for level in range(len(sheet.stub))]
    before = starts[0][0]
    for number, (label, cells) in enumerate(zip(sheet.rows, shown, strict=True)):
        group = starts[0].get(number, before)
        if group is not before and max(group.count, before.count) > 1:
            yield r"\midrule"
        labels = [_label(starts[level].get(number), text) for level, text in enumerate(label)]
        yield " & ".join([*labels, *cells]) + r" \\"
        before = group


def _label(span: Span | None, text: str) -> str:
    if span is None:
        return ""
    shown: str = escape(text)
    return rf"\multirow{{{span.count}}}{{*}}{{{shown}}}" if span.count > 1 else shown


def _padded(column: Sequence[Shown], sheet: Sheet) -> list[str]:
    """The cells of a column; what some of its numbers have behind them is left free behind the others."""
    numbers = [cell for cell in column if not cell.is_word]
    widest = {name: max((getattr(cell, name) for cell in numbers), key=len, default="") for name in _BEHIND}
    return [_cell(cell, widest, sheet) for cell in column]


def _cell(cell: Shown, widest: Mapping[str, str], sheet: Sheet) -> str:
    if cell.is_word or not cell.value:
        return rf"\multicolumn{{1}}{{c}}{{{escape(cell.value)}}}" if cell.value else ""
    behind = []
    for name, template in _BEHIND.items():
        text = getattr(cell, name)
        if text:
            behind.append(template.format(escape(text)))
        elif widest[name]:
            behind.append(f"\\hphantom{{{template.format(escape(widest[name]))}}}")
    return _value(cell, sheet) + "".join(behind)


def _value(cell: Shown, sheet: Sheet) -> str:
    value = escape(cell.value)
    value = rf"\textbf{{{value}}}" if sheet.is_bold(cell) else value
    return rf"\underline{{{value}}}" if sheet.is_underlined(cell) else value


def _of_siunitx(cell: Shown, sheet: Sheet) -> siunitx.Number | str:
    """A cell for a column of numbers; what is printed behind the number, as the star of 93.5*, follows it."""
    bare = cell.value.rstrip("*†‡")
    value = siunitx.plain(bare)
    if cell.is_word or not value:
        return escape(cell.value)
    after = escape(cell.value[len(bare) :])
    if sheet.is_underlined(cell):
        after += siunitx.SECOND if cell.look == SECOND else siunitx.BEST
    after += rf" \scriptsize {escape(cell.delta)}" if cell.delta else ""
    after += escape(cell.mark)
    after += rf" \scriptsize {escape(cell.count)}" if cell.count else ""
    after += rf" \normalsize {escape(cell.sign)}" if cell.sign else ""
    return siunitx.Number(value, cell.std, after, sheet.is_bold(cell))


def escape(label: str) -> str:
    """A label as LaTeX that prints it, wherever it stands; symbols of mathematics and Greek go through math mode."""
    return "".join(map(_written, one_line(label)))


def _written(character: str) -> str:
    """A character as pdflatex knows it; one that it does not know by its nearest kin, or else by its number."""
    if character in SPECIAL or character < "\u0180":
        return SPECIAL.get(character, character)
    kin = unicodedata.normalize("NFKD", character)
    return "".join(SPECIAL.get(part, part if part.isascii() else f"(U+{ord(part):04X})") for part in kin)


def _macro_name(name: str, row: Key, column: Key) -> str:
    """Letters only, as TeX wants it: digits as words, everything else a word boundary."""
    text = " ".join((name, *row, *column)).replace("%", " percent ")
    text = "".join(f" {_DIGITS[int(char)]} " if char.isdigit() and char.isascii() else char for char in text)
    words = re.findall(r"[A-Za-z]+", text)
    return "".join([words[0].lower(), *(word[0].upper() + word[1:] for word in words[1:])])
