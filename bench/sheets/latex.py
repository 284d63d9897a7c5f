"""A sheet for a paper: booktabs with multirow and multicolumn, and a file of macros with a command for each cell."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from bench.notation import listed, one_line
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

PACKAGES = (r"\usepackage{booktabs}", r"\usepackage{multirow}", r"\usepackage{adjustbox}")

_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def to_latex(sheet: Sheet) -> str:
    """A ``table`` environment; the best in bold, spread and differences small.

    Columns that would be shrunk to less than ``SMALLEST`` of their size stand in blocks, one below the other.
    """
    columns = [("r", _padded(column, sheet)) for column in zip(*sheet.cells, strict=True)]
    return _environment(sheet, sheet.emphasis(), PACKAGES, (), columns)


def to_siunitx(sheet: Sheet) -> str:
    """As ``to_latex`` with siunitx's S columns; signs take the place of underlining, which cannot be aligned."""
    signs = {BEST: "Bold" if sheet.by_means else "●", CLOSE: "Bold", SECOND: "◇"}
    columns = []
    for column in zip(*sheet.cells, strict=True):
        columns.append(siunitx.columns([_of_siunitx(cell, sheet) for cell in column]))
    return _environment(sheet, signs, (*PACKAGES, siunitx.PACKAGE), siunitx.SETUP, columns)


def _environment(
    sheet: Sheet,
    signs: Mapping[str, str],
    packages: tuple[str, ...],
    setup: Sequence[str],
    columns: Sequence[tuple[str, Sequence[str]]],
) -> str:
    """The environment around columns, each with its specification and its cells."""
    rules = sheet.sentences(signs)
    title, *notes = [escape(f"{line.rstrip('.')}.") for line in (sheet.title, *rules)]
    caption, below = [title, *notes], list[str]()
    if len(sheet.title) + sum(map(len, rules)) > LONGEST:
        caption, below = [title], [rf"\par\smallskip\parbox{{\textwidth}}{{\footnotesize {' '.join(notes)}}}"]
    blocks = [_tabular(sheet, columns, places) for places in _blocks(sheet)]
    body = blocks[0]
    for block in blocks[1:]:
        body = [*body, r"\\[2ex]", *block]
    if len(blocks) > 1:
        body = [r"\begin{tabular}{@{}l@{}}", *body, r"\end{tabular}"]
    lines = [
        f"% needs {listed(packages)}",
        r"\begin{table}",
        *setup,
        r"\centering",
        rf"\caption{{{' '.join(caption)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', sheet.name)}}}",
        r"\smallskip",
        r"\begin{adjustbox}{max width=\textwidth}",
        *body,
        r"\end{adjustbox}",
        *below,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _tabular(sheet: Sheet, columns: Sequence[tuple[str, Sequence[str]]], places: Sequence[int]) -> list[str]:
    """Some of the columns, with the labels of the rows beside them."""
    block = replace(sheet, columns=tuple(sheet.columns[at] for at in places))
    spec = "l" * len(sheet.stub) + "".join(columns[at][0] for at in places)
    rows = list(zip(*(columns[at][1] for at in places), strict=True))
    return [
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        *_head(block),
        r"\midrule",
        *_body(block, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _blocks(sheet: Sheet) -> list[list[int]]:
    """The columns in as few blocks as keep letters large enough, on one page; what shares a label stays together."""
    groups: list[list[int]] = []
    for at, column in enumerate(sheet.columns):
        if groups and column[:-1] and column[:-1] == sheet.columns[at - 1][:-1]:
            groups[-1].append(at)
        else:
            groups.append([at])
    stub = sum(max(map(len, labels)) + GAP for labels in zip(*sheet.rows, strict=True))
    wide = [_characters(sheet, at) for at in range(len(sheet.columns))]
    fitting = [[*chain(*groups)]]
    for count in range(1, len(groups) + 1):
        each = math.ceil(len(groups) / count)
        blocks = [[*chain(*groups[at : at + each])] for at in range(0, len(groups), each)]
        widest = max(sum(wide[at] for at in block) for block in blocks)
        scale = min(1.0, LINE / (stub + widest))
        tall = len(blocks) * (len(sheet.rows) + len(sheet.columns[0]) + 1) * scale
        if count > 1 and tall > LINES:
            break
        fitting = blocks
        if scale >= SMALLEST:
            break
    return fitting


def _characters(sheet: Sheet, at: int) -> float:
    """About how wide a column is, in characters of the text's size."""
    cells = [row[at] for row in sheet.cells]
    parts = (
        max(len(cell.value + cell.mark) for cell in cells),
        SMALL * max((len(cell.std) + 3 for cell in cells if cell.std), default=0),
        SMALL * max((len(cell.delta) + 1 for cell in cells if cell.delta), default=0),
        SMALL * max(len(cell.count) for cell in cells),
        max((len(cell.sign) + 1 for cell in cells if cell.sign), default=0),
    )
    return max(sum(parts), len(sheet.columns[at][-1])) + GAP


def to_macros(sheet: Sheet) -> str:
    r"""A ``\newcommand`` for each value, ± and difference, to be used in prose: ``\gtaTableTwoCUBGTAFifteen``."""
    lines, used = [f"% {escape(sheet.title)}"], set[str]()
    for label, cells in zip(sheet.rows, sheet.cells, strict=True):
        for column, cell in zip(sheet.columns, cells, strict=True):
            name = _macro_name(sheet.name, label, column)
            while name in used:
                name += "X"
            used.add(name)
            for suffix, text in (("", cell.value), ("Std", cell.std), ("Delta", cell.delta)):
                if text:
                    lines.append(rf"\newcommand{{\{name}{suffix}}}{{{escape(text)}}}")
    return "\n".join(lines) + "\n"


def _head(sheet: Sheet) -> Iterator[str]:
    depth, first = len(sheet.columns[0]), len(sheet.stub) + 1
    for level in range(depth):
        innermost = level == depth - 1
        cells, rules = [escape(name) if innermost else "" for name in sheet.stub], list[str]()
        for span in spans(sheet.columns, level):
            stands = span.count > 1 or span.label
            cells.append(rf"\multicolumn{{{span.count}}}{{c}}{{{escape(span.label)}}}" if stands else "")
            if span.label and not innermost:
                rules.append(rf"\cmidrule(lr){{{first + span.start}-{first + span.start + span.count - 1}}}")
        yield " & ".join(cells) + r" \\"
        if rules:
            yield " ".join(rules)


def _body(sheet: Sheet, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    starts = [{span.start: span for span in spans(sheet.rows, level)} for level in range(len(sheet.stub))]
    previous = starts[0][0]
    for number, cells in enumerate(rows):
        group = starts[0].get(number, previous)
        if group is not previous and max(group.count, previous.count) > 1:
            yield r"\midrule"
        labels = [_label(level[number]) if number in level else "" for level in starts]
        yield " & ".join([*labels, *cells]) + r" \\"
        previous = group


def _label(span: Span) -> str:
    label = escape(span.label)
    return rf"\multirow{{{span.count}}}{{*}}{{{label}}}" if span.count > 1 else label


def _padded(column: Sequence[Shown], sheet: Sheet) -> list[str]:
    """The cells of a column; what some of its numbers have behind them is left free behind the others."""
    numbers = [cell for cell in column if not cell.is_word]
    widest = {name: max((getattr(cell, name) for cell in numbers), key=len, default="") for name in _BEHIND}
    return [_cell(cell, widest, sheet) for cell in column]


def _cell(cell: Shown, widest: Mapping[str, str], sheet: Sheet) -> str:
    if cell.is_word or not cell.value:
        return rf"\multicolumn{{1}}{{c}}{{{escape(cell.value)}}}" if cell.value else ""
    latex = escape(cell.value)
    if sheet.is_bold(cell):
        latex = rf"\textbf{{{latex}}}"
    if sheet.is_underlined(cell):
        latex = rf"\underline{{{latex}}}"
    for name, template in _BEHIND.items():
        text = template.format(escape(getattr(cell, name) or widest[name]))
        if getattr(cell, name):
            latex += text
        elif widest[name]:
            latex += rf"\hphantom{{{text}}}"
    return latex


def _of_siunitx(cell: Shown, sheet: Sheet) -> siunitx.Aligned | str:
    """A cell for a column of numbers; what is printed behind the number, as the star of 93.5*, follows it."""
    bare = cell.value.rstrip("*†‡")
    value = siunitx.plain(bare)
    if cell.is_word or not value:
        return escape(cell.value)
    behind = escape(cell.value[len(bare) :])
    if sheet.is_underlined(cell):
        behind += siunitx.SECOND if cell.look == SECOND else siunitx.BEST
    behind += rf" \scriptsize {escape(cell.delta)}" if cell.delta else ""
    behind += escape(cell.mark)
    behind += rf" \scriptsize {escape(cell.count)}" if cell.count else ""
    behind += rf" \normalsize {escape(cell.sign)}" if cell.sign else ""
    return siunitx.Aligned(value, cell.std, behind, sheet.is_bold(cell))


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
