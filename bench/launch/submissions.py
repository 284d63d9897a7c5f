"""What was submitted to a cluster, and which of it still waits or runs.

An array is written down before sbatch is called, with its job's id once that is known. Where the answer was lost, for
its command was killed or the controller spoke too late, the queue knows the job by its name.

RESULTS/submissions/<time>-<id>.json    job ids, the runs of each task, options; written atomically
RESULTS/submissions/<time>-<id>/        submitit's files and the logs of the jobs
"""

from __future__ import annotations

import getpass
import itertools
import json
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import InputError
from bench.launch.cluster import Cluster, Queue, Unreachable
from bench.launch.launcher import Queued
from bench.reading.ordinary import read_ordinary
from bench.records.files import write_file
from bench.records.store import UNSOUND

FORM = 1
"""The form of the file of a submission."""


@dataclass(frozen=True)
class Array:
    """Jobs that one sbatch submits: the run ids of each task, and what each was given.

    ``job`` is the id that SLURM gave it; empty where that is not known, or it never got there.
    """

    job: str
    tasks: tuple[tuple[str, ...], ...]
    resources: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """What one command submitted; ``name`` is that of its file and folder."""

    name: str
    user: str
    cluster: str
    command: str = ""
    arrays: tuple[Array, ...] = ()

    @property
    def is_answered(self) -> bool:
        """Whether the ids of all its jobs are known."""
        return all(array.job for array in self.arrays)

    def runs(self) -> Iterator[str]:
        """The ids of its runs."""
        for array in self.arrays:
            yield from itertools.chain(*array.tasks)

    def answered(self, names: Mapping[str, str]) -> Submission:
        """With the ids of jobs, by their names, where the answer to its command was lost."""
        arrays = []
        for number, array in enumerate(self.arrays):
            job = array.job or names.get(job_name(self.name, number), "")
            arrays.append(replace(array, job=job))
        return replace(self, arrays=tuple(arrays))

    def tasks(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Job id and runs of each task that SLURM has taken; of an array with one task, it made no array."""
        for array in self.arrays:
            for number, runs in enumerate(array.tasks if array.job else ()):
                yield (f"{array.job}_{number}" if len(array.tasks) > 1 else array.job), runs


def job_name(submission: str, number: int) -> str:
    """What the jobs of an array of a submission are called, from the moment they are asked for."""
    return f"bench-{submission}-{number}"


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

    Raises ``InputError`` where one is damaged or newer; since its jobs are not known, nothing may be submitted.
    """
    return [_read(path) for path in sorted(folder_of(root).glob("*.json"))]


def queued(submissions: Sequence[Submission], runs: Collection[str], cluster: Cluster) -> Queued:
    """Which runs are in a job that waits or runs; what the queue no longer knows has ended.

    Where none of the runs was submitted, nobody is asked.
    """
    wanted = set(runs)
    concerned = [submission for submission in submissions if not wanted.isdisjoint(submission.runs())]
    if not concerned:
        return Queued()
    try:
        here = cluster.name()
        users = {submission.user for submission in concerned if submission.cluster == here}
        queue = cluster.queue(users) if users else Queue({}, {})
    except Unreachable as error:
        return Queued(problem=str(error))
    jobs: dict[str, tuple[str, str]] = {}
    for submission in concerned:
        for job, ids in submission.answered(queue.names).tasks() if submission.cluster == here else ():
            if job in queue.states:
                jobs |= dict.fromkeys(wanted.intersection(ids), (job, queue.states[job]))
    unseen = {
        submission.cluster
        for submission in concerned
        if submission.cluster != here and not wanted.intersection(submission.runs()) <= jobs.keys()
    }
    return Queued(jobs, f"jobs on {', '.join(sorted(unseen))} cannot be seen from {here}" if unseen else "")


def _read(path: Path) -> Submission:
    try:
        content = json.loads(read_ordinary(path))
        if content["form"] > FORM:
            raise InputError(f"{path}: written by a newer version; update the suite")
        return msgspec.convert({**content, "name": path.stem}, Submission)
    except UNSOUND:
        raise InputError(f"{path}: this is not a submission; remove it if its jobs have ended") from None
