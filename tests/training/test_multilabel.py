"""Runs of multi-label classification, of a dataset that a plug-in brings: trained, scored, taken up, present."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.device import interrupt
from bench.launch import Job
from bench.launch.worker import work
from bench.metrics.multilabel import MultiLabelPredictions, mean_average_precision
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.record import Record
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.checkpoint import Checkpoint
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import curve_of

CPU = torch.device("cpu")

CARD = """\
title: Spots
reader: spots
task: multilabel
classes: 3
official: {learn: 48, exam: 24}
use: {train: [learn], test: [exam]}
"""
READER = """\
from pathlib import Path

import numpy as np

from bench.data import FileImages
from bench.data.multilabel import MultiLabelSplit
from bench.data.official import Official

CLASSES = ("left", "middle", "right")


def read(card):
    lists = {}
    for name in card.lists:
        rows = [line.split() for line in Path(card.path, f"{name}.txt").read_text().splitlines()]
        present = np.array([[label in row for label in CLASSES] for row in rows], dtype=np.float16)
        images = FileImages(tuple(f"{card.path}/{row[0]}" for row in rows))
        lists[name] = MultiLabelSplit.unlabelled(images, present=present)
    return Official(CLASSES, lists)
"""
EXPERIMENT = """\
methods: {Fine-tune: ce, GTA: {gta: {weight: 0.1}}}
backbones: [micro_vit]
datasets: [spots]
rates: [50, 100]
seeds: 2
protocol: {steps: 4, batch_size: 8, lr: 2e-3, augmentation: shift, evaluations: 2}
baseline: ce
"""


@pytest.fixture
def spots(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images that are lit in any of three thirds, a plug-in that reads them, and an experiment."""
    monkeypatch.setenv("BENCH_DATA", str(here / "data"))
    texts = {"mine/datasets/spots.yaml": CARD, "mine/readers/spots.py": READER, "mine.yaml": EXPERIMENT}
    for path, text in texts.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(text, encoding="utf-8")
    folder, state = here / "data" / "spots", np.random.RandomState(0)
    folder.mkdir(parents=True)
    for name, count in (("learn", 48), ("exam", 24)):
        lines = []
        for number in range(count):
            lit = state.uniform(size=3) < 0.5
            pixels = state.randint(0, 60, (12, 12)) + 150 * lit.repeat(4)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}{number}.png")
            named = [label for label, on in zip(("left", "middle", "right"), lit, strict=True) if on]
            lines.append(" ".join([f"{name}{number}.png", *named]))
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return here


def registry() -> Registry:
    return Registry(["mine"])


def runs(**overrides: str) -> list[RunSpec]:
    return [*read_plan("mine.yaml", registry(), Overrides(**overrides)).unique.values()]  # type: ignore[arg-type]


def trained(spec: RunSpec) -> TrainedRun:
    return run_trial(spec, registry(), CPU)


def test_a_run_learns_to_name_what_images_show(spots: Path) -> None:
    (spec,) = runs(methods="ce", rates="100", seeds="1", settings=("steps=60",))  # type: ignore[arg-type]
    run = trained(spec)
    assert (run.record.task, run.record.score) == ("multilabel", "map")
    assert {*run.record.curve[-1].test} == {"map", "exact_match"}
    assert (run.record.curve[-1].test["map"] or 0) > 95
    logits, present = run.predictions["test_logits"], run.predictions["test_present"]
    assert (logits.shape, present.shape) == ((2, 24, 3), (24, 3))
    assert logits.dtype == np.float32
    for point, at in zip(run.record.curve, logits, strict=True):
        assert point.test["map"] == pytest.approx(mean_average_precision(MultiLabelPredictions(at, present)))


def test_a_rate_takes_its_share_and_a_smaller_one_is_part_of_a_larger(spots: Path) -> None:
    runs_of = {spec.rate: spec for spec in runs(methods="ce", seeds="1", settings=("steps=1",))}  # type: ignore[arg-type]
    half, whole = trained(runs_of[50]), trained(runs_of[100])
    assert (whole.record.validation_images, whole.record.test_images) == (4, 24)
    some, every = (set(run.predictions["training_indices"].tolist()) for run in (half, whole))
    assert (len(some), len(every)) == (22, 44)
    assert some < every


@pytest.mark.parametrize("method", ["ce", "gta", "l2sp"])
def test_a_run_in_pieces_ends_with_the_bits_of_one_in_one_go(
    method: str, spots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = runs(methods=method, rates="100", seeds="1", settings=("mixup=0.5",))  # type: ignore[arg-type]
    whole, usual = trained(spec), Checkpoint.step

    def stopping(self: Checkpoint, *state: object) -> None:
        interrupt.request("a test")
        usual(self, *state)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoint, "step", stopping)
    stops = 0
    while True:
        try:
            pieces = run_trial(spec, registry(), CPU, spots / "kept")
            break
        except interrupt.Interrupted:
            interrupt.clear()
            stops += 1
    assert stops >= 3
    assert curve_of(whole.record) == curve_of(pieces.record)
    for name, predicted in whole.predictions.items():
        assert predicted.tobytes() == pieces.predictions[name].tobytes()


def test_its_runs_are_tabled_tested_and_shown(spots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for spec in runs(rates="100"):
        answer = work(spec, Job(Path("results"), plugins=(spots / "mine",), keep="last"))
        assert answer["status"] == "done", answer
        record, _ = Store("results").record(spec.id)
        assert isinstance(record, Record)
        score = record.curve[-1].test["map"]
        assert answer["score"] == f"{score:.1f} %"
    typed = ("mine.yaml", "--plugin", "mine", "--rates", "100")
    assert main(["table", *typed]) == 0
    out = capsys.readouterr().out
    assert "mAP (%), dataset Spots, backbone micro_vit" in out
    assert "paired t-test" in out
    assert main(["runs", *typed, "--format", "json"]) == 0
    for row in json.loads(capsys.readouterr().out):
        assert 0 <= row["test.exact_match"] <= 100
        assert row["test.map"] > 0
    assert main(["show", spec.id]) == 0
    assert f"test mAP: {score:.2f} % after 4 steps" in capsys.readouterr().out
    assert main(["export", spec.id, "model.safetensors", "--plugin", "mine"]) == 0
    assert "after 4 steps: mAP " in capsys.readouterr().out
    assert f"- mAP on the test split: {score:.2f} %" in Path("model.md").read_text(encoding="utf-8")
    assert main(["predict", spec.id, "spots", "--plugin", "mine"]) == 2
    assert "its model is of multilabel" in capsys.readouterr().err
