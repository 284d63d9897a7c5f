"""Runs on a SLURM cluster, through submitit: submitting returns at once and needs no process to live on."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import io
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.device import interrupt
from bench.errors import InputError
from bench.launch.cluster import Cluster, Unreachable
from bench.launch.executor import Event, Job, Submitted
from bench.launch.handover import Handover
from bench.launch.pack import Pack
from bench.launch.packing import Estimate, Group, arrays
from bench.launch.profile import Profile, Resources
from bench.launch.sbatch import asks_for_gpus, asks_for_memory, flags, in_words
from bench.launch.submissions import Array, Submission, begin, folder_of, job_name, write
from bench.notation import counted
from bench.process import program
from bench.records.store import Store
from bench.spec import RunSpec, to_json

_OF_GPUS = re.compile(r"\bgres\b|gpus|generic resource", re.IGNORECASE)
"""What sbatch speaks of where it does not take the way in which GPUs are asked for."""


@dataclass
class SlurmExecutor:
    """Submits runs as arrays of jobs.

    Attributes:
        engine: makes what submits; by default submitit's executor.
        left: runs for which the user's limit of jobs left no room.
    """

    profile: Profile = field(default_factory=Profile)
    cluster: Cluster = field(default_factory=Cluster)
    estimate: Estimate = lambda run: None
    engine: Callable[..., Any] | None = None
    left: tuple[RunSpec, ...] = ()

    def execute(self, runs: Sequence[RunSpec], job: Job, report: Callable[[Event], None]) -> Submitted:
        """Submit the runs. None ends here, so nothing is reported.

        Raises ``InputError`` where the cluster cannot be asked, or refuses; says what was submitted before.
        """
        root = Path(job.results).expanduser().absolute()
        if set("%\\\n") & set(str(root)):
            raise InputError(f"--results {root}: SLURM cannot write logs to a path with %, \\ or a line break in it")
        cluster, groups = self.divide(runs)
        plugins = tuple(plugin.absolute() for plugin in job.plugins)
        job = dataclasses.replace(job, results=root, plugins=plugins, launcher="slurm")
        failed = Store(root).attempts()
        submission = begin(cluster, job.command)
        for group in groups:
            packs = [_pack(task, job, group.resources, failed) for task in group.tasks]
            with interrupt.postponed():  # between sbatch's answer and what is written of it a job would be lost
                submission = self._add(submission, group, packs, root)
        return self._submitted(submission)

    def _add(self, submission: Submission, group: Group, packs: list[Pack], root: Path) -> Submission:
        """Submit an array; gives the submission with it. It is written down first, and again with its job's id."""
        tasks = tuple(tuple(run.id for run in task) for task in group.tasks)
        arrays, stated = submission.arrays, _stated(group.resources)
        asked = dataclasses.replace(submission, arrays=(*arrays, Array("", tasks, stated)))
        path = write(root, asked)
        try:
            job = self._submit(packs, group.resources, submission, root)
        except (RuntimeError, OSError) as error:
            refusal = _refused(error, submission)
            try:  # a controller that answers too late has taken what it was sent
                job = self._by_name(asked)
            except Unreachable:
                raise InputError(f"{refusal}; whether it has taken the jobs, 'bench status' will say") from None
            if not job:
                if arrays:
                    write(root, submission)
                else:
                    path.unlink()
                raise InputError(refusal) from None
        submission = dataclasses.replace(submission, arrays=(*arrays, Array(job, tasks, stated)))
        write(root, submission)
        return submission

    def _by_name(self, submission: Submission) -> str:
        """The id of the last array's job, by its name; empty where the queue knows none. Raises ``Unreachable``."""
        return submission.answered(self.cluster.queue({submission.user}).names).arrays[-1].job

    def divide(self, runs: Sequence[RunSpec]) -> tuple[str, list[Group]]:
        """Divide runs into the arrays that the cluster takes; those for which there is no room are in ``left``.

        Gives the cluster's name too. Raises ``InputError`` where the cluster cannot be asked.
        """
        first = self.profile.resources(runs[0])
        try:
            limits = self.cluster.limits(first.account, first.qos)
            room = None
            if limits.submit is not None:
                room = limits.submit - len(self.cluster.queue({getpass.getuser()}).states)
        except Unreachable as error:
            raise InputError(f"SLURM cannot be asked: {error}; --launcher local trains on this machine") from None
        groups, left = arrays(runs, self.profile, limits.array, room, self.estimate)
        self.left = tuple(left)
        return limits.name, groups

    def _submitted(self, submission: Submission) -> Submitted:
        """What was submitted, and what was not, for people: ``job 101: 2 tasks, partition p, time 90``."""
        tasks = [runs for _, runs in submission.tasks()]
        details = []
        for array in submission.arrays:
            stated = ", ".join(f"{key} {value}" for key, value in array.resources.items())
            count = len(array.tasks)
            details.append(f"job {array.job}: {counted(count, 'task')}, {stated}")
        if self.left:
            details.append(
                f"{counted(len(self.left), 'run')} could not be submitted: the account may have no more jobs in the "
                "queue; run the same command again later, or put more runs in a job with --pack"
            )
        return Submitted(sum(map(len, tasks)), len(tasks), tuple(details))

    def _submit(self, packs: list[Pack], resources: Resources, submission: Submission, root: Path) -> str:
        """Submit the next array of a submission. Returns the job's id."""
        import submitit

        engine, number = self.engine or submitit.SlurmExecutor, len(submission.arrays)
        folder = folder_of(root) / submission.name
        predecessor = submission.arrays[-1].job if resources.max_running and submission.arrays else ""
        with _outside_a_job(), contextlib.redirect_stderr(io.StringIO()):
            executor = engine(
                folder=folder,
                max_num_timeout=resources.max_requeues,
                python=shlex.join([*program("bench.launch.pack"), str(number)]),
            )
            executor.update_parameters(**parameters(resources, job_name(submission.name, number), predecessor))
            kept = Handover(folder, number)
            kept.write(packs, resources.time, resources.max_requeues)
            job = str(executor.submit_array(packs)[0].job_id).partition("_")[0]
        kept.remove()
        return job


def parameters(resources: Resources, name: str, predecessor: str = "") -> dict[str, Any]:
    """What submitit is told of a job; ``predecessor`` is one that has to end first, so that no more run together."""
    ranks, lanes = resources.ranks, resources.runs_per_gpu
    cores = max(1, resources.cpus_per_run // ranks) * lanes
    named = {key: getattr(resources, key) for key in ("partition", "account", "qos", "constraint", "exclude")}
    more = flags(resources.sbatch)
    waits_for = [more.pop("dependency", ""), f"afterany:{predecessor}" if predecessor else ""]
    memory = "" if asks_for_memory(resources.sbatch) else f"{round(lanes * resources.mem * 1024)}MB"
    optional = {
        "gpus_per_node": 0 if asks_for_gpus(resources.sbatch) else resources.gpus_per_run,
        "mem": memory if resources.mem else "",
        "setup": list(resources.setup),
        "dependency": ",".join(filter(None, waits_for)),
        **named,
    }
    return {
        "job_name": name,
        "time": resources.time,
        "nodes": 1,
        "ntasks_per_node": ranks,
        "cpus_per_task": cores,
        "signal_delay_s": resources.signal,
        # all tasks of a job that share a run end when one does; and a task is given its cores by srun too
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cores}"],
        "additional_parameters": {"ntasks": ranks, "requeue": True, **more},
        "array_parallelism": resources.max_running or 1_000_000,
        "wckey": None,
        **{key: value for key, value in optional.items() if value},
    }


def _stated(resources: Resources) -> dict[str, Any]:
    """The resources that differ from their default, as plain data."""
    default = Resources()
    values = {**dataclasses.asdict(resources), "sbatch": in_words(resources.sbatch) or default.sbatch}
    return {key: value for key, value in values.items() if value != getattr(default, key) or key == "time"}


def _pack(runs: Sequence[RunSpec], job: Job, resources: Resources, failed: dict[str, int]) -> Pack:
    return Pack(
        runs=tuple(json.dumps(to_json(run)) for run in runs),
        job=dataclasses.replace(job, ranks=resources.ranks),
        gpus=resources.gpus_per_run,
        failed={run.id: failed[run.id] for run in runs if run.id in failed},
        leeway=max(5.0, 0.75 * resources.signal),
        lanes=resources.runs_per_gpu,
        mps=resources.mps,
    )


def _refused(error: Exception, submission: Submission) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    reason = next((line for line in lines if "error:" in line), lines[-1])
    count = sum(len(runs) for _, runs in submission.tasks())
    more = (
        f"; before it, {counted(count, 'run')} had been submitted, 'bench run' again submits the rest" if count else ""
    )
    if _OF_GPUS.search(reason):
        more = f"; --sbatch gres=gpu:N takes the place of --gpus-per-node, and --gpus-per-run 0 asks for no GPU{more}"
    return f"sbatch refuses: {reason.replace('sbatch: error: ', '').strip()}{more}"


@contextlib.contextmanager
def _outside_a_job() -> Iterator[None]:
    """Without the environment of a job, where this is one: its options would count for what it submits."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    from submitit.helpers import clean_env

    config = os.environ.get("SLURM_CONF")
    with clean_env():
        if config is not None:
            os.environ["SLURM_CONF"] = config
        yield
