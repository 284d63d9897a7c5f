"""Models kept beside their records are those that were scored, whatever methods do and however often runs die."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from msgspec import UNSET
from PIL import Image
from safetensors.torch import load_file

from bench.backbones import build_model
from bench.backbones.weights import save_tensors
from bench.cli import main
from bench.data import read_data
from bench.errors import InputError
from bench.launch import Job
from bench.launch.worker import work
from bench.metrics import METRICS, TOP1
from bench.models.kept import load_model, read_tensors
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.kept import Keep, ModelFacts, kept_models, read_facts, read_keep
from bench.records.record import Point
from bench.records.store import Store
from bench.records.unwritable import Unwritable
from bench.registry import Registry
from bench.training.checkpoint import Checkpoint
from bench.training.keeping import Keeping, halved
from bench.training.shelf import checksum_of
from bench.training.trackers import Observer, no_loss
from bench.training.trial import TrainedRun, _facts, run_trial
from tests.models.trained import CPU, confidences, planned, recorded, train

ODD = [
    ("ce", "micro_vit"),
    ("wise_ft", "micro_vit"),
    ("rifle", "micro_vit"),
    ("coin", "micro_vit"),
    ("feature_distillation", "micro_vit"),
    ("feature_distillation(unshare=no,share=0.5)", "micro_vit"),
    ("feature_distillation(then=linear,position=absolute)", "micro_vit"),
    ("stochnorm", "micro_resnet"),
    ("bi_tuning", "micro_vit"),
    ("linear", "micro_vit"),
    ("ce+ema", "micro_resnet"),
    ("swa", "micro_resnet"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backbone"), ODD)
def test_a_kept_model_is_the_one_that_was_scored(method: str, backbone: str, tmp_path: Path) -> None:
    spec = planned(method, backbones=backbone)
    record, folder = train(spec, tmp_path)
    told = recorded(folder)
    assert list(kept_models(folder)) == [point.step for point in record.curve]
    for place, point in enumerate(record.curve):
        predicted, confidence = confidences(folder, point.step, spec)
        assert np.array_equal(predicted, told["test"][place])
        assert np.array_equal(confidence, told["test_confidence"][place])


FALLING = ("steps=8", "evaluations=4", "lr=0.03", "warmup=0")
"""A rate that is too high, so that the best point is not the last one."""


def killed_at(last: int) -> Observer:
    """Is told of each step, and has the process killed at one of them."""

    class Killing(Observer):
        def step(self, step: int, of: int, images: int = 0, loss: Callable[[], float] = no_loss) -> None:
            if step == last:
                raise KeyboardInterrupt

    return Killing()


def contents(run: TrainedRun) -> dict[str, tuple[ModelFacts, int]]:
    """What each file says of itself, and a checksum of its tensors; the order of what it says is not fixed."""
    return {path.name: (read_facts(path), checksum_of(read_tensors(path))) for path in run.models}


@pytest.mark.slow
@pytest.mark.parametrize("points", ["last", "best-val", "all"])
def test_a_run_that_was_stopped_and_killed_keeps_what_it_would_have_kept(
    points: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, keep = planned("ce", *FALLING), Keep(points)
    whole = run_trial(spec, Registry(), CPU, tmp_path / "whole", models=keep)
    best_step, *_ = Keep("best-val").steps(whole.record.curve, TOP1)
    assert best_step < 8
    expected = {"last": [8], "best-val": [best_step], "all": [2, 4, 6, 8]}[points]
    assert list(contents(whole)) == [f"model-{step}.safetensors" for step in expected]
    for dies in (3, 5, 7, 8):  # once each, with the last checkpoint some steps and points before
        monkeypatch.setattr(Checkpoint, "__init__", every_third)
        with pytest.raises(KeyboardInterrupt):
            run_trial(spec, Registry(), CPU, tmp_path / "killed", models=keep, observer=killed_at(dies))
    monkeypatch.undo()
    pieces = run_trial(spec, Registry(), CPU, tmp_path / "killed", models=keep)
    assert pieces.record.taken_up
    assert contents(pieces) == contents(whole)


usual_checkpoint = Checkpoint.__init__


def every_third(self: Checkpoint, folder: Path, key: str, every: float) -> None:
    """A checkpoint that is written after every third call."""
    calls = iter(range(1, 100))
    usual_checkpoint(self, folder, key, every, due=lambda _: next(calls) % 3 == 0)


def test_a_model_that_was_beaten_is_removed_once_that_is_in_the_checkpoint(tmp_path: Path) -> None:
    spec = planned()
    model = build_model(Registry().backbone("micro_vit"), 10)
    facts = _facts(spec, model, read_data(Registry().dataset("digits")), 12, UNSET)
    keeping = Keeping(Keep("best-val"), tmp_path, facts, TOP1, model)
    curve = [
        Point(step=step, val={"top1": top1}, test={"top1": 0.0}) for step, top1 in ((2, 50.0), (4, 60.0), (6, 55.0))
    ]
    for measured in (curve[:1], curve[:2], curve):
        keeping.measured(model, measured, ended=False)
    assert list(kept_models(keeping.folder)) == [2, 4]
    keeping.forget_beaten(curve[:2])
    assert list(kept_models(keeping.folder)) == [4]
    assert [path.name for path in keeping.files(curve)] == ["model-4.safetensors"]


@pytest.mark.slow
def test_what_was_measured_before_anything_was_kept_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = planned("ce", "validation=0")
    with pytest.raises(KeyboardInterrupt):
        run_trial(spec, Registry(), CPU, tmp_path, checkpoint_every=0, observer=killed_at(4))
    run = run_trial(spec, Registry(), CPU, tmp_path, models=Keep("all"))
    assert list(contents(run)) == ["model-4.safetensors"]
    assert "no model is kept of step 2: the run was begun without --keep all" in capsys.readouterr().out


def test_only_the_first_of_the_processes_that_share_a_run_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.training.keeping.first_rank", lambda: False)
    assert run_trial(planned(), Registry(), CPU, tmp_path, models=Keep("all")).models == ()
    assert not list(tmp_path.rglob("model-*"))


class TestSmaller:
    @pytest.mark.slow
    def test_half_precision_takes_half_the_bytes(self, tmp_path: Path) -> None:
        spec = planned("ce", backbones="micro_resnet")
        _, whole = train(spec, tmp_path / "whole", "last")
        record, half = train(spec, tmp_path / "half", "last,half")
        sizes = [kept_models(folder)[4].stat().st_size for folder in (whole, half)]
        assert 0.4 < sizes[1] / sizes[0] < 0.7
        _, confidence = confidences(half, 4, spec)
        rounded = recorded(half)["test_confidence"][-1]
        assert not np.array_equal(confidence, rounded)
        assert np.allclose(confidence.astype(float), rounded, rtol=0.01)
        assert record.id == spec.id

    def test_what_half_precision_cannot_hold_stays(self) -> None:
        for tensor in (torch.tensor([1e6, 1.0]), torch.tensor([3]), torch.tensor([math.nan, 1e-3])):
            kept = halved(tensor)
            assert kept.dtype == (torch.half if tensor[0].isnan() else tensor.dtype)

    @pytest.mark.slow
    def test_a_linear_probe_keeps_its_head_alone(self, tmp_path: Path) -> None:
        spec = planned("linear")
        _, folder = train(spec, tmp_path, "last,changes")
        path = kept_models(folder)[4]
        assert sorted(load_file(path)) == ["head.bias", "head.weight"]
        predicted, confidence = confidences(folder, 4, spec)
        assert np.array_equal(predicted, recorded(folder)["test"][-1])
        assert np.array_equal(confidence, recorded(folder)["test_confidence"][-1])

    def test_another_source_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = planned("linear")
        _, folder = train(spec, tmp_path, "last,changes")
        path = kept_models(folder)[4]
        facts = read_facts(path)
        others = msgspec.structs.replace(facts, left_out=dict.fromkeys(facts.left_out, "0" * 16))
        with pytest.raises(InputError, match="the weights of that are others now"):
            load_model(path, others, Registry())


class TestWords:
    @pytest.mark.parametrize("text", ["none", "last", "best-val,half", "all,half,changes"])
    def test_are_read_as_they_are_written(self, text: str) -> None:
        assert str(read_keep(text, "keep")) == text

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("lst", "did you mean 'last'"),
            ("last,hal", "did you mean 'half'"),
            ("none,half", "keeps no model"),
            ("", "there are: all, best-val, last, none"),
        ],
    )
    def test_others_are_refused(self, text: str, problem: str) -> None:
        with pytest.raises(InputError, match=problem):
            read_keep(text, "--keep")

    def test_the_best_point_is_the_first_of_the_best_score_in_the_metrics_own_direction(self) -> None:
        curve = [
            Point(step=step, val={"top1": top1, "nll": nll}, test={"top1": 0.0})
            for step, top1, nll in ((2, 50.0, 1.0), (4, 60.0, 2.0), (6, 60.0, 0.5))
        ]
        assert Keep("best-val").steps(curve, TOP1) == [4]
        assert Keep("best-val").steps(curve, METRICS["nll"]) == [6]
        assert Keep("best-val").steps([Point(step=2, test={"top1": 0.0})], TOP1) == []


def test_who_may_read_a_model_is_for_the_umask_to_say(tmp_path: Path) -> None:
    usual = os.umask(0o027)
    try:
        save_tensors({"x": torch.zeros(2)}, tmp_path / "x.safetensors", {})
    finally:
        os.umask(usual)
    assert stat.S_IMODE((tmp_path / "x.safetensors").stat().st_mode) == 0o640


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    _, folder = train(planned(), tmp_path, "last")
    path = kept_models(folder)[4]
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged: its checksum"):
        load_model(path, read_facts(path), Registry())
    path.write_bytes(content[:1000])
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        read_facts(path)


@pytest.mark.slow
def test_a_run_that_fails_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("not this time")

    monkeypatch.setattr(Store, "publish", refuse)
    answer = work(planned(), Job(tmp_path, keep="all"))
    assert answer["status"] == "failed"
    assert not list(tmp_path.rglob("model-*"))


class TestCommands:
    """``keep:`` of an experiment, and ``--keep``."""

    EXPERIMENT = """
    methods: [ce, linear]
    backbones: [micro_vit]
    datasets: [digits]
    rates: [15]
    seeds: 2
    protocol: {steps: 4, evaluations: 2}
    keep: KEEP
    """

    def write(self, keep: str) -> None:
        Path("mine.yaml").write_text(textwrap.dedent(self.EXPERIMENT).replace("KEEP", keep), encoding="utf-8")

    def test_a_plan_tells_the_disk(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.write("last")
        assert main(["plan", "mine.yaml"]) == 0
        assert "trained models (--keep last): 4 files, 1.3 MB on disk" in capsys.readouterr().out
        assert main(["plan", "mine.yaml", "--keep", "all,half", "--format", "json"]) == 0
        told = json.loads(capsys.readouterr().out)["models"]
        assert (told["keep"], told["files"]) == ("all,half", 8)
        assert told["bytes"] == pytest.approx(8 * (2 * 78_490 + 8_000), rel=0.01)

    def test_without_it_nothing_is_told(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.write("none")
        assert main(["plan", "mine.yaml"]) == 0
        assert "trained models" not in capsys.readouterr().out

    def test_ids_do_not_know_of_it(self, here: Path) -> None:
        ids = []
        for keep in ("none", "all,half"):
            self.write(keep)
            ids.append(list(read_plan("mine.yaml", Registry(), Overrides()).unique))
        assert ids[0] == ids[1]

    def test_a_wrong_word_is_told_with_its_line(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.write("lst")
        assert main(["plan", "mine.yaml"]) == 2
        assert "mine.yaml:8: no choice of models to keep is called 'lst'" in capsys.readouterr().err

    def test_the_best_point_needs_a_validation_split(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for folder in ("train/a", "train/b", "test/a", "test/b"):
            (here / "photos" / folder).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(here / "photos" / folder / "1.png")
        self.write("best-val")
        typed = ["run", "mine.yaml", "--datasets", "folder:photos", "--rates", "100", "--set", "validation=0"]
        assert main(typed) == 2
        assert "has no validation split" in capsys.readouterr().err

    @pytest.mark.slow
    def test_runs_that_are_done_without_are_told(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.write("none")
        specs = list(read_plan("mine.yaml", Registry(), Overrides()).unique.values())
        point = {"step": 4, "learning_rate": 0.0, "loss": {}, "val": None, "test": {"top1": 50.0}}
        store = Store("results")
        for number, spec in enumerate(specs):
            with store.draft() as draft:
                if number == 0:
                    (draft / "model-4.safetensors").write_bytes(b"weights")
                store.publish(draft, spec, {"status": "done", "curve": [point], "timing": {"seconds": 1.0}})
        assert main(["run", "mine.yaml", "--keep", "last"]) == 0
        said = capsys.readouterr().err
        assert (
            f"3 finished runs have no model of --keep last, as training began without it; 'bench export {specs[1].id}"
            in said
        )
        assert main(["run", "mine.yaml"]) == 0
        assert "no model" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bench.training.keeping.save_tensors", full)
    with pytest.raises(Unwritable, match="make room"):
        work(planned(), Job(tmp_path, keep="last"))
    assert not Store(tmp_path).failures()


def test_show_names_the_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, _ = train(planned(), tmp_path)
    assert main(["show", record.id, "--results", str(tmp_path)]) == 0
    assert "trained models: after 2, 4 steps" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_processes_that_share_a_run_keep_one_model(tmp_path: Path) -> None:
    spec = planned()
    assert work(spec, Job(tmp_path, keep="last", ranks=2))["status"] == "done"
    folder = Store(tmp_path).record(spec.id).folder
    predicted, _ = confidences(folder, 4, spec)
    assert np.array_equal(predicted, recorded(folder)["test"][-1])
