"""Tests image by image and power, against statsmodels and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, norm, t
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.power import TTestIndPower, TTestPower

from bench.stats.family import holm
from bench.stats.items import likeness, mcnemar, paired_bootstrap
from bench.stats.power import (
    paired_power,
    pairs_needed,
    permutation_level,
    permutation_needed,
    seeds_needed,
    unrejected_level,
    welch_power,
)
from bench.stats.reach import smallest_p
from bench.stats.two import paired_t, permutation, welch

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def right(share: float, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).random(shape) < share)


class TestMcNemar:
    @given(outcomes)
    @settings(max_examples=40)
    def test_agrees_with_statsmodels(self, found: list[tuple[bool, bool]]) -> None:
        table = np.zeros((2, 2))
        for a, b in found:
            table[int(a), int(b)] += 1
        p = mcnemar(*zip(*found, strict=True))
        if table[0, 1] + table[1, 0]:
            assert p == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, abs=1e-9)
        else:
            assert p == 1.0

    def test_by_hand(self) -> None:
        assert mcnemar([1] * 5 + [1], [0] * 5 + [1]) == 2 / 32
        assert mcnemar([True, False], [False, True]) == 1.0

    def test_is_of_single_runs_on_the_same_images(self) -> None:
        for a, b in (([1, 0], [1]), ([[1, 0]], [[1, 0]])):
            with pytest.raises(ValueError, match="the same images"):
                mcnemar(a, b)
        with pytest.raises(ValueError, match="true or false"):
            mcnemar([3, 7], [3, 1])  # predictions in place of outcomes
        with pytest.raises(ValueError, match="no images"):
            mcnemar([], [])


class TestBootstrap:
    def test_gap_is_that_of_the_mean_accuracies(self) -> None:
        a, b = right(0.8, (3, 400), 0), right(0.7, (2, 400), 1)
        found = paired_bootstrap(a, b)
        assert found.gap == pytest.approx(100 * (a.mean() - b.mean()), abs=1e-9)
        assert found.low < found.gap < found.high

    def test_interval_is_that_of_a_plain_bootstrap(self) -> None:
        """Against images drawn one by one: the ends agree within the noise of the draws."""
        a, b = right(0.8, (3, 300), 2), right(0.75, (3, 300), 3)
        difference, rng = 100 * (a.mean(0) - b.mean(0)), np.random.default_rng(4)
        plain = difference[rng.integers(300, size=(10_000, 300))].mean(1)
        found = paired_bootstrap(a, b)
        se = float(plain.std())
        assert [found.low, found.high] == pytest.approx(np.quantile(plain, [0.025, 0.975]).tolist(), abs=0.1 * se)

    def test_pairing_counts(self) -> None:
        """Two runs that err on nearly the same images differ for certain, although their accuracies are close."""
        a = right(0.7, (1000,), 5)
        b = a.copy()
        b[np.flatnonzero(a)[:15]] = False
        assert paired_bootstrap(a, b).p < 0.001
        assert paired_bootstrap(a, np.random.default_rng(6).permutation(b)).p > 0.05

    def test_order_of_images_and_seeds_changes_no_bit(self) -> None:
        a, b = right(0.8, (3, 200), 7), right(0.7, (3, 200), 8)
        order = np.random.default_rng(9).permutation(200)
        assert paired_bootstrap(a[::-1][:, order], b[:, order]) == paired_bootstrap(a, b)
        assert paired_bootstrap(a, b, seed=1) != paired_bootstrap(a, b)

    def test_no_difference(self) -> None:
        a = right(0.8, (100,), 10)
        found = paired_bootstrap(a, a)
        assert (found.gap, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)

    def test_refuses(self) -> None:
        a = [[True, False]]
        for arguments, said in (((a, [True]), "the same images"), (([], []), "no images"), (([2.0], [1.0]), "true or")):
            with pytest.raises(ValueError, match=said):
                paired_bootstrap(*arguments)
        with pytest.raises(ValueError, match="draws"):
            paired_bootstrap(a, a, draws=0)
        with pytest.raises(ValueError, match="level"):
            paired_bootstrap(a, a, level=1.0)


class TestLikeness:
    def test_is_the_correlation_of_outcomes(self) -> None:
        a = right(0.7, (3, 50), 11)
        expected = np.mean([np.corrcoef(a[i], a[j])[0, 1] for i, j in ((0, 1), (0, 2), (1, 2))])
        assert likeness(a) == pytest.approx(expected, abs=1e-12)
        assert likeness([a[0], a[0]]) == pytest.approx(1.0)

    def test_where_there_is_none(self) -> None:
        assert math.isnan(likeness([[True, True], [True, False]]))
        with pytest.raises(ValueError, match="at least two runs"):
            likeness([[True, False]])


class TestPower:
    @pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
    @pytest.mark.parametrize("gap", [0.2, 0.6, 1.0])  # statsmodels has nan for much larger ones
    @pytest.mark.parametrize("alpha", [0.05, 0.05 / 7])
    def test_agrees_with_statsmodels(self, n: int, gap: float, alpha: float) -> None:
        expected = TTestIndPower().power(gap, n, alpha, ratio=1.0)
        assert welch_power(2 * gap, 2.0, 2.0, n, n, alpha) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("n", [2, 3, 8, 50])
    @pytest.mark.parametrize("gap", [1.0, 2.5, 4.0, 9.0, 60.0])
    def test_is_the_integral_over_the_spread(self, n: int, gap: float) -> None:
        """t = (Z + shift) / w with w² = χ² / f: given w, the chance is a normal one."""
        freedom, shift = 2 * n - 2, gap / math.sqrt(2 / n)
        critical = float(t.ppf(1 - 0.01 / 2, freedom))
        square = np.exp(np.linspace(-28, 28, 40_001))  # of w, over all scales
        density = chi2.pdf(freedom * square, freedom) * freedom * square * 56 / 40_000
        given = norm.cdf(shift - critical * np.sqrt(square)) + norm.cdf(-shift - critical * np.sqrt(square))
        assert welch_power(gap, 1.0, 1.0, n, n, 0.01) == pytest.approx(float(given @ density), abs=1e-8)

    def test_of_no_gap_is_alpha(self) -> None:
        assert welch_power(0.0, 1.0, 1.0, 4, 4, 0.03) == pytest.approx(0.03, abs=1e-12)

    def test_is_what_simulation_finds_with_unequal_noise(self) -> None:
        rng = np.random.default_rng(12)
        found = np.mean([welch(rng.normal(0, 1, 6), rng.normal(3, 3, 8)) <= 0.05 for _ in range(4000)])
        assert welch_power(3.0, 1.0, 3.0, 6, 8) == pytest.approx(found, abs=0.025)

    def test_grows_with_gap_and_seeds_to_one(self) -> None:
        assert welch_power(-2.0, 1.0, 1.0, 3, 3) == welch_power(2.0, 1.0, 1.0, 3, 3)
        powers = [welch_power(1.0, 1.0, 0.0, n, n) for n in (2, 3, 5, 10, 100, 10_000)]
        assert powers == sorted(powers)
        assert powers[-1] == 1.0

    def test_refuses(self) -> None:
        for arguments in ((1.0, 0.0, 0.0, 3, 3), (1.0, 1.0, 1.0, 1, 3), (math.nan, 1.0, 1.0, 3, 3)):
            with pytest.raises(ValueError, match="power needs"):
                welch_power(*arguments)
        with pytest.raises(ValueError, match="alpha"):
            welch_power(1.0, 1.0, 1.0, 3, 3, 5)


class TestSeeds:
    @pytest.mark.parametrize("gap", [0.3, 1.0, 2.0])
    @pytest.mark.parametrize("alpha", [0.05, 0.005])
    def test_agree_with_statsmodels(self, gap: float, alpha: float) -> None:
        expected = TTestIndPower().solve_power(gap, power=0.8, alpha=alpha)
        assert seeds_needed(gap, 1.0, 1.0, alpha) == math.ceil(expected)

    @given(st.floats(0.05, 8), st.floats(0.1, 3), st.floats(0, 3), st.sampled_from([0.05, 0.01, 0.001]))
    @settings(max_examples=60)
    def test_are_the_fewest(self, gap: float, std_a: float, std_b: float, alpha: float) -> None:
        n = seeds_needed(gap, std_a, std_b, alpha)
        assert n is not None
        assert welch_power(gap, std_a, std_b, n, n, alpha) >= 0.8
        assert n == 2 or welch_power(gap, std_a, std_b, n - 1, n - 1, alpha) < 0.8

    def test_of_what_cannot_be_found(self) -> None:
        assert seeds_needed(0.0, 1.0, 1.0) is None
        assert seeds_needed(1e-9, 1.0, 1.0) is None
        assert seeds_needed(1.0, 0.0, 0.0) is None

    def test_start_where_there_are_some(self) -> None:
        assert seeds_needed(4.0, 1.0, 1.0) == 3
        assert seeds_needed(4.0, 1.0, 1.0, start=6) == 6


class TestPaired:
    @pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
    @pytest.mark.parametrize("gap", [0.2, 0.6, 1.0])
    @pytest.mark.parametrize("alpha", [0.05, 0.05 / 7])
    def test_power_agrees_with_statsmodels(self, n: int, gap: float, alpha: float) -> None:
        expected = TTestPower().power(gap, n, alpha)
        assert paired_power(-2 * gap, 2.0, n, alpha) == pytest.approx(expected, abs=1e-9)

    def test_power_is_what_simulation_finds(self) -> None:
        rng = np.random.default_rng(5)
        found = np.mean([paired_t(rng.normal(1.5, 1, 5), np.zeros(5)) <= 0.05 for _ in range(4000)])
        assert paired_power(1.5, 1.0, 5) == pytest.approx(found, abs=0.025)

    @pytest.mark.parametrize("gap", [0.3, 1.0, 2.0])
    @pytest.mark.parametrize("alpha", [0.05, 0.005])
    def test_pairs_agree_with_statsmodels(self, gap: float, alpha: float) -> None:
        expected = TTestPower().solve_power(gap, power=0.8, alpha=alpha)
        assert pairs_needed(gap, 1.0, alpha) == math.ceil(expected)
        assert pairs_needed(gap, 1.0, alpha, start=1000) == 1000

    def test_of_what_cannot_be_found(self) -> None:
        assert pairs_needed(0.0, 1.0) is None
        assert pairs_needed(1.0, 0.0) is None
        for arguments in ((1.0, 0.0, 3), (1.0, 1.0, 1), (math.nan, 1.0, 3)):
            with pytest.raises(ValueError, match="power needs"):
                paired_power(*arguments)


class TestPermutation:
    def test_level_by_hand(self) -> None:
        assert permutation_level(3) == 0.0  # 2 / 20 is the least
        assert permutation_level(4) == pytest.approx(2 / 70)
        assert permutation_level(5) == pytest.approx(12 / 252)
        assert permutation_level(21) == 0.05
        with pytest.raises(ValueError, match="a value on each side"):
            permutation_level(0)

    @given(st.integers(1, 20), st.sampled_from([0.05, 0.0125, 0.005]))
    def test_level_is_there_where_the_test_can_reach_alpha(self, n: int, alpha: float) -> None:
        level = permutation_level(n, alpha)
        assert level <= alpha
        assert (level > 0) == (smallest_p("permutation", n, n) <= alpha)

    def test_needs_the_least_that_can_reach_alpha(self) -> None:
        assert permutation_needed(50.0, 1.0, 1.0) == 4
        assert permutation_needed(50.0, 1.0, 1.0, 0.0125) == 5
        assert permutation_needed(1.0, 0.0, 0.0) == 4
        assert permutation_needed(0.0, 0.0, 0.0) is None
        assert permutation_needed(0.0, 1.0, 1.0) is None

    def test_needs_what_welch_needs_where_its_p_are_dense(self) -> None:
        assert permutation_needed(1.2, 1.0, 1.0) == seeds_needed(1.2, 1.0, 1.0) == 12
        assert permutation_needed(0.5, 1.0, 1.0) == seeds_needed(0.5, 1.0, 1.0) == 64

    @pytest.mark.parametrize(("n", "alpha", "gap"), [(4, 0.05, 2.4), (5, 0.01, 2.7), (5, 0.05, 2.0), (8, 0.0125, 1.9)])
    def test_power_is_near_what_simulation_finds(self, n: int, alpha: float, gap: float) -> None:
        rng = np.random.default_rng(7)
        found = np.mean([permutation(rng.normal(gap, 1, n), rng.normal(0, 1, n)) <= alpha for _ in range(1000)])
        promised = welch_power(gap, 1.0, 1.0, n, n, permutation_level(n, alpha))
        least = permutation_level(n - 1, alpha) == 0
        assert -0.04 < promised - found < (0.12 if least else 0.04)


class TestLevel:
    def test_by_hand(self) -> None:
        assert unrejected_level([0.5]) == 0.05
        assert unrejected_level([0.001, 0.02, 0.3, math.nan]) == pytest.approx(0.05 / 3)
        assert unrejected_level([0.001, 0.002]) == 0.05

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_a_p_below_it_would_be_rejected(self, p: list[float]) -> None:
        level = unrejected_level(p)
        for place in np.flatnonzero(holm(p) > 0.05):
            better = [*p]
            better[place] = 0.999 * level
            assert holm(better)[place] <= 0.05
