"""What a launch leaves behind that is killed or stopped: no process, and of a run in training its checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bench.launch.status import claimed_runs
from bench.records.store import Store
from tests.scenes import as_plain

BENCH = Path(sys.executable).with_name("bench")

METHOD = """
import os
from dataclasses import dataclass

from bench.method import Method


@dataclass(frozen=True)
class Endless(Method):
    '''Plain fine-tuning that says when it has begun.'''

    def loss(self, model, batch):
        open({signs!r} + "/" + str(os.getpid()), "w").close()
        return {{"ce": batch.cross_entropy(model(batch.images))}}
"""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]


def descendants(pid: int) -> list[int]:
    """The processes below one."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait(condition: Callable[[], object], seconds: float, what: str) -> None:
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, f"after {seconds} s still not: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def training(tmp_path: Path, ranks: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A launch in the middle of a run, and all processes below it."""
    signs, plugin = tmp_path / "signs", tmp_path / "endless.py"
    signs.mkdir()
    plugin.write_text(METHOD.format(signs=str(signs)), encoding="utf-8")
    what = ["--plugin", str(plugin), "--methods", "endless", "--rates", "15", "--seeds", str(3 - ranks)]
    how = ["--jobs", str(3 - ranks), "--gpus-per-run", str(ranks), "--results", str(tmp_path / "results")]
    front = subprocess.Popen(
        [str(BENCH), "run", "digits", *what, "--set", "steps=200000", *how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # where tests run with it ignored
    )
    below: list[int] = []
    try:
        wait(lambda: front.poll() is not None or len(list(signs.iterdir())) == 2, 180, "two processes train")
        below = descendants(front.pid)
        assert {int(sign.name) for sign in signs.iterdir()} <= set(below)
        yield front, below
    finally:
        front.kill()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        front.communicate()


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_front_process_is_killed(tmp_path: Path, ranks: int) -> None:
    with training(tmp_path, ranks) as (front, below):
        assert len(below) >= (2 if ranks == 1 else 3)
        front.kill()
        front.wait()
        wait(lambda: not any(map(alive, below)), 30, f"none of {below} is left")
    assert not (tmp_path / "results" / "failed").exists()
    assert claimed_runs(tmp_path / "results") == set()


@pytest.mark.parametrize("ranks", [1, 2])
def test_control_c(tmp_path: Path, ranks: int) -> None:
    """Each run in training has its checkpoint, and its claim is given back."""
    results = tmp_path / "results"
    with training(tmp_path, ranks) as (front, below):
        assert not (results / "checkpoints").exists()
        front.send_signal(signal.SIGINT)
        out, err = front.communicate(timeout=30)
        assert not any(map(alive, below))
    assert front.returncode == 130
    assert "run the same command again to go on" in out + err
    assert "Traceback" not in out + err
    kept = list((results / "checkpoints").glob("*/*"))
    assert [path.name for path in kept] == ["current.pt"] * (3 - ranks)
    for path in kept:
        assert torch.load(path, weights_only=True)["step"] > 0
    assert list((results / "claims").iterdir()) == []
    assert list((results / "drafts").iterdir()) == []
    assert Store(results).failures() == {}


def test_a_worker_is_killed_whose_run_several_processes_share(tmp_path: Path) -> None:
    with training(tmp_path, 2) as (front, below):
        worker = next(pid for pid in below if len(descendants(pid)) == 2)
        os.kill(worker, signal.SIGKILL)
        out, _ = front.communicate(timeout=60)
        wait(lambda: not any(map(alive, below)), 30, f"none of {below} is left")
    assert front.returncode == 1
    assert "SIGKILL" in out
    (failure,) = map(as_plain, Store(tmp_path / "results").failures().values())
    assert failure["error"]["class"] == "oom"
    assert claimed_runs(tmp_path / "results") == set()
