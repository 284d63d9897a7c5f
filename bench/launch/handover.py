"""What an array's jobs train, kept until submitit has given each job its file, which it does after sbatch has answered.

RESULTS/submissions/<time>-<id>/<number>.packs/<task>

Where that was interrupted, the jobs take what is theirs from here.
"""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds that a job waits for its file: a short while passes between its start and sbatch's answer."""


class Handover:
    """The files of an array, by the folder of its submission and its number there."""

    def __init__(self, folder: Path, number: int) -> None:
        self.path = folder / f"{number}.packs"

    def write(self, tasks: Sequence[Callable[[], Any]], minutes: int, requeues: int) -> None:
        """Keep what each task calls, with its time limit and how often it may be requeued. Raises ``OSError``."""
        from submitit.core.utils import DelayedSubmission

        self.path.mkdir(parents=True, exist_ok=True)
        for number, task in enumerate(tasks):
            submission = DelayedSubmission(task)
            submission.set_timeout(minutes, requeues)
            submission.dump(self.path / str(number))

    def remove(self) -> None:
        """Forget it: every job has its file."""
        shutil.rmtree(self.path, ignore_errors=True)

    def take(self, task: int, target: Path) -> None:
        """Write a task's file, if submitit does not in a while and what the array trains is kept here."""
        patience = time.monotonic() + PATIENCE
        while not target.exists() and time.monotonic() < patience:
            time.sleep(0.5)
        if target.exists():
            return
        with contextlib.suppress(FileNotFoundError):  # all was well, a moment later
            draft = target.with_name(f"{target.name}.{uuid.uuid4().hex[:6]}")
            shutil.copyfile(self.path / str(task), draft)
            draft.replace(target)
