"""The group of the best: by how much a method must lie below the best mean to be told from it.

Hsu's multiple comparisons with the best (Hsu, 1984; 1996, chapter 4): with one spread for all methods, whatever is best
in truth lies within ``least_difference`` of the best mean in 1 - alpha of all contests. So what lies further below is
not the best, and of what lies nearer nobody can tell. A method does not stay for being noisy, as the spread is that of
all; and the group has no gaps, as it is a distance that decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.difference import pooled_spread
from bench.stats.pooling import Spread, pooled
from bench.stats.reach import fewest_seeds
from bench.stats.samples import Floats, Summary, check_share

_SURE = 1e-9
"""Nearer to the critical value than this share of it, quadrature and rounding may decide."""


def within(samples: Sequence[Summary]) -> Spread:
    """Of independent samples: the pooled standard deviation within them; nan where none has two values."""
    return pooled([sample.std for sample in samples], [sample.n - 1 for sample in samples])


def blocked(differences: ArrayLike) -> Spread:
    """Of samples that share their seeds: from the differences to the best, so that what a seed does to all cancels.

    The spread is that of ``bench.stats.difference.pooled_spread``, as that of one value: a difference has two.

    Args:
        differences: of the others to the best, (methods, seeds), finite, at least two seeds; else ``ValueError``.
    """
    std, freedom = pooled_spread(differences)
    return Spread(std / math.sqrt(2), freedom)


@lru_cache(maxsize=4096)
def dunnett(rivals: int, freedom: float, alpha: float = 0.05) -> float:
    """The one-sided critical value for several means against one, all of as many values (Dunnett, 1955).

    The 1 - alpha quantile of the largest of ``rivals`` Student t that correlate by 1/2, by Gauss-Legendre quadrature of
    ∫∫ Φ(z + √2 q s)^rivals φ(z) dz f(s) ds, with f the density of a standard deviation.

    Args:
        rivals: at least 1.
        freedom: of the common standard deviation, above 0 and finite.
        alpha: in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    check_share(alpha, "alpha")
    if rivals < 1 or not 0 < freedom < math.inf:
        raise ValueError(f"there are at least one rival and some degrees of freedom; got {rivals} and {freedom}")
    from scipy.special import stdtrit

    # between the quantile of one t, and Bonferroni's
    low, high = (float(stdtrit(freedom, 1 - alpha / share)) for share in (1, rivals))
    while high - low > 1e-13 * max(1.0, abs(high)):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _below(middle, rivals, freedom) < 1 - alpha else (low, middle)
    return (low + high) / 2


def _below(q: float, rivals: int, freedom: float) -> float:
    """The chance that none of the rivals' t is above q."""
    from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr

    z, weight = _nodes(-9.0, 9.0, 120)
    density = weight * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    half = freedom / 2
    # s² · freedom is chi-squared; over the logarithm of s, which is smooth for few degrees of freedom too
    low, high = (math.log(quantile(half, 1e-16) / half) / 2 for quantile in (gammaincinv, gammainccinv))
    log_s, log_weight = _nodes(low, high, 160)
    log_density = (
        math.log(2) + half * math.log(half) - float(gammaln(half)) + freedom * log_s - half * np.exp(2 * log_s)
    )
    chances = ndtr(z[None] + math.sqrt(2) * q * np.exp(log_s)[:, None]) ** rivals
    return float((log_weight * np.exp(log_density)) @ (chances @ density))


def _nodes(low: float, high: float, count: int) -> tuple[Floats, Floats]:
    nodes, weights = _legendre(count)
    half = (high - low) / 2
    return half * nodes + (low + high) / 2, half * weights


@lru_cache(maxsize=2)
def _legendre(count: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights


def least_difference(residual: Spread, methods: int, n: float, m: float, alpha: float = 0.05) -> float:
    """By how much a mean of n values must lie below the best, of m, to be told from it; nan without a residual.

    Args:
        residual: of ``blocked`` or ``within``.
        methods: how many are compared, the best among them; at least 2.
        n: values of the mean.
        m: values of the best mean.
        alpha: chance that whatever is best in truth is left out, in (0, 1).
    """
    if math.isnan(residual.std):
        return math.nan
    return dunnett(methods - 1, residual.freedom, alpha) * residual.std * math.sqrt(1 / n + 1 / m)


def _is_above(gap: float, error: float, rivals: int, freedom: float, alpha: float) -> bool | None:
    """Whether a gap lies above so many standard errors as ``dunnett`` says; None where it is too near to be sure.

    It asks for the chance at that gap alone, where ``dunnett`` would for the gap of that chance, forty times as long.
    """
    if not error:
        return None
    limit = gap / error
    margin = _SURE * max(1.0, abs(limit))
    if _below(limit - margin, rivals, freedom) >= 1 - alpha:
        return True
    return False if _below(limit + margin, rivals, freedom) < 1 - alpha else None


def seeds_to_tell(
    gap: float, residual: Spread, methods: int, n: int, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """The fewest seeds of each method with which a gap to the best is told so often; None beyond all bounds.

    It is where the gap is the ``least_difference`` and as many standard errors more as Student's t lies below with the
    chance ``power``.

    Args:
        gap: above 0, taken as true.
        residual: of n seeds; its standard deviation is taken as true, its degrees of freedom grow with the seeds.
        methods: how many are compared.
        n: the seeds there are, at least 2.
        alpha: as for ``least_difference``.
        power: in (0, 1).
    """
    if math.isnan(residual.std) or not gap > 0:
        return None
    from scipy.special import stdtrit

    for_one = residual.freedom / (n - 1)

    def enough(count: int) -> bool:
        more = Spread(residual.std, for_one * (count - 1))
        error = more.std * math.sqrt(2 / count)
        beyond = float(stdtrit(more.freedom, power)) * error
        surely = _is_above(gap - beyond, error, methods - 1, more.freedom, alpha)
        if surely is not None:
            return surely
        return least_difference(more, methods, count, count, alpha) + beyond <= gap

    return fewest_seeds(enough)
