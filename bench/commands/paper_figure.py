"""Figures of papers: drawn of our runs, or of what the paper prints; what is missing is told with what makes it."""

from __future__ import annotations

import argparse
from pathlib import Path

import bench
from bench.commands.figure_card import OF_MODEL
from bench.commands.options import say
from bench.commands.request import Request, say_damaged
from bench.errors import InputError, choose, in_sentence
from bench.figures.figure import ENDINGS, KINDS, save_sketch, write_figure
from bench.figures.measured import first_measured, how_to_measure, shown_as
from bench.figures.scene import Scene
from bench.papers.figure import EVERY, DeclaredDrawing, PaperFigure, paper_figure
from bench.rules import SOURCE
from bench.tables.compare import fill_table
from bench.tables.results import results_of


def draw_declared(request: Request, options: argparse.Namespace, split: str) -> int:
    """Draw a figure of a paper, a file or two for each of its drawings, and print where they are."""
    figure = paper_figure(request.target, request.registry)
    if options.kind:
        kinds = ", ".join(drawing.kind for drawing in figure.drawings)
        raise InputError(f"--kind {options.kind}: {figure.name} says what it is: {kinds}")
    if options.output is None:
        request.store.check_writable()
    published = options.source == "published"
    paths = _published(figure, request, options) if published else _ours(figure, request, options, split)
    print("\n".join(map(str, paths)))
    return 0


def _ours(figure: PaperFigure, request: Request, options: argparse.Namespace, split: str) -> list[Path]:
    """The drawings of our runs; all that they need is there before one is written."""
    if options.output is not None and len(figure.drawings) > 1:
        names = ", ".join(drawing.name for drawing in figure.drawings)
        raise InputError(f"--output {options.output}: {figure.name} has {len(figure.drawings)} drawings ({names})")
    store, plan = request.store, request.plan
    results = results_of(plan, store)
    say_damaged(store)
    scenes: list[tuple[DeclaredDrawing, Scene]] = []
    for drawing, planned in zip(figure.drawings, plan.tables, strict=True):
        if drawing.kind not in KINDS:
            raise InputError(f"{drawing.place}: {choose(drawing.kind, KINDS, 'kind of figure')}")
        table = fill_table(planned, results)
        train = request.command("run")
        if not table.finished:
            lacks = f"{store.root} has no finished run of it; {in_sentence(train)} trains them"
            raise InputError(f"{planned.name}: nothing to draw: {lacks}")
        metric = request.registry.metrics.get(drawing.metric)
        if metric and metric.measure and not options.metric:
            table = shown_as(table, metric)
        scene = Scene(
            request.target,
            table,
            results,
            options.width or drawing.width,
            split or drawing.split,
            train=train,
            measure=request.measuring,
            code_of=request.registry.measure_code,
        )
        _require_measured(scene, drawing, request)
        scenes.append((drawing, scene))
    folder, paths = store.root / "figures", list[Path]()
    for drawing, scene in scenes:
        stem = scene.table.plan.name.replace("/", "-") + (f"-{plan.changes}" if plan.changes else "")
        written, remark = write_figure(drawing.kind, scene, folder, options.output, stem)
        if remark:
            say(remark)
        paths += written
    return paths


def _require_measured(scene: Scene, drawing: DeclaredDrawing, request: Request) -> None:
    """Raise ``InputError`` where nothing was measured that a drawing needs; it names the command that measures."""
    for measure in drawing.measures:
        request.registry.measure(measure)
        for model in drawing.models:
            if model == EVERY:
                continue  # the kind says itself what is lacking
            point = SOURCE if model == SOURCE else ""
            if not any(first_measured(entry, scene, measure, point) for entry in scene.table.finished):
                remedy = how_to_measure(scene, measure, *OF_MODEL[model])
                raise InputError(f"{scene.table.plan.name}: {measure} was not measured{remedy}")


def _published(figure: PaperFigure, request: Request, options: argparse.Namespace) -> list[Path]:
    """What the paper prints."""
    typed = next((name for name in ("metric", "selection", "split") if getattr(options, name)), "")
    if typed or request.overrides.chooses_runs:
        option = f"--{typed}" if typed else "--source published"
        raise InputError(f"{option}: published numbers are drawn as printed, and nothing is chosen among them")
    if figure.printed is None:
        raise InputError(
            f"--source published: the paper prints no numbers of {figure.name}, which it only draws; without the "
            f"option our runs are drawn"
        )
    from bench.figures.printed import printed_sketch

    sketch = printed_sketch(figure.title, figure.paper, figure.printed, options.width or "")
    files = [options.output] if options.output else _files(request.store, figure.name)
    if options.output is None:
        files[0].parent.mkdir(parents=True, exist_ok=True)
    if remark := save_sketch(sketch, files, figure.name):
        say(remark)
    return files


def _files(store: bench.Store, name: str) -> list[Path]:
    return [store.root / "figures" / f"{name.replace('/', '-')}-published{ending}" for ending in ENDINGS]
