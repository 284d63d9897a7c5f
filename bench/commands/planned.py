"""What would be run, without running it: ``plan``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from bench.commands.costs import add_cost, cost_lines, cost_of, missing_data, outcome, print_missing_data
from bench.commands.folders import folder_lines
from bench.commands.keeping import add_keep, disk_of, print_disk
from bench.commands.options import add_format, print_json, say
from bench.commands.queue import lacking_weights, print_excluded
from bench.commands.request import Request, add_target_command, request_of, say_damaged
from bench.launch import untrained
from bench.launch.packages import apart, waiting_lines
from bench.launch.status import Snapshot, State, state
from bench.notation import counted, listed
from bench.plan.soundness import require_sound
from bench.plan.table import Plan
from bench.spec import to_json

if TYPE_CHECKING:
    from bench.commands.images import Seen

PLAN = """
examples:
  bench plan demo                  how many runs, how many are done, what is left out and why
  bench plan demo --measure        time some steps of each method and backbone here, for the estimate of hours
  bench plan demo --format json    every run with its id and its spec
  bench plan gta coin              several targets: a section each, and one total
  bench plan gta --measure         needs neither weights nor data; type it on the machine, or in a job, that is to train
  bench plan gta --times ~/cluster/results   with the times of another machine
  bench plan all --datasets folder:~/birds --backbones dino_vit_small   every method there is
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "what would be run, without running it"
    plan = add_target_command(commands, "plan", plan_command, about, PLAN)
    add_format(plan, ("text", "json"))
    add_cost(plan)
    add_keep(plan)


def plan_command(options: argparse.Namespace) -> int:
    """Print what would be run."""
    request = request_of(options)
    plan, store = request.plan, Snapshot(request.results)
    _, waits = apart(untrained(plan.trainable.values(), store), request.registry)
    notes = [*waiting_lines(waits), *require_sound(plan.unique.values(), request.registry, say)]
    progress = state(plan.unique, store)
    seen = _surveyed(plan, request)
    if options.format == "json":
        parts = [_counts(part, state(part.unique, store)) for part in plan.parts]
        data: dict[str, Any] = {"missing_data": missing_data(request), "images": [each.plain for each in seen]}
        came = outcome(request, store)
        data |= {"forecast": came and to_builtins(came)}
        estimate = asdict(cost_of(request, store, options))
        data |= {"models": disk_of(options, plan, request.registry, store), "notes": notes}
        print_json({**_counts(plan, progress), "parts": parts, **_runs_and_cells(plan), **data, "estimate": estimate})
        return 0
    costs: list[str] = []
    disk: dict[str, Any] = {}
    if not any(each.refused for each in seen):  # what is to be mended first fits a screen, with nothing beside it
        costs = cost_lines(request, store, options)
        disk = disk_of(options, plan, request.registry, store)
    for part in plan.parts or (plan,):
        _print_axes(part)
        if part.unique:
            print(f"  {_image_sizes(part)}")
        _print_counts(part, state(part.unique, store) if plan.parts else progress)
    if plan.parts:
        print("together:")
        _print_counts(plan, progress)
    for line in folder_lines(plan.unique.values(), request.registry):
        print(line)
    for line in costs:
        print(line)
    print_disk(disk)
    print_excluded(plan)
    print_missing_data(request)
    for each in seen:
        each.print()
    for line in notes:
        print(line)
    say_damaged(store)
    return 0


def _surveyed(plan: Plan, request: Request) -> Sequence[Seen]:
    """What is seen of the folders of images among a plan's datasets; what decodes is imported where there are some."""
    names = dict.fromkeys(spec.dataset.name for spec in plan.unique.values())
    cards = [request.registry.dataset(name) for name in names]
    if not any(card.layout or card.further for card in cards):
        return ()
    from bench.commands.images import surveys

    return surveys(plan.unique.values(), request.registry, request.results)


def _counts(plan: Plan, progress: State) -> dict[str, Any]:
    """How many runs a plan has, as plain data."""
    weights = [{"backbone": name, "runs": count, "reason": why} for name, (why, count) in plan.lacks.items()]
    runs = {"needed": plan.needed, "different": progress.runs, "done": progress.done}
    return {"target": plan.name, **runs, "missing_weights": weights}


def _print_counts(plan: Plan, progress: State) -> None:
    """How many runs a plan has, how far they are, and how many cannot be trained here."""
    shared = plan.needed - len(plan.unique)
    again = f" ({shared} more {'is' if shared == 1 else 'are'} shared)" if shared else ""
    states = f"{progress.done} done, {len(progress.failed)} failed, {progress.missing:,} to train"
    print(f"{counted(progress.runs, 'different run')}{again}: {states}")
    if plan.lacks:
        print(f"  {lacking_weights(plan)}")


def _runs_and_cells(plan: Plan) -> dict[str, Any]:
    """The runs with what they are of, and the cells that are left out, as plain data."""
    runs: dict[str, dict[str, Any]] = {}
    excluded = []
    for table in plan.tables:
        for place, cell in table.places():
            axes = {"table": table.name, **cell.axes}
            if cell.reason:
                excluded.append({"cell": table.cell_name(place), "axes": axes, "reason": cell.reason})
            for candidate in cell.candidates:
                for spec in candidate.runs:
                    # without its weights the id that a run will have is not known
                    run_id = None if cell.lack else spec.id
                    run = {"id": run_id, "axes": axes, "spec": to_json(spec), "lack": cell.lack or None}
                    runs.setdefault(spec.id, run)
    return {"runs": list(runs.values()), "excluded": excluded}


def _print_axes(plan: Plan) -> None:
    """What is compared: the tables of a paper, or the labels along each axis of an experiment."""
    if is_published(plan):
        print(f"{plan.name}: {counted(len(plan.tables), 'table')}")
        for table in plan.tables:
            filled = sum(bool(cell.candidates) for _, cell in table.places())
            cards_have = sum(bool(cell.counted) for _, cell in table.places())
            count = f", {cards_have:4} counted" if cards_have else ""
            print(f"  {table.name:18} {filled:4} cells, {len({spec.id for spec in table.runs()}):5} runs{count}")
        return
    print(f"{plan.name}: {plan.title}")
    for noun, names in axes_of(plan).items():
        print(f"  {len(names):>3} {noun + 's' * (len(names) != 1):10} {', '.join(names)}")


def _image_sizes(plan: Plan) -> str:
    """The size of the images that the runs of a plan train on, in words."""
    sizes = sorted({spec.protocol.image_size for spec in plan.unique.values()})
    words = [f"{size} pixels a side" for size in sizes if size] + ["the backbone's own size"] * (0 in sizes)
    return f"images of {listed(tuple(words))}"


def is_published(plan: Plan) -> bool:
    """Whether tables of papers are among a plan's."""
    return any(table.is_published for table in plan.tables)


def axes_of(plan: Plan) -> dict[str, list[str]]:
    """The labels along each axis of an experiment, each once."""
    (table,) = plan.tables
    cells = [cell for _, cell in table.places() if not cell.averages]
    axes = {noun: [cell.axes[noun] for cell in cells] for noun in ("method", "backbone", "dataset", "rate")}
    axes["seed"] = [f"{spec.seed}" for spec in plan.unique.values()]
    return {noun: list(dict.fromkeys(labels)) for noun, labels in axes.items()}
