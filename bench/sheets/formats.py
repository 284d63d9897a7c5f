"""The formats that tables are written in, by name; what writes one is imported when it is used.

A new one is a writer in a module of this package and its entry in ``FORMATS``, or ``formats/NAME.py`` with a function
``write(sheet)`` in a plug-in folder.

What a reader asks of the layout (``bench.sheets.layout``) is done to the sheet, for every format that shows cells in a
grid, or is for the writer: one whose ``takes`` names more gets the layout too.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cards.code import file_digest
from bench.errors import InputError, choose
from bench.reading.loading import load_checked
from bench.registry import Registry
from bench.sheets.layout import ANY, OF_LATEX, OF_SHEETS, SheetLayout, arranged

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
        takes: which fields of ``SheetLayout`` it has.
        file: of a plug-in, in the place of the module.
    """

    module: str
    writer: str
    suffix: str
    together: bool = True
    sentences: bool = True
    folded: bool = False
    takes: frozenset[str] = OF_SHEETS
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

    @property
    def is_told(self) -> bool:
        """Whether its writer is given the layout."""
        return bool(self.takes - OF_SHEETS)


FORMATS = {
    "text": Format("text", "to_text", "txt", folded=True, takes=OF_SHEETS | {"columns_per_block"}),
    "markdown": Format("markdown", "to_markdown", "md"),
    "csv": Format("records", "to_csv", "csv", sentences=False, takes=frozenset()),
    "json": Format("records", "to_json", "json", together=False, takes=frozenset({"caption", "notes"})),
    "html": Format("html", "to_html", "html", together=False),
    "latex": Format("latex", "to_latex", "tex", takes=OF_LATEX),
    "latex-siunitx": Format("latex", "to_siunitx", "", takes=OF_LATEX),
    "macros": Format("latex", "to_macros", "macros.tex", sentences=False, takes=frozenset({"caption"})),
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


def render_sheet(
    sheet: Sheet, format: str | Format = "text", width: int | None = None, layout: SheetLayout = ANY
) -> str:
    """The sheet as text that ends with a newline; the same sheet always gives the same bytes.

    Args:
        sheet: what to write.
        format: what ``find_format`` gives, or the name of one of ``FORMATS``.
        width: columns of characters for "text", at least 1; the terminal's by default.
        layout: what is asked of the format, and the format has (``check_takes``).

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
    sheet, write = arranged(sheet, layout), format.load()
    if format.file is not None:
        return _written(sheet, write, format.file)
    columns = [width or shutil.get_terminal_size().columns] if format.folded else []
    return write(sheet, *columns, *([layout] if format.is_told else []))


def render_sheets(sheets: Iterable[Sheet], format: Format, width: int | None, layout: SheetLayout = ANY) -> str:
    """Sheets one below the other, or as a document of their own if the layout asks for one."""
    text = "\n".join(render_sheet(sheet, format, width, layout) for sheet in sheets)
    if not layout.standalone:
        return text
    from bench.sheets.document import document

    return document(text, layout)


def check_takes(layout: SheetLayout, name: str, format: Format) -> None:
    """Raise ``InputError`` where a format does not have what is asked of it, and say which do."""
    for asked in layout.asked:
        if asked not in format.takes:
            able = ", ".join(each for each, suited in FORMATS.items() if asked in suited.takes)
            raise InputError(f"{option_of(asked)}: --format {name} does not have it; these do: {able}")


def option_of(field: str) -> str:
    """The option that asks for a field of ``SheetLayout``."""
    return "--no-notes" if field == "notes" else f"--{field.replace('_', '-')}"


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
