"""The ways to compare methods that benchmarks/designs.py measures, against R; and what its tables claim, in small."""

from __future__ import annotations

import numpy as np
import pytest

from bench.stats.family import holm
from bench.stats.two import paired_t, welch
from benchmarks.designs import (
    ALPHA,
    NOISE,
    TESTS,
    block_anova,
    column,
    each,
    inverse_trigamma,
    levels,
    moderated,
    pooled,
    power,
    prior_of,
)

VALUES = np.array(
    [
        [70.1, 72.3, 74.9],
        [71.0, 73.9, 75.2],
        [69.5, 72.2, 76.9],
        [75.3, 76.0, 79.9],
        [70.4, 72.1, 75.8],
        [68.0, 74.0, 71.0],
    ]
)


def test_block_anova_is_rs() -> None:
    # summary(lm(value ~ method + seed))$coefficients[2:6, 4]
    expected = [0.4596448156960670, 0.7284692962492824, 0.0033859458194976, 0.7891690224604304, 0.2649164172459032]
    assert block_anova(VALUES) == pytest.approx(expected, abs=1e-9)


def test_moderated_t_is_limmas() -> None:
    # f <- eBayes(lmFit(VALUES[2:6,] - VALUES[1,], matrix(1, 3, 1))): f$s2.prior, f$df.prior, f$p.value
    differences = VALUES[1:] - VALUES[0]
    assert prior_of(differences.var(1, ddof=1), 2) == pytest.approx((1.76163967684272, 15.19150058885216), abs=1e-9)
    expected = [0.230913825699603, 0.585926050003509, 9.16166578929126e-05, 0.657032786223687, 0.148005039736493]
    assert moderated(VALUES) == pytest.approx(expected, abs=1e-9)


def test_trigamma_is_inverted() -> None:
    from scipy.special import polygamma

    for value in (0.01, 0.5, 3.0, 100.0):
        assert float(polygamma(1, inverse_trigamma(value))) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("noise", NOISE)
def test_the_default_keeps_its_level_where_a_block_does_not(noise: str) -> None:
    """With three seeds that share nearly all: of 600 columns no more are wrong than 5 % and three standard errors."""
    any_of, single = levels(pooled, np.random.default_rng(1), 3, 0.95, NOISE[noise], 600)
    bound = 100 * (ALPHA + 3 * (ALPHA * (1 - ALPHA) / 600) ** 0.5)
    assert any_of <= bound
    assert single <= bound
    if noise != "equal":
        assert levels(block_anova, np.random.default_rng(1), 3, 0.95, NOISE[noise], 200)[0] > bound


@pytest.mark.slow
def test_pairs_find_what_welch_does_not() -> None:
    """Three seeds with ρ = 0.8 and a gap of two deviations."""
    shares = [power(test, np.random.default_rng(2), 3, 0.8, 400) for test in (pooled, each(paired_t), each(welch))]
    assert shares[0] > shares[1] + 5 > shares[2] + 15


def test_every_test_gives_a_p_for_each_method() -> None:
    values = column(np.random.default_rng(3), 5, 0.5, NOISE["equal"])
    for test in TESTS.values():
        p = test(values)
        assert p.shape == (5,)
        assert ((p >= 0) & (p <= 1)).all()
        assert holm(p).shape == (5,)
