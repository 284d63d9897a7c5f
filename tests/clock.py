"""How long something takes, without the time in which a busy machine does other things."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence


def cpu_seconds(command: Sequence[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Seconds of CPU that a command and its children take, and the command as it ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done
