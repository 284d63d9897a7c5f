"""Statistics against closed forms, scipy and statsmodels."""

from __future__ import annotations

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind
from statsmodels.stats.multitest import multipletests

from bench.stats.family import holm
from bench.stats.samples import mean_std
from bench.stats.two import welch

percent = st.integers(0, 10_000).map(lambda i: i / 100)
samples = st.lists(percent, min_size=2, max_size=8)
varied = samples.filter(lambda values: len(set(values)) > 1)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(samples)
def test_mean_std_agrees_with_numpy(values: list[float]) -> None:
    mean, std = mean_std(values)
    assert mean == pytest.approx(np.mean(values), abs=1e-12)
    assert std == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_mean_std_by_hand() -> None:
    assert mean_std([1.0, 2.0, 6.0]) == (3.0, math.sqrt(7))


def test_one_value_has_no_deviation() -> None:
    mean, std = mean_std([83.1])
    assert mean == 83.1
    assert math.isnan(std)


@given(percent, st.integers(2, 50))
def test_equal_values_have_exactly_no_deviation(value: float, n: int) -> None:
    assert mean_std([value] * n) == (value, 0.0)


@given(samples.flatmap(lambda values: st.tuples(st.just(values), st.permutations(values))))
def test_order_of_values_changes_no_bit(pair: tuple[list[float], list[float]]) -> None:
    assert mean_std(pair[0]) == mean_std(pair[1])


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, math.nan], [math.inf]])
def test_mean_std_refuses(values: list[float]) -> None:
    with pytest.raises(ValueError, match="values"):
        mean_std(values)


@given(varied, varied)
def test_welch_agrees_with_scipy(a: list[float], b: list[float]) -> None:
    assert welch(a, b) == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, abs=1e-12)


def test_welch_by_hand() -> None:
    # means 1 and 4, both variances 2: t = 3 / sqrt(2) on 2 degrees of freedom, where p = 1 - t / sqrt(2 + t^2)
    t = 3 / math.sqrt(2)
    assert welch([0, 2], [3, 5]) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-14)


@given(samples, samples)
def test_welch_is_symmetric_and_a_probability(a: list[float], b: list[float]) -> None:
    assert welch(a, b) == welch(b, a)
    assert 0 <= welch(a, b) <= 1


def test_welch_with_one_constant_sample_has_the_other_ones_freedom() -> None:
    # the squared error is b's alone, 2/2 = 1, so t = 3 with 1 degree of freedom (Cauchy)
    assert welch([1, 1, 1], [3, 5]) == pytest.approx(1 - 2 / math.pi * math.atan(3), abs=1e-14)


def test_welch_without_any_variance_is_the_limit() -> None:
    assert welch([83.1] * 3, [83.1] * 5) == 1.0
    assert welch([83.1] * 3, [83.2] * 5) == 0.0


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [1.0, 2.0])])
def test_welch_needs_two_values_on_each_side(a: list[float], b: list[float]) -> None:
    assert math.isnan(welch(a, b))


def test_welch_refuses_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        welch([1.0, math.nan], [1.0, 2.0])


@given(p_values)
def test_holm_agrees_with_statsmodels(p: list[float]) -> None:
    with mock.patch("gc.collect"):  # which it calls every time, and which takes longer than all else
        expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected, rtol=0, atol=1e-12)


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.5]), [1.0, 1.0])


def test_holm_leaves_nan_out_of_the_family() -> None:
    np.testing.assert_allclose(holm([0.01, math.nan, 0.04]), [0.02, math.nan, 0.04])
    assert holm([]).size == 0


@pytest.mark.parametrize("p", [[-0.1], [1.1], [[0.1]]])
def test_holm_refuses(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p must be"):
        holm(p)
