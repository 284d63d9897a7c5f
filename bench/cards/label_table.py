"""Files that name images with their labels: CSV as spreadsheets write it, and lists of ``path label`` lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import InputError, hidden

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
MOST_BYTES = 500_000_000
"""Of a table: ImageNet's paths and labels take a tenth of it."""

_PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path")
_LABELS = ("label", "class", "class_name", "classname", "category", "species", "target")
_SPLITS = ("split", "set", "subset", "partition")
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

FORM = f"a column for the path ({', '.join(_PATHS[:3])}, ...) and one for the label ({', '.join(_LABELS[:3])}, ...)"


class LabelledRow(NamedTuple):
    """What a table says of an image: its path, as written; its label; its split, empty where the table says none."""

    path: str
    label: str
    split: str
    place: str


def read_table(path: Path) -> list[LabelledRow]:
    """The rows of a table or list, one an image.

    The columns have one of a closed list of names, in any case, with commas, semicolons or tabs between them. A text
    file without such a header is a list of lines ``path label``. Raises ``InputError`` with the line: it cannot be
    read, has no such columns, a row lacks its path or label, or a split is none.
    """
    text = _text(path)
    lines = text.splitlines()
    if not lines:
        raise InputError(f"{path}:1: the file is empty; it needs {FORM}")
    for separator in (",", ";", "\t"):
        header = ["_".join(name.lower().split()) for name in lines[0].replace('"', "").split(separator)]
        columns = [_column(header, names, path) for names in (_PATHS, _LABELS, _SPLITS)]
        if columns[0] is not None and columns[1] is not None:
            return _table_rows(path, text, separator, columns)
    if path.suffix.lower() == ".txt":
        return _list_rows(path, lines)
    raise InputError(f"{path}:1: the header '{lines[0][:80]}' lacks {FORM}")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: it cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: it has more than {MOST_BYTES // 10**6} MB, which no table of images needs")
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # a spreadsheet's "Unicode text"
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: it is not UTF-8; save it as UTF-8") from None


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> int | None:
    """Which column has one of some names; None where none has."""
    columns = [at for at, name in enumerate(header) if name in names]
    if len(columns) > 1:
        both = " and ".join(f"'{header[at]}'" for at in columns)
        raise InputError(f"{path}:1: the columns {both} could be meant; rename all but one")
    return columns[0] if columns else None


def _table_rows(path: Path, text: str, separator: str, columns: Sequence[int | None]) -> list[LabelledRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    next(reader)
    rows = []
    try:
        for fields in reader:
            if not any(map(str.strip, fields)):
                continue
            place = f"{path}:{reader.line_num}"
            if len(fields) <= max(column for column in columns if column is not None):
                raise InputError(f"{place}: the row has {len(fields)} columns, fewer than the header")
            values = ["" if column is None else fields[column].strip() for column in columns]
            has_split = columns[2] is not None
            rows.append(_row(values[0], values[1], _part(values[2], place) if has_split else "", place))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: it is not CSV: {error}") from None
    return rows


def _list_rows(path: Path, lines: Sequence[str]) -> list[LabelledRow]:
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = line.rsplit(maxsplit=1)
        if len(parts) != 2:
            raise InputError(f"{path}:{number}: '{line.strip()[:80]}' is no line of a path and a label")
        rows.append(_row(parts[0].strip(), parts[1], "", f"{path}:{number}"))
    return rows


def _part(text: str, place: str) -> str:
    if text.lower() not in _PARTS:
        raise InputError(f"{place}: '{text[:80]}' is no split; a split is train, val or test")
    return _PARTS[text.lower()]


def _row(name: str, label: str, split: str, place: str) -> LabelledRow:
    for what, value in (("path", name), ("label", label)):
        if not value:
            raise InputError(f"{place}: the row has no {what}")
        if odd := hidden(value):
            raise InputError(f"{place}: the {what} holds the character U+{ord(odd):04X}, which cannot be printed")
    return LabelledRow(name, label, split, place)
