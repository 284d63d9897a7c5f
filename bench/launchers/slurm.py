"""Trains on a SLURM cluster: runs become arrays of jobs, and nothing has to stay alive."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Collection, Mapping
from pathlib import Path

from bench.errors import InputError
from bench.launch.cluster import Cluster, Unreachable
from bench.launch.executor import Executor
from bench.launch.launcher import RESUBMIT, Cancelled, Launch, Launcher, Option, Queued, Typed
from bench.launch.profile import OPTIONS, PACKING, READ, Profile, read_profile
from bench.launch.submissions import folder_of, queued, read


class Slurm(Launcher):
    """The cluster that SLURM's commands on this machine speak to."""

    options = (
        Option("cluster", "a profile with these options: a name, or a TOML file", "NAME"),
        *OPTIONS,
        RESUBMIT,
    )
    submits = True
    instead = {"jobs": "--max-running limits the jobs of --launcher slurm"}

    def check(self, typed: Typed) -> int:
        _profile(typed)
        return int(max(1, typed.get("gpus_per_run", 1)))

    def executor(self, launch: Launch) -> Executor:
        from bench.launch.packing import estimate_from
        from bench.launch.slurm import SlurmExecutor

        seconds = {run_id: run.seconds for run_id, run in launch.store.finished().items()}
        estimate = estimate_from(launch.plan.values(), seconds)
        executor = SlurmExecutor(_profile(launch.typed), Cluster(), estimate)
        executor.divide(launch.runs)  # whatever SLURM has against it is said before anything is written
        return executor

    def queue(self, root: Path, runs: Collection[str]) -> Queued:
        return queued(read(root), runs, Cluster())

    def cancel(self, root: Path, runs: Collection[str]) -> Cancelled | None:
        user, wanted, cluster = getpass.getuser(), set(runs), Cluster()
        submissions = [submission for submission in read(root) if submission.user == user]
        if not submissions:
            return None
        try:
            name, queue = cluster.name(), cluster.queue({user})
            here = [submission.answered(queue.names) for submission in submissions if submission.cluster == name]
            tasks = [task for submission in here for task in submission.tasks()]
            alive = [(job, ids) for job, ids in tasks if queue.states.get(job, "COMPLETING") != "COMPLETING"]
            wholly = [job for job, ids in alive if wanted.issuperset(ids)]
            shared = [job for job, ids in alive if job not in wholly and not wanted.isdisjoint(ids)]
            cluster.cancel(wholly)
        except Unreachable as error:
            raise InputError(f"SLURM cannot be asked: {error}; nothing more was cancelled") from None
        return Cancelled(wholly, shared)

    def logs(self, root: Path, run: str) -> Mapping[str, Path]:
        logs: dict[str, Path] = {}
        for submission in read(root):
            names: Mapping[str, str] = {}
            if not submission.is_answered and any(run_id.startswith(run) for run_id in submission.runs()):
                with contextlib.suppress(Unreachable):
                    names = Cluster().queue({submission.user}).names
            for job, ids in submission.answered(names).tasks():
                log = folder_of(root) / submission.name / f"{job}_0_log.out"
                logs.update({run_id: log for run_id in ids if run_id.startswith(run)})
        return logs


def _profile(typed: Typed) -> Profile:
    """What each run is given: the profile that is named, and over it what was typed."""
    profile = read_profile(typed["cluster"]) if "cluster" in typed else Profile()
    if typed.keys() >= PACKING:
        raise InputError("runs are packed by count (--pack) or by minutes (--pack-minutes), not both")
    return profile.over({key: value for key, value in typed.items() if key in READ})
