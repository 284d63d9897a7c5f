"""Several targets in one command: papers, tables and experiments are one plan, and what they share is trained once."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plan, read_plans
from bench.registry import Registry
from tests.plan.test_paper import Supplied, mini

PLAIN = """\
title: Digits alone
methods: {Fine-tune: ce}
backbones: micro_vit
datasets: digits
rates: [15, 100]
seeds: 2
protocol: {steps: 40, lr: 2e-3, batch_size: 32}
"""
"""Two of its cells are those of the small paper."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plug-in with a small paper and two experiments."""
    mini(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "plain.yaml").write_text(PLAIN, encoding="utf-8")
    (tmp_path / "experiments" / "kept.yaml").write_text(f"{PLAIN}keep: last\n", encoding="utf-8")
    return tmp_path


def output(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    assert main([*words, "--plugin", str(folder), "--results", str(folder / "results")]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    assert main([*words, "--plugin", str(folder), "--results", str(folder / "results")]) == 2
    return capsys.readouterr().err


def ids(*targets: str, **overrides: str) -> set[str]:
    return {*planned(*targets, **overrides).unique}


def planned(*targets: str, **overrides: str) -> Plan:
    return read_plans(targets, Supplied(), Overrides(**overrides))  # type: ignore[arg-type]


# ---- the plan


@pytest.mark.slow
def test_runs_that_are_shared_count_once() -> None:
    both = planned("gta", "coin")
    assert {*both.unique} == ids("gta") | ids("coin")
    assert [part.name for part in both.parts] == ["gta", "coin"]
    assert both.tables == planned("gta").tables + planned("coin").tables
    tables = planned("gta/table2", "gta/table3")
    assert len(tables.unique) < sum(len(part.unique) for part in tables.parts)
    assert {*tables.unique} == ids("gta/table2") | ids("gta/table3")


@pytest.mark.slow
def test_a_target_that_is_named_twice_counts_once() -> None:
    assert planned("gta", "gta").parts == ()
    assert planned("gta", "gta") == read_plan("gta", Supplied())
    within = planned("gta/table2", "gta")
    assert sorted(table.name for table in within.tables) == sorted(table.name for table in planned("gta").tables)
    assert within.needed == planned("gta").needed


@pytest.mark.slow
def test_what_is_asked_for_may_be_in_one_of_the_papers() -> None:
    assert ids("gta", "lacvit", datasets="cifar100") == ids("lacvit", datasets="cifar100")
    both = ids("gta", "lacvit", datasets="cub200")
    assert both == ids("gta", datasets="cub200") | ids("lacvit", datasets="cub200")
    with pytest.raises(InputError, match="--datasets: no dataset of gta lacvit is called 'digits'"):
        planned("gta", "lacvit", datasets="digits")
    with pytest.raises(InputError, match="gta lacvit: nothing is left to run"):
        planned("gta", "lacvit", datasets="cifar100", methods="gta")


def test_a_paper_and_an_experiment_go_together(folder: Path) -> None:
    registry = Registry([folder])
    both = read_plans(["mini", "plain"], registry)
    alone = [read_plan(target, registry) for target in ("mini", "plain")]
    assert both.unique == alone[0].unique | alone[1].unique
    assert len(both.unique) == 20  # all runs of the experiment are the paper's too
    changed = read_plans(["mini", "plain"], registry, Overrides(seeds="1", settings=("steps=3",)))
    assert {spec.protocol.recipe.steps for spec in changed.unique.values()} == {3}
    for axis, typed in (("methods", "ce"), ("backbones", "micro_vit"), ("datasets", "digits"), ("rates", "15")):
        with pytest.raises(InputError, match=rf"--{axis}: it keeps cells of a paper \(mini\) and replaces what an exp"):
            read_plans(["mini", "plain"], registry, Overrides(**{axis: typed}))  # type: ignore[arg-type]


def test_a_target_that_is_none_is_told_beside_ones_that_are(folder: Path) -> None:
    with pytest.raises(InputError, match="no experiment, paper or table is called 'plan'; did you mean 'plain'"):
        read_plans(["mini", "plan"], Registry([folder]))


def test_two_experiments_of_one_name_are_refused(folder: Path) -> None:
    """Their tables would be called alike, and one would be lost."""
    (folder / "more").mkdir()
    (folder / "more" / "plain.yaml").write_text(PLAIN, encoding="utf-8")
    paths = [f"{folder}/experiments/plain.yaml", f"{folder}/more/plain.yaml"]
    with pytest.raises(InputError, match=r"plain\.yaml are both called 'plain'; rename one of the files"):
        read_plans(paths, Registry())


# ---- the commands


def test_a_plan_has_a_section_for_each_and_one_total(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, folder, "plan", "mini", "plain")
    paper, experiment, total = (
        out.index("mini: 1 table\n"),
        out.index("plain: Digits alone\n"),
        out.index("together:\n"),
    )
    assert paper < experiment < total
    counts = [line for line in out.splitlines() if "different run" in line]
    assert counts == [
        "20 different runs: 0 done, 0 failed, 20 to train",
        "4 different runs: 0 done, 0 failed, 4 to train",
        "20 different runs (4 more are shared): 0 done, 0 failed, 20 to train",
    ]
    assert out.count("20 runs: not known") == 1  # what they cost is said of all together
    facts = json.loads(output(capsys, folder, "plan", "mini", "plain", "--format", "json"))
    assert (facts["target"], facts["different"], facts["needed"]) == ("mini plain", 20, 24)
    assert [(part["target"], part["different"]) for part in facts["parts"]] == [("mini", 20), ("plain", 4)]


def test_status_has_a_line_for_each_and_one_total(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, folder, "status", "mini", "plain").splitlines()
    assert lines[:3] == [
        "mini: 20 runs: 0 done, 0 failed, 20 missing",
        "plain: 4 runs: 0 done, 0 failed, 4 missing",
        "together: 20 runs: 0 done, 0 failed, 20 missing",
    ]
    facts = json.loads(output(capsys, folder, "status", "mini", "plain", "--format", "json"))
    assert [part["runs"] for part in (facts, *facts["parts"])] == [20, 20, 4]


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_they_are_trained_together_and_shown_one_after_the_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--seeds", "1", "--set", "steps=1", "--set", "evaluations=1", "--set", "batch_size=8")
    (folder / "experiments" / "other.yaml").write_text(PLAIN.replace("[15, 100]", "[15]"), encoding="utf-8")
    out = output(capsys, folder, "run", "plain", "other", *small, "--jobs", "1")
    assert "2 runs were trained now, 2 of 2 are done" in out
    assert out.count("Digits alone") == 2
    assert "bench table plain other " in out  # what to type next is about the same
    assert output(capsys, folder, "table", "plain", "other", *small).count("Digits alone") == 2
    assert (
        output(capsys, folder, "status", "plain", "other", *small).splitlines()[0]
        == "plain: 2 runs: 2 done, 0 failed, 0 missing"
    )
    rows = list(csv.DictReader(io.StringIO(output(capsys, folder, "runs", "plain", "other", *small))))
    assert [(row["table"], row["status"]) for row in rows] == [("plain", "done")] * 2
    retried = output(capsys, folder, "retry", "plain", "other", "--class", "oom", *small)
    assert retried == "plain other: no run failed of oom (nothing failed)\n"
    assert (
        output(capsys, folder, "cancel", "plain", "other")
        == f"{folder}/results: this user has submitted nothing from there\n"
    )


def test_published_and_own_tables_are_shown_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, folder, "table", "mini", "plain")
    assert "MINI, Table 1: a small one" in out
    assert "Digits alone" in out
    assert "one table at a time: mini/TABLE" in refused(capsys, folder, "table", "mini", "plain", "--format", "json")
    told = refused(capsys, folder, "table", "plain", "mini/table1", "--format", "json")
    assert told.endswith("one table at a time: plain\n")


def test_models_that_only_one_target_keeps_are_asked_about(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(capsys, folder, "run", "plain", "kept", "--jobs", "1")
    assert told == "bench: plain kept: they do not keep the same models (plain none, kept last); say it with --keep\n"
    assert "kept models" not in output(capsys, folder, "status", "plain", "kept")
    assert "--keep last" in output(capsys, folder, "plan", "plain", "kept", "--keep", "last")


@pytest.mark.parametrize("command", ["figure", "items", "power"])
def test_what_is_about_one_target_takes_one(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "mini", "plain", "--plugin", str(folder)])
    assert "unrecognized arguments: plain" in capsys.readouterr().err
