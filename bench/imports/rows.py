"""The rows of a file of results: CSV with any separator, as spreadsheets and trackers write it, or records in JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.reading.ordinary import open_ordinary

MOST_BYTES = 100_000_000
"""Of a results file: two million lines take less."""

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""What may stand between columns, by the name that can be typed for it."""

JSON, JSON_LINES = (".json",), (".jsonl", ".ndjson")

_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_POINT = re.compile(r"[+-]?\d+\.\d+\s*%?", re.ASCII)
_LOOK_AT = 500
"""Rows in which a decimal point is looked for: beside one, a comma is none."""

_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Rows:
    """A file as a header and rows of texts, each as long as the header.

    Attributes:
        path: the file.
        header: the names of the columns; empty where one has none.
        fields: the rows, without those in which nothing stands.
        starts: where each row begins: the line, or the number of the record in a list.
        commas: whether a comma in a number is certainly a decimal one, since it separates nothing.
        word: ``:`` before a line, ``: record `` before the number of a record.
    """

    path: Path
    header: tuple[str, ...]
    fields: Sequence[Sequence[str]]
    starts: Sequence[int]
    commas: bool = False
    word: str = ":"

    def place(self, row: int) -> str:
        """``FILE:LINE`` of a row."""
        return f"{self.path}{self.word}{self.starts[row]}"

    @property
    def top(self) -> str:
        """The place of the header."""
        return f"{self.path}:1" if self.word == ":" else str(self.path)


def read_rows(path: Path, separator: str = "") -> Rows:
    """The rows of a file; ``separator`` is the character between columns, by default that of the header.

    Raises ``InputError``: the file cannot be read, or is none of the kind, with the line.
    """
    text, ending = _text(path), path.suffix.lower()
    if ending in JSON or ending in JSON_LINES:
        rows = _json_rows(path, text, ending in JSON_LINES)
    else:
        rows = _csv_rows(path, text, separator)
    if not rows.fields:
        raise InputError(f"{rows.top}: there are no results below the header")
    return rows


def _text(path: Path) -> str:
    try:
        with open_ordinary(path) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: it cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"{path}: more than {MOST_BYTES // 10**6} MB; divide it by backbone or dataset")
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # a spreadsheet's "Unicode text"
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"it is not UTF-8 (byte {content[error.start]:#04x}); save it as UTF-8"
        raise InputError(f"{path}:{line}: {what}") from None
    if not text.strip():
        raise InputError(f"{path}:1: the file is empty; it needs a header, such as method,dataset,seed,value")
    return text


def _csv_rows(path: Path, text: str, separator: str) -> Rows:
    lines = io.StringIO(text, newline="")
    first, skipped = lines.readline(), 0
    if named := _SEP.fullmatch(first.strip("\r\n ")):
        skipped, separator = 1, separator or named[1]
    else:
        lines.seek(0)
    separator = separator or _separator(text.lstrip("\r\n ").partition("\n")[0])
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        header = next(reader, [])
        while not any(map(str.strip, header)) and (more := next(reader, None)) is not None:
            header = more
        fields, starts = _fields(path, header, reader, skipped)
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num + skipped}: it is not CSV: {error}") from None
    names = tuple(" ".join(name.split()) for name in header)
    has_points = any(_POINT.fullmatch(text.strip()) for row in fields[:_LOOK_AT] for text in row)
    return Rows(path, names, fields, starts, commas=separator != "," and not has_points)


def _fields(path: Path, header: Sequence[str], reader: Any, skipped: int) -> tuple[list[list[str]], list[int]]:
    """The rows below a header that are not blank, and the line that each begins in."""
    width, fields, starts, wrong = len(header), list[list[str]](), list[int](), list[str]()
    start, is_wide = reader.line_num + 1 + skipped, False
    for row in reader:
        if len(row) == width and (row[0] or any(row)):
            fields.append(row)
            starts.append(start)
        elif any(map(str.strip, row)):
            names = ", ".join(header[:8]) + ", ..." * (width > 8)
            is_wide = is_wide or len(row) > width
            wrong.append(f"{path}:{start}: {len(row)} fields for the {width} columns {names}")
        start = reader.line_num + 1 + skipped
    if wrong:
        more = [f"{path}: and {len(wrong) - 2} more lines like that"] if len(wrong) > 3 else []
        if is_wide and reader.dialect.delimiter == ",":
            more.append(f"{path}: a value with a comma in it, as 80,1, needs quotes, or semicolons between the columns")
        raise InputError(*(wrong[:2] if len(wrong) > 3 else wrong), *more)
    return fields, starts


def _separator(header: str) -> str:
    """What separates the names of a header: of the candidates that which stands there most often."""
    bare = _QUOTED.sub("", header)
    return max(SEPARATORS.values(), key=bare.count)


def _json_rows(path: Path, text: str, by_line: bool) -> Rows:
    if by_line:
        numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        records = [_loaded(f"{path}:{number}", line) for number, line in numbered]
        starts, word = [number for number, _ in numbered], ":"
    else:
        records = _list(path, _loaded(str(path), text))
        starts, word = list(range(1, len(records) + 1)), ": record "
    flat = []
    for start, record in zip(starts, records, strict=True):
        if not isinstance(record, dict):
            raise InputError(f'{path}{word}{start}: a record is an object, {{"method": ..., "value": ...}}')
        try:
            flat.append(dict(_flat(record)))
        except (RecursionError, UnicodeEncodeError):
            raise InputError(f"{path}{word}{start}: it is nested too deeply, or holds what is no text") from None
    header = tuple(dict.fromkeys(name for record in flat for name in record))
    fields = [[record.get(name, "") for name in header] for record in flat]
    return Rows(path, header, fields, starts, word=word)


def _loaded(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: it is not JSON: {error}") from None


def _list(path: Path, content: Any) -> list[Any]:
    """A list of records, or the only list of an object."""
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list)]
        content = lists[0] if len(lists) == 1 else content
    if not isinstance(content, list):
        raise InputError(f'{path}: a list of records is needed: [{{"method": ..., "dataset": ..., "value": ...}}, ...]')
    return content


def _flat(record: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """The texts of a record by name, those of an object in it by ``outer.inner``; lists are left out."""
    for name, value in record.items():
        key = f"{above}{' '.join(name.split())}"
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")
        elif value is None:
            yield key, ""
        elif isinstance(value, bool):
            yield key, "yes" if value else "no"
        elif not isinstance(value, list):
            text = value if isinstance(value, str) else repr(value)
            (key + text).encode()  # half of a surrogate pair could be shown and never be written
            yield key, text
