"""What the command line puts in the place of an experiment's own axes, and how lists and settings are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.document import parse_document
from bench.errors import InputError

SELECTIONS = ("last", "best-val", "best-test")
"""The rules by which the point of its curve is picked at which a run is scored (see ``bench.report.score``)."""

TESTS = ("welch", "paired", "permutation")
"""The tests by which a table compares methods (see ``bench.tables.testing``)."""

ACROSS = ("these", "like-these")
"""The claims that a table can make over its datasets (see ``bench.tables.across``)."""


@dataclass(frozen=True)
class Overrides:
    """Texts as they are typed; an empty one changes nothing.

    Attributes:
        methods: ``"ce,gta(weight=0.3)"``; a bare name has the experiment's hyper-parameters, if it has the method.
        backbones: ``"micro_vit,timm:vit_tiny_patch16_224@none"``.
        datasets: ``"digits,folder:PATH"``.
        rates: ``"15,100"``, in percent.
        seeds: how many (``"5"``), or which (``"0,1,7"``).
        settings: of the protocol, such as ``("steps=100", "lr=1e-4")``.
        selection: which point of the curve a table reads.
        split: whose accuracy it shows, ``"test"`` or ``"val"``.
        test: by which its methods are compared, one of ``TESTS``.
        across: the claim over its datasets, one of ``ACROSS``.
    """

    methods: str = ""
    backbones: str = ""
    datasets: str = ""
    rates: str = ""
    seeds: str = ""
    settings: Sequence[str] = ()
    selection: str = ""
    split: str = ""
    test: str = ""
    across: str = ""


def split_list(text: str) -> list[str]:
    """``a, b(c, d)`` as ``["a", "b(c, d)"]``: commas inside parentheses do not split."""
    return _split(text, ",")


def split_chain(text: str) -> list[str]:
    """``gta(weight=1)+transmix`` as its parts."""
    return _split(text, "+")


def split_call(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """``name(key=value, ...)`` as the name and its settings. Raises ``InputError`` where it is not of that form."""
    match = re.fullmatch(r"([^()]+)(?:\((.*)\))?", text)
    if match is None:
        raise InputError(f"{option}: '{text}' is not of the form name or name(hyper-parameter=value)")
    pairs = [split_setting(pair, option) for pair in split_list(match[2] or "")]
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise InputError(f"{option}: '{text}' gives {twice[0]} twice")
    return match[1].strip(), dict(pairs)


def split_setting(text: str, option: str) -> tuple[str, Any]:
    """``key=value`` as a pair. Raises ``InputError`` where it is not of that form."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{option}: '{text}' is not of the form key=value")
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
