"""Loss and accuracy in a plane of two random directions (bench measure TARGET landscape --option dimensions=2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.landscapes import ABOUT, ModelLandscapes, landscapes_line, landscapes_of
from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, panels_of
from bench.figures.style import SHADES

OF_RUN = True
"""A run by itself has it, too."""

LEVELS = np.arange(0, 101, 10)
"""Of the accuracy, in percent."""

LINES = 7
"""Of equal loss; the thickest is of the least."""


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for each model, of its first seed that was measured."""
    models = landscapes_of(scene, 2)
    return [Sketch(lambda: _drawing(scene, models), scene.labels)]


def _drawing(scene: Scene, models: Sequence[ModelLandscapes]) -> Figure:
    page = page_of(scene.width, len(models), most_across=3)
    page.panel_height = min(2.6, (page.width - 0.5) / page.across - 0.55)
    losses = np.stack([model.seeds[0].arrays["loss"] for model in models])
    finite = losses[np.isfinite(losses)]
    lines = np.geomspace(max(1e-3, 1.1 * float(finite.min())), max(2e-3, 0.95 * float(finite.max())), LINES)
    ratio = lines[1] / lines[0]
    shades: Any = None
    for axes, model in zip(page.add(_titles(models), ABOUT, ABOUT), models, strict=True):
        shades = _panel(axes, model, lines)
    bar = page.drawing.colorbar(shades, ax=page.panels, shrink=0.8, aspect=25, pad=0.02)
    bar.outline.set_linewidth(0.4)
    page.title(scene.table.plan.title, common_line(scene.table))
    first = "; one seed of each" if max(model.entry.n for model in models) > 1 else ""
    loss = f"lines: equal loss, from {lines[0]:.2g} (thick) to {lines[-1]:.2g} nats, each {ratio:.2g} × the last"
    note = f"shades: top-1 (%); {loss}; two directions normalised by filter; cross: the model{first}"
    page.legend({}, f"{note}; {landscapes_line(models)}")
    return page.fitted()


def _titles(models: Sequence[ModelLandscapes]) -> list[str]:
    titles: dict[int, str] = {}
    for labels, inside in panels_of([model.entry for model in models]).items():
        titles |= {id(entry): " / ".join((entry.planned.name, *labels)) for entry in inside}
    return [titles[id(model.entry)] for model in models]


def _panel(axes: Axes, model: ModelLandscapes, lines: npt.NDArray[np.float64]) -> Any:
    """Draw a plane; gives what the shades are."""
    arrays = model.seeds[0].arrays
    positions = arrays["positions"]
    accuracy, loss = arrays["accuracy"].T, arrays["loss"].T  # the first direction is along x
    shades = axes.contourf(positions, positions, accuracy, levels=LEVELS, cmap=SHADES)
    axes.contour(positions, positions, loss, levels=lines, colors="black", linewidths=np.linspace(1.2, 0.3, LINES))
    axes.plot(0, 0, marker="+", color="#D55E00", markersize=6, markeredgewidth=1.2)
    axes.set_aspect("equal")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    return shades
