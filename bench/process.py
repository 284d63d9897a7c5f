"""How the processes that train are started: with which program, and in which environment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import bench

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
    """The environment of a process that trains.

    Args:
        devices: the GPUs that it sees, as CUDA_VISIBLE_DEVICES has them, none if empty; None: those that are seen here.
        more: variables in the place of others.
    """
    own = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
    return {**os.environ, **_ENVIRONMENT, **own, **more}


def how_ended(code: int) -> str:
    """An exit code in words: ``exit code 7``, ``killed by signal 9 (SIGKILL)``."""
    return f"killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
