"""How lists, calls, chains and settings are written on a command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bench.errors import InputError
from bench.reading.document import parse_document


def split_list(text: str) -> list[str]:
    """``a, b(c, d)`` as ``["a", "b(c, d)"]``: commas inside parentheses do not split."""
    return _split(text, ",")


def split_unless(text: str, *rules: Callable[[str], bool]) -> list[str]:
    """The parts between commas, but for commas in what a rule says is one; the first rule counts, then the longest."""
    pieces, parts, start = text.split(","), list[str](), 0
    while start < len(pieces):
        tried = {end: ",".join(pieces[start:end]).strip() for end in range(len(pieces), start, -1)}
        end = next((end for rule in rules for end, part in tried.items() if rule(part)), start + 1)
        parts.append(",".join(pieces[start:end]).strip())
        start = end
    return [part for part in parts if part]


def split_chain(text: str) -> list[str]:
    """``gta(weight=1)+transmix`` as its parts."""
    return _split(text, "+")


def split_call(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """``name(key=value, ...)`` as the name and its settings. Raises ``InputError`` where it is not of that form."""
    match = re.fullmatch(r"([^()]+)(?:\((.*)\))?", text)
    if match is None:
        raise InputError(f"{option}: '{text}' is not of the form name or name(hyper-parameter=value)")
    pairs = [split_setting(pair, option) for pair in split_list(match[2] or "")]
    keys = [key for key, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise InputError(f"{option}: '{text}' gives {twice[0]} twice")
    return match[1].strip(), dict(pairs)


def split_setting(text: str, option: str) -> tuple[str, Any]:
    """``key=value`` as a pair. Raises ``InputError`` where it is not of that form."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{option}: '{text}' is not of the form key=value")
    if several := re.fullmatch(r"([^(\[,]*),\s*(\w+=.*)", value):
        raise InputError(f"{option}: '{text}' is more than one: {option} {key}={several[1]} {option} {several[2]}")
    return key.strip(), read_value(value.strip())


def read_value(text: str) -> Any:
    """A plain value as YAML reads it: a number, true or false, or else the text itself."""
    try:
        value = parse_document(f"value: {text}", "command line")["value"]
    except InputError:
        return text
    return value if isinstance(value, (bool, int, float)) else text


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators that do not stand inside parentheses."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth = max(0, depth + (character == "(") - (character == ")"))
        if character == separator and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]
