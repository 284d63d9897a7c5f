"""Runs on a SLURM cluster, through submitit: submitting returns at once and needs no process to live on."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import io
import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.launch.cluster import Cluster, Unreachable
from bench.launch.executor import Event, Job, Submitted
from bench.launch.pack import Pack
from bench.launch.packing import Estimate, Group, arrays
from bench.launch.profile import Profile, Resources
from bench.launch.submissions import Array, Submission, begin, folder_of, write
from bench.process import program
from bench.records.store import Store
from bench.spec import RunSpec, to_json

Engine = Callable[..., Any]
"""Makes what submits: ``submitit.SlurmExecutor`` or something like it."""


@dataclass
class SlurmExecutor:
    """Submits runs as arrays of jobs.

    Args:
        profile: what each run is given.
        cluster: where; asked for its limits.
        estimate: minutes of a run, for packing by minutes.
        engine: makes submitit's executor.

    Attributes:
        left: runs for which the user's limit of jobs left no room.
    """

    profile: Profile = field(default_factory=Profile)
    cluster: Cluster = field(default_factory=Cluster)
    estimate: Estimate = lambda run: None
    engine: Engine | None = None
    left: tuple[RunSpec, ...] = ()

    def execute(self, runs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> Submitted:
        """Submit the runs. None ends here, so nothing is reported.

        Raises:
            InputError: the cluster cannot be asked, or refuses; says what was submitted before.
        """
        root = Path(job.results).expanduser().absolute()
        if set("%\\\n") & set(str(root)):
            raise InputError(f"--results {root}: SLURM cannot write logs to a path with %, \\ or a line break in it")
        cluster, groups = self.divide(runs)
        plugins = tuple(plugin.absolute() for plugin in job.plugins)
        job = dataclasses.replace(job, results=root, plugins=plugins, launcher="slurm")
        failed = Store(root).attempts()
        submission = begin(cluster, job.command)
        if not groups:
            return self._said(submission)
        path = write(root, submission)  # before anything is submitted: a disk that is full is noticed now
        for group in groups:
            packs = [_pack(task, job, group.resources, failed) for task in group.tasks]
            try:
                job_id = self._submit(packs, group.resources, submission, root)
            except (RuntimeError, OSError) as error:
                if not submission.arrays:
                    path.unlink(missing_ok=True)
                raise InputError(_refused(error, submission)) from None
            tasks = tuple(tuple(run.id for run in task) for task in group.tasks)
            array = Array(job_id, tasks, told(group.resources))
            submission = dataclasses.replace(submission, arrays=(*submission.arrays, array))
            write(root, submission)
        return self._said(submission)

    def divide(self, runs: Sequence[RunSpec]) -> tuple[str, list[Group]]:
        """Divide runs into the arrays that the cluster takes; those for which there is no room are in ``left``.

        Returns:
            The cluster's name and the arrays.

        Raises:
            InputError: the cluster cannot be asked.
        """
        first = self.profile.resources(runs[0])
        try:
            limits = self.cluster.limits(first.account, first.qos)
            room = None
            if limits.submit is not None:
                room = limits.submit - len(self.cluster.queue({getpass.getuser()}))
        except Unreachable as error:
            raise InputError(f"SLURM cannot be asked: {error}; --launcher local trains on this machine") from None
        groups, left = arrays(runs, self.profile, limits.array, room, self.estimate)
        self.left = tuple(left)
        return limits.name, groups

    def _said(self, submission: Submission) -> Submitted:
        """What was submitted, and what was not, for people."""
        tasks = [runs for _, runs in submission.tasks()]
        details = [_described(array) for array in submission.arrays]
        if self.left:
            details.append(
                f"{len(self.left)} runs were not submitted: the account may have no more jobs in the queue; "
                "run the same command again later, or put more runs in a job with --pack"
            )
        return Submitted(sum(map(len, tasks)), len(tasks), tuple(details))

    def _submit(self, packs: list[Pack], resources: Resources, submission: Submission, root: Path) -> str:
        """Submit an array. Returns the job's id."""
        engine = self.engine or _submitit()
        after = submission.arrays[-1].job if resources.max_running and submission.arrays else ""
        with _outside_a_job(), contextlib.redirect_stderr(io.StringIO()):
            executor = engine(
                folder=folder_of(root) / submission.name,
                max_num_timeout=resources.max_requeues,
                python=shlex.join(program("bench.launch.pack")),
            )
            executor.update_parameters(**parameters(resources, submission.name, after))
            return str(executor.submit_array(packs)[0].job_id).partition("_")[0]


def parameters(resources: Resources, name: str, after: str = "") -> dict[str, Any]:
    """What submitit is told of a job.

    Args:
        resources: what the job is given.
        name: of the submission.
        after: the job that must have ended before, so that no more run together than are allowed.
    """
    ranks = resources.ranks
    told: dict[str, Any] = {
        "job_name": f"bench-{name}",
        "time": resources.time,
        "nodes": 1,
        "ntasks_per_node": ranks,
        "cpus_per_task": max(1, resources.cpus_per_run // ranks),
        "signal_delay_s": resources.signal,
        # all tasks of a job that share a run end when one does; and a task is given its cores by srun too
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={max(1, resources.cpus_per_run // ranks)}"],
        "additional_parameters": {"ntasks": ranks, "requeue": True},
        "array_parallelism": resources.max_running or 1_000_000,
        "wckey": None,
    }
    if resources.gpus_per_run:
        told["gpus_per_node"] = resources.gpus_per_run
    if resources.mem:
        told["mem"] = f"{round(resources.mem * 1024)}MB"
    if resources.setup:
        told["setup"] = list(resources.setup)
    if after:
        told["dependency"] = f"afterany:{after}"
    for key in ("partition", "account", "qos", "constraint", "exclude"):
        if value := getattr(resources, key):
            told[key] = value
    return told


def told(resources: Resources) -> dict[str, Any]:
    """The resources that differ from their default, as plain data."""
    plain = Resources()
    given = dataclasses.asdict(resources)
    return {key: value for key, value in given.items() if value != getattr(plain, key) or key == "time"}


def _described(array: Array) -> str:
    """``job 101: 2 tasks, partition p, time 90``."""
    many = "s" * (len(array.tasks) != 1)
    given = ", ".join(f"{key} {value}" for key, value in array.resources.items())
    return f"job {array.job}: {len(array.tasks)} task{many}, {given}"


def _pack(runs: Sequence[RunSpec], job: Job, resources: Resources, failed: dict[str, int]) -> Pack:
    return Pack(
        runs=tuple(json.dumps(to_json(run)) for run in runs),
        job=dataclasses.replace(job, ranks=resources.ranks),
        gpus=resources.gpus_per_run,
        failed={run.id: failed[run.id] for run in runs if run.id in failed},
        leeway=max(5.0, 0.75 * resources.signal),
    )


def _submitit() -> Engine:
    import submitit

    return submitit.SlurmExecutor  # type: ignore[no-any-return]


def _refused(error: Exception, submission: Submission) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = next((line for line in lines if "error:" in line), lines[-1])
    before = sum(len(runs) for _, runs in submission.tasks())
    kept = f"; {before} runs were submitted before, 'bench run' again submits the rest" if before else ""
    return f"sbatch refuses: {said.replace('sbatch: error: ', '').strip()}{kept}"


@contextlib.contextmanager
def _outside_a_job() -> Iterator[None]:
    """Without the environment of a job, where this is one: its options would count for what it submits."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    from submitit.helpers import clean_env

    kept = {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    with clean_env():
        os.environ.update(kept)
        yield
