"""What a text in a file of results means: a number, a mean with its deviation, nothing, or a failure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

MISSING = ("", "nan", "na", "n/a", "#n/a", "none", "null", "-", "–", "—", "?")
FAILED = ("failed", "diverged", "crashed", "error", "oom", "killed")

_NUMBER = r"[+\-−]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(_NUMBER, re.ASCII)
_SPREAD = re.compile(rf"({_NUMBER})\s*%?\s*(?:(?:±|\+/?-|\\pm)\s*(\d*\.?\d+)|\((\d*\.\d+)\))\s*%?", re.ASCII)
_THOUSANDS = re.compile(r"[+\-−]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", re.ASCII)
_COMMA = re.compile(r"(?<=\d),(?=\d)|(?<![\d,]),(?=\d)")


@dataclass(frozen=True)
class Number:
    """A number as it is written.

    Attributes:
        digits: the number, plain: what ``Decimal`` reads.
        std: what stands behind ± or in brackets, likewise; empty where nothing does.
        is_percent: whether a % stands behind it.
    """

    digits: str
    std: str = ""
    is_percent: bool = False

    @property
    def value(self) -> float:
        return float(self.digits)

    @property
    def deviation(self) -> float:
        """What stands behind ±; nan where nothing does."""
        return float(self.std) if self.std else math.nan

    def times(self, scale: int) -> Number:
        """The number that is ``scale`` times as large, 1 or 100, with the digits that are written."""
        if scale == 1:
            return self
        digits, std = (f"{Decimal(text).scaleb(2):f}" if text else "" for text in (self.digits, self.std))
        return Number(digits, std, self.is_percent)


def read_number(text: str, commas: bool = False) -> Number | None:
    """The number that a text is: ``71.3``, ``71.3 %``, ``80.1 ± 0.3``, ``80.1+-0.3``, ``80.1 (0.3)``.

    Args:
        text: without blanks around it.
        commas: whether a comma is certainly a decimal one; else ``1,234`` is no number, as it may be either.

    Returns:
        None where it is no finite number.
    """
    if "," in text and (commas or not _THOUSANDS.fullmatch(text)):
        text = _COMMA.sub(".", text)
    text = text.strip("$*")
    bare = text.removesuffix("%").rstrip()
    if _PLAIN.fullmatch(bare):
        number = Number(_plain(bare), is_percent=bare != text)
    elif spread := _SPREAD.fullmatch(text):
        number = Number(_plain(spread[1]), spread[2] or spread[3], "%" in text)
    else:
        return None
    return number if math.isfinite(number.value) else None


def is_missing(text: str) -> bool:
    """Whether a text says that there is no number."""
    return text.lower() in MISSING


def has_failed(text: str) -> bool:
    """Whether a text says that a run failed."""
    return text.lower() in FAILED


def decimals_of(digits: str) -> int:
    """Digits after the point of a number as it is written."""
    exponent = Decimal(digits).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _plain(text: str) -> str:
    return text.replace("−", "-")
