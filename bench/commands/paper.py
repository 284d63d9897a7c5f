"""The commands for what papers published: ``run``, ``plan``, ``status``, ``table`` of ``gta/table2`` or ``gta``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import bench
from bench.cards.dataset import absent, absent_together
from bench.commands.options import overrides_of, plan_of, print_json
from bench.errors import InputError

if TYPE_CHECKING:
    from bench.cards import DatasetCard
    from bench.cost.estimate import Estimate
    from bench.launch.status import Plan
    from bench.plan.paper import PaperPlan
    from bench.records.store import Store
    from bench.spec import RunSpec


def is_paper(options: argparse.Namespace) -> bool:
    """Whether the target is a paper or one of its tables."""
    registry = bench.Registry(options.plugin)
    return options.target in registry.table_files or options.target in registry.papers


def paper_of(options: argparse.Namespace) -> PaperPlan:
    """The plan of the paper or table that is named.

    Raises:
        InputError: the command line names something that the paper does not have.
    """
    from bench.plan.paper import plan_paper

    # which test is chosen changes no run
    overrides = replace(overrides_of(options), test="", across="")
    return plan_paper(options.target, bench.Registry(options.plugin), overrides)


def planned(options: argparse.Namespace) -> Any:
    """The plan of whatever is named: a paper, one of its tables or an experiment."""
    return paper_of(options) if is_paper(options) else plan_of(options)


def show_plan(options: argparse.Namespace) -> int:
    """Print what would be run for a paper, after sharing."""
    from bench.launch.status import Snapshot, state
    from bench.spec import to_json

    plan = paper_of(options)
    store = Snapshot(options.results)
    now = state(plan, store)
    if options.format == "json":
        runs = [{"id": run_id, "spec": to_json(spec)} for run_id, spec in plan.unique.items()]
        told = {"target": plan.name, "needed": plan.needed, "runs": runs, "not_run": dict(plan.reasons)}
        print_json(
            {**told, "missing_data": missing_data(options, plan), "estimate": asdict(cost_of(options, plan, store))}
        )
        return 0
    print(f"{plan.name}: {len(plan.tables)} table{'s' * (len(plan.tables) != 1)}")
    for table in plan.tables:
        cells = [cell for row in table.cells for cell in row]
        ids = {spec.id for cell in cells for candidate in cell.candidates for spec in candidate.runs}
        print(f"  {table.table.name:18} {sum(bool(cell.candidates) for cell in cells):4} cells, {len(ids):5} runs")
    shared = plan.needed - len(plan.unique)
    print(f"{now.runs} different runs ({shared} more are shared): {now.done} done, {now.missing} to train")
    print_cost(options, plan, store)
    for reason, count in plan.reasons.items():
        print(f"  {count} cell{'s are' if count > 1 else ' is'} not run: {reason}")
    print_missing_data(options, plan)
    return 0


def data_of(runs: Iterable[RunSpec], options: argparse.Namespace) -> list[DatasetCard]:
    """The datasets of some runs, but for folders of images: all of those was read when the runs were planned."""
    registry = bench.Registry(options.plugin)
    names = dict.fromkeys(spec.dataset.name for spec in runs)
    return [registry.dataset(name) for name in names if not name.startswith("folder:")]


def missing_data(options: argparse.Namespace, plan: Plan) -> list[dict[str, str]]:
    """The datasets of a plan that are not on this machine, each with the reason and what to do."""
    found = absent(data_of(plan.unique.values(), options))
    return [{"dataset": name, "reason": reason} for name, reason in found.items()]


def print_missing_data(options: argparse.Namespace, plan: Plan) -> None:
    """Which datasets of a plan are not on this machine, and how they are had; nothing where all are."""
    if found := absent(data_of(plan.unique.values(), options)):
        print(f"{absent_together(found)}\n  {_how_prepared(found, options)}")


def require_data(runs: Iterable[RunSpec], options: argparse.Namespace) -> None:
    """Raise ``InputError`` that names every dataset of some runs of which files are missing; nothing is opened."""
    found = absent(data_of(runs, options))
    if len(found) == 1:
        raise InputError(*(f"{name}: {absence}" for name, absence in found.items()))
    if found:
        raise InputError(f"{absent_together(found)}; {_how_prepared(found, options)}")


def _how_prepared(names: Iterable[str], options: argparse.Namespace) -> str:
    """The command that fetches datasets, in words; with the user's folders where one of them is theirs."""
    suite = bench.Registry().dataset_files
    theirs = any(name.partition("@")[0] not in suite for name in names)
    plugins = [word for given in options.plugin if theirs for word in ("--plugin", given)]
    return f"'{shlex.join(['bench', 'data', 'prepare', 'NAME', *plugins])}' fetches one or says how"


def add_cost(parser: argparse.ArgumentParser) -> None:
    """``--measure`` and ``--jobs`` of ``bench plan``."""
    parser.add_argument(
        "--measure",
        action="store_true",
        help="time some steps of each method and backbone here first, and keep the times",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="runs at a time, for the wall-clock (default: as 'bench run')"
    )


def cost_of(options: argparse.Namespace, plan: Plan, store: Store) -> Estimate:
    """What the runs that a plan misses would cost; with ``--measure``, steps of them are timed first."""
    from bench.cost.estimate import estimate
    from bench.cost.step_times import read_times, times_of_records

    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least one run at a time is needed")
    registry = bench.Registry(options.plugin)
    finished, failed, unique = store.finished(), store.failures(), plan.unique
    missing = [spec for run_id, spec in unique.items() if run_id not in finished and run_id not in failed]
    if options.measure:
        from bench.cost.measure import measure

        for line in measure(missing or unique.values(), registry, store):
            print(line, file=sys.stderr, flush=True)
    backbones = {spec.backbone.name.partition("@")[0] for spec in missing}
    times = [*times_of_records(store, finished.values(), backbones), *read_times(store)] if missing else []
    return estimate(missing, registry.dataset, times)


def print_cost(options: argparse.Namespace, plan: Plan, store: Store) -> None:
    """What the runs that a plan misses would cost, in words."""
    from bench.cost.estimate import lines
    from bench.launch.gpus import usable_gpus
    from bench.launch.local import default_jobs

    found = cost_of(options, plan, store)
    here = default_jobs() if found.gpu == bool(usable_gpus()) else 1
    for line in lines(found, options.jobs or here):
        print(line)
