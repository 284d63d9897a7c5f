"""Runs of a launch that other processes are training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.launch.executor import Event, Job
from bench.notation import counted
from bench.records.lease import ClaimWatch
from bench.records.store import Store, folder_name
from bench.spec import RunSpec

PAUSE = 1.0
"""Seconds between two looks at them."""


def wait_for_others(
    runs: Sequence[RunSpec],
    failed: Mapping[str, int],
    job: Job,
    report: Callable[[Event], None],
    say: Callable[[str], None],
) -> list[RunSpec]:
    """Wait until none of some runs is in the hands of another process; gives those that ended without a record.

    One that has failed more often than ``failed`` says has ended.
    """
    store = Store(job.results)
    held = [(spec, ClaimWatch(store.root / "claims" / spec.id)) for spec in runs]
    free: list[RunSpec] = []
    waits = False
    while held:
        still_held = []
        for spec, claim in held:
            if claim.is_held():  # asked before the record is looked for: a claim goes after its record
                still_held.append((spec, claim))
            elif store.holds(spec):
                report(Event(spec.id, spec.label, "elsewhere", "another process trained it"))
            elif has_failed(spec, failed, job):
                report(Event(spec.id, spec.label, "elsewhere", "it failed in another process"))
            else:
                free.append(spec)
        held = still_held
        if held and not waits:
            say(f"waiting for {counted(len(held), 'run')} that other processes are training")
        waits = True
        if held:
            time.sleep(PAUSE)
    return free


def has_failed(spec: RunSpec, failed: Mapping[str, int], job: Job) -> bool:
    """Whether a run has failed once more than it had; looks at one folder."""
    return (Path(job.results) / "failed" / f"{folder_name(spec)}-{failed.get(spec.id, 0) + 1}").is_dir()
