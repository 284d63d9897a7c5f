"""What chance makes of a printed table: how often numbers come out alike, how far deviations of few runs lie apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence


def at_least(count: int, chances: Sequence[float]) -> float:
    """The chance that at least ``count`` of independent events happen, each with a chance of its own in [0, 1].

    This is the upper tail of the Poisson binomial distribution, summed from its terms, so that a small one is exact.
    """
    happen = [1.0]
    for chance in chances:
        happen = [
            without * (1 - chance) + with_it * chance
            for without, with_it in zip([*happen, 0.0], [0.0, *happen], strict=True)
        ]
    return min(1.0, math.fsum(happen[max(count, 0) :]))


def in_a_row(length: int, chances: Sequence[float]) -> float:
    """An upper bound of the chance that ``length`` neighbouring events happen: the sum over all places they may begin.

    Raises ``ValueError`` where the length is below 1.
    """
    if length < 1:
        raise ValueError(f"a run has a length of at least 1; got {length}")
    places = range(len(chances) - length + 1)
    return min(1.0, math.fsum(math.prod(chances[place : place + length]) for place in places))


def alike_near(value: float, rest: Sequence[float], step: float) -> float:
    """The chance that a second number prints like ``value``, where some of them lie close together for a reason.

    The density around the value is that of its second nearest neighbour, as if all lay that close: a step of the last
    digit has step / (2 gap), with a gap of at least half a step. That is an upper estimate: some methods are alike on
    every dataset, and then the many others that are far away say nothing about them.

    Args:
        value: as printed.
        rest: (k,), the other numbers that stand beside the two.
        step: a unit of the last printed digit, above 0.

    Returns:
        A chance in (0, 1]; 1 in 20 without any rest: a last digit that says something varies over ten steps either way.
    """
    if not rest:
        return 0.05
    gap = _gaps(value, rest, step)[:2][-1]
    return _alike(rest, step, step / (2 * max(gap, step / 2)))


def alike_among(value: float, rest: Sequence[float], step: float) -> float:
    """As ``alike_near``, where the numbers are draws of one kind: half of them lie within their median gap, h.

    A step of the last digit then has step / (4 h).
    """
    if not rest:
        return 0.05
    gap = _gaps(value, rest, step)[len(rest) // 2]
    return _alike(rest, step, step / (4 * max(gap, step / 4)))


def _gaps(value: float, rest: Sequence[float], step: float) -> list[float]:
    """How far the rest is from a value, ascending, in whole steps: differences of printed numbers are such."""
    return sorted(round(abs(each - value) / step) * step for each in rest)


def _alike(rest: Sequence[float], step: float, chance: float) -> float:
    """A chance that is at least the share of the pairs of the rest that do print alike."""
    counts = Counter(round(each / step) for each in rest)
    pairs = math.comb(len(rest), 2)
    alike = sum(math.comb(count, 2) for count in counts.values())
    return min(1.0, max(chance, alike / pairs if pairs else 0.0))


def variance_beyond(ratio: float, count: int, freedom: int, above: bool) -> float:
    """The chance that one sample variance is so far from the median of ``count`` others, all of one true variance.

    With X a chi-square of ``freedom`` degrees (n - 1 of a deviation of n runs) and M the upper median of ``count``
    more, this is P(X >= ratio M), or P(X <= ratio M). M is an order statistic, P(M <= m) = I(F(m); j, count - j + 1)
    with j = count // 2 + 1, and the integral over X is summed on a grid of log x. The median of some is hardly moved by
    a stray one among them, as their mean would be.

    Args:
        ratio: of the variance to the median, above 0.
        count: how many others, at least 1.
        freedom: degrees of freedom of each, at least 1.
        above: whether the chance to be above is asked.

    Raises:
        ValueError: an argument is outside of what is said here.
    """
    if not ratio > 0 or count < 1 or freedom < 1:
        raise ValueError(f"ratio must be above 0, count and freedom at least 1; got {ratio}, {count}, {freedom}")
    import numpy as np  # scipy takes half of a command's start
    from scipy.special import betainc, gammainc, gammaincc, gammaln

    shape, rank = freedom / 2, count // 2 + 1
    log_x, width = np.linspace(-60, 8, 1701, retstep=True)
    x = np.exp(log_x)
    weight = np.exp(shape * np.log(x / 2) - x / 2 - gammaln(shape)) * width
    if above:
        beyond = betainc(rank, count - rank + 1, gammainc(shape, x / (2 * ratio)))
    else:
        beyond = betainc(count - rank + 1, rank, gammaincc(shape, x / (2 * ratio)))
    return min(1.0, float(weight @ beyond))
