"""What ``table`` and ``import`` share: how a table is laid out, what sums it up, and how it is written."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.commands.options import say
from bench.errors import InputError
from bench.sheets.formats import Format, check_takes, option_of, render_sheets
from bench.sheets.layout import FITS, FONT_SIZES, SheetLayout, arranged

if TYPE_CHECKING:
    from bench.sheets.sheet import Sheet
    from bench.tables.compare import Table

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._/+-]*")
"""What LaTeX takes for a label, whatever packages are loaded."""

FEW = 20
"""Characters that are listed where pdflatex cannot print some."""


def add_layout(parser: argparse.ArgumentParser) -> None:
    """The options of ``SheetLayout``, and the columns that sum a table up."""
    parser.add_argument(
        "--average", action="store_true", help="a column Avg.: the mean over the columns, for each seed"
    )
    parser.add_argument("--ranks", action="store_true", help="a column Rank: the mean rank over the columns, 1 is best")
    parser.add_argument("--transpose", action="store_true", help="rows become columns")
    parser.add_argument(
        "--columns-per-block", type=int, default=0, metavar="N", help="so many beside each other (default: what fits)"
    )
    parser.add_argument("--caption", default="", metavar="TEXT", help="in the place of the title")
    parser.add_argument("--no-notes", dest="notes", action="store_false", help="leave away the rules below the table")
    parser.add_argument(
        "--fit", default="", choices=FITS, help="LaTeX, of a paper in two columns: a column of it, or the page (table*)"
    )
    parser.add_argument(
        "--font-size", default="", choices=FONT_SIZES, help="LaTeX: of the letters (default: the largest that fit)"
    )
    parser.add_argument("--longtable", action="store_true", help="LaTeX: from page to page (default: where it has to)")
    parser.add_argument("--label", default="", metavar="NAME", help="LaTeX: tab:x (default: made of the table's name)")
    parser.add_argument("--standalone", action="store_true", help="LaTeX: a document that compiles by itself")


def layout_of(options: argparse.Namespace, format: Format) -> SheetLayout:
    """What a command line asks of the layout. Raises ``InputError`` where that cannot be, or the format lacks it."""
    if options.columns_per_block < 0:
        raise InputError(f"--columns-per-block {options.columns_per_block}: it takes one column at least")
    if options.label and not LABEL.fullmatch(options.label):
        raise InputError(f"--label {options.label}: letters, digits and : . _ / + - , as in tab:results")
    if options.longtable and options.fit == "column":
        raise InputError("--longtable: it needs pages of one column; --fit page sets it on them")
    layout = SheetLayout(
        columns_per_block=options.columns_per_block,
        transpose=options.transpose,
        longtable=options.longtable,
        font_size=options.font_size,
        label=options.label,
        caption=options.caption,
        notes=options.notes,
        standalone=options.standalone,
        fit=options.fit,
    )
    check_takes(layout, options.format, format)
    return layout


def check_ours(options: argparse.Namespace, published: bool) -> None:
    """Raise ``InputError`` where published numbers are to be summed up, which are shown as they are printed."""
    option = "--average" if options.average else "--ranks" if options.ranks else ""
    if option and options.candidates:
        raise InputError(f"{option}: candidates are not summed up; leave --candidates away")
    if option and published and options.source != "ours":
        raise InputError(f"{option}: published numbers are shown as printed; it is for --source ours")


def summed_up(table: Table, options: argparse.Namespace) -> Table:
    """The table with the columns that are asked for."""
    if not (options.average or options.ranks):
        return table
    from bench.tables.totals import extended

    return extended(table, options.average, options.ranks)


def written(sheets: Sequence[Sheet], format: Format, width: int | None, layout: SheetLayout) -> str:
    """The tables as text. Says which characters pdflatex cannot print, where it is to."""
    for field in ("label", "caption"):
        if len(sheets) > 1 and getattr(layout, field):
            raise InputError(f"{option_of(field)}: there are {len(sheets)} tables; name one of them")
    if format.module == "latex" and not layout.standalone:
        _say_unprintable([arranged(sheet, layout) for sheet in sheets])
    return render_sheets(sheets, format, width, layout)


def _say_unprintable(sheets: Sequence[Sheet]) -> None:
    from bench.sheets.tex import unprintable

    characters = unprintable(text for sheet in sheets for text in sheet.texts())
    if characters:
        more = f" and {len(characters) - FEW} more" if len(characters) > FEW else ""
        remedy = "their numbers stand in their place; --standalone writes them for lualatex or xelatex"
        say(f"pdflatex cannot print {' '.join(characters[:FEW])}{more}: {remedy}")
