"""A job that trains several runs at a time on its GPU: each once, whatever one of them or SLURM does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.launch.attendant import WorkerLost
from bench.launch.lanes import Lanes
from bench.launch.orders import Orders
from bench.launch.pack import Stop
from bench.records.store import Store
from bench.spec import RunSpec
from tests.launch.test_pack import DONE, RUNS, Asked, StopAsked, Worker, done, pack_of
from tests.scenes import as_plain


class Meeting:
    """Notes which runs are in training at a time; some wait until so many are."""

    def __init__(self, waits: int, seeds: tuple[int, ...]) -> None:
        self.changed = threading.Condition()
        self.waits, self.seeds = waits, seeds
        self.now: set[int] = set()
        self.most = 0

    def __call__(self, answer: Callable[[RunSpec], Any]) -> Callable[[RunSpec], Any]:
        def met(run: RunSpec) -> Any:
            with self.changed:
                self.now.add(run.seed)
                self.most = max(self.most, len(self.now))
                self.changed.notify_all()
                if run.seed in self.seeds:
                    assert self.changed.wait_for(lambda: self.most >= self.waits, 60)
            try:
                return answer(run)
            finally:
                with self.changed:
                    self.now.discard(run.seed)

        return met


class Beside(Worker):
    """Answers as it is told, and notes what it is told of its neighbours."""

    def __init__(self, *words: Any, **given: Any) -> None:
        super().__init__(*words, **given)
        self.told: list[int] = []

    def tell(self, count: int) -> None:
        self.told.append(count)


def lanes(root: Path, workers: list[Worker], stop: Stop | None = None) -> Lanes:
    return Lanes(pack_of(root, lanes=len(workers)), stop or Asked(), workers, Orders(root / "job"))


def test_so_many_at_a_time_and_each_once(tmp_path: Path) -> None:
    meeting = Meeting(2, (0, 1))
    workers = [Beside(meeting(lambda run: done(tmp_path, run))) for _ in range(2)]
    assert lanes(tmp_path, [*workers]).train() == {"done": 4, "elsewhere": 0}
    assert sorted(seed for worker in workers for seed, _ in worker.trained) == [0, 1, 2, 3]
    assert meeting.most == 2
    assert {2} == {count for worker in workers for count in worker.told}


def test_one_that_fails_stops_nobody(tmp_path: Path) -> None:
    def answer(run: RunSpec) -> dict[str, Any] | None:
        return None if run.seed == 1 else done(tmp_path, run)

    workers: list[Worker] = [Beside(answer, 7) for _ in range(2)]
    assert lanes(tmp_path, workers).train() == {"done": 3, "failed": 1, "elsewhere": 0}
    (failure,) = map(as_plain, Store(tmp_path).failures().values())
    assert "exit code 7" in failure["error"]["message"]


@pytest.mark.parametrize("dies", [False, True])
def test_one_that_is_crowded_out_is_trained_alone(
    tmp_path: Path, dies: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether its worker says so or the kernel ends it: nothing is recorded, and nobody is beside it the next time."""
    tries: list[int] = []

    def answer(run: RunSpec) -> dict[str, Any] | None:
        if run.seed != 1:
            return done(tmp_path, run)
        tries.append(len(meeting.now))
        if len(tries) == 1:
            return None if dies else {**DONE, "status": "crowded", "message": "no memory"}
        return done(tmp_path, run)

    meeting = Meeting(2, (0, 1))
    workers: list[Worker] = [Beside(meeting(answer), -9) for _ in range(2)]
    assert lanes(tmp_path, workers).train() == {"done": 4, "elsewhere": 0}
    assert len(tries) == 2
    assert tries[1] == 1
    assert Store(tmp_path).failures() == {}
    assert "it is trained again alone" in capsys.readouterr().out


@pytest.mark.parametrize(("reason", "ends"), [("time limit", StopAsked), ("preempted", SystemExit)])
def test_a_stop_is_handed_on_once_when_all_have_their_checkpoints(
    tmp_path: Path, reason: str, ends: type[BaseException]
) -> None:
    requeued: list[str] = []

    class Once(Asked):
        def requeue(self) -> None:
            requeued.append(self.reason)
            raise StopAsked

    stop = Once()

    def answer(run: RunSpec) -> None:
        stop.reason = reason

    workers: list[Worker] = [Beside(answer) for _ in range(2)]
    with pytest.raises(ends):
        lanes(tmp_path, workers, stop).train()
    assert len(requeued) == (reason == "time limit")
    assert Store(tmp_path).attempts() == {}, "a run that was asked to stop has not failed"
    assert all(worker.stopped for worker in workers if worker.trained)


def test_too_often(tmp_path: Path) -> None:
    """Every run that was in training has failed of the time."""

    class Ended(Asked):
        def requeue(self) -> None:
            raise RuntimeError("timed-out too many times.")

    stop, meeting = Ended(), Meeting(2, (0, 1))

    def answer(run: RunSpec) -> None:
        stop.reason = "time limit"

    workers: list[Worker] = [Beside(meeting(answer)) for _ in range(2)]
    with pytest.raises(RuntimeError, match="too many"):
        lanes(tmp_path, workers, stop).train()
    failures = {run: as_plain(stored)["error"]["class"] for run, stored in Store(tmp_path).failures().items()}
    assert failures == {RUNS[0].id: "time", RUNS[1].id: "time"}


class TestWorkersThatCannotStart:
    def lost(self, run: RunSpec) -> Any:
        raise WorkerLost("the worker cannot start: no torch")

    def test_the_others_go_on(self, tmp_path: Path) -> None:
        workers: list[Worker] = [Beside(self.lost), Beside(lambda run: done(tmp_path, run))]
        assert lanes(tmp_path, workers).train()["done"] == 4

    def test_where_none_can_the_job_ends(self, tmp_path: Path) -> None:
        workers: list[Worker] = [Beside(self.lost), Beside(self.lost)]
        with pytest.raises(WorkerLost, match="no torch"):
            lanes(tmp_path, workers).train()
        assert Store(tmp_path).failures() == {}


def test_those_that_others_have_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    seen: list[int] = []

    def answer(run: RunSpec) -> dict[str, Any]:
        seen.append(run.seed)
        if run.seed == 0 and seen.count(0) < 3:
            return {**DONE, "status": "elsewhere"}
        return done(tmp_path, run)

    workers: list[Worker] = [Beside(answer), Beside(answer)]
    assert lanes(tmp_path, workers).train()["done"] == 4
    assert sorted(seen) == [0, 0, 0, 1, 2, 3]


@pytest.mark.slow
def test_a_full_disk_ends_the_job(tmp_path: Path) -> None:
    answer = {**DONE, "status": "unwritable", "message": "no space left"}
    workers: list[Worker] = [Beside(lambda run: answer), Beside(lambda run: answer)]
    with pytest.raises(Exception, match="no space left"):
        lanes(tmp_path, workers).train()
    assert sum(len(worker.trained) for worker in workers) <= 2
