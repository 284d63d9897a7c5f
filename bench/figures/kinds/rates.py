"""The metric against the sampling rate, mean ± deviation of every method."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, deviation_line, methods_of, panels_of
from bench.figures.style import BARS, look
from bench.notation import listed
from bench.papers.published import Key
from bench.rate import budget_in
from bench.records.store import Store
from bench.tables.compare import Entry

RATE = "rate"
LOG_FROM = 20  # a ratio of the largest to the smallest rate from which a linear axis crowds the small ones


@dataclass(frozen=True)
class Along:
    """Where cells stand along x.

    Attributes:
        name: of the axis.
        numbers: of each cell, by the cell's id.
        shared: whether every panel has the numbers of all.
    """

    name: str
    numbers: Mapping[int, float]
    shared: bool = True

    @property
    def is_log(self) -> bool:
        """Whether a linear axis would crowd the small numbers."""
        values = self.numbers.values()
        return min(values) > 0 and max(values) > LOG_FROM * min(values)

    @property
    def title(self) -> str:
        """Its name, with its scale where that is not linear."""
        if not self.is_log:
            return self.name
        return f"{self.name.removesuffix(')')}, log scale)" if self.name.endswith(")") else f"{self.name} (log scale)"

    def place(self, number: float) -> float:
        """Where a number stands on a linear axis."""
        return math.log10(number) if self.is_log else number


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for the labels beside method and rate, its methods shifted a little so that none is hidden.

    The cells need the axis "rate", with a number in every label, such as "15 %" or "16-shot". Where budgets of images
    stand beside other rates, x is the number of images that the runs were trained on.
    """
    entries = scene.drawn
    if not scene.table.has_rates:
        raise ValueError(f"a figure needs the axis '{RATE}'; there are {', '.join(entries[0].planned.axes)}")
    along = _along(scene, entries)
    return [Sketch(lambda: _drawing(scene, entries, along), scene.labels)]


def _drawing(scene: Scene, entries: Sequence[Entry], along: Along) -> Figure:
    panels, methods = panels_of(entries, without=[RATE]), methods_of(entries)
    page = page_of(scene.width, len(panels))
    metrics = tuple(dict.fromkeys(entry.planned.metric.heading for entry in entries))
    every = page.add([" / ".join(labels) for labels in panels], along.title, listed(metrics))
    handles: dict[str, object] = {}
    for axes, inside in zip(every, panels.values(), strict=True):
        handles |= _panel(axes, inside, entries if along.shared else inside, methods, along)
    page.title(scene.table.plan.title, common_line(scene.table))
    page.legend({method: handles[method] for method in methods}, deviation_line([entry.n for entry in entries]))
    return page.fitted()


def _panel(
    axes: Axes, entries: Sequence[Entry], ticked: Sequence[Entry], methods: Key, along: Along
) -> dict[str, object]:
    """Draw the methods of a panel, with the numbers of some cells below it; gives the mark of each in the legend."""
    numbers = sorted({along.numbers[id(entry)] for entry in ticked})
    places = [along.place(number) for number in numbers]
    gap = min((right - left for left, right in pairwise(places)), default=1.0)
    shift = min(0.012 * (places[-1] - places[0] or 1.0), 0.5 * gap / len(methods))
    handles: dict[str, object] = {}
    for i, method in enumerate(methods):
        line = sorted((e for e in entries if e.planned.name == method), key=lambda e: along.numbers[id(e)])
        if line:
            handles[method] = axes.errorbar(
                [along.place(along.numbers[id(entry)]) + (i - (len(methods) - 1) / 2) * shift for entry in line],
                [entry.mean or 0.0 for entry in line],
                yerr=[math.nan if entry.std is None else entry.std for entry in line],
                **look(i),
                **BARS,
            )
    axes.set_xticks(places, [f"{number:g}" if number < 10_000 else f"{number:,.0f}" for number in numbers])
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    return handles


def _along(scene: Scene, entries: Sequence[Entry]) -> Along:
    """Where cells stand: by the number in their rate where all rates are of one kind, else by images trained on."""
    labels = tuple(dict.fromkeys(entry.planned.axes[RATE] for entry in entries))
    budgets = [budget_in(label) for label in labels]
    kinds = {budget.per_class if budget else None for budget in budgets}
    if len(kinds) > 1:
        return Along("training images", _trained_on(scene, entries, labels), shared=False)
    name = "sampling rate (%)" if all("%" in label for label in labels) else "sampling rate"
    if budgets[0]:
        name = "training images of each class" if budgets[0].per_class else "training images"
    return Along(name, {id(entry): _number(entry.planned.axes[RATE]) for entry in entries})


def _trained_on(scene: Scene, entries: Sequence[Entry], labels: Key) -> dict[int, float]:
    """How many images the runs of each cell were trained on, as their records say.

    Raises ``ValueError`` where there are none, or they do not say it.
    """
    remedy = "choose rates of one kind with --rates" if scene.results else "draw rates of one kind"
    trouble = f"{listed(labels)} have no axis in common but the images that were trained on"
    if scene.results is None:
        raise ValueError(f"{trouble}, and here are numbers alone: {remedy}")
    finished = scene.results.finished
    folder = {id(entry): next(finished[spec.id].folder for spec in entry.cell.runs) for entry in entries}
    store, images = Store(scene.results.scores.root), dict[str, int]()
    for record, place in store.records(dict.fromkeys(folder.values())):
        images[place.name] = record.subset.images if record.subset else 0
    if any(not images.get(name) for name in folder.values()):
        raise ValueError(f"{trouble}, and not all records say how many these are: {remedy}")
    return {cell: float(images[name]) for cell, name in folder.items()}


def _number(label: str) -> float:
    number = re.search(r"\d+(\.\d+)?", label)
    if number is None:
        raise ValueError(f"a figure needs a number in every rate; '{label}' has none")
    return float(number[0])
