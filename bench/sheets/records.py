"""A sheet for machines: CSV and JSON, one record a cell, values as they are shown."""

from __future__ import annotations

import json

from bench.sheets.sheet import Sheet
from bench.tables.records import to_field

Field = str | int | float | None

COLUMNS = ("row", "column", "value", "std", "delta", "mark", "rank", "note")


def to_csv(sheet: Sheet) -> str:
    """One line a cell below a header; cells in which nothing is shown are left out."""
    found = records(sheet)
    heads = list(found[0]) if found else list(COLUMNS)
    lines: list[list[Field]] = [[*heads], *([*record.values()] for record in found)]
    return "".join(",".join(to_field(value) for value in line) + "\n" for line in lines)


def to_json(sheet: Sheet) -> str:
    """An object of name, title, notes and cells."""
    content = {"name": sheet.name, "title": sheet.title, "notes": sheet.notes, "cells": records(sheet)}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def records(sheet: Sheet) -> list[dict[str, Field]]:
    """Each cell that shows something, with its labels; facts that some cells have are empty in the others."""
    more = dict.fromkeys(name for row in sheet.cells for cell in row for name, _ in cell.facts)
    return [
        {
            "row": " / ".join(filter(None, label)),
            "column": " / ".join(filter(None, column)),
            "value": cell.value,
            "std": cell.std,
            "delta": cell.delta,
            "mark": cell.mark,
            "rank": cell.rank,
            "note": cell.note,
            **more,
            **dict(cell.facts),
        }
        for label, cells in zip(sheet.rows, sheet.cells, strict=True)
        for column, cell in zip(sheet.columns, cells, strict=True)
        if cell.value or cell.note
    ]
