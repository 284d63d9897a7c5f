"""Differences of means: Welch's and the paired t against scipy, the pooled one by hand, their intervals."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import t, ttest_ind, ttest_rel

from bench.stats.difference import BORROWED, MeanDifference, paired_estimate, pooled_estimates, welch_estimate
from bench.stats.samples import summary
from bench.stats.two import superiority

A, B = [70.0, 72.0, 74.5, 71.0], [71.0, 73.5, 75.0, 73.0]


def test_p_and_interval_are_scipys() -> None:
    welch = welch_estimate(summary(A), summary(B[:3]))
    assert welch is not None
    theirs = ttest_ind(A, B[:3], equal_var=False)
    assert welch.p == pytest.approx(theirs.pvalue, abs=1e-12)
    interval = theirs.confidence_interval(0.9)
    assert [welch.gap - welch.half_width(0.9), welch.gap + welch.half_width(0.9)] == pytest.approx([*interval])
    paired = paired_estimate(np.subtract(A, B))
    assert paired is not None
    theirs = ttest_rel(A, B)
    assert paired.p == pytest.approx(theirs.pvalue, abs=1e-12)
    interval = theirs.confidence_interval(0.95)
    assert [paired.gap - paired.half_width(), paired.gap + paired.half_width()] == pytest.approx([*interval])


def test_of_one_value_there_is_no_difference() -> None:
    assert welch_estimate(summary([1.0]), summary(A)) is None
    assert paired_estimate([1.0]) is None
    assert pooled_estimates([[1.0, math.nan], [1.0, 2.0]])[0] is None


def pooled(*lines: list[float]) -> list[MeanDifference]:
    estimates = pooled_estimates(lines)
    assert all(estimate is not None for estimate in estimates)
    return [estimate for estimate in estimates if estimate is not None]


def test_the_spread_is_that_of_all_methods() -> None:
    """Variances 1 and 4: the first is tested with their mean, 2.5, the second, which is above it, by its own."""
    quiet, loud = pooled([1.0, 2.0, 3.0], [5.0, 7.0, 3.0])
    assert (quiet.gap, loud.gap) == (2.0, 5.0)
    assert quiet.error == pytest.approx(math.sqrt(2.5 / 3))
    assert loud.p == pytest.approx(ttest_rel([5.0, 7.0, 3.0], [0.0] * 3).pvalue, abs=1e-12)
    assert [loud.error, loud.freedom] == pytest.approx([math.sqrt(4 / 3), 2])


def test_degrees_of_freedom_are_satterthwaites() -> None:
    """Three methods with the variance 1 and correlations of 0.5, -0.5 and 0.5, of which chance makes as much.

    The squares are 1/4 each; of three pairs chance gives 1/2, so nothing is left of them: three variances with two
    degrees of freedom each have six together, and none may have more than 2.5 times its own.
    """
    first, second, third = [1.0, 0.0, -1.0], [1.0, -1.0, 0.0], [0.0, -1.0, 1.0]
    assert [estimate.freedom for estimate in pooled(first, second, third)] == [BORROWED * 2] * 3
    # two that are one: nothing is borrowed
    assert [estimate.freedom for estimate in pooled(first, first)] == pytest.approx([2.0, 2.0])
    # two that have nothing in common have the degrees of both
    a, b = [1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]
    assert [estimate.freedom for estimate in pooled(a, b)] == pytest.approx([6.0, 6.0])


def test_five_pairs_speak_for_themselves() -> None:
    calm, loud = [1.0, 1.1, 0.9, 1.0, 1.05], [1.0, 5.0, -3.0, 2.0, 0.0]
    assert [estimate.p for estimate in pooled(calm, loud)] == pytest.approx(
        [ttest_rel(line, [0.0] * 5).pvalue for line in (calm, loud)], abs=1e-12
    )
    assert pooled(calm[:4], loud[:4])[0].p > 0.05


def test_correlated_differences_lend_less() -> None:
    """Two methods with one variance and r = 3/4 over four seeds: likeness (9/16 - 1/3) / (2/3) = 11/32.

    1 / freedom = 1/3 · (1/4 + 1/4) + 11/32 · 1/3 · (1 - 1/2), with two shares of one half.
    """
    x, z = np.array([1.0, 1.0, -1.0, -1.0]) / 2, np.array([1.0, -1.0, 1.0, -1.0]) / 2
    y = 0.75 * x + math.sqrt(1 - 0.75**2) * z
    first, second = pooled(x.tolist(), y.tolist())
    expected = 1 / (0.5 / 3 + 11 / 32 * 0.5 / 3)
    assert [first.freedom, second.freedom] == pytest.approx([expected, expected])


def test_two_seeds_lend_nothing() -> None:
    lines = [1.0, 2.0], [3.0, 2.5], [1.0, 0.0]
    assert [estimate.p for estimate in pooled(*lines)] == pytest.approx(
        [ttest_rel(line, [0.0] * 2).pvalue for line in lines], abs=1e-12
    )


def test_seeds_that_lack_are_left_out() -> None:
    lines = [[1.0, 2.0, math.nan, 4.0], [2.0, 0.0, 1.0, math.nan], [0.5, 0.0, 0.0, 1.0]]
    apart = pooled_estimates(lines)
    assert [estimate.gap for estimate in apart if estimate] == pytest.approx([7 / 3, 1.0, 0.375])


def test_the_order_of_methods_changes_no_bit() -> None:
    lines = [[0.1, 0.7, 0.3], [1.1, 0.2, 0.9], [0.4, 0.8, 0.35], [-0.3, 0.1, 0.2]]
    expected = pooled_estimates(lines)
    for order in permutations(range(4)):
        assert pooled_estimates([lines[at] for at in order]) == [expected[at] for at in order]


def test_one_method_is_the_paired_t() -> None:
    (alone,) = pooled(np.subtract(A, B).tolist())
    assert alone.p == pytest.approx(ttest_rel(A, B).pvalue, abs=1e-12)


def test_what_does_not_vary_has_its_limits() -> None:
    same, apart = pooled([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert (same.p, apart.p) == (1.0, 0.0)


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0, math.inf]]])
def test_what_is_no_table_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="differences are"):
        pooled_estimates(values)  # type: ignore[arg-type]


def test_half_width_is_students() -> None:
    assert MeanDifference(1.0, 0.5, 7).half_width(0.9) == pytest.approx(0.5 * t.ppf(0.95, 7))


def test_superiority_counts_who_wins() -> None:
    assert superiority([1.0, 2.0, 3.0], [0.0, 2.0]) == pytest.approx((2 * 3 - 1 - 0.5) / 6)
    assert superiority([1.0, 2.0], [1.5, 1.0], paired=True) == 0.5
    assert superiority([1.0, 2.0], [0.5, 1.0], paired=True, sign=-1) == 0.0
    with pytest.raises(ValueError, match="a value on each side"):
        superiority([], [1.0])
