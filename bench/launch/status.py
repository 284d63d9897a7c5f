"""How far a plan is, from the records there are, the claims of runs in training and the queue of a cluster."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.launch.launcher import Queued
from bench.launch.remaining import seconds_left
from bench.records.lease import is_held
from bench.records.record import FailedRecord, Stored
from bench.records.standing import Standing, read_standings
from bench.records.store import Store, id_in
from bench.spec import RunSpec


class Snapshot(Store):
    """A store as it is when it is first looked at: what several want to know is read once."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self.finished = functools.cache(super().finished)  # type: ignore[method-assign]
        self.failures = functools.cache(super().failures)  # type: ignore[method-assign]


@dataclass(frozen=True)
class State:
    """How far a plan is; a run counts once, for the first of these that holds.

    Attributes:
        done: those with a record.
        running: those that a living process has claimed.
        queued: those that wait in the queue of a cluster, or have been given to a job that runs.
        failed: id, label, message, class and folder of those that failed.
        damaged: folders whose record cannot be read or is not as it was written.
        closed: those of them that cannot be read by this user, or for now, and may be sound.
        newer: folders of runs whose record is of a newer form; they are left alone.
        reasons: what is known of why a folder is in one of the two.
        lacking: those of the missing ones that cannot be trained here, as their weights are elsewhere.
        seconds: training time of the finished runs together, by which it is told what is left; 0 where none runs.
        unseen: why a queue could not be asked; empty where it could or there was no need to.
        standings: where each of the running ones stands, by id, in the plan's order; None where it has not said it.
    """

    runs: int
    done: int
    failed: tuple[dict[str, str], ...]
    damaged: tuple[str, ...]
    seconds: float
    running: int = 0
    queued: int = 0
    unseen: str = ""
    standings: Mapping[str, Standing | None] = field(default_factory=dict)
    newer: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    lacking: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Until all runs that can be are done, as many at a time as run now; None where none does, or was measured."""
        if not self.running:
            return None
        waiting = self.queued + self.missing - self.lacking
        return seconds_left(self.standings.values(), waiting, self.done, self.seconds, self.running)

    @property
    def missing(self) -> int:
        """Runs that nobody has done, is at, or will be at."""
        return self.runs - self.done - self.running - self.queued - len(self.failed) - len(self.newer)


def state(runs: Mapping[str, RunSpec], store: Store, queue: Queued | None = None) -> State:
    """How many of some runs, by id, are done, running, in a queue, failed and missing."""
    queue = queue or Queued()
    finished, failures = store.finished(), store.failures()
    newer = {run_id: folder for folder in store.newer if (run_id := id_in(folder)) in runs.keys() - finished.keys()}
    unfinished = runs.keys() - finished.keys() - newer.keys()
    running = unfinished & claimed_runs(store.root)
    queued = (unfinished - running) & queue.jobs.keys()
    failed = (unfinished - running - queued) & failures.keys()
    standings = read_standings(store.root, running)
    return State(
        runs=len(runs),
        done=len(runs) - len(unfinished) - len(newer),
        failed=tuple(_failure(failures[run_id], runs[run_id]) for run_id in runs if run_id in failed),
        damaged=tuple(store.damaged),
        seconds=sum(run.seconds for run_id, run in finished.items() if run_id in runs) if running else 0.0,
        running=len(running),
        queued=len(queued),
        unseen=queue.problem,
        standings={run_id: standings.get(run_id) for run_id in runs if run_id in running},
        newer=tuple(newer.values()),
        closed=tuple(filter(store.is_closed, store.damaged)),
        reasons=store.reasons,
    )


def claimed_runs(root: Path) -> set[str]:
    """The ids of the runs that a living process has claimed."""
    return {path.name for path in (root / "claims").glob("[!.]*") if is_held(path)}


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
