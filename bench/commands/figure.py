"""Figures of tables and of runs: ``figure``."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench
from bench.commands.options import say
from bench.commands.paper_figure import draw_declared
from bench.commands.request import Request, add_target_command, is_run, request_of, require_one, say_damaged
from bench.errors import InputError
from bench.figures.figure import KINDS, USUAL, USUAL_OF_RUN, about, is_of_run, write_figure
from bench.figures.style import SUFFIXES, WIDTHS
from bench.metrics import TOP1, Metric
from bench.plan.overrides import Overrides
from bench.plan.single import plan_run
from bench.plan.table import TableRules
from bench.records.record import Record
from bench.rules import SOURCES, TRAIN

if TYPE_CHECKING:
    from bench.figures.scene import Scene

ASKED_OF_A_RUN = ("selection", "split", "metric")
"""What may be asked of a run; all else chooses among several."""

OF_SCORES = ("cd", "classes", "confusion", "curves", "gaps", "rates", "shift", "sweep")
"""The kinds that are of what records hold; the others are of what was measured of kept models."""

FIGURE = """
{kinds}

examples:
  bench figure demo                            RESULTS/figures/demo.png and .pdf
  bench figure demo --width column --output accuracy.svg
  bench figure demo --kind gaps                how far each method is from the baseline, with intervals
  bench figure lacvit/table1 --kind cd --source published   mean ranks over datasets, with the critical difference
  bench figure demo_weights --kind sweep       what each value of a hyper-parameter scored
  bench figure demo --kind curves --rates 15   by step, on the validation and the test split
  bench figure gta/fig4                        a figure of a paper, of our runs (bench show gta/fig4 says what it needs)
  bench figure coin/fig2 --source published    what the paper prints of it
  bench figure 3f9a1c2b7d10                    the curves of one run, by the beginning of its id
  bench figure demo --kind confusion --methods gta --rates 15
  bench figure demo --kind distance --rates 15    once 'bench measure demo attention_distance --rates 15' has been
"""


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    wide = max(map(len, KINDS))
    kinds = "\n".join(f"  {kind:{wide}}  {about(kind)}" for kind in KINDS)
    figure = add_target_command(
        commands,
        "figure",
        figure_command,
        "a table or a run as a figure, for a column or a page of a paper",
        FIGURE.format(kinds=f"kinds:\n{kinds}"),
        also="a figure of a paper (gta/fig4), or a run, by the beginning of its id",
        several=False,
    )
    figure.add_argument(
        "--kind",
        choices=KINDS,
        metavar="KIND",
        help=f"{', '.join(KINDS)} (default: {USUAL}; of a run: {USUAL_OF_RUN})",
    )
    figure.add_argument(
        "--width", choices=tuple(WIDTHS), metavar="WIDTH", help="column (3.3 inches) or page (6.9); default: what suits"
    )
    figure.add_argument(
        "--source",
        choices=SOURCES[:2],
        metavar="SOURCE",
        help="of a paper's table or figure: published or ours (default)",
    )
    figure.add_argument(
        "--output", type=Path, metavar="FILE", help="a .png, .pdf or .svg file (default: PNG and PDF, in RESULTS)"
    )


def figure_command(options: argparse.Namespace) -> int:
    """Draw the figure."""
    if options.output is not None and options.output.suffix not in SUFFIXES:
        raise InputError(f"--output {options.output}: a figure is a .png, .pdf or .svg file")
    if options.output is not None and not options.output.parent.is_dir():
        raise InputError(f"--output {options.output}: there is no folder {options.output.parent}")
    split, options.split = options.split, "" if options.split == TRAIN else options.split
    request = request_of(options)
    store = request.store
    if request.target in request.registry.figure_files:
        return draw_declared(request, options, split)
    if is_run(request):
        kind = options.kind or USUAL_OF_RUN
        scene, stem = _of_run(request, kind, options, store), ""
    else:
        kind = options.kind or USUAL
        scene, stem = _of_target(request, kind, options, store)
    if split == TRAIN:
        scene = _of_training_images(scene, kind)
    if options.output is None:
        store.check_writable()
    paths, remark = write_figure(kind, scene, store.root / "figures", options.output, stem)
    if remark:
        say(remark)
    print("\n".join(str(path) for path in paths))
    return 0


def _of_training_images(scene: Scene, kind: str) -> Scene:
    """The same of the images that runs were trained on. Raises ``InputError`` where a kind is of scores alone."""
    is_measured = all(entry.planned.metric.measure for _, entry in scene.table.places() if entry.planned.axes)
    if kind in OF_SCORES and not (kind == USUAL_OF_RUN and is_measured):
        measured = (
            "--kind curves --metric accuracy, once 'bench measure TARGET accuracy --split train --points all' ran"
        )
        raise InputError(f"--split {TRAIN}: runs are not scored on their training images; models may be: {measured}")
    return replace(scene, split=TRAIN)


def _of_run(request: Request, kind: str, options: argparse.Namespace, store: bench.Store) -> Scene:
    """A run as what is drawn."""
    from bench.figures.scene import Scene
    from bench.tables.compare import fill_table
    from bench.tables.results import results_of

    if not is_of_run(kind):
        raise InputError(f"--kind {kind}: it is of a table; of a run there are {', '.join(filter(is_of_run, KINDS))}")
    typed = [field.name for field in fields(Overrides) if getattr(request.overrides, field.name)]
    odd = [name for name in (*typed, *(["source"] if options.source else [])) if name not in ASKED_OF_A_RUN]
    if odd:
        option = {"settings": "set"}.get(odd[0], odd[0])
        raise InputError(f"--{option}: {request.target} is one run, of which nothing is to be chosen")
    request.overrides.check(request.registry.metrics)
    record, folder = store.record(request.target)
    if not isinstance(record, Record):
        raise InputError(f"run {record.id}: nothing to draw: it failed ({folder}/record.json)")
    spec = record.run
    usual = _usual(spec.dataset.name, request)
    metric = request.overrides.typed_metric(request.registry.metrics) or usual
    rules = TableRules(**request.overrides.rules)
    plan = plan_run(spec, metric, usual, rules)
    results = results_of(plan, store)
    table = fill_table(plan.tables[0], results)
    commands = (record.repeat, request.measuring, request.registry.measure_code)
    return Scene(spec.id, table, results, options.width or "", options.split, False, *commands)


def _usual(dataset: str, request: Request) -> Metric:
    """The usual metric of a dataset; top-1 where its card is not here."""
    try:
        usual: Metric = request.registry.metrics.get(request.registry.dataset(dataset).metric, TOP1)
    except InputError:
        return TOP1
    return usual


def _of_target(request: Request, kind: str, options: argparse.Namespace, store: bench.Store) -> tuple[Scene, str]:
    """A table as what is drawn, and what its files are called where that is not usual."""
    from bench.figures.measured import shown_as
    from bench.figures.scene import Scene
    from bench.tables.compare import fill_table
    from bench.tables.results import results_of

    metric = request.overrides.typed_metric(request.registry.metrics)
    is_curve = kind == USUAL_OF_RUN and metric is not None and bool(metric.measure)
    plan = request.with_overrides(metric="").plan if is_curve else request.plan
    require_one(plan, f"--kind {kind}")
    (planned,) = plan.tables
    if options.source and not planned.is_published:
        raise InputError(f"--source {options.source} is for the tables of papers (see 'bench list tables')")
    published = options.source == "published"
    if published and kind != "cd":
        raise InputError(f"--source published: it is for diagrams (--kind cd); a figure of {kind} is of our runs")
    typed = next((name for name in ("metric", "selection", "split") if getattr(options, name)), "")
    if published and typed:
        raise InputError(f"--{typed}: published numbers are drawn as printed; it is for --source ours")
    results = results_of(plan, store)
    table = fill_table(planned, results)
    if metric and is_curve:
        table = shown_as(table, metric)
    say_damaged(store)
    if not (table.finished or published) and kind != "sweep":
        if options.split and request.plan.unique.keys() & store.finished().keys():
            raise InputError(f"{request.target}: nothing to draw: its runs have no score on the {options.split} split")
        raise InputError(
            f"{request.target}: nothing to draw: {store.root} has no finished run of it; "
            f"{request.to_type('run')} trains them"
        )
    name = request.plan.variant.replace("/", "-")
    commands = (request.command("run"), request.measuring, request.registry.measure_code)
    scene = Scene(request.target, table, results, options.width or "", options.split, published, *commands)
    source = f"-{options.source or 'ours'}" if planned.is_published and kind == "cd" else ""
    stem = f"{name}{source}" if kind == USUAL else f"{name}{source}-{kind}"
    return scene, stem
