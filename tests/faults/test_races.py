"""Several launchers on one folder of results: each run is executed once, and all of them end with the whole table."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.launch import Event, Job, LocalExecutor, elsewhere, run
from bench.launch.failures import Failure
from bench.launch.status import claimed_runs
from bench.launch.worker import died
from bench.records.lease import claimed
from bench.records.store import Store
from bench.spec import RunSpec
from tests.faults.cheap import Cheap, command, front, grid, interpreter, outcome

pytestmark = pytest.mark.usefixtures("warm")

BENCH = Path(sys.executable).with_name("bench")


def launched(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@contextlib.contextmanager
def all_gone(processes: list[subprocess.Popen[str]]) -> Iterator[None]:
    """At the end none of them is left."""
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def executions(trace: Path) -> Counter[str]:
    """How often each run was executed."""
    return Counter(line.split()[0] for line in trace.read_text(encoding="utf-8").splitlines())


def sound(results: Path, runs: list[RunSpec]) -> None:
    """Fail unless there is one record a run, and it is the run's own."""
    found = Store(results).finished()
    assert set(found) == {spec.id for spec in runs}
    assert len(list((results / "runs").iterdir())) == len(runs)
    for run_id, item in found.items():
        (spec,) = (spec for spec in runs if spec.id == run_id)
        assert item.values[-1][2] == outcome(spec).record.curve[-1].test["top1"]
    assert claimed_runs(results) == set()


@pytest.mark.slow
def test_five_launchers_on_500_runs(tmp_path: Path) -> None:
    results, trace = tmp_path / "results", tmp_path / "trace"
    script = interpreter(tmp_path / "bin", trace)
    launchers = [launched(front(script, *command(results, 500))) for _ in range(5)]
    with all_gone(launchers):
        told = [launcher.communicate(timeout=300) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0] * 5, told[0][1][-2000:]
    assert executions(trace) == {spec.id: 1 for spec in grid(500)}
    sound(results, grid(500))
    pids = {line.split()[1] for line in trace.read_text(encoding="utf-8").splitlines()}
    assert len(pids) > 1, "they shared the work"
    ends = [out.partition("\n\n")[0] for out, _ in told]
    assert all("500 of 500 are done" in out for out, _ in told)
    assert len(set(ends)) == 1, "all print the same table"
    trained = [int(count) for out, _ in told for count in re.findall(r"(\d+) runs? w(?:as|ere) trained now", out)]
    assert sum(trained) == 500


@pytest.mark.slow
def test_launchers_that_are_killed_and_started_again(tmp_path: Path) -> None:
    """A run that was executed twice was in the hands of one that was killed."""
    results, trace = tmp_path / "results", tmp_path / "trace"
    script = interpreter(tmp_path / "bin", trace, seconds=0.01)
    words, draw, kills = front(script, *command(results, 300)), random.Random(22), 0
    launchers = [launched(words) for _ in range(4)]
    stop = time.monotonic() + 600
    with all_gone(launchers):
        while kills < 12 and len(Store(results).finished()) < 280:
            trained = len(Store(results).finished())
            while len(Store(results).finished()) == trained < 280 and time.monotonic() < stop:
                time.sleep(0.05)  # else launchers might be killed faster than a slow machine starts them
            assert time.monotonic() < stop
            time.sleep(draw.uniform(0.1, 1.0))
            victim = launchers.pop(0)
            if victim.poll() is None and Path(trace).exists():
                kills += 1
            victim.kill()
            victim.communicate()
            launchers.append(launched(words))
        for launcher in launchers:
            launcher.communicate(timeout=240)
            assert launcher.returncode == 0
    counted = executions(trace)
    assert set(counted) == {spec.id for spec in grid(300)}
    print(f"{kills} kills, {sum(counted.values()) - 300} executions repeated")
    assert kills > 0
    assert sum(counted.values()) - 300 <= kills, "one run is lost with a launcher, at most"
    sound(results, grid(300))
    assert not (results / "failed").exists()


@pytest.mark.slow
def test_what_fails_is_not_tried_by_each(tmp_path: Path) -> None:
    """One may be tried a second time where its failure is written between a look for it and the claim: not each is.

    Of what is not looked for each launcher would try all, 60 times in all.
    """
    results, trace, runs = tmp_path / "results", tmp_path / "trace", grid(60)
    script = interpreter(tmp_path / "bin", trace, 0.02, ",".join(spec.id for spec in runs[::3]))
    launchers = [launched(front(script, *command(results, 60))) for _ in range(3)]
    with all_gone(launchers):
        told = [launcher.communicate(timeout=300) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [1] * 3, told[0][1][-2000:]
    assert all("40 of 60 are done, 20 failed" in out for out, _ in told)
    counted = executions(trace)
    assert set(counted) == {spec.id for spec in runs}
    assert all(counted[spec.id] == 1 for number, spec in enumerate(runs) if number % 3)
    assert len(list((results / "failed").iterdir())) == sum(counted[spec.id] for spec in runs[::3]) < 30


@pytest.mark.slow
def test_the_same_command_in_two_shells(tmp_path: Path) -> None:
    """With real runs: both end with the whole table, and each run was trained once."""
    words = [str(BENCH), *command(tmp_path / "results é", 4)]
    launchers = [launched(words) for _ in range(2)]
    with all_gone(launchers):
        told = [launcher.communicate(timeout=300) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], told
    assert all("4 of 4 are done" in out for out, _ in told)
    trained = [int(count) for out, _ in told for count in re.findall(r"(\d+) runs? w(?:as|ere) trained now", out)]
    assert sum(trained) == 4
    assert len(Store(tmp_path / "results é").finished()) == 4


class TestWaiting:
    """A launcher whose own runs are done waits for those that others have."""

    @pytest.fixture
    def results(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(sys, "executable", interpreter(tmp_path / "bin", tmp_path / "trace"))
        monkeypatch.setattr(elsewhere, "PAUSE", 0.1)
        return tmp_path / "results"

    @staticmethod
    def launch(results: Path, runs: list[RunSpec]) -> tuple[threading.Thread, list[Event]]:
        events: list[Event] = []
        arguments: Any = (runs, Job(results), LocalExecutor(1), events.append)
        thread = threading.Thread(target=run, args=arguments)
        thread.start()
        return thread, events

    @staticmethod
    def wait(condition: Any) -> None:
        stop = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < stop
            time.sleep(0.02)

    def test_for_a_record(self, results: Path, capfd: pytest.CaptureFixture[str]) -> None:
        first, theirs = grid(2)
        with claimed(results / "claims" / theirs.id):
            thread, events = self.launch(results, [first, theirs])
            self.wait(lambda: first.id in Store(results).finished())
            thread.join(1.0)
            assert thread.is_alive()
            assert [event.run_id for event in events] == [first.id]
            publish(results, theirs, outcome(theirs))
        thread.join(60)
        assert not thread.is_alive()
        assert [(event.run_id, event.status) for event in events] == [(first.id, "done"), (theirs.id, "elsewhere")]
        assert capfd.readouterr().err.count("waiting for 1 run that other processes are training") == 1

    def test_until_another_has_failed(self, results: Path) -> None:
        (theirs,) = grid(1)
        with claimed(results / "claims" / theirs.id):
            thread, events = self.launch(results, [theirs])
            self.wait(lambda: (results / "drafts").exists())
            thread.join(1.0)
            assert events == []
            died(theirs, Job(results), Failure("no"))
        thread.join(60)
        assert [(event.status, event.message) for event in events] == [("elsewhere", "it failed in another process")]
        assert len(list((results / "failed").iterdir())) == 1, "it is not tried again by each that waited"

    @pytest.mark.slow
    def test_what_another_leaves_undone_is_done(self, results: Path, tmp_path: Path) -> None:
        (theirs,) = grid(1)
        with claimed(results / "claims" / theirs.id):
            thread, events = self.launch(results, [theirs])
            thread.join(1.0)
            assert events == []
        thread.join(60)
        assert [(event.run_id, event.status) for event in events] == [(theirs.id, "done")]
        assert executions(tmp_path / "trace") == {theirs.id: 1}


def publish(results: Path, spec: RunSpec, made: Cheap) -> None:
    store = Store(results)
    with store.draft() as draft:
        store.publish(draft, spec, made.record)
