"""How far a grid is, wherever it is trained; the logs of its runs, and an end of its jobs."""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.launching import ask_queues
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.commands.request import add_target_command, request_of
from bench.errors import InputError, told

if TYPE_CHECKING:
    from bench.launch.status import State
    from bench.plan.table import Plan

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
    add_target_command(commands, "cancel", cancel_command, "cancel the jobs of a target", CANCEL)
    logs = add_command(commands, "logs", logs_command, "what a run printed, or its job", LOGS)
    logs.add_argument("run", metavar="RUN", help="the first digits of a run's id")
    add_plugin(logs)
    add_results(logs)


def status_command(options: argparse.Namespace) -> int:
    """Print how far a target is."""
    if options.watch is not None and not options.watch > 0:
        raise InputError(f"--watch {options.watch:g}: this must be above 0 seconds")
    with _collecting_later():
        plan = request_of(options).plan
    while True:
        with _collecting_later():
            now = _state(plan, bench.Store(options.results), bench.Registry(options.plugin))
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
    from bench.launch.launcher import all_launchers

    plan, root = request_of(options).plan, bench.Store(options.results).root
    answers = [launcher.cancel(root, plan.unique.keys()) for launcher in all_launchers(bench.Registry(options.plugin))]
    cancelled = [answer for answer in answers if answer is not None]
    if not cancelled:
        print(f"{root}: this user has submitted nothing from there")
        return 0
    jobs = [job for answer in cancelled for job in answer.jobs]
    shared = [job for answer in cancelled for job in answer.shared]
    which = ", ".join(jobs) or f"none of {options.target} is in the queue"
    print(f"cancelled {len(jobs)} job{'s' * (len(jobs) != 1)}: {which}")
    if shared:
        print(f"not cancelled, since they have other runs too: {', '.join(shared)}")
    return 0


def logs_command(options: argparse.Namespace) -> int:
    """Print the log of a run's record, of its job while it has none, or of its failure."""
    store = bench.Store(options.results)
    path = _log_of(store, options.run, bench.Registry(options.plugin))
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


def print_excluded(plan: Plan) -> None:
    """The cells that a plan leaves out, by reason."""
    for reason, count in plan.reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} left out: {reason}")


def counts(now: State) -> str:
    """``12 runs: 9 done, 0 failed, 3 missing``, with what runs and waits where anything does."""
    going = [f"{count} {what}" for count, what in ((now.running, "running"), (now.queued, "queued")) if count]
    parts = [f"{now.done} done", f"{len(now.failed)} failed", *going, f"{now.missing} missing"]
    return f"{now.runs} runs: {', '.join(parts)}"


def _state(plan: Plan, store: Any, registry: bench.Registry) -> State:
    """How far a plan is, with what queues say of it."""
    from bench.launch.status import Snapshot, state

    seen = Snapshot(store.root)
    return state(plan, seen, ask_queues(registry, store.root, plan.unique.keys() - seen.finished().keys()))


def _print_status(plan: Plan, now: State, options: argparse.Namespace) -> None:
    if options.format == "json":
        counted = {"runs": now.runs, "done": now.done, "running": now.running, "queued": now.queued}
        listed = {"missing": now.missing, "failed": list(now.failed), "damaged": list(now.damaged)}
        print_json({"experiment": plan.name, **counted, **listed, "unseen": now.unseen})
        return
    print(f"{plan.name}: {counts(now)}")
    print_failed(now)
    for folder in now.damaged:
        print(f"  damaged, counts as missing: {folder} ('bench run' sets it aside and trains it again)")
    if now.unseen:
        print(f"  the queue cannot be asked ({now.unseen}): of the missing runs some may be in it")
    print_excluded(plan)


def _log_of(store: Any, run: str, registry: bench.Registry) -> Path:
    """The log to look at for a run: of its record, of its failure, or of its job while that has it."""
    from bench.launch.launcher import all_launchers
    from bench.launch.status import claimed_runs
    from bench.records.record import FailedRecord

    logs: dict[str, Path] = {}
    for launcher in all_launchers(registry):
        logs.update(launcher.logs(store.root, run))
    try:
        record, folder = store.record(run)
    except InputError:
        if len(logs) != 1:
            raise
        return _existing(next(iter(logs.values())), "its job has not printed anything yet: ")
    if isinstance(record, FailedRecord) and record.id in logs and record.id in claimed_runs(store.root):
        return _existing(logs[record.id], "its job has not printed anything yet: ")
    return _existing(folder / "log.txt", "there is no log: ")


def _existing(path: Path, why: str) -> Path:
    if not path.is_file():
        raise InputError(f"{why}{path}")
    return path
