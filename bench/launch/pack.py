"""What a SLURM job does: trains the runs of its pack, and goes on where it was when it is requeued.

The job's own process trains nothing. It starts a worker, as on one machine, so a run that crashes takes only its worker
with it. Before the time limit SLURM sends SIGUSR2, at a preemption SIGTERM: the worker then writes its checkpoint, and
submitit requeues the job, or SLURM does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from bench.launch.attendant import Attendant
from bench.launch.executor import Job
from bench.launch.failures import Failure, blamed, death, is_broken
from bench.launch.handover import Handover
from bench.launch.mps import multi_process_service
from bench.launch.orders import Orders
from bench.launch.worker import answer, died
from bench.records.store import Store
from bench.records.unwritable import Unwritable, writing_to
from bench.spec import RunSpec, from_json

PATIENCE, PAUSE = 300.0, 10.0
"""Seconds that a job stays for runs that others have, since these may die; and between looking after them."""

HEARSAY = 3.0
"""Seconds in which another process of a run, asked twice a second, has told what it failed of."""


@dataclass(frozen=True)
class Pack:
    """The runs of a job, as submitit pickles it; calling it trains them.

    Attributes:
        runs: their specs as JSON.
        gpus: GPUs for each run; 0: none is used.
        failed: failed attempts that each run had when it was submitted; without one, none.
        leeway: seconds from SIGUSR2 in which a checkpoint must be written.
        lanes: runs that are trained at a time, on the GPU of the job.
        mps: whether NVIDIA's multi-process service is to serve them.
    """

    runs: tuple[str, ...]
    job: Job
    gpus: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    leeway: float = 60.0
    lanes: int = 1
    mps: bool = False

    def __call__(self) -> dict[str, int]:
        """Train the runs. Returns how many ended in which way."""
        import submitit

        place = submitit.JobEnvironment()
        stop = Stop(self.leeway)
        if self.job.ranks > 1:
            _join(place)
        orders = Orders(place.paths.folder / f"{place.job_id}.{os.environ.get('SLURM_RESTART_COUNT', '0')}")
        log = place.paths.folder / f"{place.job_id}_{place.global_rank}_worker.log"
        devices = _devices(self.gpus, place.local_rank)
        if self.lanes > 1:
            return self._in_lanes(stop, orders, devices, log)
        attendant = Attendant(self.job, devices, log)
        stop.tell = attendant.ask_to_stop
        try:
            if place.global_rank:
                return Follower(self, stop, attendant, orders, place.global_rank).train()
            with writing_to(self.job.results):
                return Leader(self, stop, attendant, orders).train()
        finally:
            attendant.stop()

    def _in_lanes(self, stop: Stop, orders: Orders, devices: str, log: Path) -> dict[str, int]:
        """Train the runs several at a time."""
        from bench.launch.lanes import Lanes

        job = replace(self.job, shares_gpu=True)
        with contextlib.ExitStack() as stack:
            served = [devices] if self.mps else []
            services = stack.enter_context(multi_process_service(served, partial(print, flush=True)))
            attendants = []
            for lane in range(min(self.lanes, len(self.runs))):
                lane_log = log.with_name(f"{log.stem}_{lane}.log") if lane else log
                attendants.append(Attendant(job, devices, lane_log, services.get(devices)))
                stack.callback(attendants[-1].stop)

            def tell() -> None:
                for attendant in attendants:
                    attendant.ask_to_stop()

            stop.tell = tell
            with writing_to(self.job.results):
                return Lanes(self, stop, attendants, orders).train()

    def checkpoint(self) -> Any:
        """What submitit requeues: the same again; what has ended is left out by looking at the store."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def specs(self) -> list[RunSpec]:
        """The runs."""
        return [from_json(json.loads(run)) for run in self.runs]


class Stop:
    """Hears the signals that ask a job to stop; made after submitit has installed its own handlers, which it keeps."""

    def __init__(self, leeway: float) -> None:
        from submitit.slurm.slurm import SlurmJobEnvironment

        self.reason = ""
        self.tell: Callable[[], None] = lambda: None
        self._leeway, self._deadline = leeway, float("inf")
        self._limit = signal.Signals[f"SIG{SlurmJobEnvironment.USR_SIG}"]
        self._submitits: Any = signal.getsignal(self._limit)
        for number in (self._limit, signal.SIGTERM):
            signal.signal(number, self._hear)

    @property
    def overdue(self) -> bool:
        """Whether the time to write a checkpoint is over."""
        return time.monotonic() > self._deadline

    def requeue(self) -> None:
        """Have submitit requeue the job: ``SystemExit``. Raises ``RuntimeError`` where it was requeued too often."""
        self._submitits(self._limit, None)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # at a preemption SLURM requeues the job itself, whatever was asked for before
        self.reason = "preempted" if number == signal.SIGTERM else self.reason or "time limit"
        self._deadline = min(self._deadline, time.monotonic() + self._leeway)
        self.tell()


class Leader:
    """Decides which run comes next, alone or for all processes of the job; writes what died."""

    def __init__(self, pack: Pack, stop: Stop, attendant: Attendant, orders: Orders) -> None:
        self.pack, self.stop, self.attendant, self.orders = pack, stop, attendant, orders
        self.store = Store(pack.job.results)
        self.generation = 0
        self.ended: Counter[str] = Counter()

    def train(self) -> dict[str, int]:
        """Train every run that has not ended; stay a while for those that others have.

        Raises:
            Unwritable: the folder of results has a fault.
            SystemExit: the job was asked to stop.
        """
        waiting, patience = self._open(self.pack.specs()), time.monotonic() + PATIENCE
        while waiting:
            theirs = self._train_all(waiting)
            if len(theirs) < len(waiting):
                patience = time.monotonic() + PATIENCE
            waiting = self._open(theirs)
            if waiting and time.monotonic() > patience:
                break
            for _ in range(int(PAUSE) if waiting else 0):
                self._go_on()
                time.sleep(1)
        self.ended["elsewhere"] += len(waiting)
        if self.pack.job.ranks > 1:
            self.orders.end()
        return dict(self.ended)

    def _train_all(self, runs: Sequence[RunSpec]) -> list[RunSpec]:
        """Train runs; gives those that others have."""
        return [spec for spec in runs if self._train(spec) == "elsewhere"]

    def _train(self, spec: RunSpec) -> str:
        self._go_on()
        if self.pack.job.ranks > 1:
            self.orders.give(spec.id, self.generation)
        attempts = self.store.attempts().get(spec.id, 0)
        ending = self.attendant.train(spec, self.generation, self._hopeless)
        if ending is None:
            ending = self._without_answer(spec, attempts)
        status = str(ending["status"])
        if status == "unwritable":  # every other run would end so, and no failure could be recorded
            raise Unwritable(ending["message"])
        if status not in ("elsewhere", "crowded"):
            self._say(spec, ending)
        return status

    def _say(self, spec: RunSpec, ending: dict[str, Any]) -> None:
        """Count a run that has ended, and print how."""
        status = ending["status"]
        self.ended[status] += 1
        what = ending["message"] if status == "failed" else f"{ending['score']} in {ending['seconds']:.1f} s"
        print(f"[{self.ended.total()}/{len(self.pack.runs)}] {status}: {spec.label}: {what}", flush=True)

    def _hopeless(self) -> bool:
        """Whether no answer will come: the time is over, or another process of the run has failed."""
        return self.stop.overdue or bool(self._lost())

    def _lost(self) -> list[Failure]:
        """What other processes of the run have failed of."""
        return self.orders.lost(self.generation) if self.pack.job.ranks > 1 else []

    def _without_answer(self, spec: RunSpec, attempts: int) -> dict[str, Any]:
        """The worker has ended, or will not answer: stop the job, or record the failure and go on with a new worker."""
        given_up = self.attendant.given_up
        code = self.attendant.stop()
        if code == 0 and not given_up:  # it was asked to stop, through another process perhaps
            _wait(10, lambda: bool(self.stop.reason))
        self._go_on(spec)
        if code == -signal.SIGKILL:
            time.sleep(2)  # who kills the whole job kills this process too: then the run has not failed
            self._go_on(spec)
        try:
            if self.store.attempts().get(spec.id, 0) > attempts:  # it has written its failure itself
                return answer("failed", "see its record")
            ending = None if given_up else death(code, self.attendant.log_tail())
            return self._die(spec, self._failure(ending))
        finally:
            self.orders.forget(self.generation)
            self.generation += 1

    def _die(self, spec: RunSpec, failure: Failure) -> dict[str, Any]:
        """Record a run whose worker died."""
        return died(spec, self.pack.job, failure)

    def _failure(self, ending: Failure | None) -> Failure:
        """What a run has failed of: how its worker ended by itself, if it did, or what other processes failed of."""
        if ending and self.pack.job.ranks > 1 and is_broken(ending):
            _wait(HEARSAY, lambda: bool(self._lost()))
        return blamed([ending, *self._lost()] if ending else self._lost())

    def _go_on(self, *training: RunSpec) -> None:
        """Return where nobody asks for a stop; else end this job, now or, requeued, later to go on."""
        if not self.stop.reason:
            return
        print(f"stopped ({self.stop.reason}); what is missing is done when the job starts again", flush=True)
        self.attendant.stop()
        if self.stop.reason == "preempted":
            sys.exit(128 + signal.SIGTERM)
        try:
            self.stop.requeue()
        except RuntimeError as error:
            for spec in training:
                message = f"its job reached its time limit too often: {error}; --time gives it more"
                died(spec, self.pack.job, Failure(message, "time", log=self.attendant.log_tail()))
            raise

    def _open(self, runs: list[RunSpec]) -> list[RunSpec]:
        """Those without a record, of success or of a failure since the pack was submitted."""
        attempts, earlier = self.store.attempts(), self.pack.failed
        tried = {run.id for run in runs if attempts.get(run.id, 0) > earlier.get(run.id, 0)}
        return [run for run in runs if run.id not in tried and not self.store.holds(run)]


class Follower:
    """Another process of a job whose processes share each run: does what the leader says."""

    def __init__(self, pack: Pack, stop: Stop, attendant: Attendant, orders: Orders, rank: int) -> None:
        self.stop, self.attendant, self.orders = stop, attendant, orders
        self.rank, self.ranks = rank, pack.job.ranks
        self.specs = {spec.id: spec for spec in pack.specs()}

    def train(self) -> dict[str, int]:
        """Take part in each run until the leader says that it was the last one. Raises ``Unwritable``, as it does."""
        for number, run, generation in self._new_orders():
            ending = self.attendant.train(self.specs[run], generation, partial(self._hopeless, number))
            if ending is None:
                self._lose(number, generation, death(self.attendant.stop(), self.attendant.log_tail(), "it"))
            elif "failure" in ending:
                failure = Failure.from_json(ending["failure"])
                self._lose(number, generation, replace(failure, log=self.attendant.log_tail()))
            elif ending["status"] == "unwritable":  # the others wait for this process, and end with it
                raise Unwritable(ending["message"])
        return {}

    def _lose(self, number: int, generation: int, failure: Failure) -> None:
        """Tell the leader that this process failed, unless it was asked to stop, or the leader has gone on already."""
        if not self.stop.reason and self.orders.count() == number:
            message = f"process {self.rank} of {self.ranks}: {failure.message}"
            self.orders.lose(self.rank, generation, replace(failure, message=message))

    def _hopeless(self, number: int) -> bool:
        """Whether the leader waits no longer for this process, or nobody does."""
        return self.stop.overdue or self.orders.count() > number

    def _new_orders(self) -> Iterator[tuple[int, str, int]]:
        """The orders; of those that came meanwhile the last. After a stop there is none, and SLURM ends the job."""
        seen = 0
        while True:
            orders = self.orders.read()
            if len(orders) > seen:
                seen, last = len(orders), orders[-1]
                if last is None:
                    return
                yield seen, *last
            else:
                time.sleep(0.1)


def main() -> None:
    """What SLURM starts: submitit's job, from the bench that submitted it, which names its array and its folder."""
    from submitit.core.submission import process_job
    from submitit.core.utils import JobPaths
    from submitit.slurm.slurm import SlurmJobEnvironment

    number, folder = sys.argv[1], Path(sys.argv[-1])
    if number.isdecimal():  # an older version's jobs, which may still be requeued, name no array
        paths = JobPaths(folder, SlurmJobEnvironment().job_id)
        Handover(folder, int(number)).take(int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")), paths.submitted_pickle)
    process_job(folder)


def _wait(seconds: float, event: Callable[[], bool]) -> None:
    """Wait for an event, and no longer than so many seconds."""
    patience = time.monotonic() + seconds
    while not event() and time.monotonic() < patience:
        time.sleep(0.1)


def _join(place: Any) -> None:
    """Say in the environment which of the processes that share each run this is, as torch.distributed reads it."""
    from submitit.helpers import TorchDistributedEnvironment

    TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    if place.num_nodes == 1:
        os.environ["MASTER_ADDR"] = "127.0.0.1"  # a node's name need not be known to itself


def _devices(gpus: int, local_rank: int) -> str:
    """The GPU of this process, of those that SLURM gave the job; none where none was asked for."""
    if not gpus:
        return ""
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[local_rank % len(names)] if names else str(local_rank)
