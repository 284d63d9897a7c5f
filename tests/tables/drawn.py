"""Figures as they stand on the page, and finished runs to draw them of."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from bench.figures.figure import sketches_of
from bench.figures.saving import styled
from bench.figures.scene import Scene
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.tables.compare import Table, fill_table
from bench.tables.results import results_of

EXPERIMENT = """\
title: Three ways
methods: {Fine-tune: ce, BSS: bss, GTA: {gta: {weight: [0.1, 1, 10]}}}
backbones: [micro_vit]
datasets: [digits]
rates: [15, 100]
seeds: 2
protocol: {steps: 30, evaluations: 3, validation: 0.2}
baseline: Fine-tune
"""
STEPS = (10, 20, 30)
CLASSES, IMAGES = 4, 40
TIMING = {"seconds": 3.0, "evaluation_seconds": 1.0}
LEVEL = {"ce": 60.0, "bss": 65.0, "gta": 70.0}


def drawing(kind: str, subject: Scene) -> Figure:
    """The only figure of a kind, laid out as it is saved."""
    (sketch,) = sketches_of(kind, subject)
    with styled(sketch.labels):
        figure = sketch.draw()
        figure.draw_without_rendering()
    return figure


def drawn(kind: str, table: Table, width: str = "") -> Figure:
    """A figure of numbers alone."""
    return drawing(kind, Scene("demo", table, width=width))


def inches(text: Text, figure: Figure) -> Bbox:
    """Where a text stands."""
    return Bbox(text.get_window_extent().get_points() / figure.dpi)


def boxes(figure: Figure) -> dict[str, list[Bbox]]:
    """Where every text stands that can be seen, in inches, by what it says."""
    hidden: set[Text] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            hidden |= {label for tick, label in _ticks(axis) if not axes.axison or not _inside(axis, tick)}
    seen: dict[str, list[Bbox]] = {}
    for text in figure.findobj(Text):
        if text not in hidden and text.get_visible() and text.get_text().strip():
            seen.setdefault(text.get_text(), []).append(inches(text, figure))
    return seen


def _ticks(axis: Axis) -> Iterator[tuple[float, Text]]:
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        yield from ((float(tick.get_loc()), label) for label in (tick.label1, tick.label2))


def _inside(axis: Axis, place: float) -> bool:
    low, high = sorted(axis.get_view_interval())
    return low - 1e-9 <= place <= high + 1e-9


def off_the_page(figure: Figure) -> list[str]:
    """The texts that reach beyond the figure's edge."""
    width, height = figure.get_size_inches()
    edge = 1.5 / figure.dpi
    return [
        text
        for text, places in boxes(figure).items()
        for box in places
        if box.x0 < -edge or box.y0 < -edge or box.x1 > width + edge or box.y1 > height + edge
    ]


def on_one_another(figure: Figure) -> list[tuple[str, str]]:
    """The texts of which one covers a part of another."""
    every = [(text, box) for text, places in boxes(figure).items() for box in places]
    slack = 2.0 / figure.dpi
    return [
        (one, two)
        for (one, a), (two, b) in combinations(every, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > slack and min(a.y1, b.y1) - max(a.y0, b.y0) > slack
    ]


def share_of_width(figure: Figure) -> float:
    """The share of the figure's width that its panels have together, in the row that has the least."""
    rows: dict[int, float] = {}
    for axes in figure.axes:
        place = axes.get_position()
        row = round(place.y0 * 1000)
        rows[row] = rows.get(row, 0.0) + place.width
    return min(rows.values())


def smallest_font(figure: Figure) -> float:
    """Points of the smallest text."""
    return min(float(text.get_fontsize()) for text in figure.findobj(Text) if text.get_text().strip())


def accuracy(spec: RunSpec, split: str, at: int) -> float:
    """Of a scored run at a point of its curve: best at the second on validation, at the last on test."""
    weight = float(dict(spec.method.hyper).get("weight", 1) or 1)
    shift = 2.0 * (at == 1) if split == "val" else 1.0 * at
    return LEVEL[spec.method.name] - abs(math.log10(weight)) + 0.5 * spec.seed + shift


def finish(spec: RunSpec, store: Store, classes: int = CLASSES, **more: Any) -> Path:
    """A finished run with predictions: of class c, c of ten images are wrong, at every point of its curve."""
    labels = np.arange(10 * classes) % classes
    wrong = np.arange(labels.size) // classes < labels % 10
    predicted = np.stack([np.where(wrong, (labels + 1) % classes, labels)] * len(STEPS)).astype(np.uint16)
    top1 = {"top1": 100 * float(1 - wrong.mean())}
    points = [{"step": step, "val": top1, "test": top1, "seconds": float(step)} for step in STEPS]
    arrays = {"val": predicted, "test": predicted, "val_labels": labels, "test_labels": labels}
    with store.draft() as draft:
        np.savez_compressed(draft / "predictions.npz", **{**arrays, **more})
        return store.publish(draft, spec, {"curve": points, "timing": TIMING, "parameters": 1234567})


def score(spec: RunSpec, store: Store, validation: bool = True) -> Path:
    """A finished run with a curve of three points, which ``accuracy`` gives, and no predictions."""
    splits = ("val", "test") if validation else ("test",)
    points = []
    for at, step in enumerate(STEPS):
        scores = {split: {"top1": accuracy(spec, split, at)} for split in splits}
        points.append({"step": step, "val": None, **scores, "seconds": float(step)})
    with store.draft() as draft:
        return store.publish(draft, spec, {"curve": points, "timing": TIMING, "parameters": 1234567})


def scene(
    folder: Path,
    text: str = EXPERIMENT,
    made: Callable[[RunSpec, Store], object] | None = finish,
    width: str = "",
    split: str = "",
    **overrides: Any,
) -> Scene:
    """An experiment whose runs have finished."""
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    store = Store(folder / "results")
    plan = read_plan(str(folder / "mine.yaml"), Registry(), Overrides(**overrides))
    for spec in plan.unique.values():
        if made is not None and not store.holds(spec):
            made(spec, store)
    results = results_of(plan, store)
    table, commands = fill_table(plan.tables[0], results), ("bench run mine", "bench measure mine")
    return Scene("mine", table, results, width, split, False, *commands)
