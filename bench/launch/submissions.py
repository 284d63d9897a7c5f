"""What was submitted to a cluster, and which of it still waits or runs.

RESULTS/submissions/<time>-<id>.json    job ids, the runs of each task, options; written atomically
RESULTS/submissions/<time>-<id>/        submitit's files and the logs of the jobs
"""

from __future__ import annotations

import getpass
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.launch.cluster import Cluster, Unreachable
from bench.launch.launcher import Queued
from bench.records.files import write_file
from bench.records.store import UNSOUND

FORM = 1
"""The form of the file of a submission."""


@dataclass(frozen=True)
class Array:
    """Jobs that one sbatch submits.

    Attributes:
        job: the id that SLURM gave it; empty where it never got there.
        tasks: the run ids of each task.
        resources: what each task was given.
    """

    job: str
    tasks: tuple[tuple[str, ...], ...]
    resources: Mapping[str, Any] = field(default_factory=dict)

    def task_ids(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The job id of each task with its runs; of an array with one task there is no array."""
        for number, runs in enumerate(self.tasks):
            yield (f"{self.job}_{number}" if len(self.tasks) > 1 else self.job), runs


@dataclass(frozen=True)
class Submission:
    """What one command submitted.

    Attributes:
        name: of its file and folder.
        user: whose jobs they are.
        cluster: where they are.
        command: what was typed.
        arrays: what was submitted.
    """

    name: str
    user: str
    cluster: str
    command: str = ""
    arrays: tuple[Array, ...] = ()

    def tasks(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Job id and runs of each task that SLURM has taken."""
        for array in self.arrays:
            if array.job:
                yield from array.task_ids()


def folder_of(root: Path) -> Path:
    """Where a store keeps what was submitted."""
    return root / "submissions"


def begin(cluster: str, command: str) -> Submission:
    """A new submission of this user's, of nothing yet."""
    name = f"{datetime.now():%Y%m%dT%H%M%S.%f}-{uuid.uuid4().hex[:6]}"
    return Submission(name, getpass.getuser(), cluster, command)


def write(root: Path, submission: Submission) -> Path:
    """Write a submission's file, whole or not at all."""
    path = folder_of(root) / f"{submission.name}.json"
    write_file(path, json.dumps({"form": FORM, **asdict(submission)}, ensure_ascii=False) + "\n")
    return path


def read(root: Path) -> list[Submission]:
    """Every submission of a store, the last one last.

    Raises:
        InputError: the file of one is damaged or newer; since its jobs are not known, nothing may be submitted.
    """
    return [_read(path) for path in sorted(folder_of(root).glob("*.json"))]


def queued(submissions: Sequence[Submission], runs: Collection[str], cluster: Cluster) -> Queued:
    """Which runs are in a job that waits or runs; what the queue no longer knows has ended.

    Where none of the runs was submitted, nobody is asked.
    """
    if not submissions:
        return Queued()
    wanted = set(runs)
    tasks = [(one, job, held) for one in submissions for job, ids in one.tasks() if (held := wanted.intersection(ids))]
    if not tasks:
        return Queued()
    try:
        here = cluster.name()
        near = [task for task in tasks if task[0].cluster == here]
        states = cluster.queue({one.user for one, _, _ in near}) if near else {}
    except Unreachable as error:
        return Queued(problem=str(error))
    found = {run: (job, states[job]) for _, job, held in near if job in states for run in held}
    far = sorted({one.cluster for one, _, held in tasks if one.cluster != here and not held <= found.keys()})
    return Queued(found, f"jobs on {', '.join(far)} cannot be seen from {here}" if far else "")


def _read(path: Path) -> Submission:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["form"] > FORM:
            raise InputError(f"{path}: written by a newer version; update the suite")
        arrays = tuple(
            Array(str(array["job"]), tuple(tuple(map(str, task)) for task in array["tasks"]), dict(array["resources"]))
            for array in told["arrays"]
        )
        return Submission(path.stem, str(told["user"]), str(told["cluster"]), str(told["command"]), arrays)
    except UNSOUND:
        raise InputError(f"{path}: this is not a submission; remove it if its jobs have ended") from None
