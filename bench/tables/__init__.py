"""Tables: cells in a layout, compared, and written for people, papers and machines."""

from __future__ import annotations

import shutil

from bench.errors import choose
from bench.tables.cells import Cell, Layout
from bench.tables.compare import compare
from bench.tables.latex import to_latex, to_siunitx
from bench.tables.markdown import to_markdown
from bench.tables.records import to_csv, to_json
from bench.tables.table import Entry, Table
from bench.tables.text import to_text

__all__ = ["FORMATS", "Cell", "Entry", "Layout", "Table", "compare", "render"]

_WRITERS = {"markdown": to_markdown, "csv": to_csv, "json": to_json, "latex": to_latex, "latex-siunitx": to_siunitx}
FORMATS = ("text", *_WRITERS)


def render(table: Table, format: str = "text", width: int | None = None) -> str:
    """The table as text that ends with one newline; the same table always gives the same bytes.

    Args:
        table: what to write.
        format: one of ``FORMATS``.
        width: columns of characters for "text", at least 1; the terminal's by default. Other formats have no width.

    Raises:
        ValueError: there is no such format, or ``width`` is below 1.
    """
    if format not in FORMATS:
        raise ValueError(choose(format, FORMATS, "format"))
    if format != "text":
        return _WRITERS[format](table)
    width = shutil.get_terminal_size().columns if width is None else width
    if width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    return to_text(table, width)
