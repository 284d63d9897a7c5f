"""Tables of several metrics side by side: what stands below them is of all of them, or names its metric."""

from __future__ import annotations

import pytest

from bench.metrics import TOP1, Metric
from bench.sheets.formats import render_sheet
from bench.sheets.sheet import Sheet
from bench.sheets.view import beside
from bench.tables.compare import Table
from tests.tables.laid import Layout, Measured, laid
from tests.tables.test_group import around

NOISE, NLL = TOP1.at("noise"), Metric("nll", "negative log-likelihood", "", lower=True, compute=float)
LEAST = 1.859548 * (2 / 5) ** 0.5
"""Of two methods with five seeds each, in deviations: one-sided t at 95 % with 8 degrees of freedom."""


def table_of(metric: Metric, gap: float, std: float, decimals: int = 1, n: int = 5) -> Table:
    """Two methods, of which the second is better by a gap."""
    sign = 1 if metric.sign > 0 else -1
    values = {"a": around(50.0, std)[:n], "b": around(50.0 + sign * gap, std)[:n]}
    cells = [Measured({"method": name, "rate": "15 %"}, tuple(numbers), 5) for name, numbers in values.items()]
    return laid(cells, Layout("Two", rows=("method",), metric=metric, decimals=decimals, baseline="a"))


def sheet(*tables: Table) -> Sheet:
    named = {table.plan.cells[0][0].metric.heading: table for table in tables}
    return beside(named, TOP1)


def close(both: Sheet) -> str:
    return dict(both.legend)["close"]


def test_the_distance_that_tells_is_named_with_each_metric() -> None:
    both = sheet(table_of(TOP1, 5.0, 1.0), table_of(NOISE, 5.0, 2.0))
    least, on_noise = f"{LEAST:.1f}", f"{2 * LEAST:.1f}"
    assert (least, on_noise) == ("1.2", "2.4")
    assert close(both).startswith(
        "too near to be told from it, which takes 1.2 points (top-1), 2.4 points (top-1 on noise); what has no mark"
    )
    mixed = sheet(table_of(TOP1, 5.0, 1.0), table_of(NLL, 5.0, 0.1, decimals=2))
    assert "which takes 1.2 points (top-1), 0.12 (negative log-likelihood); what" in close(mixed)
    assert dict(mixed.legend)["best"].startswith("the best mean")


def test_a_metric_without_a_test_has_no_distance_and_the_others_keep_theirs() -> None:
    first_alone = sheet(table_of(TOP1, 5.0, 1.0, n=1), table_of(NOISE, 5.0, 2.0))
    assert "which takes 2.4 points (top-1 on noise); what" in close(first_alone)
    assert "close" not in dict(sheet(table_of(TOP1, 5.0, 1.0, n=1), table_of(NOISE, 5.0, 2.0, n=1)).legend)


def test_one_metric_is_not_named() -> None:
    assert "which takes 1.2 points; what has no mark" in close(sheet(table_of(TOP1, 5.0, 1.0)))
    silent = sheet(table_of(TOP1, 0.5, 1.0))
    assert len([each for each in silent.remarks if each.startswith("Nothing can be told from the best: ")]) == 1


def test_what_is_said_of_some_metrics_names_them_and_what_is_said_of_all_stands_once() -> None:
    one = sheet(table_of(TOP1, 0.5, 1.0), table_of(NOISE, 9.0, 1.0))
    untold = [each for each in one.remarks if "Nothing can be told" in each]
    assert [each.partition(" from the best")[0] for each in untold] == ["top-1: Nothing can be told"]
    unlike = sheet(table_of(TOP1, 0.5, 1.0), table_of(NOISE, 0.25, 1.0))
    untold = [each for each in unlike.remarks if "Nothing can be told" in each]
    assert [each.partition(":")[0] for each in untold] == ["top-1", "top-1 on noise"]
    alike = sheet(table_of(TOP1, 0.5, 1.0), table_of(NOISE, 0.5, 1.0))
    assert len([each for each in alike.remarks if each.startswith("Nothing can be told")]) == 1
    assert len([each for each in alike.notes if each.startswith("±")]) == 1
    two_of_three = sheet(table_of(TOP1, 0.5, 1.0), table_of(NOISE, 0.5, 1.0), table_of(NLL, 9.0, 1.0))
    untold = [each for each in two_of_three.remarks if "Nothing can be told" in each]
    assert [each.partition(":")[0] for each in untold] == ["top-1 and top-1 on noise"]


def test_over_how_many_seeds_is_named_where_metrics_differ() -> None:
    notes = sheet(table_of(TOP1, 5.0, 1.0), table_of(NOISE, 5.0, 1.0, n=4)).notes
    assert [each.partition(" is the")[0] for each in notes if "±" in each] == ["top-1: ±", "top-1 on noise: ±"]


@pytest.mark.parametrize("format", ["text", "markdown", "latex", "html"])
def test_every_format_names_the_metric(format: str) -> None:
    both = sheet(table_of(TOP1, 5.0, 1.0), table_of(NOISE, 0.25, 2.0))
    printed = " ".join(render_sheet(both, format, 1000 if format == "text" else None).split())
    assert "1.2 points (top-1), 2.4 points (top-1 on noise)" in printed
    assert "top-1 on noise: Nothing can be told from the best" in printed
