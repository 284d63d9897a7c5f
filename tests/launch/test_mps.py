"""NVIDIA's multi-process service, of which a program only pretends to be the daemon: it serves, and it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.launch import Job, LocalExecutor, mps
from bench.launch import run as launch
from bench.launch.mps import CONTROL, multi_process_service
from bench.launch.sharing import Sharing
from bench.process import start
from tests.launch.runs import spec
from tests.launch.test_local import stand_in

DAEMON = """
import os, sys, time
pipe = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
words = sys.argv[1:] or [sys.stdin.readline().strip()]
with open({calls!r}, "a") as file:
    more = os.environ["CUDA_MPS_LOG_DIRECTORY"], os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    file.write(" ".join([*words, pipe, *more]) + chr(10))
if words == ["-f"]:
    {starts}
    open(pipe + "/up", "w").close()
    while not os.path.exists(pipe + "/quit"): time.sleep(0.01)
elif words == ["quit"]:
    open(pipe + "/quit", "w").close()
else:
    sys.exit(not os.path.exists(pipe + "/up"))
"""


class Installed:
    """The program that pretends, and what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.program, self.log = folder / "programs" / CONTROL, folder / "calls"
        self.program.parent.mkdir()
        self.write()

    def write(self, starts: str = "pass") -> None:
        code = DAEMON.format(calls=str(self.log), starts=starts)
        self.program.write_text(f"#!{os.path.realpath(sys.executable)}\n{code}", encoding="utf-8")
        self.program.chmod(0o755)

    def calls(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    program = Installed(tmp_path)
    monkeypatch.setenv("PATH", f"{program.program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    return program


def wait(condition: Callable[[], bool]) -> None:
    stop = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.02)


@pytest.mark.slow
def test_each_gpu_has_a_daemon_that_ends_with_the_launch(installed: Installed) -> None:
    """In a folder of its own, and with every GPU of the machine, so that processes count these as without it."""
    said: list[str] = []
    with multi_process_service(["3", "5", "3"], said.append) as variables:
        assert list(variables) == ["3", "5"]
        pipes = [Path(each["CUDA_MPS_PIPE_DIRECTORY"]) for each in variables.values()]
        assert len(set(pipes)) == 2
        assert all((pipe / "up").exists() for pipe in pipes)
        started = [call[1:] for call in installed.calls() if call[0] == "-f"]
        assert started == [[*map(str, each.values()), "all"] for each in variables.values()]
    assert said == []
    assert sorted(call[1] for call in installed.calls() if call[0] == "quit") == sorted(map(str, pipes))
    assert not any(pipe.parent.exists() for pipe in pipes)


def test_it_ends_where_the_launch_is_killed(installed: Installed) -> None:
    code = """
import sys, time
from bench.launch.mps import multi_process_service
with multi_process_service(["3"], print) as variables:
    print(variables["3"]["CUDA_MPS_PIPE_DIRECTORY"], flush=True)
    time.sleep(600)
"""
    front = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert front.stdout is not None
    pipe = Path(front.stdout.readline().strip())
    assert (pipe / "up").exists()
    front.send_signal(signal.SIGKILL)
    front.communicate()
    wait(lambda: not pipe.parent.exists())
    assert [call[0] for call in installed.calls() if call[1] == str(pipe)][-1] == "quit"


@pytest.mark.parametrize(
    ("gpus", "starts", "says"),
    [
        (
            ["0"],
            "sys.exit('An instance of this daemon is already running')",
            "ended: An instance of this",
        ),
        (["MIG-c6d4"], "pass", r"each part of a divided GPU \(MIG\)"),
    ],
)
def test_without_it_runs_take_turns(gpus: list[str], starts: str, says: str, installed: Installed) -> None:
    installed.write(starts)
    said: list[str] = []
    with multi_process_service(gpus, said.append) as variables:
        assert variables == {}
    (line,) = said
    assert line.startswith("no MPS: ")
    assert line.endswith("; runs on one GPU take turns")
    assert re.search(says, line)


def test_where_it_is_not_installed_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    with multi_process_service(["0"], said.append) as variables:
        assert variables == {}
    assert said == [f"no MPS: {CONTROL} is not on the PATH; runs on one GPU take turns"]


@pytest.mark.slow
def test_workers_are_served_by_that_of_their_gpu(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
say(ready=True)
for line in sys.stdin:
    message = json.loads(line)
    if "sharing" in message: continue
    with open({str(tmp_path / "served")!r}, "a") as file:
        file.write(json.dumps([os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_MPS_PIPE_DIRECTORY"]]) + chr(10))
    say(**DONE)
"""
    guard = sys.executable
    monkeypatch.setattr(mps, "start", lambda *words, **given: _as(guard, start, *words, **given))
    stand_in(monkeypatch, tmp_path / "bin", code)
    launch([spec(seed) for seed in range(12)], Job(tmp_path / "results"), LocalExecutor(4, Sharing(mps=True)))
    served = {tuple(json.loads(line)) for line in (tmp_path / "served").read_text().splitlines()}
    assert len(served) == len({gpu for gpu, _ in served}) <= 2
    assert {pipe for _, pipe in served} <= {call[1] for call in installed.calls() if call[0] == "-f"}


def _as(interpreter: str, begin: Callable[..., object], *words: str, **given: object) -> object:
    """Start with the real interpreter while workers have a script in its place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", interpreter)
        return begin(*words, **given)
