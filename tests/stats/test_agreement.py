"""Whether two columns rank their methods alike."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from bench.stats.agreement import rank_agreement


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
