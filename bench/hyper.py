"""Hyper-parameters: one declaration serves validation, the grid, the run id, the card and the documentation."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import InputError

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Hyper:
    """A hyper-parameter as declared.

    Attributes:
        name: the field's name in the method's dataclass.
        type: ``"float"``, ``"int"``, ``"bool"`` or ``"str"``.
        default: used where nothing is written; none where it depends on another one's value.
        low: smallest allowed value, inclusive.
        high: largest allowed value, inclusive.
        choices: the allowed values, if they can be listed.
        source: who published the default, or that it is our choice.
        by: the hyper-parameter whose value decides the default, empty where none does: a weight belongs to the formula
            for which it was published.
        defaults: what is used where nothing is written, by the value of that one.
    """

    name: str
    type: str
    default: Value
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] | None = None
    source: str = ""
    by: str = ""
    defaults: Mapping[Value, Value] = dataclasses.field(default_factory=dict)

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        if self.choices is not None:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        noun = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a text"}[self.type]
        if self.low is not None and self.high is not None:
            return f"{noun} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{noun} of at least {self.low:g}"
        return f"{noun} of at most {self.high:g}" if self.high is not None else noun

    def default_among(self, values: Mapping[str, Value]) -> Value:
        """What is used where nothing is written, beside these values of the others, by name."""
        return self.defaults[values[self.by]] if self.by else self.default

    def check(self, value: object, owner: str) -> Value:
        """The value, as read from YAML or the command line, in its declared type (``1`` becomes ``1.0`` for a float).

        Raises:
            InputError: wrong type or out of range; names owner, parameter, value and what is allowed.
        """
        converted = _convert(value, self.type)
        allowed = _within(converted, self.low, self.high) if self.choices is None else converted in self.choices
        if converted is None or not allowed:
            raise InputError(f"{owner}: {self.name} = {value!r} is not allowed; it must be {self.allowed}")
        return converted


def hyper(
    default: Any,
    *,
    by: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Value, ...] | None = None,
    source: str,
) -> Any:
    """A method's hyper-parameter, written as the default of a dataclass field.

    The arguments are those of ``Hyper`` and must be literals: they are read without running the file. ``source`` says
    where the default comes from: paper and section, released code, or "our choice". A default that belongs to one form
    of a formula is given for each: ``hyper({"paper": 1.0, "released": 4.0}, by="variant", source="...")``. Whoever
    writes nothing and whoever writes that very value mean the same.
    """
    defaults = default if by else {}
    declared = {"low": low, "high": high, "choices": choices, "source": source, "by": by, "defaults": defaults}
    return dataclasses.field(default=None if by else default, metadata=declared)


def completed(values: Mapping[str, Value], declared: Mapping[str, Hyper]) -> dict[str, Value]:
    """The values that are written and, for all other hyper-parameters, their defaults: first those that stand alone."""
    plain = {name: each.default for name, each in declared.items() if not each.by}
    chosen = {**plain, **values}
    dependent = {name: each.default_among(chosen) for name, each in declared.items() if each.by}
    return {**dependent, **chosen}


_WORDS = {"yes": True, "on": True, "no": False, "off": False}
"""What is taken for true or false where one of the two is needed; elsewhere these are words."""


def _convert(value: object, type_name: str) -> Value:
    """The value in the declared type, or None where it has another one."""
    if isinstance(value, bool):
        return value if type_name == "bool" else None
    if isinstance(value, str):
        return value if type_name == "str" else _WORDS.get(value.lower()) if type_name == "bool" else None
    if type_name not in ("int", "float") or not isinstance(value, (int, float)) or not abs(value) < sys.float_info.max:
        return None
    if type_name == "int":
        return int(value) if value == int(value) else None
    return float(value)


def _within(value: Value, low: float | None, high: float | None) -> bool:
    if isinstance(value, (bool, str)) or value is None:
        return True
    return (low is None or value >= low) and (high is None or value <= high)


def another(hyper: Hyper) -> Value:
    """An allowed value that is not the default, where there is one; small numbers are what YAML gets wrong."""
    if hyper.choices is not None:
        return next((choice for choice in hyper.choices if choice != hyper.default), hyper.default)
    default: Any = next(iter(hyper.defaults.values())) if hyper.by else hyper.default
    if hyper.type == "bool":
        return not default
    if hyper.type == "str":
        return f"{default}x"
    low, high = -math.inf if hyper.low is None else hyper.low, math.inf if hyper.high is None else hyper.high
    candidates = (default + 1, default - 1) if hyper.type == "int" else (default / 3e4, 0.123, 1e-7)
    return next((value for value in candidates if low <= value <= high and value != default), default)
