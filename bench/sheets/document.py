"""What stands around a table in LaTeX: a float, a longtable, or a document that compiles by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.sheets.fitting import Fit
from bench.sheets.layout import SheetLayout
from bench.sheets.tex import FONTS

PACKAGES = (r"\usepackage{booktabs}", r"\usepackage{multirow}", r"\usepackage{adjustbox}")
LONGTABLE = r"\usepackage{longtable}"

TOGETHER = 20
"""Rows of a block up to which no page ends among them, where there are several blocks."""

# longtable knows no two columns, and sets its caption in the size of the table
ONE_COLUMN = (
    r"\makeatletter\if@twocolumn\onecolumn\def\benchcolumns{\twocolumn}\else\def\benchcolumns{}\fi",
    r"\begingroup\let\benchfont\reset@font\def\reset@font{\benchfont\normalsize}\makeatother",
)


_RIGHT = (
    r"\ifdefined\directlua\newcommand{\benchright}[1]{{\textdir TRT\benchrightfont #1}}",
    r"\else\TeXXeTstate=1\newcommand{\benchright}[1]{{\beginR\benchrightfont #1\endR}}\fi",
)


@dataclass(frozen=True)
class Block:
    """Columns that stand beside each other.

    Attributes:
        spec: their specification.
        columns: how many they are.
        ruler: a row of the widest that stands in each.
        head: the lines of the header.
        rows: the lines below it.
    """

    spec: str
    columns: int
    ruler: str
    head: tuple[str, ...]
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """What an environment is made of.

    Attributes:
        below: what stands below the table; empty where the caption has it.
        blocks: one below the other.
        star: "*" for a float over both columns of a paper.
    """

    caption: str
    below: str
    label: str
    setup: tuple[str, ...]
    blocks: tuple[Block, ...]
    star: str = ""


def floating(part: Part, fit: Fit) -> list[str]:
    """A table that floats. It is shrunk to the line should it be wider after all."""
    body = list[str]()
    for block in part.blocks:
        body += [r"\\\noalign{\medskip}"] if body else []
        body += [rf"\begin{{tabular}}{{{block.spec}}}", r"\toprule", *block.head, r"\midrule", *block.rows]
        body += [r"\bottomrule", r"\end{tabular}"]
    if len(part.blocks) > 1:
        body = [r"\begin{tabular}{@{}l@{}}", *body, r"\end{tabular}"]
    return [
        rf"\begin{{table{part.star}}}",
        *part.setup,
        r"\centering",
        rf"\caption{{{part.caption}}}",
        rf"\label{{{part.label}}}",
        r"\smallskip",
        *_size(fit),
        r"\begin{adjustbox}{max width=\linewidth}",
        *body,
        r"\end{adjustbox}",
        *_below(part),
        rf"\end{{table{part.star}}}",
    ]


def long(part: Part, fit: Fit) -> list[str]:
    """A longtable for each block, all of them one table: with the header on each page, and where it goes on."""
    lines = [*ONE_COLUMN, *part.setup, *_size(fit), r"\setlength{\LTcapwidth}{\linewidth}"]
    for number, block in enumerate(part.blocks):
        first = [rf"{block.ruler} \kill"]  # columns are as wide as they will be from the first run of LaTeX on
        if number:
            lines.append(r"\addtocounter{table}{-1}")
        else:
            first.append(rf"\caption{{{part.caption}}}\label{{{part.label}}}\\")
        header = [r"\toprule", *block.head, r"\midrule"]
        lines += [rf"\begin{{longtable}}{{{block.spec}}}", *first, *header, r"\endfirsthead"]
        lines += [
            rf"\multicolumn{{{block.columns}}}{{l}}{{\tablename~\thetable{{}} (continued)}}\\",
            *header,
            r"\endhead",
        ]
        lines += [r"\bottomrule", r"\endfoot", *_rows(block.rows, len(part.blocks) > 1), r"\end{longtable}"]
    return [*lines, *_below(part), r"\endgroup", r"\benchcolumns"]


def _rows(rows: Sequence[str], is_block: bool) -> Iterator[str]:
    """The rows of a longtable; those of a small block stay together."""
    together = is_block and len(rows) <= TOGETHER
    for number, row in enumerate(rows, 1):
        ends = row.endswith(r"\\") and together and number < len(rows)
        yield f"{row}*" if ends else row


def _size(fit: Fit) -> list[str]:
    if fit.size == "normalsize":
        return []
    return [rf"\{fit.size}", rf"\setlength{{\tabcolsep}}{{{fit.gap:g}pt}}"]


def _below(part: Part) -> list[str]:
    if not part.below:
        return []
    return [rf"\par\smallskip\noindent\parbox{{\linewidth}}{{\footnotesize {part.below}}}"]


def document(tables: str, layout: SheetLayout) -> str:
    """Tables as a document, with the packages and fonts that they say they need."""
    needs = "\n".join(line for line in tables.splitlines() if line.startswith("% needs "))
    packages = dict.fromkeys(re.findall(r"\\usepackage\{\w+\}", needs))
    lines = ["% needs pdflatex", rf"\documentclass{'[twocolumn]' if layout.fit else ''}{{article}}"]
    if "lualatex" in needs:
        lines = ["% needs lualatex or xelatex: pdflatex does not know all of its characters", lines[1], *_fonts(tables)]
    return "\n".join([*lines, *packages, r"\begin{document}", tables.rstrip("\n"), r"\end{document}"]) + "\n"


def _fonts(tables: str) -> Iterator[str]:
    """The commands of ``FONTS`` that tables have: each sets its text in the first font that there is, or stops TeX."""
    yield r"\usepackage{fontspec}"
    for command, fonts in FONTS.items():
        if rf"\{command}{{" not in tables:
            continue
        font = rf"\{command}font"
        choice = rf"\errmessage{{none of these fonts is installed: {', '.join(fonts)}}}\newcommand{{{font}}}{{}}"
        for name in reversed(fonts):
            choice = rf"\IfFontExistsTF{{{name}}}{{\newfontfamily{{{font}}}{{{name}}}}}{{{choice}}}"
        yield choice
        yield from _RIGHT if command == "benchright" else [rf"\newcommand{{\{command}}}[1]{{{{{font} #1}}}}"]
