"""Where a method lacks seeds that its baseline has, what is printed is of the seeds that both have, as the test is."""

from __future__ import annotations

import pytest
from scipy.stats import ttest_rel

from tests.tables.laid import Layout, Measured, laid, rules

LAYOUT = Layout("t", ("method",), ("dataset",), baseline="A", test="paired")


def cell(method: str, values: tuple[float, ...]) -> Measured:
    return Measured({"dataset": "X", "method": method}, values, 4, seeds=tuple(range(len(values))))


def test_the_difference_is_the_one_that_is_tested() -> None:
    """B is better at each seed it has, and its mean is lower, since A has a fourth and better one."""
    a, b = (70.0, 75.0, 80.0, 85.0), (71.0, 76.1, 80.9)
    table = laid([cell("A", a), cell("B", b)], LAYOUT)
    (entry,) = [each for each in table.finished if each.planned.name == "B"]
    expected = ttest_rel(b, a[:3])
    interval = expected.confidence_interval(0.95)
    assert entry.delta == pytest.approx(1.0)
    assert entry.p == pytest.approx(expected.pvalue)
    assert [entry.low, entry.high] == pytest.approx([interval.low, interval.high])
    assert "Signed numbers are differences of means to A, over the seeds that both have, taken before rounding." in (
        rules(table)
    )


def test_with_the_same_seeds_nothing_is_said_of_them() -> None:
    table = laid([cell("A", (70.0, 75.0)), cell("B", (71.0, 76.1))], LAYOUT)
    assert "Signed numbers are differences of means to A, taken before rounding." in rules(table)
