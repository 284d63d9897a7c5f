"""Runs that several processes share: the same run, whatever the method, with the same batch and contrast set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.backbones import build_model
from bench.device import compiled, distributed
from bench.errors import InputError
from bench.launch import Event, Job, LocalExecutor, run, worker
from bench.launch import ranks as sharing
from bench.launch.gpus import gpus_of
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.process import environment
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training import trial
from tests.faults.nursery import started
from tests.scenes import as_plain
from tests.warm import forking

USUAL = ("steps=8", "warmup=2", "evaluations=2", "batch_size=16")

FAILING = '''
"""Fails in one of the processes that share a run."""

import os
from dataclasses import dataclass

from bench.method import Method
from tests.scenes import as_plain


@dataclass(frozen=True)
class Mine(Method):
    """Plain fine-tuning until the second process fails."""

    paper = "a test"

    def loss(self, model, batch):
        if os.environ["RANK"] == "1":
            raise {error}("no more")
        return {{"ce": batch.cross_entropy(model(batch.images))}}
'''

FAILURES = {"no_code": ("RuntimeError", "code"), "no_memory": ("MemoryError", "oom")}
"""What a method of the name raises, and the class that its run's failure has to have."""


def planned(
    methods: str, *settings: str, plugins: tuple[Path, ...] = (), backbones: str = "micro_vit"
) -> list[RunSpec]:
    overrides = Overrides(methods=methods, backbones=backbones, rates="15", seeds="1", settings=(*USUAL, *settings))
    return list(read_plan("demo", Registry(plugins), overrides).unique.values())


def train_as_rank(rank: int, ranks: int, port: str, results: Path, specs: list[RunSpec]) -> None:
    """Be one of the processes that share runs, for one run after the other."""
    os.environ.update(environment(gpus_of(rank), **sharing._place(rank, ranks, port)))
    worker.prepare()
    compiled.BACKEND = "eager"
    for spec in specs:
        assert sharing.work_as_rank(spec, Job(results, ranks=ranks))["status"] == "done", spec.label


def train_together(results: Path, specs: list[RunSpec], ranks: int = 2) -> None:
    """So many processes go through the runs, each of which they share."""
    port = str(sharing._free_port())
    processes = [started(rank, ranks, port, results, specs, target=train_as_rank) for rank in range(ranks)]
    try:
        for process in processes:
            process.join(240)
        assert [process.exitcode for process in processes] == [0] * ranks
    finally:
        for process in processes:
            process.kill()
            process.join()


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a mean over images, a probe of all blocks, a contrast set, the spectrum of a batch, draws in a loss, a stage that
    # runs share, two passes a step
    specs = planned("ce,gta,scl,bss,core_tuning,feature_distillation,gta+sam")
    # several views, behind one another and apart; batches that a loss mixes itself, of which it looks at all images
    specs += planned("lacvit,bi_tuning,gta+transmix", "erasing=0.5")
    # batch norms with batches of their own, two of which are in each process, and of the whole batch
    specs += planned("ce,scl", "norm_batch=4", backbones="micro_resnet")
    specs += planned("ce", backbones="micro_resnet")
    specs += planned("gta", "compile=default")
    assert len(specs) == 14
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    agree(tmp_path, 2, specs)


@pytest.mark.slow
def test_three_processes_train_what_one_does_of_mixed_batches_that_do_not_divide_evenly(tmp_path: Path) -> None:
    specs = planned("ce,scl", "batch_size=13", "mixup=0.8", "cutmix=1", "erasing=0.5")
    agree(tmp_path, 3, [*specs, *planned("ce", "batch_size=13", "mixup=0.8", backbones="micro_resnet")])


def agree(tmp_path: Path, ranks: int, specs: list[RunSpec]) -> None:
    """Fail unless so many processes train what one does."""
    for spec in specs:
        assert worker.work(spec, Job(tmp_path / "1"))["status"] == "done", spec.label
    train_together(tmp_path / str(ranks), specs, ranks)
    alone, shared = (Store(tmp_path / str(count)) for count in (1, ranks))
    for spec in specs:
        one, two = as_plain(alone.record(spec.id)), as_plain(shared.record(spec.id))
        assert (one["ranks"], two["ranks"]) == (1, ranks)
        for left, right in zip(one["curve"], two["curve"], strict=True):
            assert left["step"] == right["step"]
            assert right["loss"] == pytest.approx(left["loss"], rel=1e-3), spec.label
            assert right["test"]["top1"] == pytest.approx(left["test"]["top1"], abs=1.5), spec.label
    assert not list((tmp_path / str(ranks) / "claims").iterdir())


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Event]]:
    """The results of one launch whose runs are shared by two processes each, and how each ended."""
    root = tmp_path_factory.mktemp("launched")
    plugins = tuple(root / f"{name}.py" for name in FAILURES)
    for path in plugins:
        path.write_text(FAILING.format(error=FAILURES[path.stem][0]))
    specs = planned(",".join(("ce", *FAILURES)), plugins=plugins)
    events: list[Event] = []
    with forking():
        run(specs, Job(root / "results", plugins, ranks=2), LocalExecutor(1), events.append)
    assert len(events) == len(specs) == 3
    ended = {event.run_id: event for event in events}
    return root / "results", {f"{spec.method.name} {spec.backbone.name}": ended[spec.id] for spec in specs}


@pytest.mark.slow
def test_a_launch_has_a_run_trained_by_two_processes(launched: tuple[Path, dict[str, Event]]) -> None:
    results, ended = launched
    event = ended["ce micro_vit"]
    assert event.status == "done", event.message
    record = as_plain(Store(results).record(event.run_id))
    assert record["ranks"] == 2
    assert event.score == f"{record['curve'][-1]['test']['top1']:.1f} %"
    assert event.run_id not in {path.name for path in (results / "claims").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("method", FAILURES)
def test_a_failure_in_one_process_ends_all_and_says_which(method: str, launched: tuple[Path, dict[str, Event]]) -> None:
    results, ended = launched
    event = ended[f"{method} micro_vit"]
    assert event.status == "failed"
    failure = as_plain(Store(results).failures()[event.run_id])
    assert failure["error"]["class"] == FAILURES[method][1]
    assert failure["folder"].endswith("-1"), "recorded once"
    log = (Path(failure["folder"]) / "log.txt").read_text()
    assert "no more" in failure["error"]["message"] + log


@pytest.mark.parametrize(("norm_batch", "groups", "counts"), [(16, "1 part", "1"), (2, "8 parts", "1, 2, 4, 8")])
def test_batches_of_batch_norms_that_cannot_be_shared_evenly_are_refused(
    norm_batch: int, groups: str, counts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "ranks", lambda: 3)
    (spec,) = planned("ce", f"norm_batch={norm_batch}", backbones="micro_resnet")
    with pytest.raises(InputError) as refusal:
        trial.run_trial(spec, Registry(), torch.device("cpu"))
    why = f"{groups} of a batch of 16, which 3 processes cannot share evenly; a run can have {counts} (--gpus-per-run)"
    assert str(refusal.value) == f"micro_resnet: with norm_batch {norm_batch} its batch norms see {why}"


def test_a_process_that_nobody_started_as_one_of_several_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.device.distributed import join

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"):
        join()


@pytest.mark.parametrize("probe", ["", "tokens"])
def test_each_process_drops_paths_of_its_own_where_a_part_of_the_model_is_in_training(
    probe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a stage that trains the backbone alone, or reads a student's tokens; and draws outside stay alike."""
    model = build_model(Registry().backbone("micro_vit"), 3, drop_path=0.5).eval()
    model.backbone.train()
    images = torch.rand(8, 1, 12, 12)
    monkeypatch.setattr(distributed, "ranks", lambda: 2)
    seen, outside = list[Tensor](), list[Tensor]()
    for number in range(2):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        distributed.begin_draws(1)
        seen.append(model.probe(images, probe) if probe else model(images).features)
        outside.append(torch.rand(3))
    assert not torch.equal(*seen)
    distributed.begin_draws(1)
    assert torch.equal(outside[0], outside[1])
    assert torch.equal(outside[0], torch.rand(3))
