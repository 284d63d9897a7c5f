"""How alike the features of trained models and of the one they started from are, layer by layer: CKA and drift."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.measured import MeasuredModel, how_to_measure, measured, options_of
from bench.figures.page import page_of
from bench.figures.predicted import Floats
from bench.figures.scene import Scene, Sketch, common_line, panels_of, seeds_line
from bench.figures.style import look
from bench.papers.published import Key
from bench.tables.compare import Entry

OF_RUN = True
"""A run by itself has it, too."""

MEASURES = {"cka": "CKA", "drift": "drift"}
"""What is drawn, a panel each; what the panels are called."""

MOST_TICKS = 7
"""Layers that are numbered."""

Layered = dict[str, dict[str, list[MeasuredModel]]]
"""By measure, what was measured of each method's runs."""

OUT = "out"
"""What the last layer is called, whose features the head is given: short, to leave its neighbour a place."""


def sketches(scene: Scene) -> list[Sketch]:
    """A figure for each setting: a panel for each measure, a line for each method.

    Raises ``ValueError``: neither measure was taken of every method; says which command does it.
    """
    every = []
    for labels, entries in panels_of(scene.drawn).items():
        layered = _measured(entries, scene)
        every.append(Sketch(partial(_drawing, scene, labels, layered), scene.labels, labels))
    return every


def _measured(entries: Sequence[Entry], scene: Scene) -> Layered:
    layered: Layered = {}
    for name in MEASURES:
        methods = {entry.planned.name: list(measured(entry, scene, name)) for entry in entries}
        if all(methods.values()):
            layered[name] = methods
    if not layered:
        remedy = how_to_measure(scene, *MEASURES)
        raise ValueError(f"neither CKA nor drift was measured of every method{remedy}")
    return layered


def _drawing(scene: Scene, labels: Key, layered: Layered) -> Figure:
    page = page_of(scene.width, len(layered))
    panels = page.add([MEASURES[name] for name in layered], "layer", "with the pre-trained model")
    handles = {}
    for axes, (name, methods) in zip(panels, layered.items(), strict=True):
        for number, (method, models) in enumerate(methods.items()):
            handles[method] = _draw(axes, np.stack([model.arrays[name] for model in models]), number)
        _number(axes, max((models[0].arrays["layers"].tolist() for models in methods.values()), key=len))
        axes.set_ylim(bottom=0, top=1.05 if name == "cka" else None)
        axes.grid(axis="y", color="0.9", linewidth=0.6)
    every = [models for methods in layered.values() for models in methods.values()]
    counts = [len(models) for models in every]
    notes = [seeds_line(counts), *([] if {*counts} == {1} else ["band: from the lowest to the highest"])]
    notes += options_of(model for models in every for model in models)
    page.title(scene.table.plan.title, " / ".join(labels) or common_line(scene.table))
    page.legend(handles, "; ".join((*notes, f"{OUT}: what the head is given")))
    return page.fitted()


def _draw(axes: Axes, values: Floats, number: int) -> object:
    """A method's line over its seeds, (seeds, layers); gives what stands for it in the legend."""
    style = look(number)
    layers = np.arange(1, values.shape[1] + 1)
    (line,) = axes.plot(layers, values.mean(0), **style)
    if len(values) > 1:
        axes.fill_between(layers, values.min(0), values.max(0), color=style["color"], alpha=0.12, linewidth=0)
    return line


def _number(axes: Axes, names: Sequence[str]) -> None:
    """Layers are counted from 1; the last one is ``OUT``."""
    last = len(names)
    step = max(1, round((last - 1) / MOST_TICKS))
    ticks = [*range(1, last - step // 2, step), last]
    axes.set_xticks(ticks, [*(str(tick) for tick in ticks[:-1]), OUT])
