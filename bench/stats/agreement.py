"""Whether two columns rank their methods alike: Kendall's tau-b, with a p that is exact for few methods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.reach import refusal
from bench.stats.samples import Floats

MOST_EXACT = 33
"""Methods up to which Kendall's p is counted out."""


@dataclass(frozen=True)
class Agreement:
    """Whether two columns rank their methods alike.

    Attributes:
        tau: Kendall's tau-b, in [-1, 1]; nan where it is not defined.
        p: two-sided, that the ranks have nothing to do with each other; nan with ``tau``.
        methods: how many have both numbers.
        note: why the p cannot be small, or why there is no tau; empty otherwise.
    """

    tau: float
    p: float
    methods: int
    note: str = ""


def rank_agreement(published: ArrayLike, ours: ArrayLike, alpha: float = 0.05) -> Agreement:
    """Kendall's tau-b between the published and our values of one column (Kendall, 1945).

    Its p is exact for up to ``MOST_EXACT`` methods without ties, and from the normal approximation else.

    Args:
        published: (methods,), nan where nothing is printed.
        ours: (methods,), the means, nan where nothing has finished.
        alpha: the level at which the note says whether the p can be small at all.

    Raises:
        ValueError: the columns differ in length, are not 1-d, or hold an infinite number.
    """
    a, b = np.asarray(published, dtype=np.float64), np.asarray(ours, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or np.isinf(a).any() or np.isinf(b).any():
        raise ValueError(f"two columns of as many finite numbers are needed; shapes are {a.shape} and {b.shape}")
    with_both = ~np.isnan(a + b)
    a, b = a[with_both], b[with_both]
    undefined = ""
    if a.size < 2:
        undefined = "fewer than two methods have both numbers"
    elif np.ptp(a) == 0 or np.ptp(b) == 0:
        undefined = "all methods of a column tie"
    if undefined:
        return Agreement(math.nan, math.nan, a.size, undefined)
    tau, p = _kendall(a, b)
    return Agreement(tau, p, a.size, refusal("kendall", a.size, alpha=alpha))


def _kendall(a: Floats, b: Floats) -> tuple[float, float]:
    """Tau-b and its two-sided p; neither column ties as a whole. scipy.stats would take two seconds to import."""
    upper = np.triu_indices(a.size, 1)
    signs = [np.sign(np.subtract.outer(x, x))[upper] for x in (a, b)]
    score, pairs = float(signs[0] @ signs[1]), len(upper[0])
    untied = [float(np.abs(sign).sum()) for sign in signs]
    tau = score / math.sqrt(untied[0]) / math.sqrt(untied[1])
    tau = max(-1.0, min(1.0, tau))
    if min(untied) == pairs and a.size <= MOST_EXACT:
        return tau, _kendall_exact(a.size, (pairs - abs(score)) / 2)
    return tau, math.erfc(abs(score) / math.sqrt(2 * _kendall_variance(a, b)))


def _kendall_exact(count: int, discordant: float) -> float:
    """The share of the orders of ``count`` things with as few pairs in the wrong order, or as many in it."""
    ways = np.ones(1)
    for size in range(2, count + 1):
        ways = np.convolve(ways, np.ones(size) / size)
    return min(1.0, 2 * float(ways[: round(discordant) + 1].sum()))


def _kendall_variance(a: Floats, b: Floats) -> float:
    """Of concordant less discordant pairs where ranks have nothing to do with each other, ties considered."""
    ties = [np.unique(x, return_counts=True)[1].astype(np.float64) for x in (a, b)]
    n = float(a.size)
    whole = n * (n - 1) * (2 * n + 5) - sum(float((t * (t - 1) * (2 * t + 5)).sum()) for t in ties)
    twos = math.prod(float((t * (t - 1)).sum()) for t in ties)
    threes = math.prod(float((t * (t - 1) * (t - 2)).sum()) for t in ties)
    return whole / 18 + twos / (2 * n * (n - 1)) + (threes / (9 * n * (n - 1) * (n - 2)) if n > 2 else 0.0)
