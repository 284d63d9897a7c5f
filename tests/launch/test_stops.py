"""A launch that is asked to stop, by whomever: its runs write their checkpoints, and it says where they are."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.commands.launching import stopped
from bench.device import interrupt
from bench.launch import Event
from bench.records.standing import Standing
from tests.faults.cheap import command, front

WORKER = """#!{python}
import json, os, pathlib, signal, sys, time
def say(**told): print(json.dumps(told), flush=True)
folder = pathlib.Path({folder!r})
say(ready=True)
for line in sys.stdin:
    run = json.loads(line)
    if run["seed"] == 0:
        say(status="done", message="", seconds=1.0, top1=50.0)
        continue
    def stop(number, frame):
        if run["seed"] == 3:
            os._exit(0)  # it had not come to its first step
        if run["seed"] == 4:
            (folder / "asked").touch()
            time.sleep(600)
        say(status="kept", standing=dict(step=10 * run["seed"], of=300))
        os._exit(0)
    signal.signal(signal.SIGTERM, stop)
    (folder / str(run["seed"])).touch()
    time.sleep(600)
"""


@contextmanager
def launched(folder: Path, seeds: int, jobs: int) -> Iterator[subprocess.Popen[str]]:
    """A launch whose run of seed 0 is done and of whose others as many are in training as there is room for."""
    script = folder / "python"
    script.write_text(WORKER.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
    script.chmod(0o755)
    words = [*command(folder / "results", seeds), "--jobs", str(jobs)]
    process = subprocess.Popen(
        front(str(script), *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # where tests run with it ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    try:
        wait(lambda: len(list(folder.glob("[0-9]"))) == jobs)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait(condition: Callable[[], bool]) -> None:
    stop = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda value: str(value),
)
def test_whoever_asks_the_runs_in_training_are_kept(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with launched(tmp_path, seeds=9, jobs=3) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    kept = "(10 of 300 and 20 of 300|20 of 300 and 10 of 300)"
    said = f"stopped after 1 run; 2 in training are kept at step {kept}; 1 had not come to a checkpoint; "
    assert re.fullmatch(f"{said}run the same command again to go on", out.splitlines()[-1])
    assert not list((tmp_path / "results" / "drafts").iterdir())
    assert not (tmp_path / "results" / "failed").exists()


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """The checkpoint of seed 4 would take for ever."""
    with launched(tmp_path, seeds=5, jobs=4) as process:
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        wait((tmp_path / "asked").exists)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - started < 8, "and not after the time that checkpoints are given"
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert re.search(
        r"; 2 in training are kept at step \d0 of 300 and \d0 of 300; 2 had not come to a checkpoint; ", out
    )


def event(step: int = 0, of: int = 0, message: str = "") -> Event:
    return Event("id", "ce", "kept", message, standing=Standing(step=step, of=of) if of else None)


@pytest.mark.parametrize(
    ("in_training", "words"),
    [
        ([], "stopped after 3 runs"),
        ([event(120, 300), event(80, 300)], "2 in training are kept at step 120 of 300 and 80 of 300"),
        ([event(1, 3), event(2, 3), event(3, 3)], "3 in training are kept at step 1 of 3, 2 of 3 and 3 of 3"),
        ([event(1, 3), event(message="its last checkpoint")], "1 in training is kept at its last checkpoint"),
        ([event()], "1 had not come to a checkpoint"),
    ],
)
def test_what_is_said(in_training: list[Event], words: str) -> None:
    assert stopped(3, in_training).startswith("stopped after 3 runs")
    assert words in stopped(3, in_training)


class TestSignals:
    def test_each_raises_and_none_after_it(self) -> None:
        before = [signal.getsignal(number) for number in interrupt.ENDING]
        for number in interrupt.ENDING:
            with pytest.raises(KeyboardInterrupt) as caught, interrupt.raised():
                signal.raise_signal(number)
            assert isinstance(caught.value, interrupt.Stopped)
            assert caught.value.exit_code == 128 + number
        assert [signal.getsignal(number) for number in interrupt.ENDING] == before

    def test_what_is_ignored_stays_so(self) -> None:
        """As behind ``nohup``."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with interrupt.raised(), interrupt.postponed():
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_one_that_is_postponed_comes_at_the_end(self) -> None:
        done = []

        def work() -> None:
            with interrupt.raised(), interrupt.postponed():
                signal.raise_signal(signal.SIGTERM)
                done.append("all")

        with pytest.raises(interrupt.Stopped):
            work()
        assert done == ["all"]
