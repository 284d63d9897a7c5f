"""Tests over several datasets against SciPy, scikit-posthocs and counting; the diagram of ranks."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import combinations, product
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, ttest_ind
from scipy.stats import wilcoxon as scipy_wilcoxon
from statsmodels.stats.multitest import multipletests

from bench.errors import InputError
from bench.figures.figure import save_sketch
from bench.figures.kinds.cd import diagram
from bench.stats.across import (
    MOST_LISTED,
    cliques,
    critical_difference,
    friedman,
    mean_ranks,
    over_datasets,
    stratified_permutation,
    stratified_signs,
    wilcoxon,
)
from bench.stats.reach import OutOfReachError, refusal, smallest_p
from bench.stats.two import paired_permutation, permutation

Scores = np.ndarray
scores = st.integers(6, 9).flatmap(
    lambda datasets: st.lists(
        st.lists(st.integers(0, 40).map(float), min_size=datasets, max_size=datasets), min_size=3, max_size=5
    ).map(lambda columns: np.array(columns).T)
)


def drawn(datasets: int, methods: int, seed: int = 0) -> Scores:
    return np.random.default_rng(seed).normal(80, 3, (datasets, methods))


class TestStratified:
    def test_is_the_definition(self) -> None:
        rng = np.random.default_rng(0)
        a = [rng.integers(0, 9, n).astype(float) for n in (2, 3, 1)]
        b = [rng.integers(0, 9, n).astype(float) for n in (3, 2, 2)]
        gap = abs(sum(x.mean() - y.mean() for x, y in zip(a, b, strict=True)))
        ways = []
        for x, y in zip(a, b, strict=True):
            values = np.concatenate([x, y])
            masks = [np.isin(np.arange(values.size), chosen) for chosen in combinations(range(values.size), x.size)]
            ways.append([values[mask].mean() - values[~mask].mean() for mask in masks])
        expected = np.mean([abs(sum(way)) >= gap - 1e-9 for way in product(*ways)])
        assert stratified_permutation(a, b) == pytest.approx(float(expected), abs=1e-12)

    def test_of_one_dataset_is_the_permutation_test(self) -> None:
        rng = np.random.default_rng(1)
        a, b = rng.normal(size=4), rng.normal(size=5)
        assert stratified_permutation([a], [b]) == pytest.approx(permutation(a, b), abs=1e-12)

    def test_datasets_add_up(self) -> None:
        """Three seeds cannot do on one dataset what they can on four."""
        a, b = [[1.0, 2.0, 3.0]] * 4, [[4.0, 5.0, 6.0]] * 4
        assert permutation(a[0], b[0]) == 0.1
        assert stratified_permutation(a, b) == 2 / 20**4

    def test_of_many_seeds_is_drawn_and_near_the_exact_one(self) -> None:
        rng = np.random.default_rng(2)
        a, b = ([rng.normal(gap, 1, 6) for _ in range(4)] for gap in (0.0, 0.5))
        exact = stratified_permutation(a, b)
        more_a, more_b = [*a, np.zeros(11)], [*b, np.zeros(11)]  # a dataset that adds ways and no difference
        assert stratified_permutation(more_a, more_b) == pytest.approx(exact, abs=0.01)
        assert stratified_permutation(more_a, more_b, draws=9) >= 0.1

    def test_order_changes_nothing_and_draws_are_seeded(self) -> None:
        rng = np.random.default_rng(3)
        for n in (3, 12):
            a, b = ([rng.normal(size=n) for _ in range(4)] for _ in range(2))
            p = stratified_permutation(a, b, draws=500)
            assert stratified_permutation([x[::-1] for x in a[::-1]], [x[::-1] for x in b[::-1]], draws=500) == p
            assert n > 3 or stratified_permutation(b, a) == p

    @pytest.mark.parametrize(("n", "m"), [(12, 13), (20, 20), (33, 6)])
    def test_drawn_from_halves_is_near_the_exact_one(self, n: int, m: int) -> None:
        """Too many ways to list, of one dataset, which the permutation test can count out."""
        rng = np.random.default_rng(n)
        a, b = rng.normal(0, 1, n), rng.normal(0.6, 1, m)
        exact = permutation(a, b)
        assert math.comb(n + m, n) > MOST_LISTED
        p = _drawn_p(a, b)
        assert 0 < abs(p - exact) < 5 * math.sqrt(exact * (1 - exact) / 20_000)

    def test_of_more_values_than_can_be_halved_is_near_a_t_test(self) -> None:
        rng = np.random.default_rng(5)
        a, b = rng.normal(0, 1, 30), rng.normal(0.4, 1, 30)
        assert stratified_permutation([a], [b], draws=20_000) == pytest.approx(ttest_ind(a, b).pvalue, abs=0.02)

    def test_draws_are_not_dealt_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """128 datasets of 5 seeds a side: two of them have 252² ways, which are listed and drawn from at once."""
        a, b = np.random.default_rng(6).normal(size=(2, 128, 5))
        generator = Mock(wraps=np.random.default_rng(0))
        monkeypatch.setattr(np.random, "default_rng", lambda seed: generator)
        stratified_permutation([*a], [*b], draws=100)
        assert {call[0] for call in generator.method_calls} == {"choice"}
        assert generator.choice.call_count == 64

    @pytest.mark.parametrize(
        ("a", "b", "said"),
        [([], [], "0 and 0"), ([[1.0]], [], "1 and 0"), ([[]], [[1.0]], "a value"), ([[math.nan]], [[1.0]], "finite")],
    )
    def test_refuses(self, a: list[list[float]], b: list[list[float]], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            stratified_permutation(a, b)


def _drawn_p(a: Scores, b: Scores) -> float:
    """The stratified p, drawn: a dataset on which nothing can change makes one ways too many to count out."""
    return stratified_permutation([a, np.zeros(24)], [b, np.zeros(24)], draws=20_000)


class TestStratifiedSigns:
    def test_is_the_definition(self) -> None:
        rng = np.random.default_rng(0)
        a = [rng.integers(0, 9, n).astype(float) for n in (3, 1, 4)]
        b = [rng.integers(0, 9, n).astype(float) for n in (3, 1, 4)]
        ways = [
            sum(np.mean(np.array(signs[at : at + x.size]) * (x - y)) for at, x, y in zip((0, 3, 4), a, b, strict=True))
            for signs in product([-1, 1], repeat=8)
        ]
        observed = abs(sum(np.mean(x - y) for x, y in zip(a, b, strict=True)))
        expected = float(np.mean(np.abs(ways) >= observed - 1e-9))
        assert 0.1 < expected < 0.9
        assert stratified_signs(a, b) == expected

    def test_of_one_dataset_is_the_paired_permutation_test(self) -> None:
        rng = np.random.default_rng(1)
        for n in (1, 2, 7, 24):
            a, b = rng.normal(80, 1, n), rng.normal(80.5, 1, n)
            assert stratified_signs([a], [b]) == paired_permutation(a, b)

    def test_sees_what_dealing_the_seeds_cannot(self) -> None:
        """The seeds of a dataset differ by far more than the methods, which differ by one in each."""
        rng = np.random.default_rng(2)
        b = [rng.normal(70, 3, 3) for _ in range(3)]
        a = [x + 1 + rng.uniform(-0.1, 0.1, 3) for x in b]
        assert stratified_signs(a, b) == 2 / 2**9
        assert stratified_permutation(a, b) > 0.1

    def test_a_dataset_counts_once_however_many_pairs_it_has(self) -> None:
        """Two pairs at +3 on one dataset, six at −1 on the other: the mean of the means is +1, and not zero."""
        a, b = [[3.0] * 2, [0.0] * 6], [[0.0] * 2, [1.0] * 6]
        ways = [3 * np.mean(s[:2]) - np.mean(s[2:]) for s in product([-1, 1], repeat=8)]
        assert stratified_signs(a, b) == np.mean(np.abs(ways) >= 2 - 1e-9)

    def test_of_many_pairs_is_drawn_and_near_the_exact_one(self) -> None:
        rng = np.random.default_rng(3)
        a, b = rng.normal(0.4, 1, 36), np.zeros(36)
        exact = paired_permutation(a, b)
        alike = np.ones(5)  # pairs whose sign changes nothing
        p = stratified_signs([a, alike], [b, alike], draws=20_000)
        assert 0 < abs(p - exact) < 5 * math.sqrt(exact * (1 - exact) / 20_000)
        assert stratified_signs([a + 100, alike], [b, alike], draws=9) == 0.1

    @pytest.mark.parametrize("n", [3, 12])
    def test_order_and_which_is_the_first_change_nothing(self, n: int) -> None:
        rng = np.random.default_rng(4)
        a, b = ([*rng.normal(size=(4, n))] for _ in range(2))
        p = stratified_signs(a, b, draws=500)
        assert stratified_signs([x[::-1] for x in a[::-1]], [x[::-1] for x in b[::-1]], draws=500) == p
        assert stratified_signs(b, a, draws=500) == p

    def test_differences_that_rounding_pulled_apart_tie(self) -> None:
        assert 80.3 - 80.2 != 80.2 - 80.1
        assert stratified_signs([[80.3], [80.1]], [[80.2], [80.2]]) == 1.0

    def test_its_smallest_p_is_that_of_all_pairs(self) -> None:
        a, b = [[1.0, 2.0], [3.0, 4.0, 5.0]], [[0.0, 0.0], [0.0, 0.0, 0.0]]
        assert stratified_signs(a, b) == smallest_p("stratified_signs", 5) == 2**-4
        assert refusal("stratified_signs", 5) == (
            "n = 5 pairs of seeds: the smallest possible p of the stratified paired permutation test is 0.0625, "
            "above alpha = 0.05; 6 pairs of seeds can reach 0.0312"
        )
        assert refusal("stratified_signs", 6) == ""

    @pytest.mark.parametrize(
        ("a", "b", "said"),
        [
            ([], [], "0 and 0"),
            ([[1.0]], [], "1 and 0"),
            ([[1.0], []], [[1.0], []], "1 and 1, 0 and 0"),
            ([[1.0, 2.0]], [[1.0]], "2 and 1"),
            ([[math.nan]], [[1.0]], "finite"),
        ],
    )
    def test_refuses(self, a: list[list[float]], b: list[list[float]], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            stratified_signs(a, b)


class TestWilcoxon:
    @pytest.mark.parametrize("datasets", [1, 3, 6, 13, 30])
    def test_agrees_with_scipy(self, datasets: int) -> None:
        for seed in range(5):
            d = np.random.default_rng(seed).normal(0.3, 1, datasets)
            assert wilcoxon(d) == pytest.approx(scipy_wilcoxon(d, method="exact").pvalue, abs=1e-9)

    @given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=9))
    def test_is_exact_with_ties_and_zeros(self, differences: list[float]) -> None:
        d = np.array([x for x in differences if x])
        expected = 1.0
        if d.size:
            ranks = pd.Series(abs(d)).rank().to_numpy()
            sums = np.array([(ranks * (np.array(s) > 0)).sum() for s in product([-1, 1], repeat=d.size)])
            own = ranks[d > 0].sum()
            expected = min(1.0, 2 * min((sums <= own).mean(), (sums >= own).mean()))
        assert wilcoxon(differences) == pytest.approx(expected, abs=1e-12)

    def test_differences_that_rounding_pulled_apart_tie(self) -> None:
        assert 0.3 - 0.2 != 0.2 - 0.1
        assert wilcoxon([0.3 - 0.2, -(0.2 - 0.1)]) == wilcoxon([0.1, -0.1]) == 1.0

    def test_what_rounding_kept_from_zero_is_left_out(self) -> None:
        rest = [-1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert wilcoxon([0.1 + 0.2 - 0.3, *rest]) == wilcoxon([0.0, *rest]) == wilcoxon(rest)

    def test_refuses(self) -> None:
        for bad, said in (([], "at least one"), ([math.nan], "finite"), ([[1.0]], "1-d")):
            with pytest.raises(ValueError, match=said):
                wilcoxon(bad)


class TestRanks:
    @given(scores)
    @settings(max_examples=30)
    def test_friedman_agrees_with_scipy(self, table: Scores) -> None:
        if (table == table[:, :1]).all():
            assert friedman(table) == 1.0
        else:
            assert friedman(table) == pytest.approx(friedmanchisquare(*table.T).pvalue, abs=1e-9)

    @given(scores)
    @settings(max_examples=30)
    def test_are_pandas_ranks(self, table: Scores) -> None:
        expected = pd.DataFrame(table).rank(axis=1, ascending=False).mean().to_numpy()
        np.testing.assert_allclose(mean_ranks(table), expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
    def test_critical_difference_has_demsars_quantiles(self, methods: int, q: float) -> None:
        expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
        assert critical_difference(methods, 14) == pytest.approx(expected, rel=3e-4)

    def test_a_pair_at_the_critical_difference_has_p_alpha(self) -> None:
        posthoc_nemenyi_friedman = import_module("scikit_posthocs").posthoc_nemenyi_friedman
        table = drawn(9, 4)
        ranks, p = mean_ranks(table), posthoc_nemenyi_friedman(table).to_numpy()
        for i, j in combinations(range(4), 2):
            assert (abs(ranks[i] - ranks[j]) > critical_difference(4, 9, 0.3)) == (p[i, j] < 0.3)
            if p[i, j] < 0.999:
                assert critical_difference(4, 9, float(p[i, j])) == pytest.approx(abs(ranks[i] - ranks[j]), abs=1e-8)

    def test_refuse_other_tables(self) -> None:
        for bad in ([1.0, 2.0], [[1.0], [2.0]], [[1.0, math.nan], [1.0, 2.0]]):
            with pytest.raises(ValueError, match="scores"):
                mean_ranks(bad)
        with pytest.raises(ValueError, match="at least 2 datasets and 3 methods"):
            friedman([[1.0, 2.0], [3.0, 4.0]])
        with pytest.raises(ValueError, match="2 methods and 2 datasets"):
            critical_difference(1, 5)


class TestCliques:
    def test_by_hand(self) -> None:
        assert cliques([1.0, 4.0, 1.5, 2.4], 1.0) == ((0, 2), (2, 3))
        assert cliques([1.0, 2.0, 3.0], 0.5) == ()
        assert cliques([3.0, 1.0, 2.0], 9.0) == ((1, 2, 0),)

    @given(st.lists(st.integers(2, 20).map(lambda i: i / 2), min_size=2, max_size=8), st.integers(1, 8))
    def test_join_exactly_what_is_near(self, ranks: list[float], difference: int) -> None:
        found = cliques(ranks, difference)
        joined = {frozenset(pair) for group in found for pair in combinations(group, 2)}
        near = {
            frozenset((i, j)) for i, j in combinations(range(len(ranks)), 2) if abs(ranks[i] - ranks[j]) < difference
        }
        assert joined == near
        assert not any(set(a) < set(b) for a in found for b in found)


class TestOverDatasets:
    @pytest.mark.slow
    def test_agrees_with_scipy_and_statsmodels(self) -> None:
        table = drawn(9, 4)
        found = over_datasets(table)
        expected = [scipy_wilcoxon(table[:, i], table[:, j], method="exact").pvalue for i, j in found.pairs]
        np.testing.assert_allclose(found.p, expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.p_holm, multipletests(expected, method="holm")[1], rtol=0, atol=1e-9)
        assert found.friedman == pytest.approx(friedmanchisquare(*table.T).pvalue, abs=1e-9)

    def test_against_a_baseline_is_a_smaller_family(self) -> None:
        found = over_datasets(drawn(8, 4), baseline=2)
        assert found.pairs == ((0, 2), (1, 2), (2, 3))

    def test_fewer_than_six_datasets_are_refused_with_the_arithmetic(self) -> None:
        with pytest.raises(
            OutOfReachError, match=r"n = 5 datasets: .* is 0\.0625, above alpha = 0\.05; 6 datasets can"
        ):
            over_datasets(drawn(5, 3))
        assert over_datasets(drawn(5, 3), alpha=0.1).pairs

    def test_a_family_that_is_too_large_is_noted(self) -> None:
        better = drawn(6, 1) + np.array([0, 1, 2, 3])
        found = over_datasets(better, baseline=0)
        assert (found.p_holm > 0.05).all()
        assert "0.0938 after Holm over 3 comparisons" in found.note
        assert over_datasets(better[:, :2]).note == ""

    @given(scores, st.randoms(use_true_random=False))
    @settings(max_examples=20)
    def test_order_of_methods_and_datasets_changes_nothing(self, table: Scores, order: np.random.Generator) -> None:
        columns, rows = list(range(table.shape[1])), list(range(table.shape[0]))
        order.shuffle(columns)
        order.shuffle(rows)
        whole, turned = over_datasets(table), over_datasets(table[rows][:, columns])
        assert turned.friedman == pytest.approx(whole.friedman, abs=1e-9)
        np.testing.assert_allclose(turned.ranks, whole.ranks[columns], atol=1e-12)
        by_pair = {frozenset(pair): p for pair, p in zip(whole.pairs, whole.p_holm, strict=True)}
        for (i, j), p in zip(turned.pairs, turned.p_holm, strict=True):
            assert p == pytest.approx(by_pair[frozenset((columns[i], columns[j]))], abs=1e-12)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="baseline is the place of a method, 0 to 2; got 3"):
            over_datasets(drawn(6, 3), baseline=3)
        with pytest.raises(ValueError, match="finite"):
            over_datasets(np.full((6, 3), math.nan))


class TestDiagram:
    @pytest.mark.slow
    def test_is_drawn_with_the_same_bytes(self, tmp_path: Path) -> None:
        names = ["GTA", "L2-SP", "a_name with $ and %", "ce", "FFN only"]
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            files = [tmp_path / folder / name for name in ("cd.png", "cd.pdf")]
            save_sketch(diagram(drawn(8, 5), names), files, "mine")
        for name in ("cd.png", "cd.pdf"):
            content = (tmp_path / "a" / name).read_bytes()
            assert content == (tmp_path / "b" / name).read_bytes()
            assert len(content) > 2000

    @pytest.mark.parametrize("methods", [2, 9])
    def test_of_few_and_many_methods(self, methods: int, tmp_path: Path) -> None:
        sketch = diagram(drawn(6, methods), [f"method {i}" for i in range(methods)])
        save_sketch(sketch, [tmp_path / "cd.png"], "mine")
        assert (tmp_path / "cd.png").stat().st_size > 2000

    def test_refuses(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="2 labels for 3 methods"):
            diagram(drawn(6, 3), ["a", "b"])
        with pytest.raises(InputError, match=r"mine: .*got .*cd\.bmp"):
            save_sketch(diagram(drawn(6, 2), ["a", "b"]), [tmp_path / "cd.bmp"], "mine")


class TestAutorank:
    """What autorank 1.3.0 says of these scores (it is not installed for the tests: it brings a package named tests)."""

    SCORES = np.array(
        [
            [110.8, 38.7, 54.2, 9.3, 98.6, 84.3, 29.8, 23.1, 27.5, 14.5, 52.8, 19.4],
            [44.8, 45.1, 42.7, 53.2, 87.5, 75.0, 23.3, 44.4, 24.8, 46.8, 18.6, 62.4],
            [108.5, 57.1, 88.7, 133.0, 15.3, 12.9, 6.6, 32.6, 16.4, 55.9, 25.9, 46.9],
            [13.9, 36.6, 28.3, 8.1, 3.9, 8.5, 28.1, 45.7, 5.7, 36.8, 34.8, 7.3],
        ]
    ).T

    def test_ranks_friedman_and_the_critical_difference(self) -> None:
        assert mean_ranks(self.SCORES) == pytest.approx([25 / 12, 28 / 12, 27 / 12, 40 / 12], abs=1e-12)
        assert friedman(self.SCORES) == pytest.approx(0.07515434256378754, rel=1e-9)
        # autorank has the studentised range in a table of six digits
        assert critical_difference(4, 12) == pytest.approx(1.3539901117469855, rel=1e-5)
