"""How far a grid is, wherever it is trained; the logs of its runs, and an end of its jobs."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from msgspec import to_builtins

import bench
from bench.commands.launching import ask_queues
from bench.commands.options import (
    add_command,
    add_format,
    add_plugin,
    add_results,
    add_watch,
    check_watch,
    print_json,
)
from bench.commands.request import add_target_command, collecting_later, in_newer, request_of, with_reason
from bench.commands.standings import Row, duration, line, table
from bench.cost.forecast import ForecastOutcome, in_words, outcome_of
from bench.errors import InputError, printable, to_type, uncoloured
from bench.launch.failures import LASTING
from bench.launch.launcher import Queued, all_launchers
from bench.launch.status import Snapshot, State, claimed_runs, state
from bench.notation import counted
from bench.plan.table import Plan
from bench.records.lease import ClaimWatch
from bench.records.record import FailedRecord
from bench.records.standing import read_standings
from bench.records.store import slug
from bench.records.unwritable import OPEN_IT

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
  bench logs 'gta micro_vit digits 15 % seed 4'        or by a part of its label
  bench logs 3f9a --follow         of a run in training what it prints from now on, too
"""

PAUSE = 1.0
"""Seconds between two looks at a log that is followed."""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    status = add_target_command(
        commands, "status", status_command, "what is done, failed and missing", STATUS, several=True
    )
    add_format(status, ("text", "json"))
    add_watch(status, "again and again, until nothing runs")
    add_target_command(commands, "cancel", cancel_command, "cancel the jobs of a target", CANCEL)
    logs = add_command(commands, "logs", logs_command, "what a run printed, or its job", LOGS)
    logs.add_argument("run", metavar="RUN", help="the first digits of a run's id, or a part of its label")
    logs.add_argument("--follow", action="store_true", help="of a run in training, go on until it has ended")
    add_plugin(logs)
    add_results(logs)


def status_command(options: argparse.Namespace) -> int:
    """Print how far a target is."""
    check_watch(options)
    plan = request_of(options).plan
    while True:
        with collecting_later():
            store = Snapshot(options.results)
            unfinished = plan.unique.keys() - store.finished().keys()
            queues = ask_queues(bench.Registry(options.plugin), store.root, unfinished)
            progress, *of_parts = [_state(each, store, queues) for each in (plan, *plan.parts)]
            parts = [*zip(plan.parts, of_parts, strict=True)]
            forecast = outcome_of(store, plan.unique.keys(), store.finished())
        if options.watch is not None and sys.stdout.isatty():
            print("\033[H\033[2J", end="")
        if options.format == "json":
            whole = {"parts": [_status(*part) for part in parts]}
            print_json({**_status(plan, progress), **whole, "forecast": forecast and to_builtins(forecast)})
        else:
            _print_status(plan, progress, parts, forecast)
        if options.watch is None or not progress.running + progress.queued:
            return 0
        sys.stdout.flush()
        time.sleep(options.watch)


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
    which = ", ".join(jobs) or f"none of {plan.name} is in the queue"
    print(f"cancelled {len(jobs)} job{'s' * (len(jobs) != 1)}: {which}")
    if shared:
        print(f"not cancelled, since they have other runs too: {', '.join(shared)}")
    return 0


def logs_command(options: argparse.Namespace) -> int:
    """Print the log of a run in training as far as it is, of its record, of its job while it has none, or its failure.

    Of a run in training it is said where it stands, or with ``--follow`` gone on until it has ended.
    """
    store = bench.Store(options.results)
    run_id, path = _log_of(store, options.run, bench.Registry(options.plugin))
    print(printable(f"{path}:"), file=sys.stderr)
    claim = ClaimWatch(store.root / "claims" / run_id)
    with path.open(encoding="utf-8", errors="replace") as log:
        is_held = claim.is_held()
        sys.stdout.write(uncoloured(log.read()))
        while options.follow and is_held:
            sys.stdout.flush()
            time.sleep(PAUSE)
            is_held = claim.is_held()
            sys.stdout.write(uncoloured(log.read()))
    if is_held:
        standing = read_standings(store.root, [run_id]).get(run_id)
        sys.stdout.flush()
        print(f"in training: {line(run_id, standing)}", file=sys.stderr)
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
    if lasting := [kind for kind in LASTING if any(kind == of for of, _ in by_message)]:
        print(f"  what failed of {' or '.join(lasting)} fails again until what is said above is mended")
    if progress.failed:
        print("  'bench run' with --retry trains them again, 'bench retry' with --class some of them")


def lacking_weights(plan: Plan) -> str:
    """How many runs of a plan lack weights, of which backbones, and what to do."""
    names = list(plan.lacks)
    count = sum(runs for _, runs in plan.lacks.values())
    listed = ", ".join(names if len(names) == 1 else [f"{name} ({runs:,})" for name, (_, runs) in plan.lacks.items()])
    name = names[0] if len(names) == 1 else "NAME"
    what = f"{to_type('show', name)} says where they are published, {to_type('convert', name, 'CHECKPOINT')}"
    lack = "lacks" if count == 1 else "lack"
    runs = f"{count:,} of {counted(len(plan.unique), 'run')} {lack} weights that are not here"
    return f"{runs}: {listed}; {what} puts them in place (docs/weights.md)"


def print_excluded(plan: Plan) -> None:
    """The cells that a plan leaves out, by reason."""
    for reason, count in plan.reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} left out: {reason}")


def _state(plan: Plan, store: bench.Store, queues: Queued) -> State:
    """How far a plan is; runs that cannot be trained here are not waited for."""
    return replace(state(plan.unique, store, queues), lacking=len(plan.unique) - len(plan.trainable))


def _status(plan: Plan, progress: State) -> dict[str, Any]:
    """How far a plan is, as plain data."""
    facts = {**asdict(progress), "missing": progress.missing, "seconds_left": progress.seconds_left}
    del facts["seconds"]
    facts["training"] = [
        {"run": run_id, "label": plan.unique[run_id].label, **(to_builtins(standing) if standing else {})}
        for run_id, standing in facts.pop("standings").items()
    ]
    return {"experiment": plan.name, **facts, "lacking_weights": {name: runs for name, (_, runs) in plan.lacks.items()}}


def _counts(plan: Plan, progress: State) -> str:
    """How many runs of a plan are done, failed, ... in a line."""
    going = [f"{count} {what}" for count, what in ((progress.running, "running"), (progress.queued, "queued")) if count]
    counts = [f"{progress.done} done", f"{len(progress.failed)} failed", *going, f"{progress.missing:,} missing"]
    left = progress.seconds_left
    ends = f"; {duration(left)} left" if left is not None else ""
    return f"{plan.name}: {counted(progress.runs, 'run')}: {', '.join(counts)}{ends}"


def _print_status(
    plan: Plan, progress: State, parts: Sequence[tuple[Plan, State]], forecast: ForecastOutcome | None = None
) -> None:
    for part in parts:
        print(_counts(*part))
    print(_counts(replace(plan, name="together") if parts else plan, progress))
    if forecast is not None:
        print(f"  {printable(in_words(forecast))}")
    if plan.lacks:
        print(f"  {lacking_weights(plan)}")
    _print_training([(plan.unique[run_id].label, standing) for run_id, standing in progress.standings.items()])
    print_failed(progress)
    for folder in progress.damaged:
        named, is_closed = printable(with_reason(folder, progress.reasons)), folder in progress.closed
        kind, advice = (
            ("closed", OPEN_IT) if is_closed else ("damaged", "'bench run' sets it aside and trains it again")
        )
        print(f"  {kind}, counts as missing: {named} ({advice})")
    if progress.newer:
        print(f"  {printable(in_newer(progress.newer, progress.reasons))}")
    if progress.unseen:
        print(f"  the queue cannot be asked ({printable(progress.unseen)}): of the missing runs some may be in it")
    print_excluded(plan)


def _print_training(rows: Sequence[Row]) -> None:
    """The runs in training: in a terminal as a table of as many as fit, else a line each."""
    if rows and sys.stdout.isatty():
        from rich.console import Console

        console = Console(highlight=False)
        console.print(table(rows, console.width, max(5, console.height - 6)))
    for label, standing in () if sys.stdout.isatty() else rows:
        print(f"  in training: {line(label, standing)}")


def _log_of(store: bench.Store, run: str, registry: bench.Registry) -> tuple[str, Path]:
    """The run that is meant, and the log to look at: of its training or its job, of its record, or of its failure."""
    running = claimed_runs(store.root)
    drafts = {run_id: folder for run_id, folder in store.drafts().items() if run_id in running}
    run = _whole_id({**store.places(), **drafts}, run)
    if run in drafts and (path := drafts[run] / "log.txt").is_file():
        return run, path
    logs: dict[str, Path] = {}
    for launcher in all_launchers(registry):
        logs.update(launcher.logs(store.root, run))
    try:
        record, folder = store.record(run)
    except InputError:
        if len(logs) != 1:
            raise
        ((run_id, path),) = logs.items()
    else:
        run_id, path = record.id, folder / "log.txt"
        if isinstance(record, FailedRecord) and run_id in running:
            path = logs.get(run_id, path)
    if not path.is_file():
        job = path in logs.values()
        raise InputError(f"{'its job has not printed anything yet' if job else 'there is no log'}: {path}")
    return run_id, path


def _whole_id(folders: Mapping[str, Path], run: str) -> str:
    """The id that begins so, or of the run with such a label; what was typed where there is none.

    Raises ``InputError`` where several have it in their labels.
    """
    ids = [run_id for run_id in folders if run_id.startswith(run)]
    if ids or not (part := slug(run).strip("-.")):
        return ids[0] if len(ids) == 1 else run
    labels = {run_id: folder.name.partition(f"-{run_id}")[0] for run_id, folder in folders.items()}
    named = [run_id for run_id, label in labels.items() if label == part]
    named = named or [run_id for run_id, label in labels.items() if part in label]
    if len(named) > 1:
        listed = ", ".join(f"{labels[run_id]} ({run_id[:6]})" for run_id in named[:5]) + ", ..." * (len(named) > 5)
        raise InputError(f"{len(named)} runs have '{run}' in their labels: {listed}; name one by its id")
    return named[0] if named else run
