"""Effective robustness against Taori's formula by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.stats.shift import effective_robustness, logit, trend


def test_it_is_the_formula_by_hand() -> None:
    """Two models on the line logit(y) = 2 logit(x) − 1, and one that is above it."""
    x = [60.0, 80.0]
    y = [100 / (1 + math.exp(-(2 * math.log(share / (100 - share)) - 1))) for share in x]
    line = trend(x, y)
    assert (line.slope, line.intercept) == pytest.approx((2, -1))
    assert effective_robustness(x, y, line) == pytest.approx([0, 0])
    # at 70 % the odds are (7/3)² / e, a share of 49 / (49 + 9 e)
    expected = 100 * 49 / (49 + 9 * math.e)
    assert expected == pytest.approx(66.70, abs=0.01)
    assert line.at(70.0) == pytest.approx(expected)
    assert effective_robustness([70.0], [70.0], line) == pytest.approx([70 - expected])


def test_the_line_is_that_of_least_squares() -> None:
    drawn = np.random.RandomState(0).uniform(5, 95, (2, 12))
    line = trend(*drawn)
    x, y = np.log(drawn / (100 - drawn))
    slope, intercept = np.polyfit(x, y, 1)
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept))
    assert line.points == 12


def test_what_has_no_logit_counts_for_nothing() -> None:
    assert np.isnan(logit([0, 100])).all()
    assert trend([0, 60, 80, 90], [10, 40, 60, 100]) == trend([60, 80], [40, 60])
    assert np.isnan(effective_robustness([100.0], [50.0], trend([60, 80], [40, 60]))).all()


@pytest.mark.parametrize("first", [[], [60.0], [60.0, 60.0], [60.0, 100.0]])
def test_a_line_needs_two_models_that_differ(first: list[float]) -> None:
    with pytest.raises(ValueError, match="two runs that differ"):
        trend(first, [50.0] * len(first))
