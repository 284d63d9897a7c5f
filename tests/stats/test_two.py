"""Tests of two samples against SciPy, against counting by hand, and what they can reach at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_rel
from statsmodels.stats.weightstats import DescrStatsW

from bench.stats.reach import OutOfReachError, fewest, refusal, require, smallest_p
from bench.stats.samples import t_interval
from bench.stats.two import corrected_t, paired_permutation, paired_t, permutation, welch

percent = st.integers(0, 10_000).map(lambda i: i / 100)
samples = st.lists(percent, min_size=2, max_size=6)
pairs = st.lists(st.tuples(percent, percent), min_size=2, max_size=7)
Test = Callable[[list[float], list[float]], float]
TESTS: list[Test] = [welch, paired_t, permutation, paired_permutation]


def counted(a: list[float], b: list[float]) -> float:
    """The permutation test as it is defined, one relabelling after the other."""
    values, gap, found = [*a, *b], abs(np.mean(a) - np.mean(b)), 0
    ways = list(combinations(range(len(values)), len(a)))
    for chosen in ways:
        first = [values[i] for i in chosen]
        second = [value for i, value in enumerate(values) if i not in chosen]
        found += abs(np.mean(first) - np.mean(second)) >= gap - 1e-9
    return found / len(ways)


class TestCorrected:
    def test_is_that_of_nadeau_and_bengio(self) -> None:
        """From R: t <- mean(d) / sqrt((1/5 + 1/4) * var(d)); 2 * pt(-abs(t), 4)."""
        a, b = [0.826, 0.851, 0.819, 0.840, 0.824], [0.811, 0.842, 0.798, 0.829, 0.805]
        assert corrected_t(a, b, 1 / 4) == pytest.approx(0.0118259756582647, rel=1e-10)

    @given(pairs)
    def test_without_shared_images_is_the_paired_test(self, values: list[tuple[float, float]]) -> None:
        a, b = map(list, zip(*values, strict=True))
        assert corrected_t(a, b, 0) == paired_t(a, b)
        assert corrected_t(a, b, 1 / 9) >= paired_t(a, b)

    def test_keeps_its_level_where_the_paired_test_does_not(self) -> None:
        """No true difference, and differences over five folds that hang together as the correction takes them to."""
        rng = np.random.default_rng(3)
        share = 1 / 4
        wrong = {"paired": 0, "corrected": 0}
        for _ in range(2000):
            # the mean of n differences has variance 1/n + share if they have variance 1 and a common part
            d = rng.normal(size=5) + math.sqrt(share) * rng.normal()
            wrong["paired"] += paired_t(d, np.zeros(5)) <= 0.05
            wrong["corrected"] += corrected_t(d, np.zeros(5), share) <= 0.05
        assert wrong["corrected"] / 2000 == pytest.approx(0.05, abs=0.015)
        assert wrong["paired"] / 2000 > 0.1

    def test_refuses_a_share_below_nothing(self) -> None:
        with pytest.raises(ValueError, match="0 or more"):
            corrected_t([1.0, 2.0], [1.0, 3.0], -0.1)


class TestInterval:
    @given(samples.filter(lambda values: len(set(values)) > 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
    @settings(max_examples=30)
    def test_agrees_with_statsmodels(self, values: list[float], level: float) -> None:
        expected = DescrStatsW(values).tconfint_mean(alpha=1 - level)
        assert t_interval(values, level) == pytest.approx(expected, abs=1e-9)

    def test_by_hand(self) -> None:
        # t with 2 degrees of freedom has the quantile √2 (2p - 1) / √(4p(1 - p)): 4.302653 at 0.975
        half = math.sqrt(2) * 0.95 / math.sqrt(4 * 0.975 * 0.025) / math.sqrt(3)
        assert t_interval([4, 5, 6]) == pytest.approx((5 - half, 5 + half), abs=1e-12)

    def test_one_seed_has_none_and_equal_ones_a_point(self) -> None:
        assert all(map(math.isnan, t_interval([83.1])))
        assert t_interval([83.1] * 3) == (83.1, 83.1)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="level"):
            t_interval([1.0, 2.0], 95)
        with pytest.raises(ValueError, match="finite"):
            t_interval([1.0, math.nan])


class TestPairedT:
    @given(pairs.filter(lambda found: len({round(a - b, 6) for a, b in found}) > 1))
    def test_agrees_with_scipy(self, found: list[tuple[float, float]]) -> None:
        a, b = map(list, zip(*found, strict=True))
        assert paired_t(a, b) == pytest.approx(ttest_rel(a, b).pvalue, abs=1e-9)

    def test_without_variance_is_the_limit(self) -> None:
        assert paired_t([1.0, 2.0], [1.0, 2.0]) == 1.0
        assert paired_t([1.0, 2.0], [0.0, 1.0]) == 0.0
        assert math.isnan(paired_t([1.0], [2.0]))

    def test_differences_that_rounding_pulled_apart_are_equal(self) -> None:
        assert 0.1 + 0.2 != 0.3
        assert paired_t([0.1 + 0.2, 0.1 + 0.2], [0.3, 0.3]) == 1.0
        a, b = [41.4, 51.4, 61.7], [31.3, 41.3, 51.6]
        assert len({x - y for x, y in zip(a, b, strict=True)}) > 1
        assert paired_t(a, b) == 0.0
        assert welch([0.1 + 0.2, 0.1 + 0.2], [0.3, 0.3]) == welch([0.1 + 0.2, 0.3], [0.3, 0.3]) == 1.0

    def test_sees_what_pairing_removes(self) -> None:
        a, b = [50.0, 60.0, 70.0, 80.0], [51.0, 61.1, 71.0, 80.9]
        assert paired_t(a, b) < 0.001 < 0.9 < welch(a, b)


class TestPermutation:
    @given(samples, samples)
    @settings(max_examples=50)
    def test_is_the_definition(self, a: list[float], b: list[float]) -> None:
        assert permutation(a, b) == pytest.approx(counted(a, b), abs=1e-12)

    @pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 6), (5, 5), (2, 6)])
    def test_agrees_with_scipy(self, n: int, m: int) -> None:
        rng = np.random.default_rng(n)
        a, b = rng.normal(80, 1, n), rng.normal(81, 1, m)

        def gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
            return np.asarray(abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)))

        found = permutation_test((a, b), gap, alternative="greater", vectorized=True, n_resamples=np.inf)
        assert permutation(a, b) == pytest.approx(found.pvalue, abs=1e-9)

    def test_by_hand(self) -> None:
        assert permutation([1, 2, 3], [4, 5, 6]) == 2 / 20
        assert permutation([1, 2], [1, 2]) == 1.0
        assert permutation([0.1, 0.2], [0.9]) == 1 / 3  # no other one is as far from the other two

    def test_ties_by_rounding_are_ties(self) -> None:
        a, b = [0.1 + 0.2, 0.7], [0.3, 0.1 + 0.6]
        assert permutation(a, b) == 1.0

    def test_of_twenty_a_side_is_quick_and_exact(self) -> None:
        """Against the normal approximation, good to a point at this size."""
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=20), rng.normal(0.6, 1, size=20)
        assert permutation(a, b) == pytest.approx(welch(a, b), abs=0.01)
        with pytest.raises(ValueError, match="at most 40 values; with 41"):
            permutation(np.append(a, 0.0), b)

    def test_of_pairs_is_the_definition(self) -> None:
        rng = np.random.default_rng(1)
        for n in (1, 2, 5, 8):
            d = rng.integers(-5, 6, n).astype(float)
            signs = np.array(list(product([-1, 1], repeat=n)))
            expected = float((np.abs(signs @ d) >= abs(d.sum()) - 1e-9).mean())
            assert paired_permutation(d + 7, np.full(n, 7.0)) == pytest.approx(expected, abs=1e-12)

    def test_of_pairs_agrees_with_scipy(self) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.normal(80, 1, 6), rng.normal(81, 1, 6)

        def gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
            return np.asarray(abs(np.mean(x - y, axis=axis)))

        found = permutation_test((a, b), gap, permutation_type="samples", alternative="greater", n_resamples=np.inf)
        assert paired_permutation(a, b) == pytest.approx(found.pvalue, abs=1e-9)

    @pytest.mark.parametrize("test", [permutation, paired_permutation])
    def test_needs_values(self, test: Test) -> None:
        with pytest.raises(ValueError, match="a value on each side"):
            test([], [])


class TestOfAnyKind:
    @pytest.mark.parametrize("test", TESTS)
    @given(found=pairs, order=st.randoms(use_true_random=False))
    @settings(max_examples=30)
    def test_sides_and_seeds_may_change_places(
        self, test: Test, found: list[tuple[float, float]], order: np.random.Generator
    ) -> None:
        a, b = map(list, zip(*found, strict=True))
        p = test(a, b)
        assert 0 <= p <= 1
        assert test(b, a) == pytest.approx(p, abs=1e-12)
        order.shuffle(found)
        c, d = map(list, zip(*found, strict=True))
        assert test(c, d) == pytest.approx(p, abs=1e-12)

    @pytest.mark.parametrize("test", TESTS)
    @given(values=samples)
    @settings(max_examples=20)
    def test_no_difference_has_p_1(self, test: Test, values: list[float]) -> None:
        assert test(values, values) == 1.0

    @pytest.mark.parametrize("test", TESTS)
    @given(found=pairs, scale=st.sampled_from([1e-6, 3.0, 1e6]))
    @settings(max_examples=20)
    def test_the_unit_does_not_matter(self, test: Test, found: list[tuple[float, float]], scale: float) -> None:
        a, b = map(list, zip(*found, strict=True))
        scaled = test([scale * x for x in a], [scale * x for x in b])
        spread = max(map(abs, np.diff(np.subtract(a, b)))) > 1e-9 or test is not paired_t
        assert not spread or scaled == pytest.approx(test(a, b), abs=1e-9)

    @pytest.mark.parametrize("test", TESTS)
    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_what_is_not_finite_is_refused(self, test: Test, bad: float) -> None:
        with pytest.raises(ValueError, match="finite"):
            test([1.0, bad], [1.0, 2.0])

    @pytest.mark.parametrize("test", [paired_t, paired_permutation])
    def test_pairs_are_pairs(self, test: Test) -> None:
        with pytest.raises(ValueError, match="there are 2 and 3"):
            test([1.0, 2.0], [1.0, 2.0, 3.0])


class TestReach:
    @pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (5, 5), (3, 5), (1, 4)])
    def test_of_the_permutation_test_is_reached_and_never_beaten(self, n: int, m: int) -> None:
        rng = np.random.default_rng(n * m)
        found = [permutation(rng.normal(size=n), rng.normal(size=m)) for _ in range(100)]
        found.append(permutation(np.arange(n) + 100.0 ** np.arange(1, n + 1), np.arange(m) / 10))
        assert min(found) == pytest.approx(smallest_p("permutation", n, m), abs=1e-12)

    @pytest.mark.parametrize("n", [1, 2, 3, 6])
    def test_of_the_paired_one(self, n: int) -> None:
        assert paired_permutation(np.arange(1.0, n + 1), np.zeros(n)) == smallest_p("paired_permutation", n)

    def test_numbers(self) -> None:
        assert smallest_p("permutation", 3, 3) == 0.1
        assert smallest_p("paired_permutation", 3) == 0.25
        assert smallest_p("wilcoxon", 6) == 0.03125
        assert smallest_p("mcnemar", 0) == 1.0
        assert smallest_p("kendall", 4) == pytest.approx(2 / 24)
        assert smallest_p("stratified_permutation", 3, 3, 3, 3) == 2 / 400
        assert smallest_p("welch", 2, 2) == 0.0
        assert math.isnan(smallest_p("welch", 1, 5))

    def test_refusal_has_the_arithmetic_and_what_would_do(self) -> None:
        assert refusal("paired_permutation", 3) == (
            "n = 3 pairs of seeds: the smallest possible p of the paired permutation test is 0.25, above alpha = 0.05; "
            "6 pairs of seeds can reach 0.0312"
        )
        assert refusal("permutation", 3, 3).startswith("n = 3 and 3 seeds: the smallest possible p of")
        assert "and 0.0938 after Holm over 3 comparisons" in refusal("wilcoxon", 6, comparisons=3)
        assert refusal("welch", 1, 3) == "n = 1 and 3 seeds: Welch's t-test needs at least 2"

    def test_fewest_is_the_first_that_can(self) -> None:
        assert fewest("permutation", 2, 2) == (4, 4)
        assert fewest("permutation", 2, 3, comparisons=10) == (5, 6)
        assert fewest("wilcoxon", 9) == (9,)
        with pytest.raises(ValueError, match="needs at least 2 seeds"):
            fewest("welch", 1, 3)

    def test_nothing_is_refused_that_can_be_reached(self) -> None:
        assert refusal("permutation", 4, 4) == ""
        assert refusal("permutation", 3, 3, alpha=0.1) == ""
        require("wilcoxon", 6)

    @given(st.sampled_from(["permutation", "paired_permutation", "wilcoxon"]), st.integers(1, 12), st.integers(1, 30))
    def test_what_is_said_to_be_enough_is(self, test: str, n: int, comparisons: int) -> None:
        sizes = (n, n) if test == "permutation" else (n,)
        told = refusal(test, *sizes, comparisons=comparisons)
        assert bool(told) == (smallest_p(test, *sizes) * comparisons > 0.05)
        if told:
            enough = int(told.rpartition("; ")[2].split()[0])
            larger, smaller = ((size,) * len(sizes) for size in (enough, enough - 1))
            assert not refusal(test, *larger, comparisons=comparisons)
            assert refusal(test, *smaller, comparisons=comparisons)

    def test_require_raises(self) -> None:
        with pytest.raises(OutOfReachError, match=r"n = 5 datasets.* is 0\.0625"):
            require("wilcoxon", 5)

    @pytest.mark.parametrize(("test", "sizes"), [("wilcoxon", (3, 3)), ("permutation", (3,)), ("welch", (-1, 2))])
    def test_sizes_are_checked(self, test: str, sizes: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="does not take the sizes"):
            smallest_p(test, *sizes)

    def test_names_are_checked(self) -> None:
        with pytest.raises(ValueError, match="did you mean 'welch'"):
            smallest_p("welsh", 3, 3)
