"""The worker of a job, and how the job's process waits for it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from bench.launch.executor import Job
from bench.launch.failures import TAIL
from bench.launch.worker import job_to_json
from bench.process import environment, program
from bench.spec import RunSpec, to_json

PATIENCE = 5.0
"""Seconds in which a worker ends by itself when nobody is there any more."""


class WorkerLost(Exception):
    """A worker ended before it was ready: then every run would fail for one reason."""


class Attendant:
    """Has runs trained by a worker process, which is started when it is needed and replaced when it is gone.

    Args:
        job: what the worker needs beside its runs.
        devices: the GPUs that it sees, as CUDA_VISIBLE_DEVICES has them.
        log: where it prints.

    Attributes:
        given_up: whether the last wait for an answer was ended by ``hopeless``, and not by the worker.
    """

    def __init__(self, job: Job, devices: str, log: Path) -> None:
        self._job, self._devices, self._log = job, devices, log
        self._process: subprocess.Popen[bytes] | None = None
        self._generation = 0
        self._ready = False
        self._said = b""
        self.given_up = False

    def train(self, spec: RunSpec, generation: int, hopeless: Callable[[], bool]) -> dict[str, Any] | None:
        """Have a run trained.

        Args:
            spec: the run.
            generation: of the workers; of another one than before, a new worker is started.
            hopeless: asked every half second whether to wait no longer.

        Returns:
            The worker's answer; None where it ended without one, or the wait was hopeless.

        Raises:
            WorkerLost: a new worker cannot start.
        """
        self.given_up = False
        if self._process is not None and generation != self._generation:
            self.stop()
        process = self._process or self._start(generation)
        with contextlib.suppress(BrokenPipeError):
            _stream(process.stdin).write(json.dumps(to_json(spec)).encode() + b"\n")
            _stream(process.stdin).flush()
        if not self._ready:
            if self._line(process, hopeless) is None:
                self._check_start()
                return None
            self._ready = True
        answer = self._line(process, hopeless)
        if answer and answer.get("ends"):
            self.stop()
        return answer

    def ask_to_stop(self) -> None:
        """Have the run in training write its checkpoint and the worker end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End the worker if it has not ended. Returns its exit code; minus the signal's number if one killed it."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(BrokenPipeError):  # it is gone, and never read the last that it was told
            _stream(process.stdin).close()  # a worker ends when nobody is there
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        code = process.wait()
        _stream(process.stdout).close()
        return code

    def log_tail(self) -> str:
        """The last of what the worker printed."""
        with contextlib.suppress(FileNotFoundError):
            return self._log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
        return ""

    def _start(self, generation: int) -> subprocess.Popen[bytes]:
        usual = {signal.SIGUSR1, signal.SIGUSR2}
        # SLURM may signal every process of a job: what it says is for this one, which asks the worker with SIGTERM
        signal.pthread_sigmask(signal.SIG_BLOCK, usual)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [*program("bench.launch.worker"), json.dumps(job_to_json(self._job))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment(self._devices, **_port(generation)),
                )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, usual)
        self._generation, self._ready, self._said = generation, False, b""
        return self._process

    def _check_start(self) -> None:
        """Raise ``WorkerLost`` where a worker has ended before it was ready and nobody had asked it to."""
        if not self.given_up and self.stop() not in (0, -signal.SIGTERM):
            said = self.log_tail().strip().splitlines() or ["no message"]
            raise WorkerLost(f"the worker cannot start: {said[-1]}")

    def _line(self, process: subprocess.Popen[bytes], hopeless: Callable[[], bool]) -> dict[str, Any] | None:
        """The next line that the worker says; None at its end, or where nothing is to be waited for."""
        pipe = _stream(process.stdout).fileno()  # not the stream: a line in its buffer could not be waited for
        while b"\n" not in self._said:
            while not select.select([pipe], [], [], 0.5)[0]:
                if hopeless():
                    self.given_up = True
                    return None
            more = os.read(pipe, 65536)
            if not more:
                return None
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return dict(json.loads(line))


def _port(generation: int) -> dict[str, str]:
    """For each generation of workers that share a run a port of its own to meet at."""
    return {"MASTER_PORT": str(int(os.environ["MASTER_PORT"]) + generation)} if "MASTER_PORT" in os.environ else {}


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
