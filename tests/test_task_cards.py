"""What ``bench list tasks`` and ``bench show TASK`` say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main
from bench.registry import Registry
from bench.task import tasks


def output(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


def facts(capsys: pytest.CaptureFixture[str], name: str, *words: str) -> dict[str, Any]:
    cards = json.loads(output(capsys, "show", name, "--format", "json", *words))
    (card,) = [card for card in cards if card["kind"] == "task"]
    return dict(card)


def test_the_list_has_a_line_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row["about"] for row in json.loads(output(capsys, "list", "tasks", "--format", "json"))}
    assert [*rows] == [*tasks()]
    assert {"classification", "segmentation"} <= {*rows}
    card, count = facts(capsys, "segmentation"), len(Registry().method_files)
    assert rows["segmentation"] == (
        "which class each pixel of an image is of; mIoU (%), mean accuracy (%), pixel accuracy (%); "
        f"{len(card['datasets'])} datasets; {len(card['methods'])} of {count} methods"
    )


def test_a_task_tells_what_is_for_it_and_why_the_rest_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    card = facts(capsys, "segmentation")
    assert [*card["metrics"]] == ["miou", "mean_accuracy", "pixel_accuracy"]
    assert card["augmentations"] == ["none", "scale_crop_flip", "mmseg"]
    assert card["settings"] == ["inference", "decoder", "auxiliary"]
    assert {"ade20k", "voc2012"} <= {*card["datasets"]}
    assert sorted([*card["methods"], *card["not_for_it"]]) == sorted(Registry().method_files)
    assert set(card["not_with"]) == {"linear", "feature_distillation"}
    text = output(capsys, "show", "segmentation")
    assert "    linear with batch_norm: methods/linear.py:" in text
    assert "    scl: methods/scl.py:" in text


def test_of_images_with_a_label_nothing_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    card = facts(capsys, "classification")
    assert card["methods"] == [*Registry().method_files]
    assert card["not_for_it"] == card["not_with"] == {}


@pytest.mark.parametrize(
    ("name", "told"), [("gta", "classification, multilabel, segmentation"), ("scl", "classification")]
)
def test_a_method_tells_its_tasks(name: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"\n  tasks: {told}\n" in output(capsys, "show", name)


def test_a_method_of_a_plug_in_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Registry().method_files["ce"]).read_text(encoding="utf-8")
    said = text.replace("    per_image = True", '    per_image = True\n    tasks = {"classification"}')
    (tmp_path / "mine.py").write_text(said, encoding="utf-8")
    card = facts(capsys, "segmentation", "--plugin", str(tmp_path / "mine.py"))
    assert card["not_for_it"]["mine"] == "mine says that it is for classification, not for segmentation"


def test_a_task_that_is_not_there_is_answered_with_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "segmentatoin"]) == 2
    assert "did you mean 'segmentation'?" in capsys.readouterr().err
