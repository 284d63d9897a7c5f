"""What a command line asks is one request, from which the next command's words are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from bench.commands.request import Request
from bench.plan.overrides import Overrides
from bench.registry import Registry


def command(**typed: str) -> str:
    return Request("demo", Overrides(**typed), Registry(), Path("results")).command("run")


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


def test_candidates_of_a_sweep_without_runs_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["table", "coin/table6", "--candidates", "--format", "csv"]) == 0
    assert "no run has finished" in capsys.readouterr().out
