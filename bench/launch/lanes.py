"""The runs of a SLURM job, several at a time on its GPU: lanes, each with a worker of its own.

A lane is a thread of the job's process, which waits for its worker. What ends the job (a signal, its requeueing) is the
main thread's matter, once all lanes have heard it.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence
from typing import Any

from bench.launch.attendant import Attendant, WorkerLost
from bench.launch.failures import Failure
from bench.launch.orders import Orders
from bench.launch.pack import Leader, Pack, Stop
from bench.launch.sharing import Placement, Sharing
from bench.launch.worker import answer
from bench.spec import RunSpec

GPU = "the job's"
"""What its GPU is called: a job with lanes has one."""


class Halted(Exception):
    """A lane has heard that the job is to stop; with the run that was in training, if there was one."""


class Lanes(Leader):
    """Trains the runs of a job, as many at a time as there are attendants."""

    def __init__(self, pack: Pack, stop: Stop, attendants: Sequence[Attendant], orders: Orders) -> None:
        super().__init__(pack, stop, attendants[0], orders)
        self.placement = Placement(Sharing())
        self.changed = threading.Condition(threading.RLock())
        self.waiting: collections.deque[RunSpec] = collections.deque()
        self.theirs: list[RunSpec] = []
        self.halted: list[RunSpec] = []
        self.errors: list[BaseException] = []
        self.lanes = [_Lane(self, attendant) for attendant in attendants]

    def take(self, lane: _Lane) -> RunSpec | None:
        """The next run, once it may be on the GPU; None where a lane has nothing more to do."""
        with self.changed:
            while self.waiting and not self.stop.reason and all(isinstance(each, WorkerLost) for each in self.errors):
                for each in self.lanes:
                    self.placement.measure(GPU, each.attendant.free)
                if self.placement.room(GPU, [self.waiting[0]]):
                    lane.run = self.waiting.popleft()
                    count = self.placement.begin(GPU, lane.run)
                    for each in self.lanes:
                        if each is not lane and each.run is not None:
                            each.attendant.tell(count)
                    return lane.run
                self.changed.wait(0.5)
        return None

    def give_back(self, lane: _Lane, run: RunSpec, status: str) -> None:
        """A lane's run has ended, or is still to be trained."""
        with self.changed:
            lane.run = None
            self.placement.end(GPU, run)
            if status == "elsewhere":
                self.theirs.append(run)
            elif status == "crowded":
                self.placement.crowd(run)
                self.waiting.appendleft(run)
                print(f"too little memory beside others: {run.label}: it is trained again alone", flush=True)
            self.changed.notify_all()

    def _train_all(self, runs: Sequence[RunSpec]) -> list[RunSpec]:
        self.waiting.extend(runs)
        self.theirs = []
        threads = [threading.Thread(target=lane.serve, daemon=True) for lane in self.lanes[: len(runs)]]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)  # in naps, so that signals are heard
        self._go_on(*self.halted)
        errors = self.errors if self.waiting else [each for each in self.errors if not isinstance(each, WorkerLost)]
        if errors:
            raise errors[0]
        return self.theirs


class _Lane(Leader):
    """A worker and the run that it is at."""

    def __init__(self, lanes: Lanes, attendant: Attendant) -> None:
        super().__init__(lanes.pack, lanes.stop, attendant, lanes.orders)
        self.lanes = lanes
        self.run: RunSpec | None = None
        attendant.lock, attendant.count = lanes.changed, self._beside

    def serve(self) -> None:
        """Train one run after the other, until none is left, or this lane can train none."""
        while (run := self.lanes.take(self)) is not None:
            status = ""
            try:
                status = self._train(run)
            except Halted as end:
                self.lanes.halted += end.args
                return
            except BaseException as error:
                self.lanes.errors.append(error)
                if isinstance(error, WorkerLost):
                    self.lanes.waiting.appendleft(run)
                return
            finally:
                self.lanes.give_back(self, run, status)

    def _beside(self) -> int:
        """How many runs are on the GPU."""
        return len(self.lanes.placement.on(GPU))

    def _say(self, spec: RunSpec, ending: dict[str, Any]) -> None:
        with self.lanes.changed:
            if "peak" in ending:
                self.lanes.placement.learn(spec, ending["peak"])
            self.lanes._say(spec, ending)

    def _die(self, spec: RunSpec, failure: Failure) -> dict[str, Any]:
        if failure.kind == "oom" and self.lanes.placement.was_shared(spec):
            return answer("crowded", failure.message)
        return super()._die(spec, failure)

    def _go_on(self, *training: RunSpec) -> None:
        if self.stop.reason:
            self.attendant.stop()
            raise Halted(*training)
