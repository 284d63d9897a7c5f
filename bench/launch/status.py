"""How far a plan is, from the records there are, the claims of runs in training and the queue of a cluster."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from bench.launch.launcher import Queued
from bench.records.lease import is_held
from bench.records.record import FailedRecord, Stored
from bench.records.store import Finished, Store
from bench.spec import RunSpec


class Plan(Protocol):
    """What runs there are to be: an experiment's plan or a paper's."""

    @property
    def unique(self) -> dict[str, RunSpec]:
        """The runs by id, each once."""


class Snapshot(Store):
    """A store as it is when it is first looked at: what several want to know is read once."""

    def finished(self) -> dict[str, Finished]:
        """As the store's."""
        return self._finished

    def failures(self) -> dict[str, Stored]:
        """As the store's."""
        return self._failures

    @cached_property
    def _finished(self) -> dict[str, Finished]:
        return super().finished()

    @cached_property
    def _failures(self) -> dict[str, Stored]:
        return super().failures()


@dataclass(frozen=True)
class State:
    """How far a plan is; a run counts once, for the first of these that holds.

    Attributes:
        runs: different runs.
        done: of them, those with a record.
        running: those that a living process has claimed.
        queued: those that wait in the queue of a cluster, or have been given to a job that runs.
        failed: id, label, message, class and folder of those that failed.
        damaged: folders whose record cannot be read.
        seconds: training time of the finished runs together, where it is known.
        unseen: why a queue could not be asked; empty where it could or there was no need to.
    """

    runs: int
    done: int
    failed: tuple[dict[str, str], ...]
    damaged: tuple[str, ...]
    seconds: float
    running: int = 0
    queued: int = 0
    unseen: str = ""

    @property
    def missing(self) -> int:
        """Runs that nobody has done, is at, or will be at."""
        return self.runs - self.done - self.running - self.queued - len(self.failed)


def state(plan: Plan, store: Store, queue: Queued | None = None) -> State:
    """How many runs of a plan are done, running, queued, failed and missing.

    Args:
        plan: what is to be.
        store: what there is.
        queue: which of the runs are in jobs of a cluster; by default none.
    """
    queue = queue or Queued()
    finished, failures, unique = store.finished(), store.failures(), plan.unique
    open_runs = [run_id for run_id in unique if run_id not in finished]
    held = claimed_runs(store.root)
    running = [run_id for run_id in open_runs if run_id in held]
    queued = [run_id for run_id in open_runs if run_id in queue.jobs and run_id not in held]
    failed = tuple(
        _failure(failures[run_id], unique[run_id])
        for run_id in open_runs
        if run_id in failures and run_id not in held and run_id not in queue.jobs
    )
    seconds = sum(run.seconds for run_id, run in finished.items() if run_id in unique)
    return State(
        runs=len(unique),
        done=len(unique) - len(open_runs),
        failed=failed,
        damaged=tuple(store.damaged),
        seconds=seconds,
        running=len(running),
        queued=len(queued),
        unseen=queue.problem,
    )


def claimed_runs(root: Path) -> set[str]:
    """The ids of the runs that a living process has claimed."""
    folder = root / "claims"
    names: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return {name for name in names if is_held(folder / name)}


def _failure(stored: Stored, spec: RunSpec) -> dict[str, str]:
    record, folder = stored
    assert isinstance(record, FailedRecord)
    return {
        "run": record.id,
        "label": spec.label,
        "message": record.error.message,
        "class": record.error.failed_of,
        "folder": str(folder),
    }
