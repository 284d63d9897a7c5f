"""The difference of two means: how large it is, how well that is known, and what follows, a p and an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.samples import Floats, Summary, check_share, checked, mean_std

BORROWED = 2.5
"""How many times its own degrees of freedom a comparison may have from the others, chosen by simulation: with more, one
that is noisier than the others errs too often where there are many of these (``benchmarks/designs.py``)."""


ENOUGH = 5
"""Pairs from which a method is tested by its own spread: pooling finds hardly more then, and calm methods pay."""


@dataclass(frozen=True)
class MeanDifference:
    """A difference of two means, as a t-test knows it.

    Attributes:
        gap: the first mean less the second.
        error: its standard error; 0 where nothing varies.
        freedom: degrees of freedom of the error.
    """

    gap: float
    error: float
    freedom: float

    @property
    def p(self) -> float:
        """Two-sided p that there is no difference; 0 or 1, its limits, where nothing varies."""
        if not self.error:
            return 0.0 if self.gap else 1.0
        from scipy.special import stdtr  # imported when it is needed: it takes half of a command's start

        return float(2 * stdtr(self.freedom, -abs(self.gap) / self.error))

    def half_width(self, level: float = 0.95) -> float:
        """Half the width of the confidence interval of the difference, whose coverage is ``level``, in (0, 1)."""
        check_share(level, "level")
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, (1 + level) / 2)) * self.error


def welch_estimate(a: Summary, b: Summary, rounding: float = 0.0) -> MeanDifference | None:
    """Of independent samples whose deviations may differ (Welch, 1947); None where either has n < 2 or no deviation.

    ``rounding`` is how far rounding alone may pull two values apart: what is no larger counts as nothing.
    """
    if min(a.n, b.n) < 2 or math.isnan(a.std + b.std):
        return None
    error_a, error_b = a.std / a.n**0.5, b.std / b.n**0.5
    error = math.hypot(error_a, error_b)
    if error <= rounding:
        return _constant(a.mean - b.mean, rounding, min(a.n, b.n) - 1)
    return MeanDifference(a.mean - b.mean, error, welch_freedom(error_a, error_b, a.n, b.n))


def welch_freedom(error_a: float, error_b: float, n: int, m: int) -> float:
    """Degrees of freedom of Welch and Satterthwaite from the standard errors of two means, not both zero."""
    error = math.hypot(error_a, error_b)
    # in shares of the squared error, so that nothing under- or overflows
    return 1 / ((error_a / error) ** 4 / (n - 1) + (error_b / error) ** 4 / (m - 1))


def paired_estimate(differences: ArrayLike, rounding: float = 0.0, share: float = 0.0) -> MeanDifference | None:
    """Of pairs, by their differences (n,), finite; None where there are fewer than two.

    ``share`` is how many test images there are for each training image where the pairs share training images, as the
    folds of a cross-validation do: the variance of the mean is then (1/n + share) times that of the differences (Nadeau
    and Bengio, "Inference for the generalization error", Machine Learning, 2003).
    """
    values = checked(differences)
    if values.size < 2:
        return None
    mean, std = mean_std(values)
    if std <= rounding:
        return _constant(mean, rounding, values.size - 1)
    error = std / values.size**0.5 if not share else std * math.sqrt(1 / values.size + share)
    return MeanDifference(mean, error, values.size - 1)


def pooled_estimates(differences: ArrayLike, rounding: float = 0.0) -> list[MeanDifference | None]:
    """Of several methods against one baseline in pairs of one seed, each with the spread of all of them.

    Two or three differences hardly say how much they vary. The variance of a difference is therefore taken to be the
    mean over the methods, weighted by their degrees of freedom, and has those of Satterthwaite (1946) for a sum of
    correlated variances: differences to one baseline share its noise. Two guards keep the level where the methods are
    not equally noisy: a method whose own variance is above the mean is tested by its own, as in the paired t-test, and
    none has more than ``BORROWED`` times its own degrees of freedom. From ``ENOUGH`` pairs on each is tested by its
    own, and so is one that can borrow nothing, as of two seeds.

    Args:
        differences: (methods, seeds), nan where a method or the baseline lacks the seed.
        rounding: as for ``welch_estimate``.

    Returns:
        For each method; None where it has fewer than two pairs.

    Raises:
        ValueError: it is no such table, or a number is infinite.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or np.isinf(table).any():
        raise ValueError(f"differences are (methods, seeds), finite or nan; the shape is {table.shape}")
    apart = [paired_estimate(line[~np.isnan(line)], rounding) for line in table]
    tested = [at for at, estimate in enumerate(apart) if estimate is not None]
    if len(tested) < 2:
        return apart
    counts, variances, pooled, freedom = _pooled(table[tested])
    if pooled <= rounding**2:
        return apart
    for place, at in enumerate(tested):
        borrowed = _borrowed(freedom, counts[place] - 1.0)
        is_few = 2 < counts[place] < ENOUGH and borrowed > counts[place] - 1.0
        if is_few and variances[place] <= pooled:
            apart[at] = MeanDifference(float(np.nanmean(table[at])), math.sqrt(pooled / counts[place]), borrowed)
    return apart


def pooled_spread(differences: ArrayLike) -> tuple[float, float]:
    """The standard deviation of a difference, pooled over methods as in ``pooled_estimates``, without its first guard.

    Args:
        differences: (methods, seeds), finite, at least two seeds; else ``ValueError``.

    Returns:
        The deviation, and its degrees of freedom.
    """
    table = np.asarray(differences, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not table.size or not np.isfinite(table).all():
        raise ValueError(f"differences are (methods, seeds), finite, of two seeds or more; the shape is {table.shape}")
    counts, _, pooled, freedom = _pooled(table)
    return math.sqrt(pooled), _borrowed(freedom, counts[0] - 1.0)


def _pooled(table: Floats) -> tuple[Floats, Floats, float, float]:
    """Of each method the pairs and the variance, and of all the pooled variance with its degrees of freedom."""
    counts = (~np.isnan(table)).sum(1).astype(np.float64)
    variances = np.array([mean_std(line[~np.isnan(line)])[1] ** 2 for line in table])
    weights = (counts - 1) / (counts - 1).sum()
    pooled = math.fsum(weights * variances)
    if not pooled:
        return counts, variances, 0.0, float(counts.max() - 1)
    return counts, variances, pooled, _pooled_freedom(weights * variances / pooled, counts - 1, _likeness(table))


def _borrowed(freedom: float, alone: float) -> float:
    """The degrees of freedom that a method with so many of its own may have from the pooled ones."""
    return float(max(alone, min(freedom, BORROWED * alone)))


def _pooled_freedom(shares: Floats, freedom: Floats, likeness: float) -> float:
    """Of a sum of variances with these shares of it, whose differences correlate with the mean square ``likeness``."""
    scaled = shares / np.sqrt(freedom)
    apart = math.fsum(scaled**2)
    return 1 / (apart + likeness * (math.fsum(scaled) ** 2 - apart))


def _likeness(table: Floats) -> float:
    """The mean squared correlation of two rows over the seeds that all have, without what chance adds; in [0, 1].

    Of n unrelated pairs of values the squared correlation is 1 / (n - 1) on average; of two it is 1.
    """
    common = table[:, ~np.isnan(table).any(0)]
    varying = common[np.ptp(common, axis=1) > 0] if common.size else common
    rows, n = varying.shape
    if rows < 2 or n < 3:
        return 1.0
    unit = varying - varying.mean(1, keepdims=True)
    unit /= np.sqrt((unit**2).sum(1, keepdims=True))
    # summed in order of size, so that the order of the methods changes no bit
    products = np.concatenate([(unit[at + 1 :] * unit[at]).sum(1) for at in range(rows)])
    squares = float(np.sort(products**2).sum())
    by_chance = 1 / (n - 1)
    likeness: float = (squares / math.comb(rows, 2) - by_chance) / (1 - by_chance)
    return min(1.0, max(0.0, likeness))


def _constant(gap: float, rounding: float, freedom: float) -> MeanDifference:
    """Of values that do not vary: what rounding alone pulls apart is equal."""
    return MeanDifference(0.0 if abs(gap) <= rounding else gap, 0.0, freedom)
