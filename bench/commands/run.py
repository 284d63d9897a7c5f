"""Train what is missing, here or on a cluster: ``run``, ``retry``."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bench.commands.costs import require_data, write_forecast
from bench.commands.folders import folder_lines
from bench.commands.images import require_images
from bench.commands.keeping import keep_of, require_choice, say_unkept
from bench.commands.launching import add_launching, job_of, launch, launcher_of
from bench.commands.options import say
from bench.commands.planned import axes_of, is_published
from bench.commands.queue import lacking_weights, print_failed
from bench.commands.request import Request, add_target_command, add_tests, in_newer, request_of, with_reason
from bench.errors import InputError, Problems, choose, printable
from bench.launch import Job, untrained
from bench.launch.budgets import require_budgets
from bench.launch.failures import CLASSES
from bench.launch.packages import apart, waiting_lines
from bench.launch.preflight import require_backbones
from bench.launch.status import Snapshot, state
from bench.notation import counted
from bench.plan.settings import noted
from bench.plan.soundness import require_sound
from bench.rules import SOURCES
from bench.spec import RunSpec

if TYPE_CHECKING:
    from bench.tables.compare import Table
    from bench.tables.results import Results

RUN = """
examples:
  bench run demo                                      the whole demo, on every core
  bench run demo --methods ce,gta --rates 15 --seeds 5
  bench run demo --plugin my_method.py --methods ce,my_method
  bench run photos --datasets folder:~/pictures --backbones timm:vit_tiny_patch16_224
  bench run all --datasets folder:~/birds --backbones dino_vit_small   every method, under one protocol
  bench run demo --methods 'ce,gta(weight=1)' --set steps=100
  bench run gta/table2 gta/table3                     what both need is trained once
  bench run demo --keep last                          and keep the trained models (bench export, bench predict)
  bench run demo --launcher slurm --partition gpu --time 4:00:00 --gpus-per-run 1 --pack 10
  bench run demo --launcher slurm --cluster lab        a profile: ~/.config/finetune-bench/clusters/lab.toml
Run it again to do only what is missing.
"""
RETRY = """
examples:
  bench retry demo --class oom,node          what ran out of memory, and what a node took with it
  bench retry demo --class time --launcher slurm --time 8:00:00
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    run = add_target_command(commands, "run", run_command, "train what is missing, then print the table", RUN)
    run.add_argument("--retry", action="store_true", help="train again what failed before")
    add_tests(run)
    add_launching(run)
    retry = add_target_command(commands, "retry", retry_command, "train again the failed runs of some classes", RETRY)
    retry.add_argument(
        "--class",
        dest="classes",
        required=True,
        metavar="LIST",
        help="classes of failure: code, data, diverged, node, oom, time",
    )
    add_launching(retry)


def run_command(options: argparse.Namespace) -> int:
    """Train what is missing, then print the table and where everything lies; or submit it."""
    job, request = job_of(options), request_of(options)
    runs = request.plan.trainable.values()
    if not runs:
        _refuse_all(request)
    return _launch(request, runs, job, options, options.retry)


def _refuse_all(request: Request) -> NoReturn:
    """Say why nothing of a plan can be trained."""
    plan, problems = request.plan, Problems()
    for name in plan.lacks:
        with noted(problems):
            request.registry.backbone(name).require_weights()
    problems.stop()
    why = "; ".join(plan.reasons) or f"its numbers are counted, and {request.to_type('table')} has them"
    raise InputError(f"{plan.name}: there is nothing to run: {why}")


def retry_command(options: argparse.Namespace) -> int:
    """Train again what failed of one of some classes."""
    job, request = job_of(options), request_of(options)
    plan = request.plan
    classes = list(dict.fromkeys(name.strip() for name in options.classes.split(",")))
    for name in classes:
        if name not in CLASSES:
            raise InputError(f"--class: {choose(name, CLASSES, 'class')}")
    progress = state(plan.unique, Snapshot(options.results))
    runs = [plan.unique[failure["run"]] for failure in progress.failed if failure["class"] in classes]
    if not runs:
        others = Counter(failure["class"] for failure in progress.failed)
        listed = ", ".join(f"{count} of {name}" for name, count in others.items()) or "nothing failed"
        print(f"{plan.name}: no run failed of {' or '.join(classes)} ({listed})")
        return 0
    return _launch(request, runs, job, options, True)


def _launch(request: Request, runs: Iterable[RunSpec], job: Job, options: argparse.Namespace, retry: bool) -> int:
    """Train runs of a plan that have no record, and print what there is then; or submit them."""
    plan, store = request.plan, Snapshot(request.results)
    keep = keep_of(options, plan)
    todo = untrained(runs, store, retry=retry)
    todo, waits = apart(todo, request.registry)
    if waits and not todo and not plan.unique.keys() & store.finished().keys():
        raise InputError(*waits)
    for folder in itertools.filterfalse(store.is_closed, store.damaged):
        say(f"{with_reason(folder, store.reasons)} is damaged: it is set aside in {store.root / 'damaged'}")
    if store.newer:
        say(in_newer(store.newer, store.reasons))
    require_choice(keep, todo, request.registry)
    require_data(todo, request)
    if todo:
        _print_planned(request, store, len(todo))
    if plan.lacks:
        say(f"not trained: {lacking_weights(plan)}")
    for line in waiting_lines(waits):
        say(line)
    for line in (*require_sound(todo, request.registry, say, job.ranks), *folder_lines(todo, request.registry)):
        say(line)
    require_images(todo, request.registry, request.results, launcher_of(options)[0].submits)
    require_budgets(todo, request.registry)
    require_backbones(todo, request.registry, say, with_methods=True)
    job = replace(job, keep=str(keep))
    outcome = launch(plan, todo, job, options, store, lambda runs: write_forecast(request, store, runs, job))
    say_unkept(keep, runs, Snapshot(request.results) if todo else store)
    if isinstance(outcome, int):
        return outcome
    code, unwritten = _tell(request, Snapshot(request.results) if todo else store, outcome)
    if unwritten:
        say(f"tables and figures could not be written: {unwritten}")
    return 2 if unwritten and todo else code  # of a finished grid they are printed, and that was all there was to do


def _tell(request: Request, store: Snapshot, trained: str) -> tuple[int, str]:
    """Print the tables, write them in every format with their figures, and say where everything lies.

    Gives the exit code, and why something could not be written; empty where all was.
    """
    from bench.sheets.formats import render_sheet, write_formats
    from bench.sheets.view import Look, sheet_of
    from bench.tables.compare import fill_table
    from bench.tables.results import results_of

    plan, paths, unwritten = request.plan, list[Path](), ""
    look = Look(command=request.command("run"))
    results = results_of(plan, store)
    tables = [fill_table(each, results) for each in plan.tables]
    for number, table in enumerate(tables):
        print("\n" * bool(number) + render_sheet(sheet_of(table, look)), end="")
        name = "-".join(filter(None, (table.plan.name.replace("/", "-"), plan.changes)))  # gta-table2, demo-1f3a5c
        try:
            for source in SOURCES if table.plan.is_published else ("",):
                sheet = sheet_of(table, Look(source, command=look.command))
                paths += write_formats(sheet, store.root / "tables", f"{name}-{source}" if source else name)
            if table.finished and not table.plan.is_published and table.has_rates:
                paths += _figure(table, results, store.root / "figures", name)
        except OSError as error:  # what was trained is told all the same
            unwritten = f"{error.filename or store.root}: {error.strerror or error}"
    progress = state(plan.unique, store)
    failed = f", {len(progress.failed)} failed" if progress.failed else ""
    print(f"\n{trained}, {progress.done} of {progress.runs} are done{failed}")
    print_failed(progress)
    if paths:
        print("written: " + "\n         ".join(_together(paths)))
    hints = [f"{request.command('table')} --format latex"] if plan.changes else list(plan.next)
    if plan.changes and any(len(cell.candidates) > 1 for table in plan.tables for _, cell in table.places()):
        hints.append(f"{request.command('table')} --candidates")
    if hints and not progress.failed:
        print("try next:\n" + "\n".join(f"  {hint}" for hint in hints))
    return 1 if progress.failed else 0, unwritten


def _figure(table: Table, results: Results, folder: Path, name: str) -> list[Path]:
    """Draw a table's usual figure. What cannot be drawn is said: the runs are there all the same."""
    from bench.figures.figure import USUAL, write_figure
    from bench.figures.scene import Scene

    try:
        paths, remark = write_figure(USUAL, Scene(name, table, results), folder)
    except InputError as error:
        say(f"no figure: {error}")
        return []
    if remark:
        say(remark)
    return paths


def _print_planned(request: Request, store: Snapshot, todo: int) -> None:
    """Say what will be trained before anything that takes long."""
    plan = request.plan
    progress = state(plan.unique, store)
    counts = ((progress.done, "done"), (progress.running, "in training"), (len(progress.failed), "failed"))
    facts = [f"{count} {what}" for count, what in counts if count]
    is_grid = len(plan.tables) == 1 and not is_published(plan)
    axes = axes_of(plan) if is_grid else {"table": [table.name for table in plan.tables]}
    sizes = [counted(len(labels), noun) for noun, labels in axes.items()]
    print(
        printable(f"{plan.name}: {counted(progress.runs, 'run')}: {', '.join([*facts, f'{todo} to train'])}"),
        file=sys.stderr,
    )
    print(f"  {' × '.join(sizes)}", file=sys.stderr, flush=True)


def _together(paths: Iterable[Path]) -> list[str]:
    """Paths that differ in their endings alone as one: ``demo.{txt,md}``."""
    endings: dict[str, list[str]] = {}
    for path in paths:
        stem, _, ending = path.name.partition(".")
        endings.setdefault(str(path.parent / stem), []).append(ending)
    return [f"{stem}.{{{','.join(each)}}}" if len(each) > 1 else f"{stem}.{each[0]}" for stem, each in endings.items()]
