"""NVIDIA's multi-process service (MPS): kernels of several processes run on a GPU at once, else they take turns.

A daemon of a launch's, or of a job's, own: its pipes and logs lie in a temporary folder, so it serves nobody else and
needs no privileges. It is the child of a process that ends it when its standard input ends, so it goes with whoever
started it, however that ended. Untried on a GPU.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from bench.process import close_pipes, last_line, start

CONTROL = "nvidia-cuda-mps-control"

PATIENCE = 10.0
"""Seconds in which the daemon is up, and in which it ends when it is asked to."""

_TURNS = "runs on one GPU take turns"


@contextlib.contextmanager
def multi_process_service(gpus: Iterable[str], say: Callable[[str], None]) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Inside, each GPU has a daemon, which serves the processes that have the variables that this gives for the GPU.

    Where there is none to be had, that is said in a line, and there are no variables: then the GPU divides its time.
    """
    gpus = list(dict.fromkeys(gpus))
    if not gpus:
        yield {}
        return
    if lacking := _lacking(gpus):
        say(f"no MPS: {lacking}; {_TURNS}")
        yield {}
        return
    with contextlib.ExitStack() as stack:
        try:
            # after a fault a server takes nobody until all its clients are gone: so no two GPUs have the same
            variables = {gpu: stack.enter_context(_daemon()) for gpu in gpus}
        except _Ended as end:
            say(f"no MPS: {CONTROL} ended: {end}; {_TURNS}")
            variables = {}
        yield variables


class _Ended(Exception):
    """A daemon ended before it was up; with the last that it printed."""


@contextlib.contextmanager
def _daemon() -> Iterator[Mapping[str, str]]:
    """Inside, a daemon is up; gives the variables of its clients. Raises ``_Ended``."""
    # a socket lies in the folder, whose path may not be long
    with tempfile.TemporaryDirectory(prefix="bench-mps-", ignore_cleanup_errors=True) as name:
        log = Path(name) / "guard.log"
        guard = start("bench.launch.mps", name, log=log, devices=None, detached=True)
        try:
            assert guard.stdout is not None
            if guard.stdout.readline() != b"ready\n":
                raise _Ended(last_line(log.read_text(encoding="utf-8", errors="replace")))
            yield _variables(Path(name))
        finally:
            close_pipes(guard)  # which it hears, and ends
            with contextlib.suppress(subprocess.TimeoutExpired):
                guard.wait(2 * PATIENCE)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()


def main() -> None:
    """The process that has the daemon as its child: it says when that is up, and ends it with its standard input."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # a job that is asked to stop still has runs that write checkpoints
    variables = _variables(Path(sys.argv[1]))
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"} | variables
    for path in variables.values():
        Path(path).mkdir()
    # in the foreground it stays a child; without CUDA_VISIBLE_DEVICES its clients count GPUs as everybody does
    daemon = subprocess.Popen([CONTROL, "-f"], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        sys.stdout.write("ready\n" if _is_up(daemon, environment) else "ended\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        _ask(environment, "quit")
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(PATIENCE)
        daemon.kill()
        daemon.wait()
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        os.killpg(0, signal.SIGKILL)  # a server outlives a daemon that was killed; all are of this process's session


def _lacking(gpus: Iterable[str]) -> str:
    """Why no daemon is started; empty where one is."""
    if shutil.which(CONTROL) is None:
        return f"{CONTROL} is not on the PATH"
    if any(name.startswith("MIG-") for name in gpus):
        return "each part of a divided GPU (MIG) would need a daemon of its own"
    return ""


def _variables(folder: Path) -> dict[str, str]:
    return {
        "CUDA_MPS_PIPE_DIRECTORY": str(folder / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(folder / "log"),
    }


def _is_up(daemon: subprocess.Popen[bytes], environment: Mapping[str, str]) -> bool:
    """Wait until a daemon answers; False where it has ended, or does not in its time."""
    patience = time.monotonic() + PATIENCE
    while daemon.poll() is None and time.monotonic() < patience:
        if _ask(environment, "get_default_active_thread_percentage"):
            return True
        time.sleep(0.1)
    return False


def _ask(environment: Mapping[str, str], command: str) -> bool:
    """Send a command to the daemon; whether it took it."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        asked = subprocess.run(
            [CONTROL], input=command + "\n", text=True, env=environment, stdout=sys.stderr, timeout=PATIENCE
        )
        return asked.returncode == 0
    return False
