"""Selection rules side by side: the same curves, other points, and the inflation between them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bench.cli import main
from bench.records.store import Store
from bench.sheets.sheet import Shown
from bench.sheets.view import INFLATION, by_rule
from bench.tables.compare import Table
from tests.tables.laid import Layout, Measured, laid
from tests.test_cli import demo, publish


def tables(**values: tuple[float, ...]) -> dict[str, Table]:
    layout = Layout("t", ("method",), ("rate",))
    axes = {"rate": "15 %"}
    return {
        rule.replace("_", "-"): laid(
            [Measured({**axes, "method": "a"}, scores, 2), Measured({**axes, "method": "b"}, (), 2)], layout
        )
        for rule, scores in values.items()
    }


def test_columns_repeat_for_each_rule_with_the_inflation_behind_them() -> None:
    sheet = by_rule(tables(last=(80.0, 82.0), best_test=(84.0, 85.0)))
    assert sheet.columns == (("last",), ("best-test",), (INFLATION,))
    assert sheet.cells[0] == (Shown("81.00", "1.41"), Shown("84.50", "0.71"), Shown("+3.50"))
    assert [cell.value for cell in sheet.cells[1]] == ["–", "–", ""]


def test_without_the_oracle_or_with_it_alone_there_is_no_inflation() -> None:
    for rules in (("last", "best_val"), ("best_test",)):
        sheet = by_rule(tables(**dict.fromkeys(rules, (1.0, 2.0))))
        assert [column[-1] for column in sheet.columns] == [rule.replace("_", "-") for rule in rules]


def test_the_command_shows_rules_of_the_same_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for spec in demo().unique.values():
        publish(Store("results"), spec)
    assert main(["table", "demo", "--selection", "best-val,best-test", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    kinds = {row["column"].split(" / ")[-1] for row in rows}
    assert kinds == {"best-val", "best-test", INFLATION}
    gaps = [float(row["mean"]) for row in rows if row["column"].endswith(INFLATION)]
    assert len(gaps) == 24
    assert min(gaps) >= 0  # no rule can beat the one that looks at the test split


def test_an_unknown_rule_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "demo", "--selection", "last,worst"]) == 2
    assert "no selection is called 'worst'" in capsys.readouterr().err
