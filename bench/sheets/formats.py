"""The formats that tables are written in, by name; what writes one is imported when it is used.

A new one is a writer in a module of this package and its entry in ``FORMATS``, or ``formats/NAME.py`` with a function
``write(sheet)`` in a plug-in folder.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cards.code import file_digest
from bench.errors import InputError, choose
from bench.reading.loading import load_checked
from bench.registry import Registry

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
        sentences: whether it has what stands below a table.
        folded: whether its writer is told how many columns of characters there are.
        file: of a plug-in, in the place of the module.
    """

    module: str
    writer: str
    suffix: str
    together: bool = True
    sentences: bool = True
    folded: bool = False
    file: Path | None = None

    def load(self) -> Callable[..., str]:
        """Its writer. Raises ``InputError`` where a plug-in's file has none."""
        if self.file is None:
            module = importlib.import_module(f"bench.sheets.{self.module}")
        else:
            module = load_checked("plugin_formats", self.file, file_digest(self.file))
        writer = getattr(module, self.writer, None)
        if not callable(writer):
            missing = f"no function is called '{self.writer}'; a format's file has one (def {self.writer}(sheet): ...)"
            raise InputError(f"{self.file}:1: {missing}")
        return writer  # type: ignore[no-any-return]


FORMATS = {
    "text": Format("text", "to_text", "txt", folded=True),
    "markdown": Format("markdown", "to_markdown", "md"),
    "csv": Format("records", "to_csv", "csv", sentences=False),
    "json": Format("records", "to_json", "json", together=False),
    "html": Format("html", "to_html", "html", together=False),
    "latex": Format("latex", "to_latex", "tex"),
    "latex-siunitx": Format("latex", "to_siunitx", ""),
    "macros": Format("latex", "to_macros", "macros.tex", sentences=False),
}
FILE_WIDTH = 100
"""Columns of text in files."""


def find_format(name: str, registry: Registry) -> Format:
    """The format of a name, of the suite or of a plug-in. Raises ``InputError`` where there is none; says which are."""
    files = registry.format_files
    if taken := sorted(files.keys() & FORMATS.keys()):
        raise InputError(f"{files[taken[0]]}: the suite has a format called '{taken[0]}'; rename this one")
    formats = {**FORMATS, **{stem: Format("", "write", "", file=file) for stem, file in files.items()}}
    if name not in formats:
        raise InputError(f"--format: {choose(name, formats, 'format')}")
    return formats[name]


def render_sheet(sheet: Sheet, format: str | Format = "text", width: int | None = None) -> str:
    """The sheet as text that ends with a newline; the same sheet always gives the same bytes.

    Args:
        sheet: what to write.
        format: what ``find_format`` gives, or the name of one of ``FORMATS``.
        width: columns of characters for "text", at least 1; the terminal's by default.

    Raises:
        ValueError: there is no such format, or ``width`` is below 1.
        InputError: a plug-in's writer cannot write it.
    """
    if isinstance(format, str):
        if format not in FORMATS:
            raise ValueError(choose(format, FORMATS, "format"))
        format = FORMATS[format]
    if width is not None and width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    write = format.load()
    if format.file is not None:
        return _written(sheet, write, format.file)
    return write(sheet, width or shutil.get_terminal_size().columns) if format.folded else write(sheet)


def _written(sheet: Sheet, write: Callable[..., str], file: Path) -> str:
    """What a plug-in's writer makes of a sheet."""
    try:
        text = write(sheet)
    except (Exception, SystemExit) as error:  # somebody's file: whatever it does is told the same way
        raise InputError(f"{file}: {sheet.name} cannot be written: {type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise InputError(f"{file}: 'write' must give text, not a {type(text).__name__}")
    return text if text.endswith("\n") else text + "\n"


def format_of(path: Path) -> str:
    """The format whose files end as a path does; empty where none does."""
    return next((name for name, format in FORMATS.items() if format.suffix == path.suffix.removeprefix(".")), "")


def write_formats(sheet: Sheet, folder: Path, name: str) -> list[Path]:
    """Write a sheet in every format that has files of its own. Returns their paths."""
    from bench.records.files import write_file

    paths = []
    for format in FORMATS.values():
        if format.suffix:
            paths.append(folder / f"{name}.{format.suffix}")
            write_file(paths[-1], render_sheet(sheet, format, FILE_WIDTH))
    return paths
