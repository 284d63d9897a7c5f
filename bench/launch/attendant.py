"""The worker of a job, and how the job's process waits for it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.launch.executor import Job
from bench.launch.failures import printed
from bench.launch.sharing import tell
from bench.launch.worker import job_to_json
from bench.process import close_pipes, last_line, send, start
from bench.records.secrets import mask_file
from bench.spec import RunSpec, to_json

PATIENCE = 5.0
"""Seconds in which a worker ends by itself when nobody is there any more."""


class WorkerLost(Exception):
    """A worker ended before it was ready: then every run would fail for one reason."""


class Attendant:
    """Has runs trained by a worker process, which is started when it is needed and replaced when it is gone.

    Attributes:
        given_up: whether the last wait for an answer was ended by ``hopeless``, and not by the worker.
        free: the bytes that were free on its GPU when it was started, where it said them.
        lock, count: where others share its GPU, what they hold while they speak of it, and how many runs are on it.
    """

    free: int | None = None
    lock: AbstractContextManager[Any] = contextlib.nullcontext()
    count: Callable[[], int] | None = None

    def __init__(self, job: Job, devices: str, log: Path, variables: Mapping[str, str] | None = None) -> None:
        self._job, self._devices, self._log, self._variables = job, devices, log, variables or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._generation = 0
        self._ready = False
        self._unread = b""
        self.given_up = False

    def train(self, spec: RunSpec, generation: int, hopeless: Callable[[], bool]) -> dict[str, Any] | None:
        """Have a run trained; gives the answer, or None where the worker ended without one or the wait was hopeless.

        Of another generation of workers than before, a new one is started; ``hopeless`` is asked every half second
        whether to wait no longer. Raises ``WorkerLost`` where a new worker cannot start.
        """
        self.given_up = False
        if self._process is not None and generation != self._generation:
            self.stop()
        process = self._process or self._start(generation)
        with self.lock:
            if self.count is not None:
                tell(process, self.count(), begins=True)
            send(process, to_json(spec))
        if not self._ready:
            if (ready := self._line(process, hopeless)) is None:
                if not self.given_up and self.stop() not in (0, -signal.SIGTERM):
                    raise WorkerLost(f"the worker cannot start: {last_line(self.log_tail())}")
                return None
            self._ready, self.free = True, ready.get("free")
        answer = self._line(process, hopeless)
        if answer and answer.get("status") == "kept":  # what it says last; it has ended the run's part, and not the run
            answer = self._line(process, hopeless)
        if answer and answer.get("ends"):
            self.stop()
        return answer

    def tell(self, count: int) -> None:
        """Tell the worker that there are so many runs on its GPU now."""
        if (process := self._process) is not None:
            tell(process, count, begins=False)

    def ask_to_stop(self) -> None:
        """Have the run in training write its checkpoint and the worker end."""
        if (process := self._process) is not None:
            process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End the worker if it has not ended. Returns its exit code; minus the signal's number if one killed it."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # a worker ends when nobody is there
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        code = process.wait()
        close_pipes(process)
        with contextlib.suppress(OSError):
            mask_file(self._log)
        return code

    def log_tail(self) -> str:
        """The last of what the worker printed."""
        return printed(self._log)

    def _start(self, generation: int) -> subprocess.Popen[bytes]:
        usual = {signal.SIGUSR1, signal.SIGUSR2}
        # SLURM may signal every process of a job: what it says is for this one, which asks the worker with SIGTERM
        signal.pthread_sigmask(signal.SIG_BLOCK, usual)
        try:
            job = json.dumps(job_to_json(self._job))
            variables = dict(self._variables)
            if "MASTER_PORT" in os.environ:  # workers that share a run meet at a port of their generation's own
                variables["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + generation)
            self._process = start("bench.launch.worker", job, log=self._log, devices=self._devices, variables=variables)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, usual)
        self._generation, self._ready, self._unread = generation, False, b""
        return self._process

    def _line(self, process: subprocess.Popen[bytes], hopeless: Callable[[], bool]) -> dict[str, Any] | None:
        """The next line that the worker says; None at its end, or where nothing is to be waited for."""
        assert process.stdout is not None
        pipe = process.stdout.fileno()  # not the stream: a line in its buffer could not be waited for
        while b"\n" not in self._unread:
            while not select.select([pipe], [], [], 0.5)[0]:
                if hopeless():
                    self.given_up = True
                    return None
            if not (chunk := os.read(pipe, 65536)):
                return None
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return dict(json.loads(line))
