"""A plan made small and trained in minutes: ``rehearse``."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import bench
from bench.commands.launching import add_launching, job_of, launch, launcher_of
from bench.commands.options import add_command, add_plugin, add_results, say, something
from bench.commands.request import EXAMPLES
from bench.errors import InputError, printable, to_type
from bench.launch import Job, untrained
from bench.launch.preflight import require_backbones
from bench.launch.status import Snapshot, State, state
from bench.notation import counted
from bench.plan.overrides import Overrides
from bench.plan.rehearsal import RehearsalRegistry, Scale, Substitutes, rehearse, substitutes
from bench.plan.soundness import require_sound
from bench.plan.table import Plan, TablePlan
from bench.plan.target import read_plans

REHEARSE = """
examples:
  bench rehearse gta                     every row of the paper's tables, for four steps each
  bench rehearse fd/table1 coin          a table and a paper
  bench rehearse mine.yaml --whole       every cell of an experiment, with all candidates
  bench rehearse gta --small             with few layers: quicker, and less of the plan itself
  BENCH_DATA=~/data bench rehearse gta   datasets that lie there are read, the others drawn
Neither data nor weights are needed. Records and tables lie in DIR/rehearsal; its numbers mean nothing.
What the runs themselves would cost: bench plan TARGET --measure
"""
FOLDER = "rehearsal"
"""In the results folder: rehearsals lie apart, and may be deleted at any time."""

MOST_TOGETHER = 30
"""Runs of several tables that are launched together; more than these where a single table has them."""

MOST = 20
"""Failures that are told one by one."""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "train a small form of a plan, to find what would fail in it"
    parser = add_command(commands, "rehearse", rehearse_command, about, REHEARSE)
    parser.add_argument("target", nargs="+", metavar="TARGET", help="experiments, papers, tables of them (gta/table2)")
    usual = Scale()
    for name, about in (
        ("images", "training images of each dataset"),
        ("test_images", "images of each other split"),
        ("steps", "steps of each run"),
        ("batch", "images of a step"),
        ("seed", "of which images are taken or drawn"),
    ):
        value = getattr(usual, name)
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=value, metavar="N", help=f"{about} (default: {value})")
    parser.add_argument("--small", action="store_true", help="backbones of few layers, all of them with drawn weights")
    whole = "every cell with all its candidates, not only as many as every row and label needs"
    parser.add_argument("--whole", action="store_true", help=whole)
    for axis, example in EXAMPLES.items():
        default = "1" if axis == "seeds" else None
        about = f"in place of the target's: {example}" + " (default: 1)" * bool(default)
        parser.add_argument(f"--{axis}", type=something, default=default, metavar="LIST", help=about)
    add_plugin(parser)
    add_results(parser)
    add_launching(parser)


def rehearse_command(options: argparse.Namespace) -> int:
    """Train a small form of each target; tell what failed, and what stood in the place of what."""
    scale = Scale(**{field.name: getattr(options, field.name) for field in fields(Scale)})
    options.results /= FOLDER
    job, registry = job_of(options), RehearsalRegistry(options.plugin, scale.small)
    if launcher_of(options)[0].submits:
        raise InputError(f"--launcher {options.launcher}: a rehearsal is trained while somebody watches it")
    plan, rehearsed = _plans(options, registry, scale)
    if not rehearsed.unique:
        raise InputError(f"{plan.name}: there is nothing to rehearse: {'; '.join(rehearsed.reasons)}")
    print(printable(f"rehearsal of {plan.name}: {_size(rehearsed, scale)}"), flush=True)
    for line in _substitute_lines(substitutes(plan, rehearsed, registry), scale):
        print(printable(line), flush=True)
    require_sound(rehearsed.unique.values(), registry, say, job.ranks)
    require_backbones(rehearsed.unique.values(), registry, say)
    for part in _parts(rehearsed, scale):
        if code := _train(part, job, options):
            return code
    store = Snapshot(options.results)
    progress = state(rehearsed.unique, store)
    _tell(rehearsed, store, progress, options)
    return 1 if progress.failed else 0


def _plans(options: argparse.Namespace, registry: RehearsalRegistry, scale: Scale) -> tuple[Plan, Plan]:
    """The plan of all targets together, and the same made small."""
    axes: dict[str, Any] = {axis: getattr(options, axis) or "" for axis in EXAMPLES}
    together = read_plans(options.target, registry, Overrides(**axes))
    return together, rehearse(together, registry, scale)


def _parts(plan: Plan, scale: Scale) -> Iterator[Plan]:
    """What is launched at a time: of whole networks few runs, as they leave stages on disk that others share."""
    if scale.small:
        yield plan
        return
    part: tuple[TablePlan, ...] = ()
    for table in plan.tables:
        if part and len(_of(*part, table).unique) > MOST_TOGETHER:
            yield _of(*part)
            part = ()
        part = (*part, table)
    yield _of(*part)


def _of(*tables: TablePlan) -> Plan:
    return Plan(", ".join(table.name for table in tables), "", tables)


def _train(plan: Plan, job: Job, options: argparse.Namespace) -> int:
    """Train what of a part has no record yet; gives an exit code where it was stopped."""
    store = Snapshot(options.results)
    todo = untrained(plan.unique.values(), store, retry=True)
    if not todo:
        return 0
    print(f"{plan.name}: {counted(len(todo), 'run')}", flush=True)
    outcome = launch(plan, todo, job, options, store)
    shutil.rmtree(store.root / "shared", ignore_errors=True)
    return outcome if isinstance(outcome, int) else 0


def _size(plan: Plan, scale: Scale) -> str:
    """How large a rehearsal is, in words."""
    tables = counted(sum(any(cell.candidates for _, cell in table.places()) for table in plan.tables), "table")
    each = f"{scale.steps} steps of at most {scale.batch} images"
    return f"{counted(len(plan.unique), 'run')} of {tables}, each of {each}"


def _substitute_lines(of: Substitutes, scale: Scale) -> Iterator[str]:
    """What stands in the place of what, a line each."""
    drawn = "weights drawn, as few layers have no published ones: "
    sizes = [f"{size}" if size else "their own size" for size in of.sizes]
    for what, names in (
        ("datasets that are not here, drawn: ", of.drawn_datasets),
        ("datasets of which some images are taken: ", of.cut_datasets),
        (drawn if scale.small else "weights drawn, as the published ones are not here: ", of.drawn_weights),
        ("backbones with the weights that they have here: ", of.weights),
        ("few layers, in all or some runs: ", of.few_layers),
        ("pixels a side: ", tuple(sizes)),
    ):
        if names:
            yield f"  {what}{', '.join(names)}"


def _tell(plan: Plan, store: bench.Store, progress: State, options: argparse.Namespace) -> None:
    """Write the tables in every format; tell how many rows of each were trained, and what failed."""
    from bench.sheets.formats import render_sheet, write_formats
    from bench.sheets.view import Look, sheet_of
    from bench.tables.compare import fill

    failed = {failure["run"] for failure in progress.failed}
    tables, folder = fill(plan, store), store.root / "tables"
    for table in tables:
        sheet = sheet_of(table, Look())
        try:
            write_formats(sheet, folder, table.plan.name.replace("/", "-"))
        except OSError as error:
            say(f"tables cannot be written: {error.filename or folder}: {error.strerror or error}")
        if len(tables) == 1:
            print(render_sheet(sheet), end="")
        print(printable(f"  {table.plan.name:26} {_rows(table.plan, failed)}"))
    print(f"\n{progress.done} of {counted(progress.runs, 'run')} trained, {len(progress.failed)} failed")
    _print_failures(plan, progress.failed, options.results)
    print(f"tables, each marked as a rehearsal: {folder}")
    if not failed:
        print(f"what the runs themselves would take: {to_type('plan', *_typed(options))}")


def _typed(options: argparse.Namespace) -> Iterator[str]:
    """The targets, and what was typed of them that chooses runs of the plan itself."""
    yield from options.target
    for axis in EXAMPLES:
        if axis != "seeds" and (names := getattr(options, axis)):
            yield from (f"--{axis}", names)
    if "plugin" not in options.settled:
        yield from (word for path in options.plugin for word in ("--plugin", str(path)))


def _rows(table: TablePlan, failed: set[str]) -> str:
    """How many rows of a table have a cell that is trained, and how many of these one that failed."""
    trained, broken = 0, 0
    for line in table.cells:
        runs = [spec.id for cell in line for candidate in cell.candidates for spec in candidate.runs]
        trained += bool(runs)
        broken += bool(failed & {*runs})
    idle = len(table.rows) - trained
    left = f" ({idle} {'has' if idle == 1 else 'have'} nothing to run)" if idle else ""
    rows = f"{trained} of {counted(len(table.rows), 'row')}{left}"
    return f"{rows}, {broken} with failures" if broken else rows


def _print_failures(plan: Plan, failures: Sequence[dict[str, str]], results: Path) -> None:
    """What failed: the first row that needs it, the reason, and the command that shows its log."""
    places: dict[str, str] = {}
    for table in plan.tables:
        for place, cell in table.places():
            for spec in (spec for candidate in cell.candidates for spec in candidate.runs):
                places.setdefault(spec.id, f"{table.name}, {table.cell_name(place)}")
    for failure in failures[:MOST]:
        print(printable(f"  failed ({failure['class']}): {places[failure['run']]}: {failure['label']}"))
        print(printable(f"    {failure['message']}"))
        print(f"    {to_type('logs', failure['run'], '--results', str(results))}")
    if len(failures) > MOST:
        print(f"  and {len(failures) - MOST} more: their records lie in {results / 'failed'}")
