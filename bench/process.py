"""How the processes that train are started: with which program, and in which environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bench
from bench.errors import InputError

# the same bench as here; and not what lies in the current folder, where a torch.py or datasets/ may be somebody's own
_START = """\
import sys
sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]
from {module} import main
main()
"""

_ENVIRONMENT: Mapping[str, str] = {
    # one thread: with more, sums would be added in another order
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    # freed memory is kept for the next step: returning it to the system and asking again costs page faults
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "PYTHONUNBUFFERED": "1",
}


def program(module: str) -> list[str]:
    """The command that starts the ``main`` of a module (``bench.launch.worker``), with the same bench as here."""
    return [sys.executable, "-u", "-c", _START.format(module=module), str(Path(bench.__file__).parent.parent)]


def environment(devices: str | None, **more: str) -> dict[str, str]:
    """The environment of a process that trains, with more variables in the place of others.

    It sees the GPUs that ``devices`` names, as CUDA_VISIBLE_DEVICES does: none if empty; None: those seen here.
    """
    visible = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
    return {**os.environ, **_ENVIRONMENT, **visible, **more}


def start(
    module: str,
    *words: str,
    log: Path,
    devices: str | None,
    variables: Mapping[str, str] | None = None,
    detached: bool = False,
) -> subprocess.Popen[bytes]:
    """Start the ``main`` of a module, with pipes to it and from it; its standard error goes to a log.

    Where it is detached, it has a session of its own, which Ctrl-C does not reach.
    """
    with log.open("wb") as errors:
        return subprocess.Popen(
            [*program(module), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment(devices, **(variables or {})),
            start_new_session=detached,
        )


def answer_of(module: str, task: Any, work: str) -> Any:
    """What the ``main`` of a module answers to a task: both are JSON, its answer is the last line that it prints.

    It sees no GPU. ``work`` says what it does: ``opens datasets``. Raises ``InputError`` where it ends before it has
    answered.
    """
    done = subprocess.run(program(module), input=json.dumps(task), capture_output=True, text=True, env=environment(""))
    if done.returncode:
        raise InputError(f"the process that {work} ended: {last_line(done.stderr)}")
    return json.loads(done.stdout.splitlines()[-1])


def send(process: subprocess.Popen[bytes], message: Any) -> None:
    """Write a JSON line to a process; one that is gone is noticed by its silence."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()


def close_pipes(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes to and from a process that has ended."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # it never read the last that it was sent
                pipe.close()


def end_with_parent() -> None:
    """Have this process end when the one that started it does, however: its standard input ends then."""

    def watch() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def last_line(text: str) -> str:
    """The last line that a process printed."""
    return (text.strip().splitlines() or ["no message"])[-1]


def how_ended(code: int) -> str:
    """An exit code in words: ``exit code 7``, ``killed by signal 9 (SIGKILL)``."""
    return f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
