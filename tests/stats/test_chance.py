"""Chance in a printed table, against closed forms, brute force and draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from bench.stats.chance import alike_among, alike_near, at_least, in_a_row, variance_beyond

Chance = Callable[[float, Sequence[float], float], float]


def test_at_least_is_binomial_where_chances_are_equal() -> None:
    for count in range(-1, 8):
        assert at_least(count, [0.3] * 7) == pytest.approx(float(stats.binom.sf(count - 1, 7, 0.3)), rel=1e-12)


def test_at_least_is_the_sum_over_all_outcomes() -> None:
    chances = [0.1, 0.5, 0.9, 0.25]
    outcomes = itertools.product([0, 1], repeat=4)
    ways = [
        (sum(each), math.prod(p if hit else 1 - p for hit, p in zip(each, chances, strict=True))) for each in outcomes
    ]
    for count in range(5):
        assert at_least(count, chances) == pytest.approx(sum(p for hits, p in ways if hits >= count))


def test_a_small_tail_is_exact() -> None:
    assert at_least(4, [1e-5] * 4) == pytest.approx(1e-20, rel=1e-9)


def test_a_run_is_bounded_by_the_sum_over_its_places() -> None:
    assert in_a_row(2, [0.1, 0.2, 0.3]) == pytest.approx(0.02 + 0.06)
    assert in_a_row(4, [0.5] * 3) == 0
    with pytest.raises(ValueError, match="at least 1"):
        in_a_row(0, [0.5])


def test_a_number_is_as_likely_to_recur_as_its_neighbours_are_near() -> None:
    """The second nearest is 0.4 away: a step of 0.1 in a width of 0.8."""
    assert alike_near(80.1, [80.4, 79.7, 85.0], 0.1) == pytest.approx(1 / 8)
    assert alike_near(80.1, [80.4], 0.1) == pytest.approx(1 / 6)
    assert alike_near(80.1, [80.1, 80.1, 85.0], 0.1) == 1
    assert alike_near(80.1, [], 0.1) == 0.05


def test_half_of_the_rest_says_how_likely_a_draw_recurs() -> None:
    """Of 0.25, 0.35, 0.28 the median distance from 0.31 is 0.04, of which the step is a quarter of a quarter."""
    assert alike_among(0.31, [0.25, 0.35, 0.28], 0.01) == pytest.approx(0.01 / (4 * 0.04))


@pytest.mark.parametrize("chance", [alike_near, alike_among])
def test_where_the_rest_prints_alike_so_may_the_two(chance: Chance) -> None:
    """Of the three pairs of 100, 100 and 300 one is alike."""
    assert chance(200.0, [100.0, 100.0, 300.0], 0.1) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("ratio", "count"), [(100.0, 3), (4.0, 4), (30.0, 15), (0.01, 5), (1.0, 1)])
def test_two_degrees_of_freedom_have_a_closed_form(ratio: float, count: int) -> None:
    """X is exponential, so P(X >= r M) = E exp(-r M), the product over the spacings below the order statistic."""
    above = math.prod((count - i) / (count - i + ratio) for i in range(count // 2 + 1))
    assert variance_beyond(ratio, count, 2, above=True) == pytest.approx(above, rel=1e-6)
    assert variance_beyond(ratio, count, 2, above=False) == pytest.approx(1 - above, rel=1e-6)


@pytest.mark.parametrize("freedom", [1, 4, 9])
def test_other_degrees_agree_with_draws(freedom: int) -> None:
    draws = np.random.default_rng(freedom).chisquare(freedom, (200_000, 6))
    middle = np.sort(draws[:, 1:], axis=1)[:, 2]
    for ratio in (3.0, 0.3):
        above = float((draws[:, 0] >= ratio * middle).mean())
        assert variance_beyond(ratio, 5, freedom, above=True) == pytest.approx(above, abs=0.004)
        assert variance_beyond(ratio, 5, freedom, above=False) == pytest.approx(1 - above, abs=0.004)


@pytest.mark.parametrize(("ratio", "count", "freedom"), [(0.0, 3, 2), (math.nan, 3, 2), (2.0, 0, 2), (2.0, 3, 0)])
def test_what_is_no_comparison_is_refused(ratio: float, count: int, freedom: int) -> None:
    with pytest.raises(ValueError, match="ratio must be above 0"):
        variance_beyond(ratio, count, freedom, above=True)
