"""What our runs say of the differences that a paper prints between its rows and their baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.stats.verdict import CANNOT_TELL

IS_THERE, REVERSED = "there", "reversed"


@dataclass(frozen=True)
class Gain:
    """A printed difference of a row to its baseline, and ours.

    Attributes:
        word: ``IS_THERE`` where the interval of our difference lies on the printed side of zero, ``REVERSED`` where it
            lies on the other one, else ``CANNOT_TELL``.
        printed: the difference in print, never zero.
        ours: our difference.
        low: lower end of its interval; nan where one side has a single run.
        high: upper end.
        comparable: whether both sides are run as the paper says.
    """

    word: str
    printed: float
    ours: float
    low: float = math.nan
    high: float = math.nan
    comparable: bool = True

    @property
    def in_order(self) -> bool:
        """Whether the two rows stand in the order of print."""
        return self.printed * self.ours > 0

    @property
    def half_width(self) -> float:
        """Of the interval."""
        return (self.high - self.low) / 2


def gain_of(printed: float, ours: float, low: float, high: float, comparable: bool = True) -> Gain | None:
    """What our difference says of a printed one; None where none is printed, or a tie."""
    if math.isnan(printed) or printed == 0:
        return None
    word = CANNOT_TELL
    if low > 0 or high < 0:
        word = IS_THERE if (low > 0) == (printed > 0) else REVERSED
    return Gain(word, printed, ours, low, high, comparable)
