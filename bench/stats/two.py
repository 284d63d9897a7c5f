"""Two samples: do their means differ? Tests that assume a normal spread, and exact ones that assume none."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.difference import paired_estimate, welch_estimate
from bench.stats.samples import Floats, Summary, checked, summary

MOST_EXACT = 40
"""Values up to which a permutation test is counted out: halves of 2^20 sums each."""


def welch(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of Welch's t-test that two samples have the same mean (Welch, 1947).

    Where neither sample varies the statistic is 0/0 or x/0, and the limit is returned: 1.0 for equal means, 0.0 for
    different ones; what rounding alone pulls apart is equal. That p follows from these data alone: two to five equal
    values do not show that a method has no spread, so whoever prints it should say so.

    Args:
        a: (n,), finite.
        b: (m,), finite.

    Returns:
        p in [0, 1]; nan if n < 2 or m < 2.

    Raises:
        ValueError: a sample is not 1-d or not finite.
    """
    a, b = checked(a), checked(b)
    if min(a.size, b.size) < 2:
        return math.nan
    return welch_of(summary(a), summary(b), rounding_of(a, b))


def welch_of(a: Summary, b: Summary, none: float = 0.0) -> float:
    """As ``welch`` from summaries, of which it needs no more.

    Args:
        a: of the first sample.
        b: of the second.
        none: a difference as small as this is rounding.

    Returns:
        p in [0, 1]; nan where either has n < 2 or no deviation.
    """
    estimate = welch_estimate(a, b, none)
    return math.nan if estimate is None else estimate.p


def paired_t(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of the paired t-test, for runs that share something on purpose: the subset, the head, the order.

    Which runs are pairs is decided by how they were made, before their results are seen; pairing runs that share
    nothing costs power. Differences that do not vary have the limits of ``welch``.

    Args:
        a: (n,), finite.
        b: (n,), finite; ``b[i]`` shares its seeds with ``a[i]``.

    Returns:
        p in [0, 1]; nan if n < 2.

    Raises:
        ValueError: a sample is not 1-d or not finite, or their lengths differ.
    """
    return corrected_t(a, b, 0.0)


def corrected_t(a: ArrayLike, b: ArrayLike, share: float) -> float:
    """Two-sided p of the paired t-test for results that share training images, as the folds of a cross-validation do.

    The variance of the mean difference is taken to be (1/n + share) times that of the differences (Nadeau and Bengio,
    2003; see ``bench.stats.estimate.paired_estimate``). Differences that do not vary have the limits of ``welch``.

    Args:
        a: (n,), finite.
        b: (n,), finite; ``b[i]`` is of the same fold, or split, as ``a[i]``.
        share: test images for each training image: 1 / (K - 1) for K folds; 0 is the paired t-test.

    Returns:
        p in [0, 1]; nan if n < 2.

    Raises:
        ValueError: a sample is not 1-d or not finite, their lengths differ, or ``share`` is below 0.
    """
    if share < 0:
        raise ValueError(f"a share of test images is 0 or more; got {share}")
    estimate = paired_estimate(_differences(a, b), rounding_of(checked(a), checked(b)), share)
    return math.nan if estimate is None else estimate.p


def permutation(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of the exact permutation test on the difference of two means (Fisher; Pitman, 1937), in (0, 1].

    The share of all ways to deal the values to the two samples whose means differ at least as much. It assumes no
    distribution; it cannot be small for few values (see ``bench.stats.reach``).

    Args:
        a: (n,), n >= 1, finite.
        b: (m,), m >= 1, finite; n + m at most ``MOST_EXACT``.

    Raises:
        ValueError: a sample is empty, not 1-d or not finite, or there are too many values.
    """
    a, b = checked(a), checked(b)
    if not a.size or not b.size:
        raise ValueError("a permutation test needs a value on each side")
    _few(a.size + b.size)
    values = np.concatenate([a, b])
    values = values - np.sort(values).mean()
    # with the pooled mean at zero, the difference of means is the first sample's sum times a constant
    bound = abs(values[: a.size].sum()) - slack(a, b)
    ordered = np.sort(values)
    left, right = subset_sums(ordered[::2]), subset_sums(ordered[1::2])
    beyond = 0
    for k, sums in enumerate(left):
        if 0 <= a.size - k < len(right):
            beyond += pairs_beyond(sums, right[a.size - k], bound)
    return beyond / math.comb(values.size, a.size)


def paired_permutation(a: ArrayLike, b: ArrayLike) -> float:
    """As ``permutation`` for pairs, at most ``MOST_EXACT``: each pair's difference may have either sign.

    Raises:
        ValueError: a sample is empty, not 1-d or not finite, their lengths differ, or there are too many pairs.
    """
    differences = _differences(a, b)
    if not differences.size:
        raise ValueError("a permutation test needs a value on each side")
    _few(differences.size)
    bound = abs(differences.sum()) - slack(checked(a), checked(b))
    ordered = np.sort(np.abs(differences))
    beyond = pairs_beyond(signed_sums(ordered[::2]), signed_sums(ordered[1::2]), bound)
    return float(beyond / 2.0**differences.size)


def superiority(a: ArrayLike, b: ArrayLike, *, paired: bool = False, sign: int = 1) -> float:
    """How often a run of the first beats one of the second, a tie counting half: P(A > B), in [0, 1].

    Of every run with every other (Mann and Whitney's statistic over n m), or of each pair (Bouthillier et al., 2021).

    Args:
        a: (n,), n >= 1, finite.
        b: (m,), m >= 1, finite; of as many where ``paired``.
        paired: compare ``a[i]`` with ``b[i]`` alone.
        sign: 1 where more is better, -1 where less is.

    Raises:
        ValueError: a sample is empty, not 1-d or not finite, or pairs are not as many.
    """
    if not np.size(a) or not np.size(b):
        raise ValueError("it takes a value on each side")
    if paired:
        return float((np.sign(sign * _differences(a, b)) + 1).mean() / 2)
    first, second = sign * checked(a), np.sort(sign * checked(b))
    below, upto = (np.searchsorted(second, first, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * second.size))


def subset_sums(values: Floats) -> list[Floats]:
    """The sums of all subsets of (h,) values, by the subsets' size 0 to h."""
    sums = [np.zeros(1), *(np.zeros(0) for _ in values)]
    for value in values:
        sums = [sums[0], *(np.concatenate([more, fewer + value]) for fewer, more in pairwise(sums))]
    return sums


def signed_sums(values: Floats) -> Floats:
    """The sums of (h,) values with every choice of their signs: (2^h,)."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def pairs_beyond(left: Floats, right: Floats, bound: float) -> int:
    """In how many pairs of ``left`` and ``right`` the sum is at least ``bound`` away from zero; all if that is <= 0."""
    if bound <= 0:
        return left.size * right.size
    fewer, more = sorted((np.sort(left), np.sort(right)), key=np.size)
    above = fewer.size - np.searchsorted(fewer, bound - more, side="left")
    below = np.searchsorted(fewer, -bound - more, side="right")
    return int(above.sum() + below.sum())


def slack(a: Floats, b: Floats) -> float:
    """What rounding may do to a sum of some of these values: sums that differ by less are ties."""
    return 1e-13 * (a.size + b.size) * float(np.abs(np.concatenate([a, b])).max())


def rounding_of(a: Floats, b: Floats) -> float:
    """How far rounding alone may pull two of these values, or two of their differences, apart."""
    return 4 * float(np.finfo(np.float64).eps) * float(np.abs(np.concatenate([a, b])).max())


def _differences(a: ArrayLike, b: ArrayLike) -> Floats:
    a, b = checked(a), checked(b)
    if a.size != b.size:
        raise ValueError(f"a paired test needs as many values on each side; there are {a.size} and {b.size}")
    return np.asarray(a - b)


def _few(count: int) -> None:
    if count > MOST_EXACT:
        raise ValueError(f"the exact test is for at most {MOST_EXACT} values; with {count}, use a t-test")
