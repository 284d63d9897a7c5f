"""Stages that runs share: trained once, stored once, taken by every run whose stage would be the same."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.launch import Job, LocalExecutor, run
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.lease import claimed
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.shelf import Shelf
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import as_plain, curve_of

USUAL = ("steps=8", "warmup=2", "evaluations=4", "batch_size=8")

METHOD = '''
"""Pre-train the backbone once on which quarter turn an image has, then fine-tune it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from bench.method import Method, Shared, Stage, hyper, replace, seeded
from tests.scenes import as_plain


@dataclass(frozen=True)
class Turned(Method):
    """Quarter turns first."""

    paper = "a test"

    share: float = hyper(0.5, low=0, high=1, source="a test")
    tuned: bool = hyper(True, source="a test")
    extra: bool = hyper(False, source="a test")
    noise: float = hyper(0.0, source="a test")

    def stages(self, model, recipe, data):
        with seeded(7):
            guess = nn.Linear(model.dim, 4)

        def turns(model, batch):
            turn = torch.randint(4, (1,)).item()
            seen = torch.rot90(batch.images, turn, (2, 3)) + self.noise * torch.randn_like(batch.images)
            target = torch.full((len(seen),), turn)
            return {"turn": F.cross_entropy(guess(model(seen).features), target)}

        yield Stage(model, turns, recipe.share(self.share), train=(model.backbone, guess),
                    shared=Shared({"noise": self.noise}, seed=3, extra=self.extra))
        train = () if self.tuned else (model.head,)
        rest = recipe if self.extra else recipe.rest(self.share)
        yield Stage(model, self.loss, rest, train=train)
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "turned.py"
    path.write_text(METHOD)
    return path


def specs(plugin: Path, methods: str, **changes: str) -> list[RunSpec]:
    given = {"rates": "15", "seeds": "1", "settings": USUAL, **changes}
    overrides = Overrides(methods=methods, **given)  # type: ignore[arg-type]
    return list(read_plan("digits", Registry([plugin]), overrides).unique.values())


def trial(spec: RunSpec, plugin: Path, keep: Path | None) -> TrainedRun:
    return run_trial(spec, Registry([plugin]), torch.device("cpu"), keep)


def stage(outcome: TrainedRun) -> dict[str, Any]:
    shared = as_plain(outcome.record)["stages"][0]["shared"]
    assert isinstance(shared, dict)
    return shared


def test_a_taken_stage_gives_the_run_the_same_bits_as_a_trained_one(plugin: Path, tmp_path: Path) -> None:
    (spec,) = specs(plugin, "turned")
    alone = trial(spec, plugin, None)
    first, second = (trial(spec, plugin, tmp_path) for _ in range(2))
    assert [stage(made)["taken"] for made in (alone, first, second)] == [False, False, True]
    for made in (first, second):
        assert curve_of(made.record) == curve_of(alone.record)
        assert all(np.array_equal(made.predictions[key], alone.predictions[key]) for key in alone.predictions)


@pytest.mark.slow
def test_runs_that_differ_after_the_stage_share_it_and_others_do_not(plugin: Path, tmp_path: Path) -> None:
    written = "turned,turned(tuned=false),turned(noise=0.1)"
    tuned, probed, noisy = (stage(trial(spec, plugin, tmp_path)) for spec in specs(plugin, written))
    assert tuned["key"] == probed["key"] != noisy["key"]
    assert (tuned["taken"], probed["taken"], noisy["taken"]) == (False, True, False)
    # at 15 % other seeds have other images; at 100 % where nothing is held out they have the same ones
    other = [stage(trial(spec, plugin, tmp_path))["key"] for spec in specs(plugin, "turned", seeds="0,1")]
    assert len(set(other)) == 2
    settings = (*USUAL, "validation=0")
    whole = [
        stage(trial(spec, plugin, tmp_path))["taken"]
        for spec in specs(plugin, "turned", seeds="0,1", rates="100", settings=settings)  # type: ignore[arg-type]
    ]
    assert whole == [False, True]


@pytest.mark.slow
def test_the_recipe_and_the_code_are_in_the_key(plugin: Path) -> None:
    def key(**changes: Any) -> str:
        (spec,) = specs(plugin, "turned", **changes)
        return str(stage(trial(spec, plugin, None))["key"])

    before = key()
    assert key(settings=(*USUAL, "evaluations=2")) == before
    assert key(settings=(*USUAL, "lr=1e-4")) != before
    assert key(settings=(*USUAL, "steps=12")) != before
    plugin.write_text(METHOD.replace("Quarter turns first.", "Another docstring."))
    assert key() == before
    plugin.write_text(METHOD.replace("torch.randint(4, (1,))", "torch.randint(3, (1,))"))
    assert key() != before


def test_a_shared_stage_is_not_on_the_curve_and_may_come_on_top_of_the_budget(plugin: Path) -> None:
    within, on_top = specs(plugin, "turned,turned(extra=true)")
    made = as_plain(trial(within, plugin, None).record)
    assert [point["step"] for point in made["curve"]] == [6, 8]
    assert [part["steps"] for part in made["stages"]] == [4, 4]
    made = as_plain(trial(on_top, plugin, None).record)
    assert [point["step"] for point in made["curve"]] == [2, 4, 6, 8]
    assert [part["steps"] for part in made["stages"]] == [4, 8]


def test_a_damaged_file_is_set_aside_and_the_stage_trained_again(plugin: Path, tmp_path: Path) -> None:
    (spec,) = specs(plugin, "turned")
    key = stage(trial(spec, plugin, tmp_path))["key"]
    shelf = Shelf(tmp_path / "shared")
    shelf.path(key).write_bytes(b"nothing of the kind")
    assert not stage(trial(spec, plugin, tmp_path))["taken"]
    assert len(list(shelf.root.glob("*.damaged.*"))) == 1
    assert stage(trial(spec, plugin, tmp_path))["taken"]


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_workers_that_need_one_stage_at_a_time_train_it_once(plugin: Path, tmp_path: Path) -> None:
    runs = specs(plugin, "turned,turned(tuned=false)")
    run(runs, Job(tmp_path / "results", (plugin,)), LocalExecutor(jobs=2))
    store = Store(tmp_path / "results")
    taken = [as_plain(store.record(spec.id))["stages"][0]["shared"]["taken"] for spec in runs]
    assert sorted(taken) == [False, True]
    assert [path.suffix for path in (store.root / "shared").iterdir()] == [".safetensors"]


# ---- claims


def test_one_of_many_has_the_claim_and_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "work.claim"
    with claimed(path) as first:
        with claimed(path) as second:
            assert (first, second) == (True, False)
        assert path.exists()
    assert not path.exists()
    with claimed(path) as third:
        assert third


def test_the_claim_of_a_dead_owner_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "work.claim"
    path.touch()
    os.utime(path, (time.time() - 100, time.time() - 100))
    with claimed(path, old=60) as ours:
        assert ours
    with claimed(path, beat=0.05) as ours:
        assert ours
        time.sleep(0.5)
        with claimed(path, old=0.3) as other:
            assert not other
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_many_processes_at_one_dead_claim_have_one_successor(tmp_path: Path) -> None:
    path = tmp_path / "work.claim"
    path.touch()
    os.utime(path, (time.time() - 100, time.time() - 100))
    context = multiprocessing.get_context("fork")
    start, answers, over = context.Event(), context.Queue(), context.Event()
    processes = [context.Process(target=_try_to_claim, args=(path, start, answers, over)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    won = [answers.get(timeout=120) for _ in processes]
    over.set()
    for process in processes:
        process.join()
    assert sum(won) == 1


def _try_to_claim(path: Path, start: Any, answers: Any, over: Any) -> None:
    """One that has the claim keeps it until all have answered."""
    start.wait()
    with claimed(path) as ours:
        answers.put(ours)
        if ours:
            over.wait()


@pytest.mark.slow
def test_a_student_is_one_for_runs_that_are_tuned_in_other_ways(plugin: Path, tmp_path: Path) -> None:
    """As in the columns of a paper's table: fine-tuned, and probed with another optimiser and augmentation."""
    student = "distil_augmentation=crop_flip,on_top=true,share=0.5,distil_batch=8"
    (tuned,) = specs(plugin, f"feature_distillation({student})", settings=(*USUAL, "drop_path=0.1", "mixup=0.8"))  # type: ignore[arg-type]
    probing = ("optimizer=sgd", "lr=0.1", "label_smoothing=0.1", "augmentation=none", "batch_size=8")
    (probed,) = specs(plugin, f"feature_distillation({student},then=linear)", settings=(*USUAL, *probing))  # type: ignore[arg-type]
    (other,) = specs(plugin, f"feature_distillation({student},student_drop_path=0.1)", settings=USUAL)  # type: ignore[arg-type]
    one, two, three = (stage(trial(spec, plugin, tmp_path)) for spec in (tuned, probed, other))
    assert one["key"] == two["key"] != three["key"]
    assert [made["taken"] for made in (one, two, three)] == [False, True, False]
