"""The interface of an executor, and what a launch does with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.spec import RunSpec
from bench.store import Store


@dataclass(frozen=True)
class Job:
    """Everything a worker needs beside the runs, as plain data.

    Attributes:
        results: the folder of the store.
        plugins: the user's files and folders.
        command: what was typed, for the records.
    """

    results: str | Path
    plugins: tuple[Path, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Event:
    """Something happened to a run: ``status`` is ``"done"`` or ``"failed"``."""

    run_id: str
    label: str
    status: str
    message: str = ""
    seconds: float = 0.0
    top1: float = float("nan")


class Executor(Protocol):
    """Trains runs somewhere."""

    def execute(self, runs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> None:
        """Train the runs, telling ``report`` of each that ends. A failing run must not stop the others."""
        ...


def run(
    runs: Iterable[RunSpec],
    job: Job,
    executor: Executor,
    report: Callable[[Event], None] = lambda event: None,
    *,
    retry: bool = False,
) -> list[RunSpec]:
    """Train the runs that have no record yet.

    Args:
        runs: any; those of one id count once.
        job: results folder and plugins.
        executor: where to train them.
        report: told of each run that ends.
        retry: train again what failed before.

    Returns:
        The runs that were handed to the executor.

    Raises:
        InputError: the results folder cannot be written to.
    """
    store = Store(job.results)
    store.check_writable()
    store.clear_drafts()
    finished = store.finished()
    store.set_aside_damaged()
    failed = {} if retry else store.failures()
    unique = {spec.id: spec for spec in runs}
    todo = [spec for run_id, spec in unique.items() if run_id not in finished and run_id not in failed]
    if todo:
        executor.execute(todo, job, report)
    return todo
