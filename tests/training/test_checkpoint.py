"""Runs taken up where they were: on the CPU they end with the same bits, from whatever step and stage."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from bench.backbones import Model
from bench.device import chunks, distributed, interrupt
from bench.launch import Job
from bench.launch.failures import failure_class
from bench.launch.worker import work
from bench.method import Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training import checkpoint
from bench.training.checkpoint import Checkpoint
from bench.training.fit import CHECKED
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import as_plain, curve_of

Trained = TypeVar("Trained")
CPU = torch.device("cpu")
USUAL = ("steps=12", "warmup=2", "evaluations=3", "batch_size=8")

PLUGIN = '''
"""Plain fine-tuning with something to notice."""

from dataclasses import dataclass

import torch

from bench.method import Method
from tests.scenes import as_plain


@dataclass(frozen=True)
class Mine(Method):
    """It is plain fine-tuning."""

    paper = "a test"
    per_image = True

    def loss(self, model, batch):
        {line}
        return {{"ce": batch.cross_entropy(model(batch.images))}}
'''


def planned(methods: str, *settings: str, plugins: tuple[Path, ...] = (), backbones: str = "micro_vit") -> RunSpec:
    overrides = Overrides(methods=methods, rates="15", seeds="1", backbones=backbones, settings=(*USUAL, *settings))
    (spec,) = read_plan("demo", Registry(plugins), overrides).unique.values()
    return spec


def plugin(folder: Path, line: str) -> tuple[Path]:
    path = folder / "mine.py"
    path.write_text(PLUGIN.format(line=line))
    return (path,)


def in_pieces(spec: RunSpec, keep: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> tuple[TrainedRun, int]:
    """The run, stopped after every so many steps and taken up again; how often it was."""
    usual, stops, made = Checkpoint.step, 0, 0

    def step(self: Checkpoint, *state: object) -> None:
        nonlocal made
        made += 1
        if made == steps:
            interrupt.request("a test")
        usual(self, *state)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoint, "step", step)
    while True:
        made = 0
        try:
            return run_trial(spec, Registry(), CPU, keep), stops
        except interrupt.Interrupted:
            interrupt.clear()
            stops += 1


@pytest.mark.slow
def test_what_each_of_several_processes_drops_is_the_runs_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as the first of two processes draws, whatever it trained earlier
    monkeypatch.setattr(distributed, "ranks", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    monkeypatch.setattr(checkpoint, "agreed", bool)
    monkeypatch.setattr(checkpoint, "together", lambda: None)
    spec = planned("ce", "drop_path=0.5")
    first, again = run_trial(spec, Registry(), CPU), run_trial(spec, Registry(), CPU)
    pieces, stops = in_pieces(spec, tmp_path, 5, monkeypatch)
    assert stops == 2
    for run in (again, pieces):
        assert [point.loss for point in run.record.curve] == [point.loss for point in first.record.curve]


def stopped_every(steps: int, trained: Callable[[Checkpoint], Trained], folder: Path) -> tuple[Trained, int]:
    """What a training ends with that breaks off after every so many steps and is taken up; how often it was."""

    class Stopped(Exception):
        pass

    class Stopping(Checkpoint):
        def step(self, stage: Stage, number: int, *state: Any) -> None:
            super().step(stage, number, *state)
            if number % steps == 0:
                raise Stopped

    stops = 0
    while True:
        try:
            return trained(Stopping(folder, "one", 0.0)), stops
        except Stopped:
            stops += 1


def stop_in_stage(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a stop asked for in the first step of a stage."""
    usual = Checkpoint.step

    def step(self: Checkpoint, *state: object) -> None:
        if self.number == number:
            interrupt.request("a test")
        usual(self, *state)  # type: ignore[arg-type]

    monkeypatch.setattr(Checkpoint, "step", step)


def same(left: TrainedRun, right: TrainedRun) -> None:
    assert curve_of(left.record) == curve_of(right.record)
    assert as_plain(left.record)["stages"] == as_plain(right.record)["stages"]
    assert left.predictions.keys() == right.predictions.keys()
    for name, predicted in left.predictions.items():
        assert np.array_equal(predicted, right.predictions[name])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "rifle", "coin", "bi_tuning", "wise_ft", "feature_distillation", "lacvit"])
def test_a_run_in_pieces_ends_with_the_bits_of_one_in_one_go(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = planned(method, "steps=8", "evaluations=2")
    whole = run_trial(spec, Registry(), CPU, tmp_path / "whole")
    for steps in (1, 3):
        pieces, stops = in_pieces(spec, tmp_path / str(steps), steps, monkeypatch)
        assert stops >= 8 // steps - (8 % steps == 0)
        taken, once = pieces.record.stages[0].shared, whole.record.stages[0].shared
        if taken and once:  # a student that was kept half-trained was not taken
            taken["taken"] = once["taken"]
        same(whole, pieces)
        assert as_plain(pieces.record)["taken_up"] == as_plain(pieces.record)["usage"]["parts"] - 1 > 0
    assert as_plain(whole.record)["taken_up"] == 0


@pytest.mark.slow
def test_drop_path_and_sgd_are_taken_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = planned("ce", "drop_path=0.3", "optimizer=sgd", "mixup=0.8", "erasing=0.5")
    whole = run_trial(spec, Registry(), CPU)
    pieces, stops = in_pieces(spec, tmp_path, 5, monkeypatch)
    assert stops == 2
    same(whole, pieces)


@pytest.mark.slow
def test_a_signal_is_answered_with_a_checkpoint_and_the_claim_is_given_back(tmp_path: Path) -> None:
    spec, job = planned("ce"), Job(tmp_path)
    interrupt.request("SIGUSR2")
    with pytest.raises(interrupt.Interrupted, match="SIGUSR2"):
        work(spec, job)
    assert list((tmp_path / "checkpoints" / spec.id).glob("current.pt"))
    assert not list((tmp_path / "claims").iterdir())
    assert not Store(tmp_path).finished()
    assert not Store(tmp_path).failures()
    interrupt.clear()
    assert work(spec, job)["status"] == "done"
    assert not (tmp_path / "checkpoints" / spec.id).exists()
    assert as_plain(Store(tmp_path).record(spec.id))["taken_up"] == 1
    assert work(spec, job)["status"] == "elsewhere"  # there is a record by now


def stopped(spec: RunSpec, keep: Path) -> Path:
    interrupt.request("a test")
    with pytest.raises(interrupt.Interrupted):
        run_trial(spec, Registry(), CPU, keep)
    interrupt.clear()
    return keep / "checkpoints" / spec.id / "current.pt"


@cache
def undisturbed(spec: RunSpec) -> Any:
    """What a run ends with that is never stopped."""
    return run_trial(spec, Registry(), CPU)


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "pickle", "other run"])
@pytest.mark.slow
def test_a_checkpoint_that_is_none_is_set_aside_and_the_run_begins_anew(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = planned("ce")
    path = stopped(spec, tmp_path)
    sound = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "half":
        path.write_bytes(sound[: len(sound) // 2])
    elif damage == "flipped":
        path.write_bytes(sound[:100] + bytes(byte ^ 255 for byte in sound[100:400]) + sound[400:])
    elif damage == "pickle":
        torch.save({"form": 1, "key": spec.id, "stage": Touch(tmp_path / "touched")}, path)
    else:
        path.write_bytes(stopped(planned("ce", "lr=0.5"), tmp_path / "other").read_bytes())
    outcome = run_trial(spec, Registry(), CPU, tmp_path)
    assert "the run begins anew" in capsys.readouterr().out
    assert as_plain(outcome.record)["taken_up"] == 0
    assert list(path.parent.glob("*.damaged.*"))
    assert not (tmp_path / "touched").exists()
    same(outcome, undisturbed(spec))


class Touch:
    """What a hostile file would have run when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_the_hostile_object_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Touch(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()


@pytest.mark.slow
def test_without_a_checkpoint_of_its_first_stage_a_run_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = planned("rifle")
    with monkeypatch.context() as patched:
        stop_in_stage(1, patched)
        with pytest.raises(interrupt.Interrupted):
            run_trial(spec, Registry(), CPU, tmp_path)
    interrupt.clear()
    ends = sorted((tmp_path / "checkpoints" / spec.id).glob("end-*.pt"))
    assert len(ends) == 1
    ends[0].unlink()
    outcome = run_trial(spec, Registry(), CPU, tmp_path)
    assert as_plain(outcome.record)["taken_up"] == 0
    same(outcome, run_trial(spec, Registry(), CPU))


BETWEEN = '''
"""Two stages, and between them a step in the model's modes and with weights beside it."""

from dataclasses import dataclass

import torch
from torch import nn

from bench.method import Method, Stage


@dataclass(frozen=True)
class Mine(Method):
    """The head, then all, from a start that the first stage decides."""

    paper = "a test"

    def stages(self, model, recipe, data):
        beside = nn.Linear(4, 4)
        yield Stage(model, self.loss, recipe.window(0, 0.5), train=(model.head, beside))
        modes = {name: module.training for name, module in model.named_modules()}
        assert not modes["backbone"] and modes["head"], "as the stage has left them"
        assert not next(model.backbone.parameters()).requires_grad
        yield Stage(model, self.loss, recipe.window(0.5, 1))

    def loss(self, model, batch):
        return {"ce": batch.cross_entropy(model(batch.images))}
'''


@pytest.mark.slow
def test_a_stage_that_is_brought_to_its_end_leaves_the_modes_that_training_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(BETWEEN)
    spec, registry = planned("mine", plugins=(file,)), Registry((file,))
    whole = run_trial(spec, registry, CPU)
    with monkeypatch.context() as patched:
        stop_in_stage(1, patched)
        with pytest.raises(interrupt.Interrupted):
            run_trial(spec, registry, CPU, tmp_path)
    interrupt.clear()
    again = run_trial(spec, registry, CPU, tmp_path)
    assert as_plain(again.record)["taken_up"] == 1
    same(whole, again)


# ---- what a run fails of


@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_computed_in_parts(tmp_path: Path) -> None:
    line = "if len(batch.labels) > 3: raise torch.OutOfMemoryError('CUDA out of memory')"
    spec = planned("mine", plugins=plugin(tmp_path, line))
    outcome = run_trial(spec, Registry((tmp_path / "mine.py",)), CPU)
    assert as_plain(outcome.record)["parts"] == 4
    plain = run_trial(planned("ce"), Registry(), CPU)
    for left, right in zip(as_plain(plain.record)["curve"], as_plain(outcome.record)["curve"], strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-4)


@pytest.mark.slow
def test_a_batch_of_a_contrast_that_does_not_fit_stays_whole_for_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model computes it in parts, for training and evaluation; the contrast set is the one that was asked for."""
    spec = planned("lacvit")
    plain, real = run_trial(spec, Registry(), CPU), Model.normalised

    def small(model: Model, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, images)

    monkeypatch.setattr(Model, "normalised", small)
    outcome = run_trial(spec, Registry(), CPU)
    assert (as_plain(plain.record)["parts"], as_plain(outcome.record)["parts"]) == (1, 8)
    for left, right in zip(as_plain(plain.record)["curve"], as_plain(outcome.record)["curve"], strict=True):
        assert right["loss"] == pytest.approx(left["loss"], rel=1e-4)


@pytest.mark.parametrize("method", ["ce", "scl", "stochnorm"])
@pytest.mark.slow
def test_batch_norms_with_batches_of_their_own_are_computed_in_parts_to_the_same_bits(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = planned(method, "norm_batch=2", "steps=4", backbones="micro_resnet")
    whole, real = run_trial(spec, Registry(), CPU), Model.forward

    def small(model: Model, *given: Any, **named: Any) -> Any:
        if model.training and chunks._COUNT.get() < 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, *given, **named)

    monkeypatch.setattr(Model, "forward", small)
    parts = run_trial(spec, Registry(), CPU)
    assert (as_plain(whole.record)["parts"], as_plain(parts.record)["parts"]) == (1, 4)
    same(whole, parts)


@pytest.mark.slow
def test_a_run_that_is_taken_up_stays_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = plugin(tmp_path, "if len(batch.labels) > 3: raise torch.OutOfMemoryError('CUDA out of memory')")
    spec, registry = planned("mine", plugins=(file,)), Registry((file,))
    interrupt.request("a test")
    with pytest.raises(interrupt.Interrupted):
        run_trial(spec, registry, CPU, tmp_path)
    interrupt.clear()
    monkeypatch.setattr("bench.training.trial.why_whole", lambda *told: "it would have to be divided again")
    outcome = run_trial(spec, registry, CPU, tmp_path)
    assert (as_plain(outcome.record)["parts"], as_plain(outcome.record)["taken_up"]) == (4, 1)


@pytest.mark.parametrize(
    ("line", "change", "backbones", "why"),
    [
        ("raise torch.OutOfMemoryError('no')", "per_image = False", "micro_vit", "a part is a single image already"),
        ("raise torch.OutOfMemoryError('no')", "per_image = True", "micro_vit", "a part is a single image already"),
        (
            "raise torch.OutOfMemoryError('no')",
            "per_image = True",
            "micro_resnet",
            "the backbone has batch norm; --set norm_batch=N gives its batch norms N images at a time",
        ),
        ("raise torch.OutOfMemoryError('no')", "norm_batch=4", "micro_resnet", "a part is norm_batch images already"),
    ],
)
@pytest.mark.slow
def test_a_batch_that_may_not_be_divided_fails_for_memory_and_says_why(
    line: str, change: str, backbones: str, why: str, tmp_path: Path
) -> None:
    (file,) = plugin(tmp_path, line)
    settings = [change] if change.startswith("norm_batch") else []
    if not settings:
        file.write_text(file.read_text().replace("per_image = True", change))
    spec = planned("mine", *settings, plugins=(file,), backbones=backbones)
    answer = work(spec, Job(tmp_path / "results", (file,)))
    assert answer["status"] == "failed"
    error = as_plain(Store(tmp_path / "results").failures()[spec.id])["error"]
    assert error["class"] == "oom"
    assert why in error["message"]


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_the_run_early_as_diverged(tmp_path: Path) -> None:
    line = "self.steps.append(1)\n        return {{'ce': batch.cross_entropy(model(batch.images)) * float('nan')}}"
    (file,) = plugin(tmp_path, line.format())
    file.write_text(file.read_text().replace("    per_image = True\n", "    per_image = True\n    steps = []\n"))
    spec = planned("mine", "steps=100000", "evaluations=1", plugins=(file,))
    answer = work(spec, Job(tmp_path / "results", (file,)))
    assert answer["status"] == "failed"
    failure = as_plain(Store(tmp_path / "results").failures()[spec.id])
    assert failure["error"]["class"] == "diverged"
    assert "nan" in failure["error"]["message"]
    assert CHECKED <= 100


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "oom"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom"),
        (OSError(28, "No space left on device"), "node"),
        (FileNotFoundError("image.jpg"), "data"),
        (KeyError("x"), "code"),
    ],
)
def test_failures_have_a_class(error: Exception, expected: str) -> None:
    assert failure_class(error) == expected
