"""Loss and accuracy of models whose weights are moved along random directions (bench measure TARGET landscape)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.landscapes import ABOUT, ModelLandscapes, landscapes_line, landscapes_of
from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, methods_of, panels_of, seeds_line
from bench.figures.style import look
from bench.notation import counted
from bench.papers.published import Key

OF_RUN = True
"""A run by itself has it, too."""

FEW = 3
"""Methods up to which each direction is drawn, too; beyond, a band says how far they lie apart."""

SIDES = {"loss": "loss (nats)", "accuracy": "top-1 (%)"}

Floats = npt.NDArray[np.float64]


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: of each setting a panel of the loss and one of the accuracy, with a line for each method."""
    models = landscapes_of(scene, 1)
    return [Sketch(lambda: _drawing(scene, models), scene.labels)]


def _drawing(scene: Scene, models: Sequence[ModelLandscapes]) -> Figure:
    entries = [model.entry for model in models]
    methods = methods_of(entries)
    panels = _panels(models)
    page = page_of(scene.width, 2 * len(panels), most_across=4, together=2)
    titles = [" / ".join((*labels, side)) for labels in panels for side in SIDES.values()]
    every = iter(page.add(titles, ABOUT, ""))
    handles: dict[str, Any] = {}
    for inside in panels.values():
        for side in SIDES:
            axes = next(every)
            for model in inside:
                name = model.entry.planned.name
                handles[name] = _line(axes, model, side, look(methods.index(name)), len(methods) <= FEW)
            _finish(axes, side)
    page.title(scene.table.plan.title, common_line(scene.table))
    page.legend({name: handles[name] for name in methods}, _note(models, len(methods) <= FEW))
    return page.fitted()


def _panels(models: Sequence[ModelLandscapes]) -> Mapping[Key, list[ModelLandscapes]]:
    panels = panels_of([model.entry for model in models])
    return {
        labels: [model for model in models if any(model.entry is entry for entry in inside)]
        for labels, inside in panels.items()
    }


def _line(axes: Axes, model: ModelLandscapes, side: str, style: Mapping[str, Any], with_each: bool) -> Any:
    """Draw the mean over directions and seeds; gives what stands for it in the legend."""
    positions = model.seeds[0].arrays["positions"]
    lines: Floats = np.concatenate([seed.arrays[side] for seed in model.seeds])
    mean = lines.mean(0)
    if with_each and len(lines) > 1:
        axes.plot(positions, lines.T, color=style["color"], linewidth=0.4, alpha=0.45)
    elif len(lines) > 1:
        deviation = lines.std(0, ddof=1)
        axes.fill_between(positions, mean - deviation, mean + deviation, color=style["color"], alpha=0.1, linewidth=0)
    (line,) = axes.plot(positions, mean, markevery=max(1, len(positions) // 8), **style)
    return line


def _finish(axes: Axes, side: str) -> None:
    axes.axvline(0, color="0.8", linewidth=0.6, zorder=0)
    axes.set_ylim(bottom=0)
    if side == "loss" and axes.get_ylim()[1] > 20:  # far away a loss says only that all is lost
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=0)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="0.9", linewidth=0.6)


def _note(models: Sequence[ModelLandscapes], with_each: bool) -> str:
    directions = len(models[0].seeds[0].arrays["loss"])
    seeds = seeds_line(len(model.seeds) for model in models)
    spread = "thin: each direction" if with_each else "band: ± sample standard deviation"
    over = f"mean over {counted(directions, 'direction')} normalised by filter, {seeds}; {spread}"
    return f"{over}; {landscapes_line(models)}"
