"""How far a grid is, wherever it is trained; the logs of its runs, and an end of its jobs."""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bench
from bench.commands.launching import ask_queues
from bench.commands.options import add_command, add_format, add_plugin, add_results, print_json
from bench.commands.request import add_target_command, in_newer, request_of, with_reason
from bench.errors import InputError, printable, uncoloured
from bench.launch.launcher import all_launchers
from bench.launch.status import Snapshot, State, claimed_runs, state
from bench.plan.table import Plan
from bench.records.record import FailedRecord

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
            store = Snapshot(options.results)
            unfinished = plan.unique.keys() - store.finished().keys()
            queues = ask_queues(bench.Registry(options.plugin), store.root, unfinished)
            progress = state(plan.unique, store, queues)
        if options.watch is not None and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        _print_status(plan, progress, options)
        if options.watch is None or not progress.running + progress.queued:
            return 0
        sys.stdout.flush()
        time.sleep(options.watch)


@contextlib.contextmanager
def _collecting_later() -> Iterator[None]:
    """Inside, Python does not look for garbage in cycles: among 100,000 records that are all kept, there is none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cancel_command(options: argparse.Namespace) -> int:
    """Cancel this user's jobs all of whose runs belong to a target."""
    plan, root = request_of(options).plan, bench.Store(options.results).root
    answers = [launcher.cancel(root, plan.unique.keys()) for launcher in all_launchers(bench.Registry(options.plugin))]
    cancelled = [answer for answer in answers if answer is not None]
    if not cancelled:
        print(f"{root}: this user has submitted nothing from there")
        return 0
    jobs = list(itertools.chain(*(answer.jobs for answer in cancelled)))
    shared = list(itertools.chain(*(answer.shared for answer in cancelled)))
    which = ", ".join(jobs) or f"none of {options.target} is in the queue"
    print(f"cancelled {len(jobs)} job{'s' * (len(jobs) != 1)}: {which}")
    if shared:
        print(f"not cancelled, since they have other runs too: {', '.join(shared)}")
    return 0


def logs_command(options: argparse.Namespace) -> int:
    """Print the log of a run's record, of its job while it has none, or of its failure."""
    store = bench.Store(options.results)
    path = _log_of(store, options.run, bench.Registry(options.plugin))
    print(printable(f"{path}:"), file=sys.stderr)
    sys.stdout.write(uncoloured(path.read_text(encoding="utf-8", errors="replace")))
    return 0


def print_failed(progress: State) -> None:
    """Failures by class and message, each with one log to look at."""
    by_message: dict[tuple[str, str], list[dict[str, str]]] = {}
    for failure in progress.failed:
        by_message.setdefault((failure["class"], failure["message"]), []).append(failure)
    for (kind, message), failures in by_message.items():
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        print(f"  failed ({kind}): {failures[0]['label']}{more}: {printable(message)}")
        print(f"          {failures[0]['folder']}/log.txt")
    if progress.failed:
        print("  'bench run' with --retry trains them again, 'bench retry' with --class some of them")


def print_excluded(plan: Plan) -> None:
    """The cells that a plan leaves out, by reason."""
    for reason, count in plan.reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} left out: {reason}")


def _print_status(plan: Plan, progress: State, options: argparse.Namespace) -> None:
    if options.format == "json":
        facts = {**asdict(progress), "missing": progress.missing}
        del facts["seconds"]
        print_json({"experiment": plan.name, **facts})
        return
    going = [f"{count} {what}" for count, what in ((progress.running, "running"), (progress.queued, "queued")) if count]
    counts = [f"{progress.done} done", f"{len(progress.failed)} failed", *going, f"{progress.missing} missing"]
    print(f"{plan.name}: {progress.runs} runs: {', '.join(counts)}")
    print_failed(progress)
    for folder in progress.damaged:
        named = printable(with_reason(folder, progress.reasons))
        print(f"  damaged, counts as missing: {named} ('bench run' sets it aside and trains it again)")
    if progress.newer:
        print(f"  {printable(in_newer(progress.newer, progress.reasons))}")
    if progress.unseen:
        print(f"  the queue cannot be asked ({printable(progress.unseen)}): of the missing runs some may be in it")
    print_excluded(plan)


def _log_of(store: bench.Store, run: str, registry: bench.Registry) -> Path:
    """The log to look at for a run: of its record, of its failure, or of its job while that has it."""
    logs: dict[str, Path] = {}
    for launcher in all_launchers(registry):
        logs.update(launcher.logs(store.root, run))
    try:
        record, folder = store.record(run)
    except InputError:
        if len(logs) != 1:
            raise
        (path,) = logs.values()
    else:
        path = folder / "log.txt"
        if isinstance(record, FailedRecord) and record.id in claimed_runs(store.root):
            path = logs.get(record.id, path)
    if not path.is_file():
        job = path in logs.values()
        raise InputError(f"{'its job has not printed anything yet' if job else 'there is no log'}: {path}")
    return path
