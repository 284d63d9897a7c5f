"""A job: every run of its pack ends, whatever one of them does; a stop is handed on; a job started again goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.errors import InputError
from bench.launch import attendant as attendants
from bench.launch import pack as packs
from bench.launch.attendant import Attendant, WorkerLost
from bench.launch.executor import Job
from bench.launch.failures import TAIL, Failure
from bench.launch.orders import Orders
from bench.launch.pack import Follower, Leader, Pack, Stop
from bench.launch.worker import answer_of
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.process import program
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec, to_json
from tests.launch.runs import spec
from tests.scenes import as_plain

DONE = {"status": "done", "message": "", "seconds": 1.0, "score": "50.0 %"}
ELSEWHERE = {**DONE, "status": "elsewhere"}
BROKEN = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:29595"


RUNS = [spec(seed) for seed in range(4)]


def publish(root: Path, run: RunSpec) -> None:
    store = Store(root)
    with store.draft() as draft:
        point = {"step": 8, "val": None, "test": {"top1": 50.0}}
        store.publish(draft, run, {"status": "done", "curve": [point], "timing": {"seconds": 1.0}})


def done(root: Path, run: RunSpec) -> dict[str, Any]:
    """What a worker does that trains a run, and what it answers."""
    publish(root, run)
    return DONE


def fail(root: Path, run: RunSpec) -> None:
    store = Store(root)
    with store.draft() as draft:
        store.publish_failure(draft, run, {"status": "failed", "error": {"kind": "E", "message": "m"}})


def pack_of(root: Path, runs: list[RunSpec] = RUNS, ranks: int = 1, **given: Any) -> Pack:
    return Pack(
        tuple(json.dumps(to_json(run)) for run in runs), Job(root.absolute(), ranks=ranks, launcher="slurm"), **given
    )


def wait(condition: Callable[[], bool]) -> None:
    stop = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.01)


class StopAsked(Exception):
    """What this test's submitit does when it requeues a job."""


class Asked(Stop):
    """A stop that signals ask for without signals."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        self.late = False
        self.tell = lambda: None

    @property
    def overdue(self) -> bool:
        return self.late

    def requeue(self) -> None:
        raise StopAsked


class Worker(Attendant):
    """Answers as it is told: a function of the run, which may also write records."""

    def __init__(self, answer: Callable[[RunSpec], dict[str, Any] | None], code: int = 0, log: str = "") -> None:
        self.answer, self.code, self.log = answer, code, log
        self.trained: list[tuple[int, int]] = []
        self.stopped = 0
        self.given_up = False

    def train(self, spec: RunSpec, generation: int, hopeless: Callable[[], bool]) -> dict[str, Any] | None:
        self.trained.append((spec.seed, generation))
        return self.answer(spec)

    def stop(self) -> int:
        self.stopped += 1
        return self.code

    def log_tail(self) -> str:
        return self.log or "the reason\n"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting takes no time, and patience is short."""
    passed = [0.0]
    monkeypatch.setattr(packs, "PATIENCE", 30.0)
    monkeypatch.setattr(time, "sleep", lambda seconds: passed.__setitem__(0, passed[0] + seconds))
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed[0])


def lead(root: Path, worker: Worker, stop: Stop | None = None, **given: Any) -> dict[str, int]:
    return Leader(pack_of(root, **given), stop or Asked(), worker, Orders(root / "job")).train()


@pytest.mark.usefixtures("quick")
class TestRuns:
    def test_each_is_trained_once(self, tmp_path: Path) -> None:
        worker = Worker(lambda run: done(tmp_path, run))
        assert lead(tmp_path, worker)["done"] == 4
        assert worker.trained == [(0, 0), (1, 0), (2, 0), (3, 0)]

    def test_one_that_fails_stops_nobody(self, tmp_path: Path) -> None:
        def answer(run: RunSpec) -> dict[str, Any]:
            if run.seed == 1:
                fail(tmp_path, run)
                return {**DONE, "status": "failed", "message": "nan"}
            publish(tmp_path, run)
            return DONE

        worker = Worker(answer)
        assert lead(tmp_path, worker) == {"done": 3, "failed": 1, "elsewhere": 0}

    @pytest.mark.parametrize(
        ("code", "says", "kind"),
        [
            (7, "exit code 7", "code"),
            (-11, "SIGSEGV", "code"),
            (-9, "SIGKILL", "oom"),
            (-7, "SIGBUS", "node"),
            (0, "exit code 0", "node"),
        ],
    )
    def test_one_that_takes_its_worker_with_it_stops_nobody(
        self, tmp_path: Path, code: int, says: str, kind: str
    ) -> None:
        worker = Worker(lambda run: None if run.seed == 1 else done(tmp_path, run), code)
        assert lead(tmp_path, worker) == {"done": 3, "failed": 1, "elsewhere": 0}
        assert worker.trained == [(0, 0), (1, 0), (2, 1), (3, 1)], "a new worker for those after it"
        (failure,) = map(as_plain, Store(tmp_path).failures().values())
        assert says in failure["error"]["message"]
        assert failure["error"]["class"] == kind
        assert (Path(failure["folder"]) / "log.txt").read_text(encoding="utf-8") == "the reason\n"

    def test_a_failure_that_the_worker_wrote_before_it_ended_is_written_once(self, tmp_path: Path) -> None:
        def answer(run: RunSpec) -> dict[str, Any] | None:
            if run.seed != 1:
                return done(tmp_path, run)
            fail(tmp_path, run)
            return None

        assert lead(tmp_path, Worker(answer, 1))["failed"] == 1
        assert Store(tmp_path).attempts() == {RUNS[1].id: 1}

    def test_a_job_that_starts_again_goes_on(self, tmp_path: Path) -> None:
        publish(tmp_path, RUNS[0])
        fail(tmp_path, RUNS[1])
        worker = Worker(lambda run: done(tmp_path, run))
        lead(tmp_path, worker)
        assert worker.trained == [(2, 0), (3, 0)]

    def test_what_failed_before_it_was_submitted_is_trained(self, tmp_path: Path) -> None:
        for _ in range(2):
            fail(tmp_path, RUNS[1])
        worker = Worker(lambda run: done(tmp_path, run))
        lead(tmp_path, worker, failed={RUNS[1].id: 2})
        assert [seed for seed, _ in worker.trained] == [0, 1, 2, 3]

    def test_those_that_others_have_come_last_and_again(self, tmp_path: Path) -> None:
        seen: list[int] = []

        def answer(run: RunSpec) -> dict[str, Any]:
            seen.append(run.seed)
            if run.seed == 0 and seen.count(0) < 3:
                return ELSEWHERE
            publish(tmp_path, run)
            return DONE

        assert lead(tmp_path, Worker(answer))["done"] == 4
        assert seen == [0, 1, 2, 3, 0, 0]

    def test_nobody_stays_for_ever_for_those_that_others_have(self, tmp_path: Path) -> None:
        worker = Worker(lambda run: ELSEWHERE if run.seed == 0 else done(tmp_path, run))
        assert lead(tmp_path, worker) == {"done": 3, "elsewhere": 1}

    def test_a_fault_of_the_folder_ends_the_part_of_another_process(self, tmp_path: Path) -> None:
        """The others wait for it, and end with it."""
        Orders(tmp_path / "job").give(RUNS[0].id, 0)
        worker = Worker(lambda run: {**DONE, "status": "unwritable", "message": "no mount"})
        with pytest.raises(InputError, match="no mount"):
            Follower(pack_of(tmp_path, ranks=2), Asked(), worker, Orders(tmp_path / "job"), 1).train()
        assert Orders(tmp_path / "job").lost(0) == []

    def test_a_full_disk_ends_the_job(self, tmp_path: Path) -> None:
        worker = Worker(lambda run: {**DONE, "status": "unwritable", "message": "no space left"})
        with pytest.raises(InputError, match="no space left"):
            lead(tmp_path, worker)
        assert worker.trained == [(0, 0)]

    def test_those_that_others_did_are_left(self, tmp_path: Path) -> None:
        def answer(run: RunSpec) -> dict[str, Any]:
            publish(tmp_path, run)
            return ELSEWHERE

        worker = Worker(answer)
        lead(tmp_path, worker)
        assert len(worker.trained) == 4


@pytest.mark.usefixtures("quick")
class TestStops:
    @pytest.mark.parametrize(("reason", "ends"), [("time limit", StopAsked), ("preempted", SystemExit)])
    def test_is_handed_on_when_the_run_has_its_checkpoint(
        self, tmp_path: Path, reason: str, ends: type[BaseException]
    ) -> None:
        stop = Asked()

        def answer(run: RunSpec) -> dict[str, Any] | None:
            if run.seed == 1:
                stop.reason = reason
                return None
            publish(tmp_path, run)
            return DONE

        worker = Worker(answer)
        with pytest.raises(ends):
            lead(tmp_path, worker, stop)
        assert [seed for seed, _ in worker.trained] == [0, 1]
        assert worker.stopped
        assert Store(tmp_path).attempts() == {}, "a run that was asked to stop has not failed"

    def test_between_two_runs(self, tmp_path: Path) -> None:
        with pytest.raises(StopAsked):
            lead(tmp_path, Worker(lambda run: DONE), Asked("time limit"))

    def test_a_run_that_ends_after_all_is_done(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        stop = Asked()

        def answer(run: RunSpec) -> dict[str, Any]:
            stop.reason = "time limit"
            publish(tmp_path, run)
            return DONE

        with pytest.raises(StopAsked):
            lead(tmp_path, Worker(answer), stop)
        assert "[1/4] done" in capsys.readouterr().out

    def test_too_often(self, tmp_path: Path) -> None:
        class Ended(Asked):
            def requeue(self) -> None:
                raise RuntimeError("timed-out too many times.")

        stop = Ended()

        def answer(run: RunSpec) -> None:
            stop.reason = "time limit"

        with pytest.raises(RuntimeError, match="too many"):
            lead(tmp_path, Worker(answer), stop)
        (failure,) = map(as_plain, Store(tmp_path).failures().values())
        assert failure["error"]["class"] == "time"
        assert "--time" in failure["error"]["message"]

    def test_signals(self) -> None:
        """Those of SLURM reach this process while it waits; what submitit had installed is called at the end."""
        before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
        heard: list[object] = []
        try:
            signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
            stop = Stop(leeway=1000)
            stop.tell = lambda: heard.append("told")
            os.kill(os.getpid(), signal.SIGUSR2)
            assert (stop.reason, stop.overdue, heard) == ("time limit", False, ["told"])
            stop.requeue()
            assert heard == ["told", signal.SIGUSR2]
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.reason == "preempted", "SLURM requeues the job itself"
            hurried = Stop(leeway=-1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert hurried.overdue
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def test_what_is_requeued_is_the_same_again(self, tmp_path: Path) -> None:
        pack = pack_of(tmp_path)
        assert pack.checkpoint().function == pack


class TestSharedRuns:
    def test_orders(self, tmp_path: Path) -> None:
        worker = Worker(lambda run: None if run.seed == 1 else done(tmp_path, run), 1)
        lead(tmp_path, worker, ranks=2)
        told = Orders(tmp_path / "job").read()
        assert told == [(RUNS[0].id, 0), (RUNS[1].id, 0), (RUNS[2].id, 1), (RUNS[3].id, 1), None]

    def lost(self, root: Path, theirs: Failure, given_up: bool = True, code: int = 0, log: str = "") -> dict[str, str]:
        """The failure that is recorded where another process said that it failed, while the second run was trained."""
        orders = Orders(root / "job")

        def answer(run: RunSpec) -> dict[str, Any] | None:
            worker.given_up = run.seed == 1 and given_up
            if run.seed != 1:
                return done(root, run)
            orders.lose(1, 0, theirs)
            return None

        worker = Worker(answer, code, log)
        assert lead(root, worker, ranks=2) == {"done": 3, "failed": 1, "elsewhere": 0}
        assert not list(root.glob("job.lost-*")), "what was said is removed once it is recorded"
        (failure,) = map(as_plain, Store(root).failures().values())
        assert (failure["id"], failure["folder"][-2:]) == (RUNS[1].id, "-1")
        return {**failure["error"], "log": (Path(failure["folder"]) / "log.txt").read_text(encoding="utf-8")}

    def test_what_another_process_failed_of_is_recorded(self, tmp_path: Path) -> None:
        theirs = Failure(
            "process 1 of 2: MemoryError: no more", "oom", "Traceback ...\nMemoryError: no more", "printed"
        )
        error = self.lost(tmp_path, theirs)
        assert error == {
            "class": "oom",
            "kind": "died",
            "message": "process 1 of 2: MemoryError: no more",
            "trace": "Traceback ...\nMemoryError: no more",
            "log": "printed",
        }

    def test_and_not_the_connection_that_broke_of_it(self, tmp_path: Path) -> None:
        theirs = Failure("process 1 of 2: it ended: killed by signal 11 (SIGSEGV)", "code")
        error = self.lost(tmp_path, theirs, given_up=False, code=1, log=BROKEN)
        assert (error["class"], error["message"]) == ("code", theirs.message)

    def test_nor_the_other_way_round(self, tmp_path: Path) -> None:
        theirs = Failure(f"process 1 of 2: RuntimeError: {BROKEN}", "node")
        error = self.lost(tmp_path, theirs, given_up=False, code=-11)
        assert error["class"] == "code"
        assert error["message"].endswith("killed by signal 11 (SIGSEGV)")

    def test_a_connection_that_broke_of_nothing_is_of_the_machine(self, tmp_path: Path) -> None:
        theirs = Failure(f"process 1 of 2: RuntimeError: {BROKEN}", "node")
        assert self.lost(tmp_path, theirs)["class"] == "node"

    def test_what_a_process_said_is_whole_and_in_order(self, tmp_path: Path) -> None:
        orders = Orders(tmp_path / "7.0")
        for rank in (10, 2):
            orders.lose(rank, 3, Failure(f"é {rank}", "data", "t" * 100_000, "l" * 100_000))
        found = orders.lost(3)
        assert [failure.message for failure in found] == ["é 2", "é 10"]
        assert {(failure.kind, len(failure.trace), len(failure.log)) for failure in found} == {("data", TAIL, TAIL)}
        assert orders.lost(1) == []
        orders.forget(3)
        assert orders.lost(3) == []
        assert list(tmp_path.iterdir()) == []

    def test_are_followed(self, tmp_path: Path) -> None:
        orders = Orders(tmp_path / "job")
        worker = Worker(lambda run: self._order_after(orders, run))
        orders.give(RUNS[0].id, 0)
        follower = Follower(pack_of(tmp_path, ranks=2), Asked(), worker, orders, 1)
        assert follower.train() == {}
        assert worker.trained == [(0, 0), (1, 0), (2, 1)]

    def _order_after(self, orders: Orders, run: RunSpec) -> dict[str, Any]:
        if run.seed == 2:
            orders.end()
        else:
            orders.give(RUNS[run.seed + 1].id, run.seed)
        return DONE

    def follow(self, root: Path, answer: dict[str, Any] | None, code: int = 0, reason: str = "") -> Orders:
        """A follower at one run of the third generation, after which the leader, told or not, ends."""
        orders, stop, worker = Orders(root / "job"), Asked(reason), Worker(lambda run: answer, code)
        orders.give(RUNS[0].id, 3)
        follower = Follower(pack_of(root, ranks=2), stop, worker, orders, 1)
        given = follower._new_orders

        def last() -> Iterator[tuple[int, str, int]]:
            yield next(given())
            orders.end()
            yield from given()

        follower._new_orders = last  # type: ignore[method-assign]
        assert follower.train() == {}
        return orders

    def test_a_follower_that_dies_is_told(self, tmp_path: Path) -> None:
        orders = self.follow(tmp_path, None, -7)
        (failure,) = orders.lost(3)
        assert failure.kind == "node"
        assert failure.message.startswith("process 1 of 2: it ended: killed by signal 7 (SIGBUS)")
        assert failure.log == "the reason\n"
        assert orders.lost(2) == []

    def test_a_follower_that_fails_is_told_and_its_worker_stays(self, tmp_path: Path) -> None:
        """At its end the others would fail too, of a broken connection."""
        theirs = Failure("ValueError: the shapes differ", "code", "Traceback ...")
        worker = Worker(lambda run: answer_of(theirs))
        orders = Orders(tmp_path / "job")
        orders.give(RUNS[0].id, 0)
        follower = Follower(pack_of(tmp_path, ranks=2), Asked(), worker, orders, 1)
        thread = threading.Thread(target=follower.train)
        thread.start()
        wait(lambda: bool(orders.lost(0)))
        assert worker.stopped == 0
        orders.end()
        thread.join(60)
        assert not thread.is_alive()
        (failure,) = orders.lost(0)
        assert failure == Failure(
            "process 1 of 2: ValueError: the shapes differ", "code", "Traceback ...", "the reason\n"
        )

    def test_a_follower_that_is_asked_to_stop_has_not_died(self, tmp_path: Path) -> None:
        assert self.follow(tmp_path, None, 0, "preempted").lost(3) == []

    def test_an_order_half_written_is_none(self, tmp_path: Path) -> None:
        orders = Orders(tmp_path / "job")
        orders.give("a", 0)
        with (tmp_path / "job.orders").open("a") as file:
            file.write('["b", ')
        assert orders.read() == [("a", 0)]


class TestAttendant:
    """The process between SLURM and a worker that only pretends to train."""

    @pytest.fixture
    def start(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Attendant]]:
        made: list[Attendant] = []

        def begin(code: str, devices: str = "") -> Attendant:
            script = tmp_path / "python"
            head = "import json, os, signal, sys, time\ndef say(**told): print(json.dumps(told), flush=True)\n"
            script.write_text(f"#!{REAL}\n{head}{code}\n", encoding="utf-8")
            script.chmod(0o755)
            monkeypatch.setattr(sys, "executable", str(script))
            made.append(Attendant(Job(tmp_path), devices, tmp_path / "worker.log"))
            return made[-1]

        yield begin
        for attendant in made:
            attendant.stop()

    def test_a_worker_lives_across_runs(self, start: Callable[[str], Attendant]) -> None:
        attendant = start("say(ready=True)\nfor line in sys.stdin: say(pid=os.getpid(), seed=json.loads(line)['seed'])")
        answers = [attendant.train(run, 0, lambda: False) for run in RUNS]
        assert [answer["seed"] for answer in answers if answer] == [0, 1, 2, 3]
        assert len({answer["pid"] for answer in answers if answer}) == 1
        again = attendant.train(RUNS[0], 1, lambda: False)
        assert again
        assert again["pid"] not in {answer["pid"] for answer in answers if answer}

    def test_one_that_says_that_it_is_the_last_is_replaced(self, start: Callable[[str], Attendant]) -> None:
        """As where a fault in a kernel has left it without its GPU: the next run must not fail for that."""
        attendant = start("say(ready=True)\nfor line in sys.stdin: say(pid=os.getpid(), ends=True)")
        answers = [attendant.train(run, 0, lambda: False) for run in RUNS[:2]]
        assert len({answer["pid"] for answer in answers if answer}) == 2

    def test_its_last_word_is_no_answer_to_a_run(self, start: Callable[[str], Attendant]) -> None:
        """A worker that was asked to stop says where its run is kept, and ends: the run has not ended."""
        attendant = start("say(ready=True)\nsys.stdin.readline()\nsay(status='kept', step=3, of=8)\nos._exit(0)")
        assert attendant.train(RUNS[0], 0, lambda: False) is None
        assert attendant.stop() == 0

    def test_one_that_died_while_it_waited(self, start: Callable[[str], Attendant]) -> None:
        attendant = start("say(ready=True)\nsys.stdin.readline()\nsay(done=True)\nos._exit(7)")
        assert attendant.train(RUNS[0], 0, lambda: False)
        assert attendant._process is not None
        os.waitid(os.P_PID, attendant._process.pid, os.WEXITED | os.WNOWAIT)
        assert attendant.train(RUNS[0], 0, lambda: False) is None
        assert attendant.stop() == 7

    def test_one_that_ends(self, start: Callable[[str], Attendant]) -> None:
        attendant = start("say(ready=True)\nsys.stdin.readline()\nsys.exit(7)")
        assert attendant.train(RUNS[0], 0, lambda: False) is None
        assert attendant.stop() == 7

    def test_one_that_cannot_start(self, start: Callable[[str], Attendant]) -> None:
        attendant = start("sys.exit('no module named torch')")
        with pytest.raises(WorkerLost, match="no module named torch"):
            attendant.train(RUNS[0], 0, lambda: False)

    def test_one_that_is_asked_to_stop(self, start: Callable[[str], Attendant], tmp_path: Path) -> None:
        begun = tmp_path / "begun"
        attendant = start(
            "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
            f"say(ready=True)\nsys.stdin.readline()\nopen({str(begun)!r}, 'x').close()\ntime.sleep(600)"
        )

        def ask() -> None:
            wait(begun.exists)
            attendant.ask_to_stop()

        asking = threading.Thread(target=ask)
        asking.start()
        assert attendant.train(RUNS[0], 0, lambda: False) is None
        asking.join()
        assert not attendant.given_up
        assert attendant.stop() == 0

    def test_one_that_hangs(self, start: Callable[[str], Attendant], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(attendants, "PATIENCE", 0.2)
        attendant = start("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay(ready=True)\ntime.sleep(600)")
        assert attendant.train(RUNS[0], 0, lambda: attendant._ready) is None
        assert attendant.given_up
        assert attendant.stop() == -signal.SIGKILL

    def test_signals_of_slurm_do_not_kill_it(self, start: Callable[[str], Attendant]) -> None:
        """It may signal every process of a job; the worker is asked by SIGTERM alone."""
        attendant = start(
            "say(ready=True)\nsys.stdin.readline()\nos.kill(os.getpid(), signal.SIGUSR2)\nsay(alive=True)"
        )
        assert attendant.train(RUNS[0], 0, lambda: False) == {"alive": True}

    def test_what_it_sees(self, start: Callable[..., Attendant], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MASTER_PORT", "20000")
        names = "{n: os.environ[n] for n in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS', 'MASTER_PORT')}"
        attendant = start(f"say(ready=True)\nfor line in sys.stdin: say(**{names})", "3")
        assert attendant.train(RUNS[0], 2, lambda: False) == {
            "CUDA_VISIBLE_DEVICES": "3",
            "OMP_NUM_THREADS": "1",
            "MASTER_PORT": "20002",
        }


REAL = sys.executable


@pytest.mark.parametrize(
    ("visible", "gpus", "rank", "device"),
    [
        ("2,3", 2, 0, "2"),
        ("2,3", 2, 1, "3"),
        ("5", 1, 0, "5"),
        ("0,1", 0, 0, ""),
        ("", 2, 1, "1"),
    ],
)
def test_the_gpu_of_a_process(visible: str, gpus: int, rank: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that SLURM gave; not the first ones of the node, which may be another job's."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert packs._devices(gpus, rank) == device


@pytest.mark.slow
def test_a_whole_job_without_slurm(tmp_path: Path) -> None:
    """Through submitit's own entry, with its environment: the runs are failures here, since no such method is there."""
    import submitit

    folder = tmp_path / "submissions"
    folder.mkdir()
    pack = pack_of(tmp_path / "results", RUNS[:2])
    submitit.core.utils.DelayedSubmission(pack).dump(folder / "7_submitted.pkl")
    environment = {**os.environ, "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "7", "OMP_NUM_THREADS": "1"}
    command = [*program("bench.launch.pack"), "-u", "-m", "submitit.core._submit", str(folder)]
    (tmp_path / "bench.py").write_text("raise RuntimeError('not this one')\n", encoding="utf-8")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[2/2] failed" in done.stdout
    failures = {run: as_plain(stored) for run, stored in Store(tmp_path / "results").failures().items()}
    assert set(failures) == {RUNS[0].id, RUNS[1].id}
    for failure in failures.values():
        assert failure["environment"]["launcher"] == "slurm"
        assert failure["environment"]["slurm"]["job"] == "7"


SHARED = '''
import os
from dataclasses import dataclass

from bench.method import Method, hyper


@dataclass(frozen=True)
class Mine(Method):
    """Plain fine-tuning until the second process fails."""

    paper = "a test"

    crash: bool = hyper(False, source="a test")

    def loss(self, model, batch):
        if os.environ["RANK"] == "1" and self.crash:
            os.kill(os.getpid(), 11)
        if os.environ["RANK"] == "1":
            raise MemoryError("no more")
        return {"ce": batch.cross_entropy(model(batch.images))}
'''


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_whole_job_whose_second_process_fails(tmp_path: Path) -> None:
    """As SLURM would start it, with a task for each process: of one run it raises, in the next one it crashes."""
    import submitit

    plugin, results, folder = tmp_path / "mine.py", tmp_path / "results", tmp_path / "submissions"
    plugin.write_text(SHARED, encoding="utf-8")
    overrides = Overrides(
        methods="mine,mine(crash=true)", rates="15", seeds="1", settings=("steps=4", "warmup=2", "evaluations=1")
    )
    runs = list(read_plan("demo", Registry((plugin,)), overrides).unique.values())
    folder.mkdir()
    job = Job(results, (plugin,), ranks=2, launcher="slurm")
    pack = Pack(tuple(json.dumps(to_json(run)) for run in runs), job)
    submitit.core.utils.DelayedSubmission(pack).dump(folder / "7_submitted.pkl")
    place = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0"}
    shared = {**os.environ, **place, "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_NODELIST": "here", "OMP_NUM_THREADS": "1"}
    command = [*program("bench.launch.pack"), "-u", "-m", "submitit.core._submit", str(folder)]
    ranks = [{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    tasks = [
        subprocess.Popen(command, env={**shared, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for own in ranks
    ]
    printed = [task.communicate(timeout=240)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], printed
    failures = {run: as_plain(stored) for run, stored in Store(results).failures().items()}
    raised, crashed = (failures[run.id]["error"] for run in runs)
    assert (raised["class"], raised["message"]) == ("oom", "process 1 of 2: MemoryError: no more")
    assert raised["trace"].endswith("MemoryError: no more\n")
    assert (crashed["class"], "trace" in crashed) == ("code", False)
    assert crashed["message"] == "process 1 of 2: it ended: killed by signal 11 (SIGSEGV)"
    assert {failure["folder"][-2:] for failure in failures.values()} == {"-1"}, "each is recorded once"
    assert not list(folder.glob("*.lost-*"))
