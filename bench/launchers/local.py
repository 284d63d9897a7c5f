"""Trains on this machine, a worker process a GPU or a core."""

from __future__ import annotations

import re

from bench.errors import InputError
from bench.launch.executor import Executor
from bench.launch.gpus import usable_gpus
from bench.launch.launcher import Launch, Launcher, Option, Typed, count


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise ValueError("a whole number")
    return int(text)


class Local(Launcher):
    """This machine."""

    options = (
        Option("gpus_per_run", "GPUs that share each run (default: 1)", "N", count(0)),
        Option("jobs", "runs at a time (default: one a GPU, or else one a core with 2 GB of memory)", "N", _whole),
    )

    def check(self, typed: Typed) -> int:
        if typed.get("jobs", 1) < 1:
            raise InputError(f"--jobs {typed['jobs']}: at least one run at a time is needed")
        ranks, gpus = int(max(1, typed.get("gpus_per_run", 1))), len(usable_gpus())
        if 0 < gpus < ranks:
            raise InputError(f"--gpus-per-run {ranks}: only {gpus} can be used here; give a run at most as many")
        return ranks

    def executor(self, launch: Launch) -> Executor:
        from bench.launch.local import LocalExecutor, default_jobs

        return LocalExecutor(launch.typed.get("jobs") or default_jobs(self.check(launch.typed)))
