"""Worker processes on this machine that live across runs: importing torch costs more than a small run."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from bench.device.limits import memory_limit, usable_cores
from bench.errors import InputError
from bench.launch.elsewhere import has_failed, wait_for_others
from bench.launch.executor import Event, Job
from bench.launch.failures import death, printed
from bench.launch.gpus import gpus_of, usable_gpus
from bench.launch.mps import multi_process_service
from bench.launch.sharing import Placement, Sharing, tell
from bench.launch.starts import Starts
from bench.launch.worker import answer as answer_of
from bench.launch.worker import died, job_to_json
from bench.process import close_pipes, send, start
from bench.records.standing import Standing
from bench.records.store import Store
from bench.records.unwritable import writing_to
from bench.spec import RunSpec, to_json

MEMORY = 2e9
"""Bytes that a run on the CPU is reckoned to need."""

PATIENCE = 10.0
"""Seconds that runs in training are given to write their checkpoints when a launch is stopped."""

LEEWAY = 2.0
"""Seconds in which this process is asked to stop, too, where a worker was."""


def default_jobs(ranks: int = 1) -> int:
    """One run a GPU, or else one a usable core with 2 GB of memory for each (torch alone takes 0.9 GB).

    Of cores and memory that counts which the container may use, if this is in one. So many fewer go at a time as
    processes (``ranks``) share each.
    """
    if gpus := usable_gpus():
        return max(1, len(gpus) // ranks)
    return max(1, int(min(usable_cores(), usable_memory() / MEMORY)) // ranks)


def usable_memory() -> float:
    """The bytes of memory that the processes here may take."""
    memory = memory_limit() or math.inf
    with contextlib.suppress(AttributeError, ValueError, OSError):  # what the machine has is not known on every system
        memory = min(memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return memory


@dataclass(frozen=True)
class LocalExecutor:
    """Trains runs on this machine, at most ``jobs`` at a time, each on one core or one GPU, which several may share.

    A run on the CPU has one thread, always: with more its sums would be added in another order, and the same spec
    would no longer give the same record to the last bit.
    """

    jobs: int = field(default_factory=default_jobs)
    sharing: Sharing = field(default_factory=Sharing)

    def execute(self, runs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> None:
        """Train the runs. A worker that dies is recorded as the failure of its run and replaced.

        Runs that other processes are training are waited for at the end, and trained here if they end without a record.
        Raises ``InputError`` where no worker starts, or nothing can be written to the results any more, since then
        every run would fail for one reason.
        """
        waiting, store = list(runs), Store(job.results)
        gpus = [gpus_of(number, job.ranks) for number in range(self.jobs)]
        if job.ranks == 1 and len(set(gpus)) < len(gpus) and gpus[0] is not None:
            job = replace(job, shares_gpu=True)
        shared = [gpu for gpu in gpus if gpu] if job.shares_gpu and self.sharing.mps else []
        with multi_process_service(shared, _say) as variables:
            placement = Placement(self.sharing)
            while waiting:
                with writing_to(store.root):
                    failed = store.attempts()
                    seats = _Seats(gpus, job, placement, variables)
                    theirs = self._train(self.sharing.ordered(waiting), seats, failed, report)
                    waiting = wait_for_others(theirs, failed, job, report, _say)

    def _train(
        self, runs: Sequence[RunSpec], seats: _Seats, failed: Mapping[str, int], report: Callable[[Event], None]
    ) -> list[RunSpec]:
        """Train the runs that nobody else is at, and that have not failed elsewhere since; gives the others."""
        theirs: list[RunSpec] = []
        waiting, job, placement = collections.deque(runs), seats.job, seats.placement
        events: Events = queue.Queue()
        starts = Starts(_say)
        with _stopping(events, job, report) as workers:
            seats.fill(workers, waiting, events)
            ended = 0
            while ended < len(runs):
                worker, answer = _next(events, starts.next_due)
                workers += [_Worker(number, seats, events) for number in starts.due() if waiting]
                if worker not in workers:  # the end of one that was replaced
                    continue
                if not worker.is_ready(answer, starts):
                    workers.remove(worker)
                    worker.stop()
                    starts.require(len(workers))
                    continue
                if (run := worker.run) is not None:
                    ending = answer or worker.death(run, job, placement.was_shared(run))
                    if ending["status"] == "unwritable":
                        raise InputError(ending["message"])
                    if ending["status"] == "elsewhere":
                        theirs.append(run)
                    else:
                        report(_event(run, ending))
                    if ending["status"] == "training":
                        continue
                    worker.end(ending)
                    if ending["status"] == "crowded":
                        waiting.appendleft(run)
                    else:
                        ended += 1
                if answer is None or answer.get("ends"):
                    workers.remove(worker)
                    worker.stop()
                    seats.free.append(worker.number)
                ended += _skip_failed(waiting, theirs, failed, job)
                seats.hand_out(workers, waiting)
                seats.fill(workers, waiting, events)
        return theirs


class _Seats:
    """The places for workers on this machine, each with its GPU, and how runs come to them.

    Attributes:
        free: the numbers of those that no worker has, or is to have again.
        variables: of workers, by GPU.
    """

    def __init__(
        self, gpus: Sequence[str | None], job: Job, placement: Placement, variables: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.gpus, self.job, self.placement, self.variables = gpus, job, placement, variables
        self.free = list(range(len(gpus)))

    def place_of(self, number: int) -> str | None:
        """The GPU that runs of a seat share with those of others; None where they share none."""
        return self.gpus[number] if self.job.shares_gpu else None

    def fill(self, workers: list[_Worker], waiting: Sequence[RunSpec], events: Events) -> None:
        """Start the workers that runs wait for, and that may train now."""
        for number in sorted(self.free):
            idle = [worker for worker in workers if worker.run is None]
            if len(idle) >= len(waiting):
                return
            place = self.place_of(number)
            idle_beside = sum(worker.place == place for worker in idle)
            # no more of them are looked at than it takes: thousands may wait, and each is held against the others
            if self.placement.room(place, itertools.islice(waiting, idle_beside + 1)) > idle_beside:
                self.free.remove(number)
                workers.append(_Worker(number, self, events))

    def hand_out(self, workers: Sequence[_Worker], waiting: collections.deque[RunSpec]) -> None:
        """Give each worker without a run the next one, if that may be on its GPU now."""
        for worker in workers:
            if waiting and worker.ready and worker.run is None and self.placement.room(worker.place, [waiting[0]]):
                worker.send(waiting.popleft())
                for each in workers if self.job.shares_gpu else ():
                    if each is not worker and each.run is not None and each.place == worker.place:
                        tell(each.process, len(self.placement.on(each.place)), begins=False)


def _skip_failed(
    waiting: collections.deque[RunSpec], theirs: list[RunSpec], failed: Mapping[str, int], job: Job
) -> int:
    """Take the next runs away that have failed elsewhere meanwhile; gives how many."""
    count = 0
    while waiting and has_failed(waiting[0], failed, job):
        theirs.append(waiting.popleft())
        count += 1
    return count


class _Worker:
    """A worker process and the run it is at; it says that it is ready, then answers each run."""

    def __init__(self, number: int, seats: _Seats, events: Events) -> None:
        job, devices = seats.job, seats.gpus[number]
        self.number = number
        self.place, self.placement = seats.place_of(number), seats.placement
        self.run: RunSpec | None = None
        self.ready = False
        self.kept: dict[str, Any] = {}
        # other machines, and containers with the same process ids, may have workers at the same results
        self.errors = Path(job.results) / "drafts" / f"worker-{uuid.uuid4().hex[:12]}.log"
        self.errors.parent.mkdir(parents=True, exist_ok=True)
        # Ctrl-C reaches the front process alone, which stops its workers itself
        self.process = start(
            "bench.launch.worker",
            json.dumps(job_to_json(job)),
            log=self.errors,
            devices=devices,
            variables=seats.variables.get(devices or ""),
            detached=True,
        )
        self.listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self.listener.start()

    def is_ready(self, answer: dict[str, Any] | None, starts: Starts) -> bool:
        """Whether it lives or has lived, as its answer says; not where it has ended at its start."""
        if answer is None and not self.ready:
            starts.failed(self.number, self.process.wait(), printed(self.errors))
        elif not self.ready:
            self.ready = True
            starts.succeeded()
            self.placement.measure(self.place, answer.get("free") if answer else None)
        return self.ready

    def send(self, run: RunSpec) -> None:
        """Hand over a run."""
        self.run = run
        count = self.placement.begin(self.place, run)
        if self.place is not None:
            tell(self.process, count, begins=True)
        send(self.process, to_json(run))

    def end(self, ending: Mapping[str, Any]) -> None:
        """Its run has ended, as it says."""
        assert self.run is not None
        self.placement.end(self.place, self.run)
        if ending["status"] == "crowded":
            self.placement.crowd(self.run)
        else:
            self.placement.learn(self.run, ending.get("peak"))
        self.run = None

    def ask_to_stop(self) -> None:
        """Have a run in training write its checkpoint and end; a worker without a run has nothing to write."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM if self.run else signal.SIGKILL)

    def stop(self) -> None:
        """Kill the process and remove its log."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.listener.join(1.0)
        close_pipes(self.process)
        self.errors.unlink(missing_ok=True)

    def death(self, run: RunSpec, job: Job, shared: bool) -> dict[str, Any]:
        """Record a run after which the process ended without an answer.

        Nothing is recorded where memory was short and the GPU ``shared``: that may be the others' doing.
        """
        code = self.process.wait()
        if code in (0, -signal.SIGTERM):
            time.sleep(LEEWAY)  # who asks every process of a service to stop asks this one, too: then no run has failed
        failure = death(code, printed(self.errors))
        if shared and failure.kind == "oom":
            return answer_of("crowded", failure.message)
        return died(run, job, failure)

    def _listen(self, events: Events) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            for line in self.process.stdout:
                answer = json.loads(line)
                if answer.get("status") == "kept":  # it was asked to stop, and ends
                    self.kept = answer
                else:
                    events.put((self, answer))
        events.put((self, None))


@contextlib.contextmanager
def _stopping(events: Events, job: Job, report: Callable[[Event], None]) -> Iterator[list[_Worker]]:
    """The workers, which end with what is done inside; where that was asked to stop, it is told what became of runs."""
    workers: list[_Worker] = []
    was_asked = False
    try:
        yield workers
    except KeyboardInterrupt:
        was_asked = True
        raise
    finally:
        try:
            _end(workers)
        finally:
            if was_asked:
                _tell_kept(workers, events, job, report)


def _end(workers: Sequence[_Worker]) -> None:
    """End workers, once those in training have had the time to write a checkpoint; at once if this is interrupted."""
    try:
        for worker in workers:
            worker.ask_to_stop()
        patience = time.monotonic() + PATIENCE
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, patience - time.monotonic()))
    finally:
        for worker in workers:
            worker.stop()


def _tell_kept(workers: Sequence[_Worker], events: Events, job: Job, report: Callable[[Event], None]) -> None:
    """Report how the runs of workers that have ended stand: by what they said last, or else by their checkpoints."""
    last: dict[_Worker, dict[str, Any]] = {}
    with contextlib.suppress(queue.Empty):
        while True:
            worker, answer = events.get_nowait()
            if answer:
                last[worker] = answer
    for worker in workers:
        if (run := worker.run) is None:
            continue
        status = last.get(worker, {}).get("status")
        if status in ("done", "failed"):
            report(_event(run, last[worker]))
        elif worker.kept.get("standing", {}).get("of"):
            report(_event(run, worker.kept))
        elif status != "elsewhere":  # in a stage that runs share nobody counts the run's steps
            checkpoint = Path(job.results) / "checkpoints" / run.id / "current.pt"
            is_kept = bool(worker.kept) or checkpoint.is_file()
            report(Event(run.id, run.label, "kept", "its last checkpoint" if is_kept else ""))


Events: TypeAlias = "queue.Queue[tuple[_Worker, dict[str, Any] | None]]"
"""What workers say, in the order they say it; None: the worker has ended."""


def _next(events: Events, until: float) -> tuple[_Worker | None, dict[str, Any] | None]:
    """Wait for an event in short naps, so that Ctrl-C is heard at once everywhere; none until a moment is None."""
    while (left := until - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            return events.get(timeout=min(0.5, left))
    return None, None


def _say(line: str) -> None:
    """Say something beside what is told of runs: above the live lines, where there are any."""
    print(line, file=sys.stderr, flush=True)


def _event(spec: RunSpec, answer: dict[str, Any]) -> Event:
    standing = msgspec.convert(answer.get("standing"), Standing | None)
    facts = {name: answer[name] for name in ("status", "message", "seconds", "score") if name in answer}
    return Event(spec.id, spec.label, **facts, standing=standing)
