"""The formats that tables are written in, by name; what writes one is imported when it is used."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import choose

if TYPE_CHECKING:
    from bench.sheets.sheet import Sheet


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        module: in ``bench.sheets``.
        writer: the function of it that gives a sheet as text.
        suffix: of its files; empty where none is written beside the others.
        together: whether several tables can follow one another in it.
    """

    module: str
    writer: str
    suffix: str
    together: bool = True


FORMATS = {
    "text": Format("text", "to_text", "txt"),
    "markdown": Format("markdown", "to_markdown", "md"),
    "csv": Format("records", "to_csv", "csv"),
    "json": Format("records", "to_json", "json", together=False),
    "html": Format("html", "to_html", "html", together=False),
    "latex": Format("latex", "to_latex", "tex"),
    "latex-siunitx": Format("latex", "to_siunitx", ""),
    "macros": Format("latex", "to_macros", "macros.tex"),
}
FILE_WIDTH = 100
"""Columns of text in files."""


def render_sheet(sheet: Sheet, format: str = "text", width: int | None = None) -> str:
    """The sheet as text that ends with one newline; the same sheet always gives the same bytes.

    Args:
        sheet: what to write.
        format: one of ``FORMATS``.
        width: columns of characters for "text", at least 1; the terminal's by default.

    Raises:
        ValueError: there is no such format, or ``width`` is below 1.
    """
    if format not in FORMATS:
        raise ValueError(choose(format, FORMATS, "format"))
    if width is not None and width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    known = FORMATS[format]
    write: Callable[..., str] = getattr(importlib.import_module(f"bench.sheets.{known.module}"), known.writer)
    if format == "text":
        return write(sheet, width or shutil.get_terminal_size().columns)
    return write(sheet)


def format_of(path: Path) -> str:
    """The format whose files end as a path does; empty where none does."""
    return next((name for name, known in FORMATS.items() if known.suffix == path.suffix.removeprefix(".")), "")


def write_formats(sheet: Sheet, folder: Path, name: str) -> list[Path]:
    """Write a sheet in every format that has files of its own. Returns their paths."""
    from bench.records.files import write_file

    paths = []
    for format, known in FORMATS.items():
        if known.suffix:
            paths.append(folder / f"{name}.{known.suffix}")
            write_file(paths[-1], render_sheet(sheet, format, FILE_WIDTH))
    return paths
