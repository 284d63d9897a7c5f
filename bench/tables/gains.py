"""What our runs say of the differences that a paper prints between its rows and their baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.stats.samples import t_interval
from bench.stats.verdict import CANNOT_TELL
from bench.tables.cells import Cell
from bench.tables.testing import paired_values

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


def interval_of(test: str, a: Cell, b: Cell, alpha: float) -> tuple[float, float]:
    """The confidence interval of the difference of two means, at 1 - alpha: of pairs for ``paired``, else Welch's.

    Both ends are nan where it takes more seeds than there are.
    """
    from scipy.special import stdtrit

    if test == "paired":
        first, second = paired_values(a, b)
        differences = [x - y for x, y in zip(first, second, strict=True)]
        return t_interval(differences, 1 - alpha) if len(differences) > 1 else (math.nan, math.nan)
    ours, base = a.summary, b.summary
    if ours is None or base is None or min(ours.n, base.n) < 2 or math.isnan(ours.std + base.std):
        return math.nan, math.nan
    gap, squares = ours.mean - base.mean, (ours.std**2 / ours.n, base.std**2 / base.n)
    if not any(squares):
        return gap, gap
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / (ours.n - 1) + squares[1] ** 2 / (base.n - 1))
    half = float(stdtrit(freedom, 1 - alpha / 2)) * math.sqrt(sum(squares))
    return gap - half, gap + half
