"""Numbers of trained models that are no accuracies: ``measure``."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.options import add_format, print_json, say
from bench.commands.request import Request, add_target_command, is_run, request_of, say_damaged
from bench.errors import InputError, choose, printable
from bench.measure import Measure, Option, read_choice
from bench.notation import counted, one_line
from bench.records.kept import kept_models
from bench.records.record import Stored
from bench.rules import SELECTIONS, SOURCE, SPLITS, TRAIN, kept_at

if TYPE_CHECKING:
    from bench.models.measuring import Asked
    from bench.records.measured import Measurement

MEASURE = """
examples:
  bench measure demo s_dbw                 how compact and how far apart classes lie, of every kept model of a target
  bench measure 3f9a1c attention_distance  of one run, by the beginning of its id
  bench measure 3f9a1c cka --of source     of the pre-trained model that the run started from
  bench measure demo accuracy --split train --points all    on the training images, at every point that was kept
  bench table demo --metric top1,s_dbw     a table of what was measured
Models are kept by 'bench run TARGET --keep last'; what there is to measure: bench list measures.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    about = "numbers of trained models beside their accuracy, as how features cluster and where attention lies"
    measure = add_target_command(
        commands, "measure", measure_command, about, MEASURE, also="a run, by the beginning of its id", several=False
    )
    measure.add_argument("measures", metavar="MEASURE", nargs="+", help="what is measured (bench list measures)")
    measure.add_argument(
        "--of",
        choices=("model", SOURCE),
        default="model",
        help="the trained model (default), or the one that the run started from",
    )
    measure.add_argument(
        "--points",
        choices=("selected", "all"),
        default="selected",
        help="the model at the selected point of each curve, or all that were kept (bench run --keep all)",
    )
    measure.add_argument("--train", action="store_true", help="train runs again of which no model was kept")
    measure.add_argument(
        "--images", type=int, metavar="N", help="images of the split, drawn; 0: all (default: the measure's own)"
    )
    measure.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="of a measure's own (bench show MEASURE)"
    )
    add_format(measure, ("text", "json"))


def measure_command(options: argparse.Namespace) -> int:
    """Measure each kept model that is asked for, and print the numbers; exit code 1 where some model is not there."""
    split, options.split = options.split or "test", options.split if options.split in SPLITS else ""
    if split not in (*SPLITS, TRAIN):
        raise InputError(f"--split {split}: {choose(split, (*SPLITS, TRAIN), 'split')}")
    request = request_of(options)
    registry, store = request.registry, request.store
    asked_for = [registry.measure(name) for name in options.measures]
    chosen = _options(options.option, asked_for)
    if options.images is not None and options.images < 0:
        raise InputError(f"--images {options.images}: it is a number of images, or 0 for all")
    runs = _every_point(_runs(request)) if options.points == "all" else _runs(request)
    store.check_writable()

    from bench.models.measuring import Asked, measure_run

    measured: list[Measurement] = []
    problems: list[str] = []
    for stored, step in runs:
        for declared in asked_for:
            own_options = {name: value for name, value in chosen.items() if name in declared.options}
            asked = Asked(declared.name, step, options.of == SOURCE, split, options.images, own_options)
            try:
                with _kept(asked, stored, request, options.train) as model_file, _bar(declared.name) as progress:
                    measurement, path, is_new = measure_run(asked, stored, registry, store.root, model_file, progress)
            except InputError as error:
                problems.append(str(error))
                continue
            measured.append(measurement)
            took = f"in {measurement.seconds:.1f} s" if is_new else "was measured already"
            say(printable(f"[{len(measured)}] {measurement.label}: {declared.name} {took} ({path})"))
    say_damaged(store)
    _print(options, measured, asked_for)
    if problems and not measured:
        raise InputError(problems[0] + (f" (and {counted(len(problems) - 1, 'more model')})" if problems[1:] else ""))
    for problem in problems:
        say(printable(problem))
    return 1 if problems else 0


@contextlib.contextmanager
def _bar(measure: str) -> Iterator[Callable[[int, int], None]]:
    """Shows in a terminal how many images are through, by what it yields; a measure may pass them repeatedly."""
    from tqdm import tqdm

    with tqdm(desc=measure, unit="image", disable=None, leave=False) as bar:

        def progress(done: int, of: int) -> None:
            bar.total, bar.n = of, done
            bar.refresh()

        yield progress


@contextlib.contextmanager
def _kept(asked: Asked, stored: Stored, request: Request, train: bool) -> Iterator[Path | None]:
    """The file of a model that is trained again, there inside; None where one was kept, or none is to be trained."""
    if not train or asked.step in kept_models(stored.folder):
        yield None
        return
    from bench.models.measuring import require_split
    from bench.models.source import WantedPoint, source_of

    require_split(asked.split, stored)
    choice, command = WantedPoint(asked.step, "all"), shlex.join(["bench", *sys.argv[1:]])
    with source_of(stored, choice, request.registry, request.results, command, say) as source:
        yield source.path


def _options(typed: list[str], measures: list[Measure]) -> dict[str, Option]:
    """What was chosen of the measures' own. Raises ``InputError`` where none has it, or it is of another kind."""
    defaults = {name: value for measure in measures for name, value in measure.options.items()}
    return dict(read_choice(word, defaults, f"--option {word}") for word in typed)


def _runs(request: Request) -> list[tuple[Stored, int]]:
    """The finished runs that are asked for, each with the step whose model counts.

    Raises ``InputError`` where there is none, or the rule looks at the test split.
    """
    from bench.models.source import choose_point

    store, rule = request.store, request.overrides.selection
    if rule and kept_at(rule) != rule:
        raise InputError(f"--selection {rule}: models are measured at the point of {' or '.join(SELECTIONS[:2])}")
    if is_run(request):
        stored = store.record(request.target)
        return [(stored, choose_point(rule, stored, request.registry).step)]
    finished = store.finished()
    rule = rule or kept_at(request.plan.tables[0].rules.selection)
    ids = [run for run in request.plan.unique if run in finished]
    if not ids:
        train = request.to_type("run", "--keep", "last")
        raise InputError(f"{request.target}: {store.root} has no finished run of it; {train} trains and keeps them")
    records = [store.record(run) for run in ids]
    return [(stored, choose_point(rule, stored, request.registry).step) for stored in records]


def _every_point(runs: list[tuple[Stored, int]]) -> list[tuple[Stored, int]]:
    """Each run once for each model that was kept of it; once where none was, so that its lack is told."""
    return [(stored, at) for stored, step in runs for at in (kept_models(stored.folder) or [step])]


def _print(options: argparse.Namespace, measured: list[Measurement], measures: list[Measure]) -> None:
    """The numbers, a line a model; in JSON all that is known of each."""
    import msgspec

    from bench.sheets.grid import grid

    if options.format == "json":
        print_json([msgspec.to_builtins(measurement) for measurement in measured])
        return
    for declared in measures:
        mine = [measurement for measurement in measured if measurement.measure == declared.name]
        if not mine:
            continue
        heads = ["model", *(metric.heading for metric in declared.gives)]
        rows = [_row(each, declared, options.points) for each in mine]
        print(grid(rows, heads, [False, *[True] * len(declared.gives)]))
        images = sorted({(each.images, each.of) for each in mine})
        counts = ", ".join(f"{some:,} of {of:,} images" for some, of in images)
        print(f"{declared.name}, {mine[0].split} split, {counts}")
        for remark in dict.fromkeys(remark for each in mine for remark in each.remarks):
            print(printable(f"  {remark}"))


def _row(measurement: Measurement, declared: Measure, points: str) -> list[str]:
    """What is printed of a model: its label and its numbers; of several points the step."""
    values = [(measurement.numbers[metric.name], metric.decimals) for metric in declared.gives]
    numbers = ["–" if value is None else f"{value:,.{decimals}f}" for value, decimals in values]
    label = one_line(measurement.label)
    if points == "all" and measurement.point != SOURCE:
        label += f" after {counted(int(measurement.point), 'step')}"
    return [label, *numbers]
