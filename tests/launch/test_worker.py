"""A worker process and what it hears while it is at no run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.launch.executor import Job
from bench.launch.worker import job_to_json

STARTING = """
import os, signal
from bench.launch import worker
worker.prepare = lambda: os.kill(os.getpid(), signal.SIGTERM)
worker.main()
"""
IDLE = """
from bench.launch import worker
worker.prepare = lambda: None
worker.main()
"""


@pytest.mark.parametrize("code", [STARTING, IDLE], ids=["starting", "idle"])
def test_a_worker_that_is_asked_to_stop_ends_well(code: str, tmp_path: Path) -> None:
    """Its end is then no failure: neither of a run, nor of the worker to start."""
    command = [sys.executable, "-c", code, json.dumps(job_to_json(Job(tmp_path)))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        if code == IDLE:
            assert json.loads(worker.stdout.readline()) == {"ready": True}
            worker.send_signal(signal.SIGTERM)
        code_of_exit = worker.wait(60)
        assert (code_of_exit, worker.stderr.read()) == (0, b"")
