"""How many seeds it would take to see a difference."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import nctdtr, stdtrit

from bench.stats.difference import welch_freedom
from bench.stats.family import holm
from bench.stats.reach import fewest_seeds
from bench.stats.samples import check_share
from bench.stats.two import MOST_EXACT


def welch_power(gap: float, std_a: float, std_b: float, n: int, m: int, alpha: float = 0.05) -> float:
    """The chance, in [alpha, 1], that Welch's two-sided test finds a true difference, from the noncentral t.

    For equal deviations and sizes it is the power of Student's t-test; otherwise the degrees of freedom are those of
    Welch and Satterthwaite at the true deviations, an approximation that is good to about a point from n = 5 on.

    Args:
        gap: the true difference of means.
        std_a: the first true standard deviation, in the unit of ``gap``; not both are zero.
        std_b: the second.
        n: seeds of the first, at least 2.
        m: seeds of the second, at least 2.
        alpha: level of the test, in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    check_share(alpha, "alpha")
    if min(n, m) < 2 or min(std_a, std_b) < 0 or not std_a + std_b > 0 or not math.isfinite(gap + std_a + std_b):
        raise ValueError(f"power needs n >= 2 and a spread; got n = {n} and {m}, std = {std_a} and {std_b}, gap {gap}")
    error_a, error_b = std_a / n**0.5, std_b / m**0.5
    return _power(abs(gap) / math.hypot(error_a, error_b), welch_freedom(error_a, error_b, n, m), alpha)


def paired_power(gap: float, std: float, n: int, alpha: float = 0.05, for_one: float = 1.0) -> float:
    """As ``welch_power`` for the paired t-test of n pairs, at least 2.

    ``gap`` and ``std``, which is above zero, are the true mean and standard deviation of the differences; ``for_one``
    are the degrees of freedom that a pair adds, more than 1 where the spread is that of several methods.
    """
    check_share(alpha, "alpha")
    if n < 2 or not std > 0 or not math.isfinite(gap + std):
        raise ValueError(f"power needs n >= 2 and a spread; got n = {n}, std = {std}, gap {gap}")
    return _power(abs(gap) / (std / n**0.5), for_one * (n - 1), alpha)


def _power(shift: float, freedom: float, alpha: float) -> float:
    """The chance that a t statistic whose mean is shifted lies beyond the critical values of both sides."""
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    # SciPy has no number for a chance below 1e-15, which counts as 0
    below, far_below = np.nan_to_num(nctdtr(freedom, shift, [critical, -critical])).tolist()
    return float(min(1.0, 1 - below + far_below))


def seeds_needed(
    gap: float, std_a: float, std_b: float, alpha: float = 0.05, power: float = 0.8, start: int = 2
) -> int | None:
    """The fewest seeds, as many on each side, with which Welch's test finds a difference this large so often.

    A gap measured with few seeds is itself uncertain, and one that was noticed because it is large is on average
    smaller in truth: the answer is a plan, not a promise.

    Args:
        gap: the difference of means, taken as true.
        std_a: the first standard deviation, taken as true.
        std_b: the second.
        alpha: level of the test; that of ``unrejected_level`` for one test of a family.
        power: how often it should be found, in (alpha, 1).
        start: no fewer than this.

    Returns:
        Seeds on each side; None where no number that is looked at is enough, as for a gap of 0, or where there is
        no spread to go by.

    Raises:
        ValueError: an argument is out of range.
    """
    check_share(power, "power")
    if std_a == 0 == std_b:
        return None
    return fewest_seeds(lambda n: welch_power(gap, std_a, std_b, n, n, alpha) >= power, start)


def pairs_needed(
    gap: float, std: float, alpha: float = 0.05, power: float = 0.8, start: int = 2, for_one: float = 1.0
) -> int | None:
    """As ``seeds_needed`` for the pairs of ``paired_power``; ``gap`` and ``std`` are of their differences."""
    check_share(power, "power")
    if std == 0:
        return None
    return fewest_seeds(lambda n: paired_power(gap, std, n, alpha, for_one) >= power, start)


def permutation_level(n: int, alpha: float = 0.05) -> float:
    """The largest p up to alpha that the exact permutation test of n and n different values can give.

    As the test counts ways to deal the values to both sides, its p are multiples of 2 / C(2n, n); with n = 4 one is
    below 0.05, which is 0.0286. Where there are too many values to count out, they are as good as dense.

    Returns:
        In [0, alpha]: 0 where the test cannot reach alpha.

    Raises:
        ValueError: n is below 1, or ``alpha`` is outside (0, 1).
    """
    check_share(alpha, "alpha")
    if n < 1:
        raise ValueError(f"a permutation test needs a value on each side; got n = {n}")
    if 2 * n > MOST_EXACT:
        return alpha
    ways = math.comb(2 * n, n)
    return 2 * math.floor(alpha * ways / 2) / ways


def permutation_needed(
    gap: float, std_a: float, std_b: float, alpha: float = 0.05, power: float = 0.8, start: int = 2
) -> int | None:
    """As ``seeds_needed`` for the exact permutation test, whose power is taken to be Welch's at ``permutation_level``.

    In simulations of normal values with equal noise this is right to a point or two, but for the least seeds that can
    reach alpha at all: with these it promises up to eight points too much.
    """
    check_share(power, "power")
    if std_a == 0 == std_b:
        return fewest_seeds(lambda n: permutation_level(n, alpha) > 0, start) if gap else None

    def enough(n: int) -> bool:
        level = permutation_level(n, alpha)
        return level > 0 and welch_power(gap, std_a, std_b, n, n, level) >= power

    return fewest_seeds(enough, start)


def unrejected_level(p: ArrayLike, alpha: float = 0.05) -> float:
    """The level at which Holm's procedure tests next, up to alpha: alpha / the comparisons it has not rejected.

    A comparison that is not significant yet must come below this level to become so.

    Args:
        p: (k,), the p of one family before correction; nan, a comparison that could not be tested yet, counts as one
            that is not rejected.
        alpha: level of the family, in (0, 1).

    Raises:
        ValueError: ``p`` is not 1-d, is outside [0, 1], or ``alpha`` is outside (0, 1).
    """
    check_share(alpha, "alpha")
    adjusted = holm(np.nan_to_num(np.asarray(p, dtype=np.float64), nan=1.0))
    return alpha / max(1, int((adjusted > alpha).sum()))
