"""A table for machines: CSV and JSON, one record a cell, numbers in full precision."""

from __future__ import annotations

import json
from dataclasses import asdict

from bench.tables.table import Entry, Key, Table

Value = str | int | float | bool | None


def to_csv(table: Table) -> str:
    """One line a cell below a header; empty is what does not exist.

    A label that a spreadsheet would read as a formula (it begins with =, +, -, @, tab or carriage return) has an
    apostrophe before it. Quoting as in RFC 4180, lines end in a newline.
    """
    records = _records(table)
    lines: list[list[Value]] = [list(records[0]), *(list(record.values()) for record in records)]
    return "".join(",".join(to_field(value) for value in line) + "\n" for line in lines)


def to_json(table: Table) -> str:
    """An object of title, rules, layout and cells; null is what does not exist."""
    content = {
        "title": table.heading,
        "rules": table.rules(),
        "layout": asdict(table.layout),
        "cells": _records(table),
        **({"across": [claim.facts for claim in table.claims]} if table.claims else {}),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _records(table: Table) -> list[dict[str, Value]]:
    return [_record(row, column, entry) for (row, column), entry in table.entries.items()]


def _record(row: Key, column: Key, entry: Entry) -> dict[str, Value]:
    return {
        "row": " / ".join(row),
        "column": " / ".join(column),
        **entry.cell.axes,
        "value": entry.mean,
        "std": entry.std,
        "n": entry.n,
        "planned": entry.cell.planned,
        "failed": entry.cell.failed,
        "delta": entry.delta,
        "p": entry.p,
        "p_holm": entry.p_holm,
        "significant": entry.significant,
        "best": entry.best,
        "indistinguishable": entry.indistinguishable,
        "note": _note(entry),
    }


def _note(entry: Entry) -> str | None:
    if entry.cell.reason is not None:
        return entry.cell.reason
    if entry.cell.failed:
        return f"{entry.cell.failed} failed"
    return None if entry.n else "not run"


def to_field(value: Value) -> str:
    """A value as a field of a CSV file (see ``to_csv``)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    guarded = "'" + value if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value
    return '"' + guarded.replace('"', '""') + '"' if any(c in guarded for c in ',"\r\n') else guarded
