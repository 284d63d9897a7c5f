"""A grid on a cluster: submit it, see how far it is, read its logs, cancel it."""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import getpass
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import (
    add_command,
    add_format,
    add_results,
    add_target_command,
    print_json,
    profile_of,
)
from bench.commands.paper import planned
from bench.errors import InputError, told

if TYPE_CHECKING:
    from bench.launch import Job
    from bench.launch.cluster import Cluster
    from bench.launch.status import State
    from bench.launch.submissions import Submission
    from bench.spec import RunSpec

STATUS = """
examples:
  bench status demo                done, failed, running, queued and missing runs; the reason of each failure
  bench status demo --format json
  bench status demo --watch        again every ten seconds, until nothing runs or waits
"""
CANCEL = """
examples:
  bench cancel demo                this user's jobs of which every run is the demo's
  bench cancel demo --methods gta
"""
LOGS = """
examples:
  bench logs 3f9a                  by the first digits of a run's id, which 'bench status demo --format json' lists
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    status = add_target_command(commands, "status", status_command, "what is done, failed and missing", STATUS)
    add_format(status, ("text", "json"))
    status.add_argument(
        "--watch", nargs="?", type=float, const=10.0, metavar="SECONDS", help="again and again, until nothing runs"
    )
    add_target_command(commands, "cancel", cancel_command, "cancel the jobs of a target on a cluster", CANCEL)
    logs = add_command(commands, "logs", logs_command, "what a run printed, or its job", LOGS)
    logs.add_argument("run", metavar="RUN", help="the first digits of a run's id")
    add_results(logs)


def submit(plan: Any, runs: Sequence[RunSpec], job: Job, options: argparse.Namespace, store: Any) -> bool:
    """Submit runs that are in no job yet, and say what was submitted. Returns whether anything waits or runs.

    Args:
        plan: of which the runs are.
        runs: those without a record.
        job: what workers need beside them.
        options: of the command line.
        store: the store.
    """
    from bench.launch import make_ready
    from bench.launch.cluster import Cluster
    from bench.launch.packing import estimate_from
    from bench.launch.slurm import SlurmExecutor
    from bench.launch.submissions import queued, read

    profile, cluster = profile_of(options), Cluster()
    there = queued(read(store.root), [run.id for run in runs], cluster)
    todo = [run for run in runs if run.id not in there.jobs]
    if there.problem and not options.resubmit:
        raise InputError(
            f"the queue cannot be asked ({there.problem}), and some of these runs may be in it; "
            "--resubmit submits them again"
        )
    waits = f"{len(there.jobs)} runs are in jobs already" if there.jobs else ""
    if todo:
        seconds = {run_id: run.seconds for run_id, run in store.finished().items()}
        executor = SlurmExecutor(profile, cluster, estimate_from(plan.unique.values(), seconds))
        executor.divide(todo)  # whatever SLURM has against it is said before anything is written
        make_ready(store)
        executor.execute(todo, job, lambda event: None)
        _tell_submitted(executor, options.target, waits)
    elif waits:
        print(f"{waits}, and nothing else is missing; 'bench status {options.target}' says how far they are")
    return bool(todo or there.jobs)


def status_command(options: argparse.Namespace) -> int:
    """Print how far a target is."""
    if options.watch is not None and not options.watch > 0:
        raise InputError(f"--watch {options.watch:g}: this must be above 0 seconds")
    with _collecting_later():
        plan = planned(options)
    while True:
        with _collecting_later():
            now = _state(plan, bench.Store(options.results))
        if options.watch is not None and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        _print_status(plan, now, options)
        if options.watch is None or not now.running + now.queued:
            return 0
        sys.stdout.flush()
        time.sleep(options.watch)


@contextlib.contextmanager
def _collecting_later() -> Iterator[None]:
    """Inside, Python does not look for garbage in cycles: among 100,000 records that are all kept, there is none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def cancel_command(options: argparse.Namespace) -> int:
    """Cancel this user's jobs all of whose runs belong to a target."""
    from bench.launch.cluster import Cluster, Unreachable
    from bench.launch.submissions import read

    plan, store = planned(options), bench.Store(options.results)
    own = [one for one in read(store.root) if one.user == getpass.getuser()]
    if not own:
        print(f"{store.root}: this user has submitted nothing from there")
        return 0
    try:
        return _cancel(own, set(plan.unique), Cluster(), options.target)
    except Unreachable as error:
        raise InputError(f"SLURM cannot be asked: {error}; nothing more was cancelled") from None


def logs_command(options: argparse.Namespace) -> int:
    """Print the log of a run's record, of its job while it has none, or of its failure."""
    store = bench.Store(options.results)
    path = _log_of(store, options.run)
    print(f"{path}:", file=sys.stderr)
    sys.stdout.write(path.read_text(encoding="utf-8", errors="replace"))
    return 0


def print_failed(now: State) -> None:
    """Failures by class and message, each with one log to look at."""
    by_message: dict[tuple[str, str], list[dict[str, str]]] = {}
    for failure in now.failed:
        by_message.setdefault((failure["class"], failure["message"]), []).append(failure)
    for (kind, message), failures in by_message.items():
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        print(f"  failed ({kind}): {failures[0]['label']}{more}: {told(message)}")
        print(f"          {failures[0]['folder']}/log.txt")
    if now.failed:
        print("  'bench run' with --retry trains them again, 'bench retry' with --class some of them")


def print_excluded(plan: Any) -> None:
    """The cells that a plan leaves out, by reason."""
    reasons = collections.Counter(cell.reason for cell in getattr(plan, "excluded", ()))
    for reason, count in reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} left out: {reason}")


def name_of(plan: Any) -> str:
    """What a plan is called: a paper, a table or an experiment."""
    return str(plan.experiment.name if hasattr(plan, "experiment") else plan.name)


def counts(now: State) -> str:
    """``12 runs: 9 done, 0 failed, 3 missing``, with what runs and waits where anything does."""
    going = [f"{count} {what}" for count, what in ((now.running, "running"), (now.queued, "queued")) if count]
    parts = [f"{now.done} done", f"{len(now.failed)} failed", *going, f"{now.missing} missing"]
    return f"{now.runs} runs: {', '.join(parts)}"


def _state(plan: Any, store: Any) -> State:
    """How far a plan is, with what clusters say of it."""
    from bench.launch.cluster import Cluster
    from bench.launch.status import Snapshot, state
    from bench.launch.submissions import queued, read

    seen = Snapshot(store.root)
    submissions = read(store.root)
    open_runs = plan.unique.keys() - seen.finished().keys() if submissions else ()
    return state(plan, seen, queued(submissions, open_runs, Cluster()))


def _print_status(plan: Any, now: State, options: argparse.Namespace) -> None:
    if options.format == "json":
        counted = {"runs": now.runs, "done": now.done, "running": now.running, "queued": now.queued}
        listed = {"missing": now.missing, "failed": list(now.failed), "damaged": list(now.damaged)}
        print_json({"experiment": name_of(plan), **counted, **listed, "unseen": now.unseen})
        return
    print(f"{name_of(plan)}: {counts(now)}")
    print_failed(now)
    for folder in now.damaged:
        print(f"  damaged, counts as missing: {folder} ('bench run' sets it aside and trains it again)")
    if now.unseen:
        print(f"  the queue cannot be asked ({now.unseen}): of the missing runs some may be in it")
    print_excluded(plan)


def _tell_submitted(executor: Any, target: str, waits: str) -> None:
    submission = executor.submission
    runs = sum(len(held) for _, held in submission.tasks())
    print(f"submitted {runs} runs as {_number(submission.tasks(), 'job')}" + (f"; {waits}" if waits else ""))
    for array in submission.arrays:
        given = ", ".join(f"{key} {value}" for key, value in array.resources.items())
        print(f"  job {array.job}: {_number(array.tasks, 'task')}, {given}")
    if executor.left:
        print(
            f"  {len(executor.left)} runs were not submitted: the account may have no more jobs in the queue; "
            "run the same command again later, or put more runs in a job with --pack"
        )
    print(f"'bench status {target}' says how far they are, 'bench cancel {target}' ends them")


def _cancel(submissions: Sequence[Submission], runs: set[str], cluster: Cluster, target: str) -> int:
    here = cluster.name()
    tasks = [task for one in submissions if one.cluster == here for task in one.tasks()]
    states = cluster.queue({getpass.getuser()})
    alive = {job for job, now in states.items() if now != "COMPLETING"}
    mine = [job for job, held in tasks if job in alive and runs.issuperset(held)]
    shared = [job for job, held in tasks if job in alive and not runs.issuperset(held) and not runs.isdisjoint(held)]
    cluster.cancel(mine)
    print(
        f"cancelled {_number(mine, 'job')}"
        + (f": {', '.join(mine)}" if mine else f": none of {target} is in the queue")
    )
    if shared:
        print(f"not cancelled, since they have other runs too: {', '.join(shared)}")
    return 0


def _log_of(store: Any, run: str) -> Path:
    """The log to look at for a run: of its record, of its failure, or of its job while that has it."""
    from bench.launch.status import claimed_runs
    from bench.launch.submissions import folder_of, read

    tasks = [(one, job, run_id) for one in read(store.root) for job, held in one.tasks() for run_id in held]
    tasks = [task for task in tasks if task[2].startswith(run)]
    try:
        record = store.record(run)
    except InputError:
        if len({run_id for *_, run_id in tasks}) != 1:
            raise
        record = None
    if record and (record["status"] == "done" or record["id"] not in claimed_runs(store.root) or not tasks):
        return _existing(Path(record["folder"]) / "log.txt")
    one, job, _ = tasks[-1]
    return _existing(folder_of(store.root) / one.name / f"{job}_0_log.out", "its job has not printed anything yet: ")


def _existing(path: Path, why: str = "there is no log: ") -> Path:
    if not path.is_file():
        raise InputError(f"{why}{path}")
    return path


def _number(things: Iterable[object], noun: str) -> str:
    count = len(list(things))
    return f"{count} {noun}{'s' * (count != 1)}"
