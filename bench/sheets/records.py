"""A sheet for machines: CSV and JSON, one record a cell, numbers in full precision and plain signs."""

from __future__ import annotations

from bench.errors import harmless, json_text
from bench.sheets.sheet import BEST, CLOSE, SECOND, Sheet, Value


def to_csv(sheet: Sheet) -> str:
    """One line a cell below a header; empty is what does not exist.

    A label that a spreadsheet would read as a formula (it begins with =, +, -, @, tab or carriage return) has an
    apostrophe before it. Quoting as in RFC 4180, lines end in a newline.
    """
    names = dict.fromkeys(name for record in sheet.records for name in record)
    lines = [map(to_field, names), *(map(to_field, map(record.get, names)) for record in sheet.records)]
    return "".join(",".join(line) + "\n" for line in lines)


def to_json(sheet: Sheet) -> str:
    """An object of name, title, rules, facts about the whole table, and cells; null is what does not exist."""
    signs = {BEST: "best", CLOSE: "indistinguishable", SECOND: "second"}
    head = {"name": sheet.name, "title": sheet.title, "notes": sheet.sentences(signs)}
    signed = {"signatures": sheet.signatures} if sheet.signatures else {}
    content = {**head, **sheet.facts, **signed, "cells": sheet.records}
    return json_text(content) + "\n"


def to_field(value: Value) -> str:
    """A value as a field of a CSV file (see ``to_csv``)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    value = harmless(value)
    guarded = "'" + value if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value
    return '"' + guarded.replace('"', '""') + '"' if any(c in guarded for c in ',"\r\n') else guarded
