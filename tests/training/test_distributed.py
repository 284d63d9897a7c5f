"""Runs that several processes share: the same run, whatever the method, with the same batch and contrast set."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.experiment import Overrides, read_experiment
from bench.grid import expand
from bench.launch import Event, Job, LocalExecutor, run
from bench.registry import Registry
from bench.spec import RunSpec
from bench.store import Store

USUAL = ("steps=8", "warmup=2", "evaluations=2", "batch_size=16")

FAILING = '''
"""Fails in one of the processes that share a run."""

import os
from dataclasses import dataclass

from bench.method import Method


@dataclass(frozen=True)
class Mine(Method):
    """Plain fine-tuning until the second process fails."""

    paper = "a test"

    def loss(self, model, batch):
        if os.environ["RANK"] == "1":
            raise {error}("no more")
        return {{"ce": batch.cross_entropy(model(batch.images))}}
'''


def planned(methods: str, plugins: tuple[Path, ...] = ()) -> list[RunSpec]:
    overrides = Overrides(methods=methods, rates="15", seeds="1", settings=USUAL)
    return list(expand(read_experiment("demo", Registry(plugins), overrides)).unique.values())


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    # a mean over images, a probe of all blocks, a contrast set, the spectrum of a batch, draws in a loss, a stage that
    # runs share
    specs = planned("ce,gta,scl,bss,core_tuning,feature_distillation")
    events: list[Event] = []
    for ranks in (1, 2):
        run(specs, Job(tmp_path / str(ranks), ranks=ranks), LocalExecutor(1), events.append)
    assert [event.status for event in events] == ["done"] * 12, [event.message for event in events]
    alone, shared = (Store(tmp_path / str(ranks)) for ranks in (1, 2))
    for spec in specs:
        one, two = alone.record(spec.id), shared.record(spec.id)
        assert (one["ranks"], two["ranks"]) == (1, 2)
        for left, right in zip(one["curve"], two["curve"], strict=True):
            assert left["step"] == right["step"]
            assert right["loss"] == pytest.approx(left["loss"], rel=1e-3), spec.label
            assert right["test"]["top1"] == pytest.approx(left["test"]["top1"], abs=1.5), spec.label
    assert not list((tmp_path / "2" / "claims").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("error", "kind"), [("RuntimeError", "code"), ("MemoryError", "oom")])
def test_a_failure_in_one_process_ends_all_and_says_which(error: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FAILING.format(error=error))
    (spec,) = planned("mine", (file,))
    events: list[Event] = []
    run([spec], Job(tmp_path / "results", (file,), ranks=2), LocalExecutor(1), events.append)
    assert [event.status for event in events] == ["failed"]
    failure = Store(tmp_path / "results").failures()[spec.id]
    assert failure["error"]["class"] == kind
    assert failure["folder"].endswith("-1"), "recorded once"
    log = (Path(failure["folder"]) / "log.txt").read_text()
    assert "no more" in failure["error"]["message"] + log


@pytest.mark.slow
def test_batch_norm_is_refused_since_it_would_see_a_part_of_the_batch(tmp_path: Path) -> None:
    overrides = Overrides(methods="ce", backbones="micro_resnet", rates="15", seeds="1", settings=USUAL)
    specs = list(expand(read_experiment("demo", Registry(), overrides)).unique.values())
    events: list[Event] = []
    run(specs, Job(tmp_path, ranks=2), LocalExecutor(1), events.append)
    assert [event.status for event in events] == ["failed"]
    assert "micro_resnet: it has batch norm" in events[0].message


def test_a_process_that_nobody_started_as_one_of_several_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.training.distributed import join

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"):
        join()
