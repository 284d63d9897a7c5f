"""From runs to arrays: grouped by what they need, packed into tasks, split at what the cluster allows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.launch.profile import Profile, Resources
from bench.spec import RunSpec

Task = tuple[RunSpec, ...]
"""The runs of one task of an array, trained one after the other."""

Estimate = Callable[[RunSpec], float | None]
"""The minutes that a run takes; None where nothing is known."""


@dataclass(frozen=True)
class Group:
    """Tasks that are given the same: they may be one array."""

    resources: Resources
    tasks: tuple[Task, ...]


def arrays(
    runs: Iterable[RunSpec],
    profile: Profile,
    array: int,
    room: int | None = None,
    estimate: Estimate = lambda run: None,
) -> tuple[list[Group], list[RunSpec]]:
    """Divide runs into arrays, in the order in which they are wanted; gives the runs for which there is no room too.

    Args:
        runs: what is to be trained.
        profile: what each is given.
        array: most tasks of an array.
        room: jobs that the user may still submit; None: any number.
        estimate: minutes of a run, where runs are packed by time.
    """
    alike: dict[Resources, list[RunSpec]] = {}
    for run in runs:
        alike.setdefault(profile.resources(run), []).append(run)
    groups: list[Group] = []
    left: list[RunSpec] = []
    for resources, members in alike.items():
        tasks = packed(members, resources, estimate)
        fitting = len(tasks) if room is None else min(len(tasks), max(0, room))
        room = None if room is None else room - fitting
        for first in range(0, fitting, array):
            groups.append(Group(resources, tuple(tasks[first : min(first + array, fitting)])))
        left += itertools.chain(*tasks[fitting:])
    return groups, left


def packed(runs: Sequence[RunSpec], resources: Resources, estimate: Estimate) -> list[Task]:
    """Divide runs of one group into tasks, by count or by minutes; a run of unknown length has a task of its own."""
    if not resources.pack_minutes:
        return [tuple(runs[first : first + resources.pack]) for first in range(0, len(runs), resources.pack)]
    tasks: list[Task] = []
    filled = resources.pack_minutes
    for run in runs:
        minutes = estimate(run)
        takes = resources.pack_minutes if minutes is None else minutes
        if tasks and filled + takes <= resources.pack_minutes:
            tasks[-1] += (run,)
            filled += takes
        else:
            tasks.append((run,))
            filled = takes
    return tasks


def estimate_from(runs: Iterable[RunSpec], seconds: Mapping[str, float]) -> Estimate:
    """Minutes of a run from the seconds that finished runs of its plan took, by id: those most like it count."""
    minutes: dict[Hashable, list[float]] = {}
    for run in runs:
        if run.id in seconds:
            for kind in _kinds(run):
                minutes.setdefault(kind, []).append(seconds[run.id] / 60)
    means = {kind: fmean(values) for kind, values in minutes.items()}
    return lambda run: next((means[kind] for kind in _kinds(run) if kind in means), None)


def _kinds(run: RunSpec) -> list[Hashable]:
    """What runs of about the same length have in common, the narrowest first."""
    place = (run.backbone.means, run.dataset.means, run.protocol)
    return [(*place, run.method, run.rate), (*place, run.rate), place, ()]
