"""A table in a file of its own: a CSV as people keep them, or a published-table YAML without its paper.

Of a CSV the first columns are labels, up to the first in which most cells are numbers; the first one always is. Columns
are separated by commas, semicolons, tabs or, as in Markdown, bars. A cell is ``81.2``, ``81.2 ± 0.3`` (also ``+-``,
``+/-``, ``\\pm``, ``81.2 (0.3)``, or a column of its own called ``std`` behind it), with a difference ``(+1.1)`` behind
it, or any text, which is no number. Signs of bold and percent are left out. A comma within a number is a decimal one
but before three digits of a comma-separated file. Lines without a number are headings. Labels but the last one may
stand on the first line of their block only.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cards.folders import typed_path
from bench.errors import InputError, hidden
from bench.papers.published import Key, Printed, PublishedTable, Ranking, read_cell, read_published
from bench.reading.document import read_document, read_text

CSV, YAML = (".csv", ".tsv", ".md", ".txt"), (".yaml", ".yml")
_SEPARATORS = ",;\t|"
_PLUS_MINUS = re.compile(r"_?\s*(?:\\pm|\+/-|\+-|±)\s*")
_DRESS = re.compile(r"\\(?:textbf|mathbf|underline|textit|bf)\b|\*\*|[{}$%]")
_IN_BRACKETS = re.compile(r"(?<=\d)\s*\((\d+(?:\.\d+)?)\)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_STD = re.compile(r"(.*?)[\s_([-]*(?:std|sd|stdev|std\. ?dev|±)[\])._\s]*", re.IGNORECASE)
_RATE = re.compile(r"\d{1,3} ?%")
_RULE = re.compile(r"[\s|:-]+")
_ONE_LINE_A_SEED = {"method", "dataset", "seed", "value"}
_LONG_LABEL, _MOST_COLUMNS = 100, 200


@dataclass(frozen=True)
class TextLine:
    """A line of the file: its number, counted from 1, and its fields."""

    number: int
    fields: tuple[str, ...]


def is_file(target: str) -> bool:
    """Whether a target is the path of a table, not the name of one."""
    return Path(target).suffix.lower() in (*CSV, *YAML)


def read_loose(path: Path) -> PublishedTable:
    """The table in a file, named as the file is.

    Raises ``InputError``: the file cannot be read, or all that is wrong with it, or it holds no table of results.
    """
    path = typed_path(path)
    if path.suffix.lower() in YAML:
        table = read_published(path.name, read_document(path))
        if table.kind != "results":
            raise InputError(f"{path}: its kind is {table.kind}; an audit is of results")
        return table
    return _read_csv(read_text(path).removeprefix("\ufeff"), str(path), path.name)


def _read_csv(text: str, place: str, name: str) -> PublishedTable:
    """A table from the text of a CSV that came from ``place``. Raises ``InputError``: as ``read_loose``."""
    separator = max(_SEPARATORS, key=lambda mark: text.partition("\n")[0].count(mark))
    records = _records(text, separator, place)
    depth = _headings(records, separator)
    body = [record for record in records[depth:] if any(_is_number(text, separator) for text in record.fields[1:])]
    if not body:
        raise InputError(f"{place}: there is no line with a label and a number below the header")
    width = _labels_of(body, separator)
    columns = _columns([record.fields[width:] for record in records[:depth]])
    stub = tuple(text or f"label {level}" for level, text in enumerate(records[0].fields[:width], 1))
    blocks = [at for at in range(width - 1) if any(not record.fields[at] for record in body)]
    rows, cells = list[Key](), list[list[Printed]]()
    for record in body:
        labels = list(record.fields[:width])
        for at in blocks if rows else ():
            labels[at] = labels[at] or rows[-1][at]
        rows.append(tuple(labels))
        cells.append([read_cell(_plain(text, separator)) for text in record.fields[width:]])
    columns, cells = _with_deviations(columns, cells)
    return PublishedTable(
        name=name,
        title=name,
        kind="results",
        metric="",
        metric_as_printed="",
        note="",
        stub=stub,
        columns=tuple(columns),
        rows=tuple(rows),
        cells=tuple(map(tuple, cells)),
        ranking=Ranking(within=tuple(stub[at] for at in blocks)),
        runs={},
        place=place,
    )


def _records(text: str, separator: str, place: str) -> list[TextLine]:
    """The lines with their fields, which are as many in all of them. Raises ``InputError``."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records = list[TextLine]()
    try:
        for fields in reader:
            if separator == "|" and _RULE.fullmatch("|".join(fields)):
                continue
            fields = fields[1:-1] if separator == "|" and not (fields[0] + fields[-1]).strip() else fields
            if any(field.strip() for field in fields):
                records.append(TextLine(reader.line_num, tuple(map(_label, fields))))
    except csv.Error as error:
        raise InputError(f"{place}:{reader.line_num}: it is not CSV: {error}") from None
    if not records or len(records[0].fields) < 2:
        raise InputError(f"{place}:1: a table has a header with a column of labels and one of numbers at least")
    if {field.lower() for field in records[0].fields} >= _ONE_LINE_A_SEED:
        raise InputError(f"{place}:1: one line a seed is what 'bench import' takes; an audit takes a table as printed")
    if len(records[0].fields) > _MOST_COLUMNS:
        raise InputError(f"{place}:1: more than {_MOST_COLUMNS} columns; an audit is of a table as printed")
    for record in records:
        where, count = f"{place}:{record.number}", len(records[0].fields)
        if len(record.fields) != count:
            raise InputError(f"{where}: {len(record.fields)} fields for the {count} columns of the header")
        if odd := next(filter(None, map(hidden, record.fields)), ""):
            raise InputError(f"{where}: a text holds the character U+{ord(odd):04X}, which cannot be printed")
    return records


def _headings(records: Sequence[TextLine], separator: str) -> int:
    """How many of the first lines are the header: the first, and those below it that have labels and no number.

    Whole percents (``15%``) are labels too, but where all lines would be headings then.
    """
    for at, record in enumerate(records[1:], 1):
        texts = list(filter(None, record.fields[1:]))
        if len(texts) < 2 or any(_is_number(text, separator) and not _RATE.fullmatch(text) for text in texts):
            return at
    return 1


def _labels_of(body: Sequence[TextLine], separator: str) -> int:
    """How many of the first columns are labels."""
    for column in range(1, len(body[0].fields)):
        texts = list(filter(None, (record.fields[column] for record in body)))
        if 2 * sum(_is_number(text, separator) for text in texts) >= max(len(texts), 1):
            return column
    return len(body[0].fields) - 1


def _columns(headings: Sequence[Sequence[str]]) -> list[Key]:
    """The labels of each column; of the upper lines an empty one is that to its left."""
    levels = [list(heading) for heading in headings]
    for level in levels[:-1]:
        for at in range(1, len(level)):
            level[at] = level[at] or level[at - 1]
    return list(zip(*levels, strict=True))


def _with_deviations(
    columns: Sequence[Key], cells: Sequence[Sequence[Printed]]
) -> tuple[list[Key], list[list[Printed]]]:
    """With the columns that are the ± of the one to their left put there."""
    kept, rows = list[Key](), [list[Printed]() for _ in cells]
    for at, key in enumerate(columns):
        match = _STD.fullmatch(key[-1]) if len(key[-1]) < _LONG_LABEL else None
        if match and kept and match[1].strip().lower() in ("", kept[-1][-1].lower()):
            for row, line in zip(rows, cells, strict=True):
                std = "" if math.isnan(line[at].number) else line[at].digits
                row[-1] = replace(row[-1], std=std)
        else:
            kept.append(key)
            for row, line in zip(rows, cells, strict=True):
                row.append(line[at])
    return kept, rows


def _label(field: str) -> str:
    return " ".join(field.replace("**", "").split())


def _plain(text: str, separator: str) -> str:
    """A cell as a published table would have it."""
    text = _DRESS.sub("", text).replace("−", "-")
    if separator == ",":
        text = _THOUSANDS.sub("", text)
    text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    text = _PLUS_MINUS.sub(" ± ", text)
    return _IN_BRACKETS.sub(r" ± \1", text).strip()


def _is_number(text: str, separator: str) -> bool:
    return not math.isnan(read_cell(_plain(text, separator)).number)
