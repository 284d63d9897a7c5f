"""The verdict on published numbers: by hand, over made-up papers whose truth is known, and the agreement of ranks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, t

from bench.stats.verdict import (
    DIFFERS,
    NOT_COMPARABLE,
    NOT_RUN,
    REPRODUCED,
    TEST_NOISE,
    Claimed,
    Verdict,
    half_width,
    judge,
    rank_agreement,
    summary,
)

TABLES = 10_000
LEVEL = 0.95
OURS = [83.0, 84.0, 85.0]  # mean 84, standard deviation 1


def missed(gap: np.ndarray, half: np.ndarray) -> float:
    return float((np.abs(gap) > half).mean())


class TestInterval:
    def test_of_one_run_is_the_textbook_one(self) -> None:
        assert half_width(1.0, 3) == pytest.approx(t.ppf(0.975, 2) * math.sqrt(1 + 1 / 3), abs=1e-9)

    def test_of_a_printed_deviation_is_the_pooled_t_test(self) -> None:
        pooled = math.sqrt((2 * 1.0 + 4 * 4.0) / 6)
        assert half_width(1.0, 3, 2.0, 5) == pytest.approx(
            t.ppf(0.975, 6) * pooled * math.sqrt(1 / 3 + 1 / 5), abs=1e-9
        )

    def test_of_one_seed_has_the_printed_deviation(self) -> None:
        assert half_width(math.nan, 1, 2.0, 4) == pytest.approx(t.ppf(0.975, 3) * 2 * math.sqrt(1 + 1 / 4), abs=1e-9)
        assert math.isnan(half_width(math.nan, 1))

    def test_of_no_spread_covers_the_rounding(self) -> None:
        assert 0.05 < half_width(0.0, 3, unit=0.1) < 0.06
        assert half_width(0.0, 3) == 0

    def test_takes_arrays(self) -> None:
        found = half_width(np.array([1.0, 2.0]), 3, np.array([math.nan, 1.0]), np.array([1, 3]), unit=0.1)
        assert found == pytest.approx(
            [float(half_width(1.0, 3, unit=0.1)), float(half_width(2.0, 3, 1.0, 3, unit=0.1))]
        )


class TestCoverage:
    """Tables made by one procedure: 5 % of their cells may be missed, give or take two points."""

    @pytest.mark.parametrize("n", [2, 3, 5, 10])
    @pytest.mark.parametrize("m", [1, 3, 5])
    @pytest.mark.parametrize("printed", [False, True])
    def test_of_the_seeds_interval(self, n: int, m: int, printed: bool) -> None:
        rng = np.random.default_rng([n, m, printed])
        ours, theirs = rng.normal(84, 0.5, (TABLES, n)), rng.normal(84, 0.5, (TABLES, m))
        std = theirs.std(1, ddof=1) if printed and m > 1 else math.nan
        claimed = np.round(theirs.mean(1), 1)
        half = half_width(ours.std(1, ddof=1), n, np.round(std, 1), m, unit=0.1)
        assert missed(ours.mean(1) - claimed, half) == pytest.approx(1 - LEVEL, abs=0.02)

    @pytest.mark.parametrize("ratio", [0.01, 0.1, 0.3, 1.0, 3.0, 10.0])
    @pytest.mark.parametrize(
        ("n", "least", "most"), [(2, 0.01, 0.07), (3, 0.03, 0.07), (5, 0.03, 0.07), (10, 0.03, 0.07)]
    )
    def test_however_large_the_known_part_is(self, ratio: float, n: int, least: float, most: float) -> None:
        rng, known = np.random.default_rng([n, int(100 * ratio)]), ratio * (1 + 1 / n)
        ours, theirs = rng.normal(84, 1, (TABLES, n)), rng.normal(84, math.sqrt(1 + known), TABLES)
        half = half_width(ours.std(1, ddof=1), n, test_variance=known)
        assert least < missed(ours.mean(1) - theirs, half) < most

    @pytest.mark.parametrize("level", [0.8, 0.9, 0.99])
    def test_of_other_levels(self, level: float) -> None:
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(84, 1, (TABLES, 3)), rng.normal(84, 1, TABLES)
        half = half_width(ours.std(1, ddof=1), 3, level=level)
        assert missed(ours.mean(1) - theirs, half) == pytest.approx(1 - level, abs=0.02)

    @pytest.mark.parametrize("n", [3, 5])
    def test_on_another_test_set(self, n: int) -> None:
        """One procedure, two sets of 500 and 800 images: the wider interval has both sets' sampling errors."""
        rng, p = np.random.default_rng(n), 0.84
        means = [100 * rng.binomial(size, p, (TABLES, 1)) / size for size in (500, 800)]
        ours, theirs = means[0] + rng.normal(0, 0.5, (TABLES, n)), means[1] + rng.normal(0, 0.5, (TABLES, 1))
        variance = 1e4 * p * (1 - p) * (1 / 500 + 1 / 800)
        half = half_width(ours.std(1, ddof=1), n, test_variance=variance)
        assert missed(ours.mean(1) - theirs[:, 0], half) == pytest.approx(1 - LEVEL, abs=0.02)

    @pytest.mark.parametrize("rho", [0.0, 0.5])
    def test_of_two_procedures_on_one_test_set(self, rho: float) -> None:
        """Equally good in the population, outcomes correlated over the 1000 images of the set that both share."""
        rng, p, images, n = np.random.default_rng(7), 0.8, 1000, 3
        both = p * (1 - p) * rho + p * p
        cells = rng.multinomial(images, [both, p - both, p - both, 1 - 2 * p + both], TABLES)
        gap = 100 * (cells[:, 1] - cells[:, 2]) / images
        ours, theirs = gap[:, None] + rng.normal(0, 0.4, (TABLES, n)), rng.normal(0, 0.4, TABLES)
        variance = 1e4 * 2 * p * (1 - p) * (1 - rho) / images
        std = ours.std(1, ddof=1)
        assert missed(ours.mean(1) - theirs, half_width(std, n, test_variance=variance)) == pytest.approx(
            0.05, abs=0.02
        )
        assert missed(ours.mean(1) - theirs, half_width(std, n)) > 0.1  # their difference on this set is real

    def test_the_worst_case_of_likeness_never_misses_more(self) -> None:
        narrow = judge(OURS, Claimed(84.0), test_images=1000, likeness=0.9)
        assert narrow.widest < judge(OURS, Claimed(84.0), test_images=1000).widest

    def test_of_whole_verdicts(self) -> None:
        """A made-up paper through the function itself: a true difference is found, and none is made up."""
        rng = np.random.default_rng(8)
        words = {0.0: [], 6.0: []}  # type: dict[float, list[str]]
        for gap, found in words.items():
            for _ in range(600):
                ours, theirs = rng.normal(84, 0.5, 5), rng.normal(84 - gap, 0.5, 5)
                claimed = Claimed(round(float(theirs.mean()), 2), round(float(theirs.std(ddof=1)), 2), 5, 2)
                found.append(judge(ours, claimed, test_images=5000).word)
        assert words[0.0].count(REPRODUCED) / 600 == pytest.approx(0.95, abs=0.03)
        assert words[0.0].count(DIFFERS) < 6
        assert words[6.0].count(DIFFERS) == 600


class TestVerdict:
    def test_reproduced(self) -> None:
        found = judge(OURS, Claimed(84.3, decimals=1))
        assert found.word == REPRODUCED
        assert found.gap == pytest.approx(-0.3)
        assert found.low < 84.3 < found.high
        assert found.reason.startswith("off by 0.30, within the ± 4.9")
        assert found.reason.endswith("(95 %: our 3 against 1 there)")

    def test_within_test_noise(self) -> None:
        found = judge([84.0, 84.01, 84.02], Claimed(85.0, 0.01, 3), test_images=1000)
        assert found.word == TEST_NOISE
        assert "with the sampling error of 1000 test images" in found.reason

    def test_differs(self) -> None:
        assert judge([84.0, 84.01, 84.02], Claimed(85.0, 0.01, 3), test_images=100_000).word == DIFFERS
        assert judge([84.0, 84.01, 84.02], Claimed(85.0, 0.01, 3)).word == DIFFERS

    def test_where_outcomes_are_alike_less_is_noise(self) -> None:
        ours, claimed = [84.0, 84.01, 84.02], Claimed(85.0, 0.01, 3)
        assert judge(ours, claimed, test_images=1000, likeness=0.95).word == DIFFERS

    def test_of_another_test_set_has_both_errors(self) -> None:
        ours, claimed = [84.0, 84.01, 84.02], Claimed(86.5, 0.01, 3)
        assert judge(ours, claimed, test_images=5000, likeness=0.0).word == DIFFERS
        assert judge(ours, claimed, test_images=5000, other_images=500).word == TEST_NOISE

    def test_not_comparable_says_how(self) -> None:
        found = judge(OURS, Claimed(84.0), incomparable="the paper trains on the validation split too")
        assert (found.word, found.reason) == (NOT_COMPARABLE, "the paper trains on the validation split too")
        assert judge(OURS, Claimed(math.nan)).reason == "no number is printed"

    def test_not_run_comes_first(self) -> None:
        found = judge([], Claimed(84.0), incomparable="x")
        assert (found.word, found.reason) == (NOT_RUN, "no run has finished")
        assert math.isnan(found.gap)
        assert judge([], Claimed(84.0), not_run="no weights").reason == "no weights"

    def test_of_one_seed(self) -> None:
        """Without any deviation nothing says that a number differs."""
        assert judge([84.0], Claimed(90.0)).word == NOT_COMPARABLE
        assert judge([84.0], Claimed(90.0), test_images=5000).word == NOT_COMPARABLE
        assert judge([84.0], Claimed(84.5), test_images=5000).word == TEST_NOISE
        assert judge([84.0], Claimed(84.5, 0.3, 5), test_images=5000).word == REPRODUCED

    def test_of_equal_seeds_allows_for_rounding(self) -> None:
        assert judge([84.44, 84.44, 84.44], Claimed(84.4, decimals=1)).word == REPRODUCED
        assert judge([84.44, 84.44, 84.44], Claimed(84.3, decimals=1)).word == DIFFERS

    @given(st.permutations([83.0, 83.7, 84.9, 85.0]), st.floats(60, 99))
    def test_order_of_seeds_changes_nothing(self, values: list[float], printed: float) -> None:
        claimed = Claimed(printed)
        assert judge(values, claimed, test_images=500) == judge(sorted(values), claimed, test_images=500)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"values": [math.nan]}, "finite"),
            ({"level": 95.0}, "level"),
            ({"test_images": 0}, "at least one image"),
            ({"test_images": 10, "likeness": 1.5}, "likeness"),
            ({"test_images": 10, "values": [300.0, 301.0]}, "0 to 100 %"),
        ],
    )
    def test_refuses(self, arguments: dict[str, object], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            judge(**{"values": OURS, "claimed": Claimed(84.0), **arguments})  # type: ignore[arg-type]

    def test_refuses_published_nonsense(self) -> None:
        for bad in ({"runs": 0}, {"std": -1.0}, {"decimals": -1}):
            with pytest.raises(ValueError, match="at least one run"):
                Claimed(84.0, **bad)


class TestSummary:
    def test_counts_and_says_what_chance_does(self) -> None:
        words = [REPRODUCED] * 18 + [DIFFERS] * 2 + [NOT_RUN]
        verdicts = [Verdict(word, "") if word == NOT_RUN else Verdict(word, "", 0.0, 83.0, 85.0) for word in words]
        assert summary(verdicts) == (
            "18 reproduced, 2 differs, 1 not run; of 20 that were judged, 1.0 would miss the seeds' interval by chance"
        )
        assert summary([]) == "no cells"
        assert summary([Verdict(NOT_RUN, "")]) == "1 not run"

    def test_a_cell_without_a_seeds_interval_cannot_miss_it(self) -> None:
        alone = judge([84.0], Claimed(84.1), test_images=1000)
        assert summary([alone]) == "1 within test-set noise"
        several = judge([84.0, 84.2, 84.4], Claimed(84.1), test_images=1000)
        assert "of 1 that were judged" in summary([alone, several])


class TestRanks:
    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=9))
    def test_agree_with_scipy(self, found: list[tuple[int, int]]) -> None:
        a, b = zip(*found, strict=True)
        agreement = rank_agreement(a, b)
        if len({*a}) > 1 < len({*b}):
            expected = kendalltau(a, b)
            assert (agreement.tau, agreement.p) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-9)
        else:
            assert (math.isnan(agreement.tau), agreement.note) == (True, "all methods of a column tie")

    def test_only_count_what_both_have(self) -> None:
        found = rank_agreement([1.0, 2.0, math.nan, 3.0], [1.0, math.nan, 9.0, 0.0])
        assert (found.tau, found.methods) == (-1.0, 2)
        assert rank_agreement([1.0, math.nan], [math.nan, 1.0]).note == "fewer than two methods have both numbers"

    def test_say_what_few_methods_cannot_show(self) -> None:
        found = rank_agreement([1, 2, 3], [4, 5, 6])
        assert found.tau == 1.0
        assert found.p == pytest.approx(1 / 3)
        assert found.note.startswith("n = 3 methods: the smallest possible p of the test of Kendall's tau is 0.333")
        assert rank_agreement(range(5), range(5)).note == ""

    def test_refuse(self) -> None:
        for a, b in (([1.0], [1.0, 2.0]), ([math.inf, 1.0], [1.0, 2.0])):
            with pytest.raises(ValueError, match="two columns"):
                rank_agreement(a, b)
