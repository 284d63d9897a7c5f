"""What cells may borrow of each other's noise: by hand, and in which share of made-up tables an interval is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from bench.stats.pooling import UNKNOWN, Spread, guarded, pooled
from bench.stats.verdict import half_width

TABLES, CELLS = 20_000, 24


def test_pooled_is_the_root_of_the_mean_square_by_degrees_of_freedom() -> None:
    assert pooled([1.0, 2.0], [2, 4]) == Spread(math.sqrt((2 * 1 + 4 * 4) / 6), 6)
    assert pooled([math.nan, 2.0, 5.0], [3, 4, 0]) == Spread(2.0, 4)
    assert pooled([], []) == pooled([math.nan], [0]) == UNKNOWN


@pytest.mark.parametrize(
    ("own", "freedom", "table", "expected"),
    [
        (1.0, 2, (1.5, 48), (1.5, 48)),
        (1.6, 2, (1.5, 48), (1.6, 2)),  # a noisy cell never borrows calm
        (1.0, 3, (1.5, 48), (1.0, 3)),  # it has runs enough of its own
        (0.0, 9, (1.5, 48), (1.5, 48)),  # equal runs do not show that there is no noise
        (0.0, 9, (0.0, 48), (0.0, 48)),
        (1.0, 1, (1.5, 48), (1.5, 2.5)),
        (1.0, 1, (1.5, 2), (1.5, 2)),
        (math.nan, 0, (1.5, 48), (1.5, 1)),
        (1.0, 2, (math.nan, 0), (1.0, 2)),
    ],
)
def test_a_cell_with_few_runs_borrows_unless_its_own_are_noisier(
    own: float, freedom: int, table: tuple[float, int], expected: tuple[float, float]
) -> None:
    assert tuple(map(float, guarded(own, freedom, *table))) == expected


def test_nothing_is_known_where_nobody_knows_anything() -> None:
    std, freedom = guarded(math.nan, 0, math.nan, 0)
    assert math.isnan(std)
    assert freedom == 0


@given(st.floats(0, 9), st.integers(1, 40), st.floats(0, 9), st.integers(1, 99))
def test_what_is_borrowed_is_never_calmer_than_the_cell(own: float, freedom: int, table: float, more: int) -> None:
    assert guarded(own, freedom, table, more)[0] >= own


def test_takes_arrays() -> None:
    std, freedom = guarded([1.0, 2.0], [2, 2], 1.5, 48)
    assert (std.tolist(), freedom.tolist()) == ([1.5, 2.0], [48, 2])


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize(("louder", "cells"), [(1.0, 1), (1.5, 1), (3.0, 1), (10.0, 1), (3.0, 12)])
def test_an_interval_is_wrong_on_a_side_in_at_most_6_percent_even_in_the_noisiest_cell(
    n: int, louder: float, cells: int
) -> None:
    rng = np.random.default_rng([n, int(10 * louder), cells])
    noise = np.where(np.arange(CELLS) < cells, louder, 1.0)
    own = noise * np.sqrt(rng.chisquare(n - 1, (TABLES, CELLS)) / (n - 1))
    table = np.sqrt((own**2).mean(1))
    std, freedom = guarded(own[:, 0], n - 1, table, CELLS * (n - 1))
    gaps = louder * rng.normal(0, math.sqrt(1 + 1 / n), TABLES)
    assert float((gaps > half_width(std, freedom, n, 1)).mean()) <= 0.06


@pytest.mark.parametrize("louder", [1.0, 2.0, 3.8])
def test_one_seed_may_be_almost_four_times_as_noisy_as_the_others(louder: float) -> None:
    rng = np.random.default_rng(0)
    std, freedom = guarded(math.nan, 0, 1.0, CELLS * 2)
    gaps = louder * rng.normal(0, math.sqrt(2), TABLES)
    assert float((gaps > half_width(std, freedom, 1, 1)).mean()) <= 0.055


def test_borrowing_narrows_what_three_seeds_say() -> None:
    """Where all cells are alike, the usual half-width is 1.7 standard errors; alone it is 2.9."""
    rng = np.random.default_rng(3)
    own = np.sqrt(rng.chisquare(2, (TABLES, CELLS)) / 2)
    std, freedom = guarded(own[:, 0], 2, np.sqrt((own**2).mean(1)), CELLS * 2)
    borrowed = freedom > 2
    assert float(borrowed.mean()) == pytest.approx(1 - math.exp(-1), abs=0.03)  # those whose own is not larger
    half = half_width(std[borrowed], freedom[borrowed], 3, 3)
    assert float(np.median(half)) == pytest.approx(t.ppf(0.95, 48) * math.sqrt(2 / 3), rel=0.05)
