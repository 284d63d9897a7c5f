"""What is chosen of a dataset after its ``@``, from the command line to a finished record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.cli import main
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from tests.scenes import runs_with_axes

CARD = """
title: Shades
reader: imagenet
task: classification
classes: 2
official: {train: 24, val: 8, test: 8}
use: {train: [train, val], test: [test]}
variants:
  train: {use: {train: [train], val: [val], test: [test]}}
expects: [train, val, test]
"""


@pytest.fixture
def shades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin with a dataset of dark and light images."""
    drawn = np.random.RandomState(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for name, low in (("dark", 0), ("light", 160)):
            place = tmp_path / "data" / "shades" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = drawn.randint(low, low + 90, (12, 12, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{split}{number}.png")
    (tmp_path / "plugin" / "datasets").mkdir(parents=True)
    (tmp_path / "plugin" / "datasets" / "shades.yaml").write_text(CARD)
    lines = [f"{name}/train{number}.png" for name in ("dark", "light") for number in (3, 7)]
    (tmp_path / "four.txt").write_text("\n".join(lines))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(datasets: str) -> Plan:
    overrides = Overrides(methods="ce", datasets=datasets, rates="50", seeds="1")
    return read_plan("demo", Registry(["plugin"]), overrides)


def test_variants_and_lists_are_runs_of_their_own(shades: Path) -> None:
    plan = planned("shades,shades@train,shades@four.txt,shades@train@four.txt")
    assert len(plan.unique) == 4
    assert [axes["dataset"] for _, axes in runs_with_axes(plan)] == [
        "Shades",
        "Shades (train)",
        "Shades (four.txt)",
        "Shades (train) (four.txt)",
    ]
    assert [spec.dataset.name for spec in plan.unique.values()] == [
        "shades",
        "shades@train",
        f"shades@{shades}/four.txt",
        f"shades@train@{shades}/four.txt",
    ]


def test_another_list_under_the_same_name_is_another_run(shades: Path) -> None:
    (before,) = planned("shades@four.txt").unique
    (shades / "four.txt").write_text("dark/train1.png\nlight/train1.png\n")
    (after,) = planned("shades@four.txt").unique
    assert before != after


def test_what_cannot_be_chosen_is_told_when_it_is_planned(shades: Path) -> None:
    with pytest.raises(InputError, match=r"--datasets: shades: no variant is called 'trian'; did you mean 'train'"):
        planned("shades@trian")


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("chosen", "settings", "images", "of", "validated"),
    [
        ("shades@train", (), 12, 24, 8),
        ("shades@four.txt", ("--set", "validation=0"), 2, 4, 0),
        ("shades@train@four.txt", (), 2, 4, 8),
    ],
)
def test_a_run_is_trained_on_what_was_chosen(
    shades: Path, chosen: str, settings: tuple[str, ...], images: int, of: int, validated: int
) -> None:
    axes = ["--methods", "ce", "--datasets", chosen, "--rates", "50", "--seeds", "1", "--plugin", "plugin"]
    short = ["--set", "steps=6", "--set", "warmup=1", "--set", "evaluations=1", "--jobs", "1"]
    assert main(["run", "demo", *axes, *short, *settings]) == 0
    (record,) = Store("results").root.glob("runs/*/record.json")
    told = json.loads(record.read_text())
    assert told["status"] == "done"
    assert (told["subset"]["images"], told["subset"]["of"]) == (images, of)
    assert (told["validation_images"], told["test_images"]) == (validated, 8)


def test_show_of_what_is_chosen(shades: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "shades@train", "--plugin", "plugin"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("dataset shades@train: Shades (train)\n")
    assert "splits: train 24, val 8, test 8" in out


def test_check_of_what_is_chosen(shades: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "shades@train@four.txt", "--plugin", "plugin"]) == 0
    assert "2 classes, train 4, val 8, test 8 images" in capsys.readouterr().out
