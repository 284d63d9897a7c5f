"""Train what is missing, and say how far it is: ``run``, ``plan``, ``status``."""

from __future__ import annotations

import argparse
import collections
import itertools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bench
from bench.commands.options import add_format, add_target_command, plan_of, print_json
from bench.commands.paper import is_paper, paper_of, planned, show_plan
from bench.errors import InputError
from bench.spec import percent

RUN = """
examples:
  bench run demo                                      the whole demo, on every core
  bench run demo --methods ce,gta --rates 15 --seeds 5
  bench run demo --plugin my_method.py --methods ce,my_method
  bench run photos --datasets folder:~/pictures --backbones timm:vit_tiny_patch16_224
  bench run demo --methods 'ce,gta(weight=1)' --set steps=100
Run it again to do only what is missing.
"""
PLAN = """
examples:
  bench plan demo                  how many runs, how many are done, what is left out and why
  bench plan demo --format json    every run with its id and its spec
"""
STATUS = """
examples:
  bench status demo                done, failed and missing runs; the reason of each failure
  bench status demo --format json
"""


def add(commands: Any) -> None:
    """Add these commands to a parser's."""
    run = add_target_command(commands, "run", run_command, "train what is missing, then print the table", RUN)
    run.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time (default: one a GPU, or else one a core with 2 GB of memory)",
    )
    run.add_argument("--retry", action="store_true", help="train again what failed before")
    plan = add_target_command(commands, "plan", plan_command, "what would be run, without running it", PLAN)
    add_format(plan, ("text", "json"))
    status = add_target_command(commands, "status", status_command, "what is done, failed and missing", STATUS)
    add_format(status, ("text", "json"))


def run_command(options: argparse.Namespace) -> int:
    """Train what is missing, then print the table and where everything lies."""
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least one run at a time is needed")
    if is_paper(options):
        return _run_paper(options)
    from bench.report import write_figure, write_tables
    from bench.tables import render

    plan, store = plan_of(options), bench.Store(options.results)
    if (watch := _train(plan, store, options)) is None:
        return 130
    table = bench.fill(plan, store)
    print(render(table), end="")
    name = plan.experiment.variant
    written = write_tables(table, store.root / "tables", name)
    figures = write_figure(table, store.root / "figures", name) if table.finished and _has_rates(table) else []
    return _tell_end(watch, plan, store, [written["latex"], written["csv"], *figures], plan.experiment.next)


def _run_paper(options: argparse.Namespace) -> int:
    from bench.papers.table import SOURCES, paper_sheet
    from bench.sheets import SUFFIXES, render_sheet
    from bench.store import write_file

    plan, store = paper_of(options), bench.Store(options.results)
    if not plan.unique:
        raise InputError(f"{plan.name}: there is nothing to run: {'; '.join(plan.reasons)}")
    if (watch := _train(plan, store, options)) is None:
        return 130
    finished, paths = store.finished(), []
    for table in plan.tables:
        print(render_sheet(paper_sheet(table, "both", finished)))
        for source, (format, suffix) in itertools.product(SOURCES, SUFFIXES.items()):
            name = f"{table.table.name.replace('/', '-')}-{source}{'-changed' * plan.changed}.{suffix}"
            write_file(store.root / "tables" / name, render_sheet(paper_sheet(table, source, finished), format, 100))
        paths.append(store.root / "tables" / f"{table.table.name.replace('/', '-')}-*")
    return _tell_end(watch, plan, store, paths, [])


def _train(plan: Any, store: Any, options: argparse.Namespace) -> Any:
    """Train what a plan misses; None where it was stopped."""
    from bench.launch import Job, LocalExecutor, run
    from bench.launch.local import default_jobs
    from bench.progress import Watch
    from bench.state import state

    registry = bench.Registry(options.plugin)
    job = Job(Path(options.results).expanduser(), registry.plugins, shlex.join(["bench", *sys.argv[1:]]))
    before = state(plan, store)
    if before.missing or options.retry:
        for name in dict.fromkeys(spec.dataset.name for spec in plan.unique.values()):
            registry.dataset(name).require_files()
    watch = Watch(before, options.retry)
    executor = LocalExecutor(options.jobs or default_jobs())
    try:
        with watch:
            run(plan.unique.values(), job, executor, watch.event, retry=options.retry)
    except KeyboardInterrupt:
        print(f"stopped after {watch.done} runs, which are kept; run the same command again to go on")
        return None
    return watch


def plan_command(options: argparse.Namespace) -> int:
    """Print what would be run."""
    from bench.spec import to_json
    from bench.state import state

    if is_paper(options):
        return show_plan(options)
    plan = plan_of(options)
    now = state(plan, bench.Store(options.results))
    if options.format == "json":
        runs = [{"id": run.spec.id, "axes": dict(run.axes), "spec": to_json(run.spec)} for run in plan.runs]
        left_out = [{"axes": dict(cell.axes), "reason": cell.reason} for cell in plan.excluded]
        print_json({"experiment": plan.experiment.name, "runs": runs, "excluded": left_out, "done": now.done})
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
    if now.done and now.missing:
        hours = now.seconds / now.done * now.missing / 3600
        print(f"about {hours:.2g} hours of one core or GPU, from the time of the {now.done} finished runs")
    _print_excluded(plan)
    return 0


def status_command(options: argparse.Namespace) -> int:
    """Print what is done, failed and missing."""
    from bench.state import state

    paper = is_paper(options)
    plan = planned(options)
    name = plan.name if paper else plan.experiment.name
    now = state(plan, bench.Store(options.results))
    if options.format == "json":
        told = {"runs": now.runs, "done": now.done, "missing": now.missing, "failed": list(now.failed)}
        print_json({"experiment": name, **told, "damaged": list(now.damaged)})
        return 0
    print(f"{name}: {now.runs} runs: {now.done} done, {len(now.failed)} failed, {now.missing} missing")
    _print_failed(now)
    for folder in now.damaged:
        print(f"  damaged, counts as missing: {folder} ('bench run' sets it aside and trains it again)")
    if not paper:
        _print_excluded(plan)
    return 0


def _has_rates(table: Any) -> bool:
    return "rate" in {*table.row_axes, *table.column_axes, *table.constant}


def _print_excluded(plan: Any) -> None:
    reasons = collections.Counter(cell.reason for cell in plan.excluded)
    for reason, count in reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} left out: {reason}")


def _print_failed(now: Any) -> None:
    """Failures by their message, each with one log to look at."""
    by_message: dict[str, list[dict[str, str]]] = {}
    for failure in now.failed:
        by_message.setdefault(failure["message"], []).append(failure)
    for message, failures in by_message.items():
        more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        print(f"  failed: {failures[0]['label']}{more}: {message}\n          {failures[0]['folder']}/log.txt")
    if now.failed:
        print("  'bench run' with --retry trains them again")


def _tell_end(watch: Any, plan: Any, store: Any, paths: Sequence[Path], hints: Sequence[str]) -> int:
    from bench.state import state

    now = state(plan, store)
    failed = f", {len(now.failed)} failed" if now.failed else ""
    print(f"\n{watch.done} runs were trained now, {now.done} of {now.runs} are done{failed}")
    _print_failed(now)
    print("written: " + "\n         ".join(str(path) for path in paths))
    if hints:
        print("try next:\n" + "\n".join(f"  {hint}" for hint in hints))
    return 1 if now.failed else 0
