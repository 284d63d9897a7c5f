"""Runs whose weights are not on this machine: planned and counted, told apart, and never trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import bench
from bench.cli import main
from bench.launch.status import State
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import Plan
from bench.records.standing import Standing
from bench.registry import Registry
from bench.tables.frame import run_rows
from tests.plan.test_paper import mini

CARD = "title: t\nmodel: vit_small_patch16_224\nconvert: dino\npublished: https://example.org/dino.pth\n"
ABSENT = (
    "the weights of dino_like are not here: 'bench show dino_like' says where they are published, "
    "'bench convert dino_like CHECKPOINT' puts them in place"
)
LACKING = (
    "lack weights that are not here: dino_like; 'bench show dino_like' says where they are published, "
    "'bench convert dino_like CHECKPOINT' puts them in place (docs/weights.md)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plug-in with a paper of one table, whose rows of GTA are of a backbone without its weights."""
    (tmp_path / "backbones").mkdir()
    for name in ("dino_like", "ibot_like"):
        (tmp_path / "backbones" / f"{name}.yaml").write_text(CARD, encoding="utf-8")
    mini(tmp_path, ("GTA: {method", "GTA: {backbone: dino_like, method"))
    return tmp_path


def planned(folder: Path, **overrides: str) -> Plan:
    return plan_paper("mini", Registry([folder]), Overrides(**overrides))  # type: ignore[arg-type]


def output(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> str:
    place = ["--plugin", str(folder), "--results", str(folder / "results")]
    assert main([*words, *place]) == 0
    return capsys.readouterr().out


def test_cells_have_runs_and_what_they_lack(folder: Path) -> None:
    plan = planned(folder)
    lacking = plan.tables[0].cells[1][0]
    assert (len(lacking.candidates), lacking.reason, lacking.lack) == (2, "", ABSENT)
    assert (len(plan.unique), len(plan.trainable), plan.lacks) == (20, 8, {"dino_like": (ABSENT, 12)})
    assert {spec.backbone.name for spec in plan.trainable.values()} == {"micro_vit"}
    assert plan.trainable.keys() < plan.unique.keys()


def test_runs_of_two_backbones_without_weights_are_not_one(folder: Path) -> None:
    """Alike in everything but what is not here."""
    registry = Registry([folder])
    one, two = (registry.backbone(name) for name in ("dino_like", "ibot_like"))
    assert one.means == two.means
    assert one.planned.means != two.planned.means
    assert one.planned.means != registry.backbone("dino_like@none").means
    assert registry.backbone("micro_vit").planned == registry.backbone("micro_vit").named


def test_weights_that_are_typed_are_no_lack(folder: Path) -> None:
    plan = planned(folder, backbones="dino_like@none")
    assert plan.lacks == {}
    assert {spec.backbone.name for spec in plan.trainable.values()} == {"dino_like@none"}


def test_a_plan_counts_all_and_says_what_is_lacking(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, folder, "plan", "mini")
    assert "  mini/table1           7 cells,    20 runs\n" in out
    assert f"20 different runs: 0 done, 0 failed, 20 to train\n  12 of 20 runs {LACKING}\n" in out
    assert "20 runs: not known" in out  # what they would cost is asked of all of them
    facts = json.loads(output(capsys, folder, "plan", "mini", "--format", "json"))
    assert facts["missing_weights"] == [{"backbone": "dino_like", "runs": 12, "reason": ABSENT}]
    assert facts["different"] == 20
    assert {(run["id"] is None, run["lack"]) for run in facts["runs"]} == {(True, ABSENT), (False, None)}
    assert len(facts["runs"]) == 20


def test_several_backbones_are_listed_with_how_many_runs_need_each(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mini(
        folder,
        ("GTA: {method", "GTA: {backbone: dino_like, method"),
        ("{method: ce}", "{backbone: ibot_like, method: ce}"),
    )
    told = "lack weights that are not here: ibot_like (8), dino_like (12); 'bench show NAME' says where"
    assert f"  20 of 20 runs {told}" in output(capsys, folder, "plan", "mini")


def test_status_and_rows_follow(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, folder, "status", "mini")
    assert out.startswith(f"mini: 20 runs: 0 done, 0 failed, 20 missing\n  12 of 20 runs {LACKING}\n")
    facts = json.loads(output(capsys, folder, "status", "mini", "--format", "json"))
    assert (facts["missing"], facts["lacking"], facts["lacking_weights"]) == (20, 12, {"dino_like": 12})
    rows = run_rows(planned(folder), bench.Store(folder / "results"))
    assert {(row["status"], row["backbone"], row["id"] is None) for row in rows} == {
        ("missing", "micro_vit", False),
        ("lacking", "dino_like", True),
    }


def test_runs_that_cannot_be_trained_are_not_waited_for() -> None:
    standings = {"a": Standing(step=1, of=2, seconds_left=10.0)}
    progress = State(runs=20, done=4, failed=(), damaged=(), seconds=80.0, running=1, standings=standings)
    assert progress.seconds_left == 10 + 15 * 20
    assert replace(progress, lacking=12).seconds_left == 10 + 3 * 20


def test_a_table_says_in_each_cell_what_is_lacking(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = output(capsys, folder, "table", "mini", "--source", "ours", "--width", "300")
    assert out.count("n/a [2]") == 3
    assert ABSENT in out


def test_nothing_is_trained_without_its_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--plugin", str(folder), "--results", str(folder / "results")]
    assert main(["run", "mini", "--methods", "GTA", *place]) == 2
    refused = capsys.readouterr().err
    assert refused.startswith("bench: dino_like: its weights are not shipped; write dino_like@FILE.safetensors ")
    assert not (folder / "results" / "runs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_the_others_are_trained_and_it_is_said_how_many_are_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--datasets", "digits", "--rates", "15", "--seeds", "1", "--set", "steps=1", "--set", "evaluations=1"]
    place = ["--plugin", str(folder), "--results", str(folder / "results")]
    assert main(["run", "mini", *words, *place, "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert f"bench: not trained: 2 of 3 runs {LACKING}\n" in err
    assert "mini: 3 runs: 3 to train" not in err
    assert "1 run was trained now, 1 of 3 are done" in out
    assert len([*(folder / "results" / "runs").iterdir()]) == 1
