"""Selection rules side by side: the same curves, other points, and the inflation between them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bench.cli import main
from bench.records.store import Store
from bench.sheets import Shown
from bench.tables.selections import INFLATION, selection_sheet
from tests.test_cli import demo, publish


def test_columns_repeat_for_each_rule_with_the_inflation_behind_them() -> None:
    scores: dict[str, list[list[tuple[float, ...]]]] = {
        "last": [[(80.0, 82.0)], [()]],
        "best-test": [[(84.0, 85.0)], [()]],
    }
    sheet = selection_sheet("x", "t", ("method",), [("a",), ("b",)], [("15 %",)], scores)
    assert sheet.columns == (("15 %", "last"), ("15 %", "best-test"), ("15 %", INFLATION))
    assert sheet.cells[0] == (Shown("81.00", "1.41"), Shown("84.50", "0.71"), Shown("+3.50"))
    assert [cell.value for cell in sheet.cells[1]] == ["–", "–", ""]


def test_without_the_oracle_or_with_it_alone_there_is_no_inflation() -> None:
    for rules in (("last", "best-val"), ("best-test",)):
        same: dict[str, list[list[tuple[float, ...]]]] = {rule: [[(1.0,)]] for rule in rules}
        sheet = selection_sheet("x", "t", ("m",), [("a",)], [("c",)], same)
        assert [column[-1] for column in sheet.columns] == list(rules)


def test_the_command_shows_rules_of_the_same_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for planned in demo().runs:
        publish(Store("results"), planned.spec)
    assert main(["table", "demo", "--selection", "best-val,best-test", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    kinds = {row["column"].split(" / ")[-1] for row in rows}
    assert kinds == {"best-val", "best-test", INFLATION}
    gaps = [float(row["value"].replace("−", "-").lstrip("'")) for row in rows if row["column"].endswith(INFLATION)]
    assert len(gaps) == 24
    assert min(gaps) >= 0  # no rule can beat the one that looks at the test split


def test_an_unknown_rule_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "demo", "--selection", "last,worst"]) == 2
    assert "no rule is called 'worst'" in capsys.readouterr().err
