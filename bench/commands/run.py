"""Train what is missing, here or on a cluster: ``run``, ``retry``, ``plan``."""

from __future__ import annotations

import argparse
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bench
from bench.commands import queue
from bench.commands.launching import add_launching, job_of, launch
from bench.commands.options import add_format, add_target_command, plan_of, print_json, say, typed
from bench.commands.paper import (
    add_cost,
    cost_of,
    is_paper,
    missing_data,
    planned,
    print_cost,
    print_missing_data,
    require_data,
    show_plan,
)
from bench.commands.queue import name_of, print_excluded, print_failed
from bench.commands.table import add_tests, rules_of
from bench.errors import InputError, choose
from bench.spec import RunSpec, percent

RUN = """
examples:
  bench run demo                                      the whole demo, on every core
  bench run demo --methods ce,gta --rates 15 --seeds 5
  bench run demo --plugin my_method.py --methods ce,my_method
  bench run photos --datasets folder:~/pictures --backbones timm:vit_tiny_patch16_224
  bench run demo --methods 'ce,gta(weight=1)' --set steps=100
  bench run demo --launcher slurm --partition gpu --time 4:00:00 --gpus-per-run 1 --pack 10
  bench run demo --launcher slurm --cluster lab        a profile: ~/.config/finetune-bench/clusters/lab.toml
Run it again to do only what is missing.
"""
RETRY = """
examples:
  bench retry demo --class oom,node          what ran out of memory, and what a node took with it
  bench retry demo --class time --launcher slurm --time 8:00:00
"""
PLAN = """
examples:
  bench plan demo                  how many runs, how many are done, what is left out and why
  bench plan demo --measure        time some steps of each method and backbone here, for the estimate of hours
  bench plan demo --format json    every run with its id and its spec
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    run = add_target_command(commands, "run", run_command, "train what is missing, then print the table", RUN)
    run.add_argument("--retry", action="store_true", help="train again what failed before")
    add_tests(run)
    add_launching(run)
    plan = add_target_command(commands, "plan", plan_command, "what would be run, without running it", PLAN)
    add_format(plan, ("text", "json"))
    add_cost(plan)
    queue.add(commands)
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
    job = job_of(options)
    plan = planned(options)
    if options.rates and all(spec.rate <= 1 for spec in plan.unique.values()):
        say(f"--rates {options.rates}: in percent, so a share of 0.15 is 15")
    if is_paper(options) and not plan.unique:
        raise InputError(f"{plan.name}: there is nothing to run: {'; '.join(plan.reasons)}")
    return _launch(plan, plan.unique.values(), job, options, options.retry)


def retry_command(options: argparse.Namespace) -> int:
    """Train again what failed of one of some classes."""
    from bench.launch.failures import CLASSES
    from bench.launch.status import Snapshot, state

    job = job_of(options)
    classes = list(dict.fromkeys(name.strip() for name in options.classes.split(",")))
    for name in classes:
        if name not in CLASSES:
            raise InputError(f"--class: {choose(name, CLASSES, 'class')}")
    plan = planned(options)
    now = state(plan, Snapshot(options.results))
    chosen = [plan.unique[failure["run"]] for failure in now.failed if failure["class"] in classes]
    if not chosen:
        others = Counter(failure["class"] for failure in now.failed)
        told = ", ".join(f"{count} of {name}" for name, count in others.items()) or "nothing failed"
        print(f"{name_of(plan)}: no run failed of {' or '.join(classes)} ({told})")
        return 0
    return _launch(plan, chosen, job, options, True)


def _launch(plan: Any, runs: Iterable[RunSpec], job: Any, options: argparse.Namespace, retry: bool) -> int:
    """Train runs of a plan that have no record, and print what there is then; or submit them."""
    from bench.launch import untrained
    from bench.launch.preflight import require_backbones
    from bench.launch.status import Snapshot

    store = Snapshot(options.results)
    todo = untrained(runs, store, retry=retry)
    require_data(todo, options)
    require_backbones(todo, bench.Registry(options.plugin), say)
    launched = launch(plan, todo, job, options, store)
    if launched.code is not None:
        return launched.code
    store, said = Snapshot(options.results) if todo else store, launched.said
    return _tell_paper(plan, store, said, options) if is_paper(options) else _tell(plan, store, said, options)


def _tell(plan: Any, store: Any, said: str, options: argparse.Namespace) -> int:
    """Print the table, and where everything lies."""
    from bench.tables import render
    from bench.tables.report import write_figure, write_tables

    table = bench.fill(plan, store)
    print(render(table), end="")
    name = plan.experiment.variant
    written = write_tables(table, store.root / "tables", name)
    figures = write_figure(table, store.root / "figures", name) if table.finished and _has_rates(table) else []
    endings = ",".join(path.suffix.removeprefix(".") for path in written.values())
    hints = (
        [f"{typed(options, 'table')} --format latex"]
        if plan.experiment.variant != plan.experiment.name
        else plan.experiment.next
    )
    return _tell_end(plan, store, said, [store.root / "tables" / f"{name}.{{{endings}}}", *figures], hints)


def _tell_paper(plan: Any, store: Any, said: str, options: argparse.Namespace) -> int:
    from bench.papers.published import SOURCES
    from bench.papers.table import paper_sheet
    from bench.records.store import write_file
    from bench.sheets import SUFFIXES, render_sheet

    finished, paths = store.finished(), []
    for table, rules in zip(plan.tables, rules_of(options, plan), strict=True):
        try:
            print(render_sheet(paper_sheet(table, "both", finished, rules)))
        except ValueError as error:
            raise InputError(f"{table.table.name}: {error}") from None
        for source, (format, suffix) in itertools.product(SOURCES, SUFFIXES.items()):
            name = f"{table.table.name.replace('/', '-')}-{source}{'-changed' * plan.changed}.{suffix}"
            write_file(
                store.root / "tables" / name, render_sheet(paper_sheet(table, source, finished, rules), format, 100)
            )
        paths.append(store.root / "tables" / f"{table.table.name.replace('/', '-')}-*")
    return _tell_end(plan, store, said, paths, [])


def plan_command(options: argparse.Namespace) -> int:
    """Print what would be run."""
    from bench.launch.status import Snapshot, state
    from bench.spec import to_json

    if is_paper(options):
        return show_plan(options)
    plan = plan_of(options)
    store = Snapshot(options.results)
    now = state(plan, store)
    if options.format == "json":
        runs = [{"id": run.spec.id, "axes": dict(run.axes), "spec": to_json(run.spec)} for run in plan.runs]
        left_out = [{"axes": dict(cell.axes), "reason": cell.reason} for cell in plan.excluded]
        told = {"experiment": plan.experiment.name, "runs": runs, "excluded": left_out, "done": now.done}
        print_json(
            {**told, "missing_data": missing_data(options, plan), "estimate": asdict(cost_of(options, plan, store))}
        )
        return 0
    experiment = plan.experiment
    print(f"{experiment.name}: {experiment.title}")
    for noun, names in (
        ("method", [entry.label for entry in experiment.methods]),
        ("backbone", [card.name for card in experiment.backbones]),
        ("dataset", [card.title for card in experiment.datasets]),
        ("rate", [percent(rate) for rate in experiment.rates]),
        ("seed", [str(seed) for seed in experiment.seeds]),
    ):
        print(f"  {len(names):>3} {noun + 's' * (len(names) != 1):10} {', '.join(names)}")
    print(f"{now.runs} different runs: {now.done} done, {len(now.failed)} failed, {now.missing} to train")
    print_cost(options, plan, store)
    print_excluded(plan)
    print_missing_data(options, plan)
    return 0


def _has_rates(table: Any) -> bool:
    return "rate" in {*table.row_axes, *table.column_axes, *table.constant}


def _tell_end(plan: Any, store: Any, said: str, paths: Sequence[Path], hints: Sequence[str]) -> int:
    from bench.launch.status import state

    now = state(plan, store)
    failed = f", {len(now.failed)} failed" if now.failed else ""
    print(f"\n{said}, {now.done} of {now.runs} are done{failed}")
    print_failed(now)
    print("written: " + "\n         ".join(str(path) for path in paths))
    if hints and not now.failed:
        print("try next:\n" + "\n".join(f"  {hint}" for hint in hints))
    return 1 if now.failed else 0
