"""Trains on this machine, a worker process a GPU or a core."""

from __future__ import annotations

import re

from bench.device.limits import usable_cores
from bench.errors import InputError
from bench.launch.executor import Executor
from bench.launch.gpus import usable_gpus
from bench.launch.launcher import Launch, Launcher, Option, Typed, count
from bench.launch.sharing import Sharing, peaks_of


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise ValueError("a whole number")
    return int(text)


AUTO = "auto"
"""As many runs a GPU as its memory holds, by what was measured."""


def _shares(text: str) -> int | str:
    if text == AUTO:
        return AUTO
    try:
        return count(1)(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {AUTO}") from None


class Local(Launcher):
    """This machine."""

    options = (
        Option("gpus_per_run", "GPUs that share each run (default: 1)", "N", count(0)),
        Option("jobs", "runs at a time (default: one a GPU, or else one a core with 2 GB of memory)", "N", _whole),
        Option(
            "runs_per_gpu",
            "runs that share each GPU (default: 1; auto: as many as fit into its memory, as finished runs of the same "
            "method, backbone, size and batch took it)",
            "N|auto",
            _shares,
        ),
        Option("mps", "with --runs-per-gpu: have NVIDIA's multi-process service serve them, where it is installed"),
    )

    def check(self, typed: Typed) -> int:
        if typed.get("jobs", 1) < 1:
            raise InputError(f"--jobs {typed['jobs']}: at least one run at a time is needed")
        ranks, gpus = int(max(1, typed.get("gpus_per_run", 1))), len(usable_gpus())
        if 0 < gpus < ranks:
            raise InputError(f"--gpus-per-run {ranks}: only {gpus} can be used here; give a run at most as many")
        shares = typed.get("runs_per_gpu", 1)
        if "runs_per_gpu" in typed and not gpus:
            raise InputError(
                f"--runs-per-gpu {shares}: no GPU can be used here; --jobs says how many runs go at a time"
            )
        if shares != 1 and ranks > 1:
            raise InputError(f"--runs-per-gpu {shares}: with --gpus-per-run {ranks} a run has its GPUs alone; give one")
        if "mps" in typed and shares == 1:
            raise InputError("--mps is for runs that share a GPU; --runs-per-gpu N (or auto) says how many")
        return ranks

    def executor(self, launch: Launch) -> Executor:
        from bench.launch.local import LocalExecutor, default_jobs, usable_memory

        ranks, shares = self.check(launch.typed), launch.typed.get("runs_per_gpu", 1)
        if shares == AUTO:
            seats = max(len(usable_gpus()), usable_cores())
            peaks = peaks_of(launch.store, launch.runs)
            sharing = Sharing(by_memory=True, peaks=peaks, host=usable_memory(), mps="mps" in launch.typed)
        else:
            seats = shares * default_jobs(ranks)
            sharing = Sharing(mps="mps" in launch.typed)
        jobs = launch.typed.get("jobs")
        if "runs_per_gpu" in launch.typed:  # both are an upper bound
            jobs = min(seats, jobs or seats)
        return LocalExecutor(jobs or seats, sharing)
