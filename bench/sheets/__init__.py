"""Sheets: tables as they are shown, with labels on several levels, in every format."""

from __future__ import annotations

import shutil

from bench.errors import choose
from bench.sheets.html import to_html
from bench.sheets.latex import to_latex, to_macros, to_siunitx
from bench.sheets.plain import to_markdown, to_text
from bench.sheets.records import to_csv, to_json
from bench.sheets.sheet import Sheet, Shown, marked, ranks, spans

__all__ = ["FORMATS", "SUFFIXES", "Sheet", "Shown", "marked", "ranks", "render_sheet", "spans"]

_WRITERS = {
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "html": to_html,
    "latex": to_latex,
    "latex-siunitx": to_siunitx,
    "macros": to_macros,
}
FORMATS = ("text", *_WRITERS)
SUFFIXES = {
    "text": "txt",
    "markdown": "md",
    "csv": "csv",
    "json": "json",
    "html": "html",
    "latex": "tex",
    "macros": "macros.tex",
}
"""The formats that are written beside each other, with the suffix of each."""


def render_sheet(sheet: Sheet, format: str = "text", width: int | None = None) -> str:
    """The sheet as text that ends with one newline; the same sheet always gives the same bytes.

    Args:
        sheet: what to write.
        format: one of ``FORMATS``.
        width: columns of characters for "text"; the terminal's by default.

    Raises:
        ValueError: there is no such format.
    """
    if format not in FORMATS:
        raise ValueError(choose(format, FORMATS, "format"))
    if format == "text":
        return to_text(sheet, width or shutil.get_terminal_size().columns)
    return _WRITERS[format](sheet)
