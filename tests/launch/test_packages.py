"""Runs whose method needs a package that is not installed wait; the others are trained."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from bench.cli import main
from bench.launch.packages import apart
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.spec import RunSpec

REGISTRY = Registry()
WORDS = "peft needs peft: pip install 'finetune-bench[peft]'"
TYPED = ["--rates", "100", "--seeds", "1", "--set", "steps=2", "--set", "warmup=0", "--set", "validation=0"]


@pytest.fixture
def no_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else usual(name))


def runs(methods: str) -> list[RunSpec]:
    return list(read_plan("demo", REGISTRY, Overrides(methods=methods, rates="15", seeds="2")).unique.values())


@pytest.mark.usefixtures("no_peft")
def test_what_lacks_a_package_is_set_apart_also_behind_a_policy() -> None:
    ready, waits = apart(runs("ce,peft,peft(rank=4)+ema,ssf"), REGISTRY)
    assert [spec.method.name for spec in ready] == ["ce", "ce", "ssf", "ssf"]
    assert waits == {WORDS: 4}


def test_with_it_nothing_waits() -> None:
    ready, waits = apart(runs("ce,peft"), REGISTRY)
    assert len(ready) == 4
    assert not waits


@pytest.mark.slow
@pytest.mark.usefixtures("no_peft", "warm")
def test_the_rest_of_a_grid_is_trained_and_the_line_says_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "digits", "--methods", "ce,peft", *TYPED, "--results", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert f"1 run cannot be trained here: {WORDS}" in captured.err
    assert "1 run was trained now, 1 of 2 are done" in captured.out


@pytest.mark.usefixtures("no_peft")
def test_a_plan_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "digits", "--methods", "ce,peft", *TYPED, "--results", str(tmp_path)]) == 0
    assert f"1 run cannot be trained here: {WORDS}\n" in capsys.readouterr().out


@pytest.mark.usefixtures("no_peft")
def test_where_nothing_else_is_to_be_had_the_launch_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "digits", "--methods", "peft", *TYPED, "--results", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err == f"bench: {WORDS}\n"
    assert not (tmp_path / "r").exists()
