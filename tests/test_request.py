"""What a command line asks is one request, from which the next command's words are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.commands.request import Request
from bench.plan.overrides import Overrides
from bench.registry import Registry
from tests.tables.small import PROTOCOL, TABLE


def command(**typed: Any) -> str:
    return Request(("demo",), Overrides(**typed), Registry(), Path("results")).command("run")


def test_the_next_command_has_what_was_typed() -> None:
    typed = {"methods": "ce,gta", "rates": "15", "selection": "best-val", "metric": "nll", "test": "paired"}
    assert command(**typed) == (
        "bench run demo --methods ce,gta --rates 15 --selection best-val --test paired --metric nll"
    )


def test_what_only_tables_show_side_by_side_is_left_out_of_it() -> None:
    assert command(metric="top1,seconds", selection="last,best-val", seeds="5") == "bench run demo --seeds 5"


@pytest.mark.parametrize("metric", ["seconds", "trainable"])
def test_a_cost_has_no_split(
    metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table", "demo", "--metric", metric, "--split", "val"]) == 0
    assert "validation" not in capsys.readouterr().out
    assert main(["table", "demo", "--metric", "nll", "--split", "val"]) == 0
    assert "validation negative log-likelihood" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["table", "--metric", "top1,nll", "--candidates"], "--candidates: they are those of one rule and one metric"),
        (["table", "--selection", "last,best-val", "--mark", "means"], "--mark: selection rules side by side have no"),
        (["runs", "--output", "r.json", "--format", "csv"], "--output r.json: a .json file does not hold --format csv"),
        (["runs", "--format", "parquet"], "--format parquet: it is no text"),
    ],
)
def test_what_does_not_go_together_is_refused(
    typed: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command, *options = typed
    assert main([command, "demo", *options]) == 2
    assert capsys.readouterr().err.startswith(f"bench: {said}")
    assert list(tmp_path.iterdir()) == []


def test_the_ending_of_a_file_chooses_the_format_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "demo", "--output", "rows.json"]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))
    assert len(rows) == 72
    assert {(row["row"], row["candidate"]) for row in rows if row["method"] == "gta"} == {("GTA", None)}


def test_the_caption_of_several_metrics_says_by_which_points_are_picked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table", "demo", "--metric", "nll,top1", "--width", "200"]) == 0
    printed = capsys.readouterr().out
    assert "points of curves and candidates of sweeps are picked by negative log-likelihood." in printed
    assert "The comparisons of each metric are corrected by themselves." in printed


def test_candidates_of_a_sweep_without_runs_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table", "coin/table6", "--candidates", "--format", "csv"]) == 0
    assert "no run has finished" in capsys.readouterr().out


def test_notes_of_a_protocol_may_be_one_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "paper_tables" / "mini"
    place.mkdir(parents=True)
    (place / "table1.yaml").write_text(TABLE, encoding="utf-8")
    (place / "protocol.yaml").write_text(f"{PROTOCOL}notes: one text\n", encoding="utf-8")
    assert main(["show", "mini", "--plugin", str(tmp_path)]) == 0
    assert "  notes:\n    - one text\n" in capsys.readouterr().out
