"""Means, tests and corrections on plain arrays; knows nothing of methods or tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

Floats = NDArray[np.float64]


def mean_std(values: ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1).

    The order of the values changes no bit of the result, and equal values have exactly zero deviation.

    Args:
        values: (n,), n >= 1, finite.

    Returns:
        The mean and the standard deviation in the unit of ``values``; the deviation is nan for n = 1.

    Raises:
        ValueError: ``values`` is empty, not 1-d, or not finite.
    """
    ordered = np.sort(_checked(values))
    if not ordered.size:
        raise ValueError("the mean of no values is not defined")
    shifted = ordered - ordered[0]  # without the shift, the rounding of the mean would give equal values a deviation
    std = float(shifted.std(ddof=1)) if ordered.size > 1 else float("nan")
    return float(ordered[0] + shifted.mean()), std


def welch(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of Welch's t-test that two samples have the same mean (Welch, 1947).

    Where neither sample varies the statistic is 0/0 or x/0, and the limit is returned: 1.0 for equal means, 0.0 for
    different ones. That p follows from these data alone: two to five equal values do not show that a method has no
    spread, so whoever prints it should say so.

    Args:
        a: (n,), finite.
        b: (m,), finite.

    Returns:
        p in [0, 1]; nan if n < 2 or m < 2.

    Raises:
        ValueError: a sample is not 1-d or not finite.
    """
    a, b = _checked(a), _checked(b)
    if min(a.size, b.size) < 2:
        return float("nan")
    (mean_a, std_a), (mean_b, std_b) = mean_std(a), mean_std(b)
    gap, error_a, error_b = abs(mean_a - mean_b), std_a / a.size**0.5, std_b / b.size**0.5
    error = float(np.hypot(error_a, error_b))
    if error == 0:
        return 1.0 if gap == 0 else 0.0
    # Welch-Satterthwaite, in shares of the squared error so that nothing under- or overflows
    freedom = 1 / ((error_a / error) ** 4 / (a.size - 1) + (error_b / error) ** 4 / (b.size - 1))
    return float(2 * stdtr(freedom, -gap / error))


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjustment, which bounds the chance of any false positive in the family (Holm, 1979).

    Args:
        p: (k,), the p of one family; nan are no part of it.

    Returns:
        (k,), adjusted p in the order given, to be compared with alpha; nan where ``p`` is nan.

    Raises:
        ValueError: ``p`` is not 1-d or a p is outside [0, 1].
    """
    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise ValueError(f"p must be 1-d and within [0, 1]; got {p.tolist()}")
    adjusted = np.full(p.shape, np.nan)
    family = np.flatnonzero(~np.isnan(p))
    ascending = family[np.argsort(p[family], kind="stable")]
    steps = np.arange(len(family), 0, -1) * p[ascending]
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def indistinguishable(groups: Sequence[ArrayLike], alpha: float) -> NDArray[np.bool_]:
    """Which groups have the best mean or cannot be told from it.

    Every other group is compared with the best by Welch's test, Holm-corrected over these comparisons. Groups that tie
    for the best mean are all marked; any other is marked if it cannot be told from at least one of them, so that the
    order of the groups does not matter. A comparison without a p (n < 2 on either side) marks nothing.

    Args:
        groups: k samples, each (n_i,) with n_i >= 1; higher is better.
        alpha: level of the tests, in (0, 1).

    Returns:
        (k,), True for the best and for what cannot be told from it.

    Raises:
        ValueError: a group is empty, not 1-d or not finite, or ``alpha`` is outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be within (0, 1); got {alpha}")
    if not len(groups):
        return np.zeros(0, dtype=np.bool_)
    means = np.array([mean_std(group)[0] for group in groups])
    best = means == means.max()
    tops = [group for group, top in zip(groups, best, strict=True) if top]
    others = [group for group, top in zip(groups, best, strict=True) if not top]
    adjusted = holm([np.fmax.reduce([welch(group, top) for top in tops]) for group in others])
    marked: NDArray[np.bool_] = best.copy()
    marked[~best] = adjusted > alpha  # nan > alpha is False
    return marked


def _checked(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"values must be a 1-d array of finite numbers; got {array.tolist()}")
    return array
