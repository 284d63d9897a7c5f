"""The group of the best: a distance that all methods share, without gaps, and what it says where it tells nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import METRICS
from bench.stats.best import blocked, dunnett, least_difference, within
from bench.stats.samples import summary
from bench.tables.compare import Table
from tests.tables.laid import Layout, Measured, laid, rules

LAYOUT = Layout("t", ("method",), ("dataset",))
values = st.lists(st.floats(0, 100).map(lambda value: round(value, 2)), min_size=1, max_size=4)


def measured(method: str, numbers: Sequence[float], seeds: Sequence[int] | None = None) -> Measured:
    seeds = range(len(numbers)) if seeds is None else seeds
    return Measured({"dataset": "ECG", "method": method}, tuple(numbers), 9, seeds=tuple(seeds))


def near(table: Table) -> dict[str, bool]:
    return {entry.planned.name: entry.near for entry in table.finished}


def around(mean: float, std: float, n: int = 5) -> list[float]:
    """n values with just this mean and standard deviation."""
    apart = np.linspace(-1, 1, n)
    return [mean + std * float(each) for each in apart / apart.std(ddof=1)]


def test_noise_earns_no_mark() -> None:
    """74.8 ± 16.2 beside 87.2: by its own spread nobody could tell it; the spread of nine methods does."""
    methods = {"best": around(87.2, 1.0), "noisy": around(74.8, 16.2)}
    methods |= {f"m{i}": around(86.5 - i / 4, 1.0 + i / 10) for i in range(7)}
    assert near(laid([measured(*each) for each in methods.items()], LAYOUT)) == {
        "best": True,
        "noisy": False,
        **{f"m{i}": True for i in range(7)},
    }


def test_five_deviations_are_told_with_three_seeds() -> None:
    methods = {"best": around(90.0, 1.0, 3), "worse": around(85.0, 1.0, 3)}
    methods |= {f"m{i}": around(89.0, 1.0, 3) for i in range(4)}
    assert near(laid([measured(*each) for each in methods.items()], LAYOUT))["worse"] is False


@pytest.mark.slow
@given(st.lists(values, min_size=2, max_size=6), st.sampled_from(["welch", "paired", "pooled"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_unmarked_method_lies_above_a_marked_one(samples: list[list[float]], test: str, lower: bool) -> None:
    metric = METRICS["nll" if lower else "top1"]
    cells = [measured(f"m{at}", sample) for at, sample in enumerate(samples)]
    table = laid(cells, replace(LAYOUT, test=test, baseline="m0", metric=metric))
    sign = -1 if lower else 1
    marked = [sign * entry.cell.mean for entry in table.finished if entry.near]
    left = [sign * entry.cell.mean for entry in table.finished if not entry.near]
    assert marked
    assert not left or min(marked) >= max(left)


def test_the_distance_is_hsus() -> None:
    a, b, c = [80.0, 82.0, 81.0], [79.0, 80.0, 84.0], [70.0, 71.0, 75.0]
    table = laid([measured("a", a), measured("b", b), measured("c", c)], LAYOUT)
    (group,) = table.groups
    residual = within([summary(sample) for sample in (a, b, c)])
    assert residual.freedom == 6
    expected = dunnett(2, 6) * residual.std * math.sqrt(2 / 3)
    assert group.least == pytest.approx((expected, expected))


def test_pairs_are_compared_with_the_best_by_their_differences() -> None:
    a, b, c = [80.0, 85.0, 90.0], [79.0, 84.2, 88.9], [78.0, 83.3, 88.1]
    cells = [measured("a", a), measured("b", b), measured("c", c)]
    assert near(laid(cells, replace(LAYOUT, test="welch"))) == {"a": True, "b": True, "c": True}
    table = laid(cells, replace(LAYOUT, test="pooled"))
    assert near(table) == {"a": True, "b": False, "c": False}
    residual = blocked(np.subtract([b, c], a))
    assert table.groups[0].least[0] == pytest.approx(least_difference(residual, 3, 3, 3))


def test_what_prints_like_a_marked_one_is_marked() -> None:
    """Of 79.24 and 79.16, which both print as 79.2, the first alone is within the distance."""
    spread = [measured(name, around(mean, 0.1, 3)) for name, mean in (("a", 79.40), ("b", 79.24), ("c", 79.16))]
    table = laid(spread, LAYOUT)
    (group,) = table.groups
    assert 0.16 < group.least[0] < 0.24
    assert near(table) == {"a": True, "b": True, "c": True}
    assert near(laid(spread, replace(LAYOUT, decimals=2))) == {"a": True, "b": True, "c": False}


def test_one_seed_is_judged_by_the_spread_of_the_others() -> None:
    cells = [measured("best", around(90.0, 1.0, 3)), measured("alone", [89.5]), measured("far", [70.0])]
    assert near(laid(cells, LAYOUT)) == {"best": True, "alone": True, "far": False}


def test_where_nothing_can_be_told_the_caption_says_so_and_what_would() -> None:
    cells = [measured("a", around(81.0, 1.0, 3)), measured("b", around(80.0, 1.0, 3))]
    table = laid(cells, replace(LAYOUT, baseline="b"))
    (group,) = table.groups
    assert group.tells_nothing
    assert group.seeds is not None
    said = [rule for rule in rules(table) if rule.startswith("Nothing can be told")]
    assert said == [
        "Nothing can be told from the best: to tell the baseline from it in four of five tables would take about "
        f"{group.seeds} seeds, were the differences what they seem."
    ]
    told = laid([measured("a", around(81.0, 0.1, 3)), measured("b", around(80.0, 0.1, 3))], LAYOUT)
    assert not [rule for rule in rules(told) if rule.startswith("Nothing can be told")]
