"""Many comparisons at once: correction within a family, and the group of the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.samples import Floats, check_share, checked, mean_std
from bench.stats.two import welch


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
    return near_best([mean_std(group)[0] for group in groups], lambda i, j: welch(groups[i], groups[j]), alpha)


def near_best(means: ArrayLike, p: Callable[[int, int], float], alpha: float) -> NDArray[np.bool_]:
    """As ``indistinguishable``, by any test.

    Args:
        means: (k,), finite; higher is better.
        p: the test's p of two groups by their places; nan where it has none.
        alpha: level of the tests, in (0, 1).
    """
    check_share(alpha, "alpha")
    values = checked(means)
    if not values.size:
        return np.zeros(0, dtype=np.bool_)
    marked: NDArray[np.bool_] = values == values.max()
    tops, rest = np.flatnonzero(marked).tolist(), np.flatnonzero(~marked).tolist()
    adjusted = holm([np.fmax.reduce([p(place, top) for top in tops]) for place in rest])
    marked[rest] = adjusted > alpha  # nan > alpha is False
    return marked
