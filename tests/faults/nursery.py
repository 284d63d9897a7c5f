"""Processes that train: one imports torch, and a child is forked from it for each trial, since the import takes longer.

With the grid of the trials, and what is asked of a store after them.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import bench
from bench.cards import DatasetCard
from bench.launch import make_ready, worker
from bench.launch.executor import Job
from bench.records.lease import is_held
from bench.records.store import Store
from bench.records.unwritable import Unwritable
from bench.sheets.view import render
from bench.spec import RunSpec
from tests.faults.operations import Act, Operations, kill

EVALUATED = 50
"""Images of the test split, and of the validation split, that a trial looks at."""


@functools.cache
def planned(methods: str, steps: int, evaluations: int = 1, seeds: str = "1") -> Any:
    """The plan of tiny runs on digits."""
    settings = (f"steps={steps}", "warmup=1", f"evaluations={evaluations}", "batch_size=8")
    overrides = bench.Overrides(methods=methods, rates="15", seeds=seeds, settings=settings)
    return bench.read_plan("digits", bench.Registry(), overrides)


def evaluate_few() -> None:
    """Have this process evaluate models on a few images: how well they do is nothing to these tests."""
    from bench.data import ArrayImages, Dataset, Split
    from bench.training import trial

    opened = trial.opened

    def few(split: Split) -> Split:
        assert isinstance(split.images, ArrayImages)
        return Split(ArrayImages(split.images.pixels[:EVALUATED]), split.labels[:EVALUATED])

    def shortened(card: DatasetCard, keep: Path | None) -> Dataset:
        found = opened(card, keep)
        return replace(found, val=found.val and few(found.val), test=few(found.test))

    trial.opened = shortened


def train(
    results: Path, specs: Sequence[RunSpec], act: Act = kill, at: int = 0, until: int = 0, told: Path | None = None
) -> None:
    """What a child does: train runs one after the other, writing a checkpoint at each step.

    Args:
        results: the folder of the store.
        specs: the runs; those with a record are passed over.
        act: done at some of the operations on files below the results.
        at: number of the first of them; 0 for none.
        until: number of the last; by default ``at``.
        told: where the names of all operations and the answers are written at the end.
    """
    operations = Operations(results, act, at, until)
    evaluate_few()
    answers = []
    finished = Store(results).finished()
    for spec in specs:
        if spec.id not in finished:
            try:
                answers.append(worker.work(spec, Job(results, checkpoint_every=1e-9)))
            except Unwritable as error:
                answers.append({"status": "unwritable", "message": str(error)})
                break
    if told is not None:
        told.write_text(json.dumps({"operations": operations.names, "answers": answers}), encoding="utf-8")


def started(*arguments: Any, target: Any = train) -> ForkServerProcess:
    """A child at work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.warm"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def ended(*arguments: Any, target: Any = train) -> int:
    """The exit code of a child that has ended; minus the signal's number where one killed it."""
    process = started(*arguments, target=target)
    process.join(120)
    assert process.exitcode is not None, "a child hangs"
    return process.exitcode


def tables(plan: Any, results: Path) -> list[str]:
    """A plan's table as it is printed, and as data."""
    (table,) = bench.fill(plan, Store(results))
    return [render(table, format) for format in ("text", "csv", "json", "latex", "markdown")]


def whole(results: Path, runs: int) -> None:
    """Fail unless there is one sound record a run, and nothing that would be in the way of another launch."""
    store = Store(results)
    found = store.finished()
    folders = sorted(path.name for path in (results / "runs").iterdir())
    assert store.damaged == []
    assert (len(found), len(folders)) == (runs, runs)
    for folder in folders:
        record = json.loads((results / "runs" / folder / "record.json").read_text(encoding="utf-8"))
        assert folder.endswith(record["id"])
        assert sorted(path.name for path in (results / "runs" / folder).iterdir()) == [
            "log.txt",
            "predictions.npz",
            "record.json",
        ]
    for kind in ("failed", "damaged"):
        assert not (results / kind).exists()
    claims = [path for kind in ("claims", "shared") for path in (results / kind).glob("[!.]*")]
    assert not [path.name for path in claims if path.suffix != ".safetensors" and is_held(path)]
    assert not list((results / "shared").glob("*.damaged.*"))
    make_ready(store)
    assert not list((results / "checkpoints").glob("*/*"))
