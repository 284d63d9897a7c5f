"""The interface of an executor, and what a launch does with one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.records.standing import Standing
from bench.records.store import Store
from bench.spec import RunSpec


@dataclass(frozen=True)
class Job:
    """Everything a worker needs beside the runs, as plain data.

    Attributes:
        command: what was typed, for the records.
        checkpoint_every: seconds between the checkpoints of a run in training.
        ranks: processes, one a GPU, that share each run (data parallel).
        track: names of the trackers that are told of each run's curve.
        progress: seconds between a worker's tellings of how far its run is; 0: none are wanted.
        keep: which trained models lie beside the records (``bench.records.kept.read_keep``).
        shares_gpu: whether other workers may be on a worker's GPU, which then says how much of its memory is free.
    """

    results: str | Path
    plugins: tuple[Path, ...] = ()
    command: str = ""
    checkpoint_every: float = 300.0
    ranks: int = 1
    launcher: str = "local"
    track: tuple[str, ...] = ()
    progress: float = 0.0
    keep: str = "none"
    shares_gpu: bool = False


@dataclass(frozen=True)
class Event:
    """A run is ``"done"``, ``"failed"``, ``"elsewhere"``, where another process has it, or still ``"training"``.

    ``"crowded"``: it had too little memory beside others on its GPU, and waits to be trained alone.

    Of a launch that was asked to stop, a run that was in training is ``"kept"``: at the step of its standing; without
    one as its message says, or, where that is empty, not at all. One in training says where it stands. Of one that is
    done, ``score`` has the test score of its last point, with its unit.
    """

    run_id: str
    label: str
    status: str
    message: str = ""
    seconds: float = 0.0
    score: str = ""
    standing: Standing | None = None


@dataclass(frozen=True)
class Submitted:
    """What was put into a queue: how many runs, in how many jobs, and more to say of it, in lines."""

    runs: int
    jobs: int
    details: tuple[str, ...] = ()


class Executor(Protocol):
    """Trains runs somewhere."""

    def execute(self, runs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> Submitted | None:
        """Train the runs, telling ``report`` of each that ends. A failing run must not stop the others.

        Returns what waits in a queue now; None where every run has ended.
        """
        ...


def run(
    runs: Iterable[RunSpec],
    job: Job,
    executor: Executor,
    report: Callable[[Event], None] = lambda event: None,
    *,
    retry: bool = False,
) -> list[RunSpec]:
    """Train the runs that have no record yet, and with ``retry`` those that failed; gives those that were handed over.

    Runs of one id count once; ``report`` is told of each that ends. Raises ``InputError`` where nothing can be written.
    """
    store = Store(job.results)
    todo = untrained(runs, store, retry=retry)
    make_ready(store)
    if todo:
        executor.execute(todo, job, report)
    return todo


def untrained(runs: Iterable[RunSpec], store: Store, *, retry: bool = False) -> list[RunSpec]:
    """The runs without a record, each once; with ``retry`` a record of a failure is none.

    One of a newer version is a record: whether its run is done cannot be known here.
    """
    finished = store.finished().keys()
    failed = {} if retry else store.failures()
    recorded = finished | failed.keys() | store.left_alone()
    unique = {spec.id: spec for spec in runs}
    return [spec for run_id, spec in unique.items() if run_id not in recorded]


def make_ready(store: Store) -> None:
    """Make a store that has been read ready for new records: what is damaged is set aside.

    Raises ``InputError`` where it cannot be written to.
    """
    store.check_writable()
    store.clear_drafts()
    store.set_aside_damaged()
