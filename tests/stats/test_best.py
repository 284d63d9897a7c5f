"""The group of the best: Dunnett's critical value against integrals and R, the distance it makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi, norm, t

from bench.stats.best import blocked, dunnett, least_difference, seeds_to_tell, within
from bench.stats.difference import pooled_spread
from bench.stats.pooling import Spread
from bench.stats.samples import Summary, summary


def chance_below(q: float, rivals: int, freedom: int) -> float:
    """That no rival's t is above q, by scipy's adaptive integration over the baseline's value and the deviation."""

    def given(s: float) -> float:
        bound = math.sqrt(2) * q * s
        inner = quad(lambda z: norm.cdf(z + bound) ** rivals * norm.pdf(z), -9, 9, epsabs=1e-13, limit=200)[0]
        return float(inner * chi.pdf(s * math.sqrt(freedom), freedom) * math.sqrt(freedom))

    top = float(chi.ppf(1 - 1e-15, freedom)) / math.sqrt(freedom)
    return float(quad(given, 0, top, epsabs=1e-12, limit=400)[0])


@pytest.mark.slow
@pytest.mark.parametrize(("rivals", "freedom"), [(5, 10), (7, 14), (2, 4)])
def test_dunnett_is_the_quantile(rivals: int, freedom: int) -> None:
    assert chance_below(dunnett(rivals, freedom), rivals, freedom) == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize(
    ("rivals", "freedom", "expected"),
    # mvtnorm::qmvt(.95, tail = "lower.tail", df, corr of 1/2, GenzBretz(5e6, abseps = 1e-7)), by simulation
    [(5, 10, 2.562247), (7, 14, 2.591701), (13, 26, 2.678174), (2, 4, 2.610339)],
)
def test_dunnett_is_rs(rivals: int, freedom: int, expected: float) -> None:
    assert dunnett(rivals, freedom) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("freedom", [1, 2, 2.5, 30, 1e6])
def test_one_rival_is_students_t(freedom: float) -> None:
    assert dunnett(1, freedom, 0.05) == pytest.approx(float(t.ppf(0.95, freedom)), rel=1e-12)


@pytest.mark.parametrize(("rivals", "freedom", "alpha"), [(0, 5, 0.05), (2, 0, 0.05), (2, math.inf, 0.05), (2, 5, 1.0)])
def test_dunnett_refuses(rivals: int, freedom: float, alpha: float) -> None:
    with pytest.raises(ValueError, match=r"rival|alpha"):
        dunnett(rivals, freedom, alpha)


def test_within_is_the_error_of_an_analysis_of_variance() -> None:
    residual = within([summary([1.0, 3.0]), summary([2.0, 4.0, 6.0]), Summary(9.0), Summary(5.0, math.nan, 4)])
    assert [residual.std, residual.freedom] == pytest.approx([math.sqrt((2 + 8) / 3), 3])
    assert math.isnan(within([Summary(9.0)]).std)


def test_blocks_take_away_what_a_seed_does_to_all() -> None:
    best = np.array([80.0, 90.0, 100.0])
    rest = best - 5 + np.array([[0.1, -0.1, 0.0], [0.0, 0.2, -0.2]])
    residual = blocked(rest - best)
    assert residual.std == pytest.approx(pooled_spread(rest - best)[0] / math.sqrt(2))
    assert residual.std < 0.2


def test_the_distance_is_dunnetts() -> None:
    least = least_difference(Spread(1.5, 10), 6, 3, 3)
    assert least == pytest.approx(dunnett(5, 10) * 1.5 * math.sqrt(2 / 3))
    assert least_difference(Spread(1.5, 10), 6, 1, 3) > least
    assert math.isnan(least_difference(Spread(math.nan, 0), 6, 3, 3))


def test_as_many_seeds_as_it_takes() -> None:
    residual = Spread(1.0, 4.0)
    seeds = seeds_to_tell(1.0, residual, 3, 3)
    assert seeds is not None

    def least(n: int) -> float:
        beyond = float(t.ppf(0.8, 2 * (n - 1))) * math.sqrt(2 / n)
        return least_difference(Spread(1.0, 2.0 * (n - 1)), 3, n, n) + beyond

    assert least(seeds) <= 1.0 < least(seeds - 1)
    assert seeds_to_tell(0.0, residual, 3, 3) is None
    assert seeds_to_tell(1e-9, residual, 3, 3) is None


@pytest.mark.parametrize("gap", [0.31, 0.5, 1.0, 2.75])
@pytest.mark.parametrize("methods", [2, 6])
def test_the_seeds_are_those_of_the_critical_values_themselves(gap: float, methods: int) -> None:
    residual, n = Spread(1.3, 2.0 * (methods - 1)), 3

    def enough(count: int) -> bool:
        more = Spread(residual.std, residual.freedom / (n - 1) * (count - 1))
        beyond = float(t.ppf(0.8, more.freedom)) * more.std * math.sqrt(2 / count)
        return least_difference(more, methods, count, count) + beyond <= gap

    count = seeds_to_tell(gap, residual, methods, n)
    assert count is not None
    assert enough(count)
    assert count == 2 or not enough(count - 1)
