"""The verdict on published numbers: by hand, against other software, and over made-up papers whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t
from statsmodels.stats.weightstats import ttost_ind

from bench.stats.pooling import Spread
from bench.stats.samples import Floats, Summary, summary
from bench.stats.verdict import (
    CANNOT_TELL,
    DIFFERS,
    NOT_COMPARABLE,
    NOT_RUN,
    SAME,
    Claimed,
    ImageSets,
    Verdict,
    half_width,
    judge,
    seeds_to_decide,
    words,
)
from bench.stats.verdict import summary as counted

TABLES = 20_000
OURS = summary([83.0, 84.0, 85.0])  # mean 84, standard deviation 1
CALM = summary([84.0, 84.01, 84.02])
EXACT = 12
"""Decimals with which rounding is of no account."""


def as_claimed(values: Sequence[float] | Floats) -> Claimed:
    """Runs as a paper prints them that rounds nothing."""
    return Claimed(float(np.mean(values)), float(np.std(values, ddof=1)), len(values), EXACT)


class TestInterval:
    def test_of_one_run_is_the_textbook_one(self) -> None:
        expected = t.ppf(0.95, 2) * math.sqrt(1 + 1 / 3)
        assert half_width(1.0, 2, 3, 1) == pytest.approx(expected, abs=1e-9)

    def test_of_a_printed_deviation_is_the_pooled_t_test(self) -> None:
        """R: x <- c(83, 84, 85.5, 84.2); y <- c(84.9, 85.4, 83.8); t.test(x, y, var.equal=TRUE, conf.level=0.9)

        t.test(x, y, mu=2, alternative="less", var.equal=TRUE) and mu=-2, "greater": p <= 0.0488; of 1 0.271.
        """
        x, y = summary([83, 84, 85.5, 84.2]), as_claimed([84.9, 85.4, 83.8])
        found = judge(x, y, 2.0)
        assert (found.low, found.high) == pytest.approx((-1.986257451499006, 0.936257451498994), abs=1e-9)
        assert (found.word, judge(x, y, 1.0).word) == (SAME, CANNOT_TELL)

    @given(st.integers(2, 6), st.integers(2, 6), st.floats(0.1, 4), st.integers(0, 2**31))
    def test_is_two_one_sided_tests_at_5_percent(self, n: int, m: int, margin: float, seed: int) -> None:
        """Schuirmann's test, as statsmodels has it: the same where its p is at most 0.05, and 0.05 at the edge."""
        rng = np.random.default_rng(seed)
        x, y = rng.normal(84, 1, n), rng.normal(84.5, 1.5, m)
        found = judge(summary(x), as_claimed(y), margin)
        assert (found.word == SAME) == (ttost_ind(x, y, -margin, margin)[0] <= 0.05)
        edge = abs(found.gap) + found.half_width
        assert ttost_ind(x, y, -edge, edge)[0] == pytest.approx(0.05, abs=1e-9)

    def test_of_no_spread_covers_the_rounding(self) -> None:
        assert half_width(0.0, 2, 3, 1, unit=0.1) == pytest.approx(norm.ppf(0.95) * 0.1 / math.sqrt(12), abs=1e-6)
        assert half_width(0.0, 2, 3, 1) == 0

    def test_of_no_known_spread_is_not_known(self) -> None:
        assert math.isnan(half_width(math.nan, 0, 1, 1, unit=0.1))

    def test_takes_arrays(self) -> None:
        found = half_width(np.array([1.0, 2.0]), np.array([2, 4]), 3, np.array([1, 3]), unit=0.1)
        single = [float(half_width(1.0, 2, 3, 1, unit=0.1)), float(half_width(2.0, 4, 3, 3, unit=0.1))]
        assert found == pytest.approx(single)

    @pytest.mark.parametrize("ratio", [0.01, 0.1, 0.3, 1.0, 3.0, 10.0])
    @pytest.mark.parametrize("n", [2, 3, 5, 10])
    def test_is_wrong_on_a_side_in_5_percent_however_large_the_rounding_is(self, ratio: float, n: int) -> None:
        rng, known = np.random.default_rng([n, int(100 * ratio)]), ratio * (1 + 1 / n)
        ours, theirs = rng.normal(84, 1, (TABLES, n)), rng.normal(84, math.sqrt(1 + known), TABLES)
        half = half_width(ours.std(1, ddof=1), n - 1, n, 1, unit=math.sqrt(12 * known))
        one_side = float((ours.mean(1) - theirs > half).mean())
        assert one_side < 0.065
        assert n == 2 or one_side > 0.03

    @pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
    def test_of_other_levels(self, level: float) -> None:
        rng = np.random.default_rng(0)
        ours, theirs = rng.normal(84, 1, (TABLES, 3)), rng.normal(84, 1, TABLES)
        half = half_width(ours.std(1, ddof=1), 2, 3, 1, level=level)
        assert float((np.abs(ours.mean(1) - theirs) > half).mean()) == pytest.approx(1 - level, abs=0.01)


class TestErrors:
    """Made-up papers: neither word is wrong in more than 5 % of cells, and more seeds find more of what is true."""

    @staticmethod
    def found(n: int, gap: float, m: int = 3, margin: float = 2.0) -> dict[str, float]:
        """The share of each word over papers whose runs have a deviation of 1 on both sides."""
        rng = np.random.default_rng(n)
        ours, theirs = rng.normal(84 + gap, 1, (TABLES, n)), rng.normal(84, 1, (TABLES, m))
        squares = (n - 1) * ours.var(1, ddof=1) + ((m - 1) * theirs.var(1, ddof=1) if m > 1 else 0)
        freedom = n - 1 + m - 1
        half, wider = (half_width(np.sqrt(squares / freedom), freedom, n, m, level=level) for level in (0.9, 0.95))
        word = words(ours.mean(1) - theirs.mean(1), half, wider, margin)
        return {each: float((word == each).mean()) for each in (SAME, DIFFERS)}

    @pytest.mark.parametrize("n", [2, 3, 5, 10])
    @pytest.mark.parametrize("m", [1, 3])
    def test_neither_word_is_wrong_more_often_than_it_may(self, n: int, m: int) -> None:
        edge = self.found(n, gap=2.0, m=m)
        assert edge[SAME] < 0.055
        assert edge[DIFFERS] < 0.055
        for gap in (3.0, 4.0, 6.0):
            assert self.found(n, gap, m)[SAME] < 0.03
        for gap in (0.0, 1.0):
            assert self.found(n, gap, m)[DIFFERS] < 0.03

    @pytest.mark.slow
    def test_more_seeds_find_more_of_what_is_the_same_and_no_more_of_what_is_not(self) -> None:
        counts = (2, 3, 5, 10, 30)
        for gap in (0.0, 0.5):
            same = [self.found(n, gap)[SAME] for n in counts]
            assert same == sorted(same)
            assert same[-1] > same[0] + 0.3
        for gap in (2.0, 3.0, 4.0):
            assert max(self.found(n, gap)[SAME] for n in counts) < 0.055
        differs = [self.found(n, 5.0)[DIFFERS] for n in counts]
        assert differs == sorted(differs)

    @pytest.mark.slow
    def test_few_seeds_no_longer_make_it_the_same(self) -> None:
        """Two seeds of either of two procedures ten deviations apart once made for "reproduced" half of the time."""
        rng = np.random.default_rng(1)
        for n in (2, 3):
            verdicts = [judge(summary(rng.normal(84, 0.5, n)), Claimed(89.0), 1.0).word for _ in range(300)]
            assert SAME not in verdicts


class TestVerdict:
    def test_same(self) -> None:
        found = judge(CALM, Claimed(84.3, 0.01, 3, 1), 0.5)
        assert found.word == SAME
        assert found.gap == pytest.approx(-0.29)
        assert (found.low, found.high) == (found.gap - found.half_width, found.gap + found.half_width)
        assert (found.margin, found.seeds_to_decide) == (0.5, None)
        assert found.reason == ("off by 0.29 ± 0.05, within ± 0.50 (90 %: our 3 against 3 there, s = 0.01 with 4 df)")

    def test_cannot_tell_says_how_many_seeds_would(self) -> None:
        claimed = Claimed(84.3, 1.0, 10, 1)
        found = judge(OURS, claimed, 1.0)
        assert found.word == CANNOT_TELL
        assert "off by 0.30 ± 1.18, neither within nor beyond ± 1.00; " in found.reason
        seeds = found.seeds_to_decide
        assert seeds is not None
        assert f"{seeds} seeds of ours would decide if the gap stayed" in found.reason
        halves = [float(half_width(1.0, 11 + k - 3, k, 10, unit=0.1)) for k in (seeds - 1, seeds)]
        assert halves[1] <= 1.0 - 0.3 < halves[0]
        assert seeds_to_decide(-0.3, 1.0, Spread(1.0, 11), 3, claimed) == seeds

    def test_that_many_seeds_do_decide(self) -> None:
        """A cell of three borrows the table's noise; from four on it is judged by its own, as wide as it is now."""
        claimed, table = Claimed(80.0, runs=5, decimals=1), Spread(0.6, 48)
        for mean in (80.4, 81.6):
            seeds = judge(Summary(mean, 0.6, 3), claimed, 1.0, table=table).seeds_to_decide
            assert seeds is not None
            assert judge(Summary(mean, 0.6, seeds), claimed, 1.0, table=table).word != CANNOT_TELL
            assert judge(Summary(mean, 0.6, seeds - 1), claimed, 1.0, table=table).word == CANNOT_TELL

    @pytest.mark.parametrize("margin", [0.05, 0.2, 0.5])
    @pytest.mark.parametrize("n", [3, 5, 10])
    def test_a_small_margin_makes_no_more_differences(self, n: int, margin: float) -> None:
        """A gap of zero may lie beyond a small margin on either side."""
        for gap in (0.0, margin):
            assert TestErrors.found(n, gap, margin=margin)[DIFFERS] < 0.06

    def test_or_that_none_would_and_why(self) -> None:
        found = judge(OURS, Claimed(84.3, decimals=1), 1.0)
        assert (found.word, found.seeds_to_decide) == (CANNOT_TELL, None)
        alone = norm.ppf(0.95) * math.sqrt(1 + 0.01 / 12)
        assert (
            "no number of seeds would decide at that gap, as the published number is taken for one of 1 run, which "
            f"alone leaves ± {alone:.2f}" in found.reason
        )

    def test_differs(self) -> None:
        claimed = Claimed(86.0, 0.01, 3)
        assert judge(CALM, claimed, 1.0).word == DIFFERS
        beyond = judge(CALM, claimed, 1.0, images=ImageSets(100_000)).reason
        assert "beyond ± 1.000, and is beyond what another 100000 test images could make up (± 0.2" in beyond
        within = judge(CALM, claimed, 1.0, images=ImageSets(1000)).reason
        assert "beyond ± 1.000; another 1000 test images could make up ± 2." in within
        assert "of it" in within

    def test_where_outcomes_are_alike_fewer_images_make_it_up(self) -> None:
        claimed = Claimed(86.0, 0.01, 3)
        assert "and is beyond" in judge(CALM, claimed, 1.0, images=ImageSets(1000, likeness=0.95)).reason

    def test_of_another_test_set_has_both_errors(self) -> None:
        found = judge(CALM, Claimed(86.5, 0.01, 3), 1.0, images=ImageSets(5000, 500)).reason
        expected = norm.ppf(0.95) * math.sqrt(85.255 * 14.745 * (1 / 5000 + 1 / 500))
        assert f"the choice of 5000 test images here and 500 there could make up ± {expected:.3f} of it" in found

    def test_test_images_never_make_it_the_same(self) -> None:
        for images in (ImageSets(), ImageSets(10), ImageSets(10_000)):
            assert judge(CALM, Claimed(86.0, 0.01, 3), 1.0, images=images).word == DIFFERS

    def test_not_comparable_says_how(self) -> None:
        found = judge(OURS, Claimed(84.0), 1.0, incomparable="the paper trains on the validation split too")
        assert (found.word, found.reason) == (NOT_COMPARABLE, "the paper trains on the validation split too")
        assert judge(OURS, Claimed(math.nan), 1.0).reason == "no number is printed"

    def test_not_run_comes_first(self) -> None:
        found = judge(None, Claimed(84.0), 1.0, incomparable="x")
        assert (found.word, found.reason) == (NOT_RUN, "no run has finished")
        assert math.isnan(found.gap)
        assert judge(None, Claimed(84.0), 1.0, not_run="no weights").reason == "no weights"

    def test_of_one_seed(self) -> None:
        """Without any deviation nothing can be told; that of other cells or the printed one serves."""
        alone = judge(Summary(84.0), Claimed(90.0), 1.0, images=ImageSets(5000))
        assert alone.word == CANNOT_TELL
        assert alone.reason.startswith("off by 6.000; one seed here and no ± printed, here or in another cell")
        assert math.isnan(alone.half_width)
        assert judge(Summary(84.0), Claimed(90.0), 1.0, table=Spread(0.2, 20)).word == DIFFERS
        assert judge(Summary(84.0), Claimed(84.1), 1.0, table=Spread(0.05, 20)).word == SAME
        assert judge(Summary(84.0), Claimed(90.0, 0.3, 5), 1.0).word == DIFFERS

    def test_other_cells_narrow_the_interval_of_few_seeds(self) -> None:
        alone, among = judge(OURS, Claimed(84.0), 1.0), judge(OURS, Claimed(84.0), 1.0, table=Spread(1.0, 48))
        assert among.half_width == pytest.approx(float(half_width(1.0, 48, 3, 1, unit=0.01)))
        assert among.half_width < 0.6 * alone.half_width
        calm_others = judge(OURS, Claimed(84.0), 1.0, table=Spread(0.5, 48))
        assert calm_others.half_width == alone.half_width

    def test_of_equal_seeds_allows_for_rounding(self) -> None:
        equal = summary([84.44] * 3)
        assert judge(equal, Claimed(84.4, decimals=1), 0.1).word == SAME
        assert judge(equal, Claimed(84.2, decimals=1), 0.1).word == DIFFERS

    @given(st.permutations([83.0, 83.7, 84.9, 85.0]), st.floats(60, 99))
    def test_order_of_seeds_changes_nothing(self, values: list[float], printed: float) -> None:
        claimed, images = Claimed(printed), ImageSets(500)
        found = judge(summary(values), claimed, 1.0, images=images)
        assert found == judge(summary(sorted(values)), claimed, 1.0, images=images)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"level": 95.0}, "level"),
            ({"margin": 0.0}, "a margin is above 0"),
            ({"margin": math.nan}, "a margin is above 0"),
            ({"images": ImageSets(10), "ours": Summary(300.0)}, "0 to 100 %"),
        ],
    )
    def test_refuses(self, arguments: dict[str, object], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            judge(**{"ours": OURS, "claimed": Claimed(84.0), "margin": 1.0, **arguments})  # type: ignore[arg-type]

    def test_refuses_images_that_there_cannot_be(self) -> None:
        for bad in ({"count": 0}, {"count": 5, "others": 0}, {"count": 5, "likeness": 1.5}):
            with pytest.raises(ValueError, match="at least one image"):
                ImageSets(**bad)

    def test_refuses_published_nonsense(self) -> None:
        for bad in ({"runs": 0}, {"std": -1.0}, {"decimals": -1}):
            with pytest.raises(ValueError, match="at least one run"):
                Claimed(84.0, **bad)


def test_words_are_counted_in_their_order() -> None:
    verdicts = [Verdict(word, "") for word in [CANNOT_TELL] * 3 + [SAME] * 2 + [NOT_RUN]]
    assert counted(verdicts) == "2 same, 3 cannot tell, 1 not run"
    assert counted([]) == "no cells"
