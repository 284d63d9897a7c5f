"""How alike the heads of each layer attend, before and after fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.measured import MeasuredModels, models_of
from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line
from bench.figures.style import look

OF_RUN = True
"""A run by itself has it, too."""

MEASURE = "head_similarity"


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a line for each model."""
    models = models_of(scene.drawn, scene, MEASURE)
    return [Sketch(lambda: _drawing(scene, models), scene.labels)]


def _drawing(scene: Scene, models: MeasuredModels) -> Figure:
    page = page_of(scene.width or "column", 1)
    (axes,) = page.add([""], "layer", "cosine between the attention of heads")
    handles: dict[str, Any] = {}
    for at, panel in enumerate(models.panels):
        similarity = panel.arrays["similarity"]
        (handles[panel.title],) = axes.plot(np.arange(1, len(similarity) + 1), similarity, **look(at))
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    page.title(scene.table.plan.title, common_line(scene.table))
    page.legend(handles, f"1 where all heads of a layer attend alike; {models.note}")
    return page.fitted()
