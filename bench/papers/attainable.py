"""Which means and deviations can come from counts of right answers: GRIM and GRIMMER for accuracies.

An accuracy on n test images is k/n for a whole number k, and the mean of m runs is K/(n m) for a whole number K (Brown
and Heathers, "The GRIM test", 2017). Of the deviation of m runs only some values are possible for a given K (Anaya,
"The GRIMMER test", 2016). All arithmetic is exact; a printed number stands for the closed interval of half a unit of
its last digit on either side, so either way of rounding a tie is allowed. Numbers are in percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

SAMPLE, POPULATION = 1, 0
"""What is taken from the number of values in the denominator of a variance."""


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``, both included."""

    low: Fraction
    high: Fraction

    def widened(self, by: Fraction) -> Interval:
        return Interval(self.low - by, self.high + by)

    def __contains__(self, value: Fraction) -> bool:
        return self.low <= value <= self.high


def half_unit(printed: str) -> Fraction:
    """Half a unit of the last printed digit: 0.005 for ``91.06``."""
    return Fraction(1, 2 * 10 ** len(printed.partition(".")[2]))


def rounded(printed: str) -> Interval:
    """What may have been printed so."""
    return Interval(Fraction(printed), Fraction(printed)).widened(half_unit(printed))


def totals(accuracy: Interval, images: int, runs: int) -> range:
    """The numbers of right answers, all runs together, whose mean accuracy lies in the interval."""
    scale = Fraction(images * runs, 100)
    low, high = math.ceil(accuracy.low * scale), math.floor(accuracy.high * scale)
    return range(max(low, 0), min(high, images * runs) + 1)


def nearest_accuracy(value: Fraction, images: int, runs: int) -> tuple[int, Fraction]:
    """The number of right answers, all runs together, whose mean accuracy is nearest, and that accuracy."""
    total = min(max(round(value * images * runs / 100), 0), images * runs)
    return total, Fraction(100 * total, images * runs)


def deviation_is_attainable(total: int, deviation: Interval, images: int, runs: int, less: int) -> bool:
    """Whether ``runs`` counts with this total can have a standard deviation in the interval.

    The total is of all runs, at least 2; ``less`` is ``SAMPLE`` (n - 1) or ``POPULATION`` (n).
    """
    _, rest = divmod(total, runs)
    # with counts q + d_i, q the whole part of the mean, the d_i add up to the rest and their squares to what is sought
    scale = Fraction(images * images, 100 * 100) * (runs - less)
    low = math.ceil(max(deviation.low, Fraction(0)) ** 2 * scale + Fraction(rest * rest, runs))
    high = math.floor(deviation.high**2 * scale + Fraction(rest * rest, runs))
    return _squares(runs, rest, low, high)


def nearest_deviation(total: int, value: Fraction, images: int, runs: int, less: int) -> float:
    """The attainable standard deviation that is nearest, in percent; arguments as above."""
    _, rest = divmod(total, runs)
    offset = Fraction(rest * rest, runs)
    scale = Fraction(images * images, 100 * 100) * (runs - less)
    middle, reach = round(value**2 * scale + offset), 0
    nearest: list[int] = []
    while not nearest:
        nearest = [at for at in {middle - reach, middle + reach} if _squares(runs, rest, at, at)]
        reach += 1
    deviations = [math.sqrt((at - offset) / scale) for at in nearest]
    return min(deviations, key=lambda each: abs(each - float(value)))


def largest_deviation(total: int, images: int, runs: int, less: int) -> float:
    """The largest standard deviation of ``runs`` counts from 0 to ``images`` with this total, in percent.

    As many runs as can be have all images right, one has the rest, and the others have none; arguments as above.
    """
    full, rest = divmod(total, images)
    squares = full * images**2 + rest**2
    return 100 / images * math.sqrt((squares - Fraction(total * total, runs)) / (runs - less))


def _squares(count: int, total: int, low: int, high: int) -> bool:
    """Whether ``count`` whole numbers add up to ``total`` and their squares to something from ``low`` to ``high``."""
    low = max(low, -(-total * total // count))
    low += (low - total) % 2  # a number and its square are both odd or both even
    if low > high:
        return False
    if count == 1:
        return low <= total * total
    if count == 2:
        return _two_squares(total, low, high)
    widest = math.isqrt(high)
    for first in sorted(range(-widest, widest + 1), key=abs):
        rest, square = total - first, first * first
        if rest * rest <= (count - 1) * (high - square) and _squares(count - 1, rest, low - square, high - square):
            return True
    return False


def _two_squares(total: int, low: int, high: int) -> bool:
    """As above for two numbers, by their difference: 2 (a² + b²) = (a + b)² + (a - b)²."""
    least, most = 2 * low - total * total, 2 * high - total * total
    difference = math.isqrt(least - 1) + 1 if least > 0 else 0
    difference += (difference - total) % 2
    return difference * difference <= most
