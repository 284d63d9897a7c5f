"""Accuracy on further tests against that on the own one, with the effective robustness over the baseline's line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, methods_of, panels_of
from bench.figures.style import look
from bench.metrics.metric import RAW, Metric
from bench.notation import counted, signed
from bench.papers.published import Key
from bench.stats.shift import Floats, Trend, effective_robustness, logit, trend
from bench.tables.compare import Entry

MOST_NAMED = 6
"""Methods whose effective robustness is written into a panel; the points of more would be covered by it."""

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Percentage points between two ticks of an axis."""


@dataclass(frozen=True)
class Panel:
    """A further test.

    Attributes:
        metric: the score on it.
        points: by method, of each run its score on the own test split and on this one, in percent.
        line: the baseline's; None where it has no two runs that differ.
    """

    metric: Metric
    points: Mapping[str, Sequence[tuple[float, float]]]
    line: Trend | None

    def drawn(self, method: str) -> Floats:
        """The points (N, 2) of a method's runs that an axis of logits has: none of them at 0 or 100 %."""
        points = np.array(self.points.get(method, ()), dtype=np.float64).reshape(-1, 2)
        return points[np.isfinite(logit(points)).all(axis=1)]

    def left(self) -> int:
        """How many points are not drawn."""
        return sum(len(points) - len(self.drawn(method)) for method, points in self.points.items())


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel a dataset and further test; a point a run, of all rates and backbones, on axes of logits."""
    if scene.split == "val":
        raise ValueError("further tests are no validation splits; leave --split away")
    entries = scene.drawn
    panels = {
        (*labels, panel.metric.title.removeprefix(f"{panel.metric.plain.title} ")): panel
        for labels, inside in panels_of(entries, without=["rate", "backbone"]).items()
        for panel in panels_in(inside, scene)
    }
    if not panels:
        raise ValueError("its runs have no further tests; a dataset has some behind '@also=' (docs/comparing.md)")
    return [Sketch(lambda: _drawing(scene, entries, panels), scene.labels)]


def panels_in(entries: Sequence[Entry], scene: Scene) -> Iterator[Panel]:
    """The further tests that runs of a dataset were scored on, or the one that the table shows."""
    results, baseline = scene.records, scene.table.plan.baseline
    metric = entries[0].planned.metric
    if (metric.plain.low, metric.plain.high) != (0, 100):
        raise ValueError(f"a share in percent is drawn, and {metric.plain.title} is none; give --metric top1")
    runs = [spec for entry in entries for spec in entry.cell.runs]
    places = dict.fromkeys(
        where for spec in runs for where in results.scores.elsewhere(results.finished[spec.id]) if where != RAW
    )
    for where in [metric.where] if metric.where else places:
        further = metric if metric.where else metric.at(where)
        points: dict[str, list[tuple[float, float]]] = {}
        for entry in entries:
            score = partial(results.scores_of, entry.cell.runs, entry.planned, scene.table.plan.rules.selection, "test")
            for pair in zip(score(metric.plain), score(further), strict=True):
                if not math.isnan(sum(pair)):
                    points.setdefault(entry.planned.name, []).append(pair)
        if points:
            yield Panel(further, points, line_of(points.get(baseline, ())))


def line_of(points: Sequence[tuple[float, float]]) -> Trend | None:
    """The line through the baseline's runs; None where there is none."""
    try:
        return trend([first for first, _ in points], [second for _, second in points])
    except ValueError:
        return None


def robustness(panel: Panel, method: str) -> float:
    """The mean effective robustness of a method's runs that are drawn, in points; nan without one or without a line."""
    first, second = panel.drawn(method).T
    if panel.line is None or not first.size:
        return math.nan
    return float(np.mean(effective_robustness(first, second, panel.line)))


def _drawing(scene: Scene, entries: Sequence[Entry], panels: Mapping[Key, Panel]) -> Figure:
    methods, baseline = methods_of(entries), scene.table.plan.baseline
    page = page_of(scene.width, len(panels))
    plain = next(iter(panels.values())).metric.plain
    titles = [" / ".join(labels) for labels in panels]
    every = page.add(titles, f"{plain.heading}, own test split", f"{plain.heading}, further test")
    handles: dict[str, object] = {}
    for axes, panel in zip(every, panels.values(), strict=True):
        handles |= _panel(axes, panel, methods, baseline)
    page.title(scene.table.plan.title, common_line(scene.table))
    line = f"dashed: fitted to the runs of {baseline}; in points: mean distance to it, the effective robustness"
    has_line = any(panel.line for panel in panels.values())
    note = line if has_line else "no line: it takes two runs of a baseline that differ in accuracy"
    left = sum(panel.left() for panel in panels.values())
    if left:
        note += f"; not drawn: {counted(left, 'point')} at 0 or 100 %, where there is no logit"
    page.legend({method: handles[method] for method in methods if method in handles}, note)
    return page.fitted()


def _panel(axes: Axes, panel: Panel, methods: Key, baseline: str) -> dict[str, object]:
    """Draw the runs of a further test; gives what stands for each method in the legend."""
    handles: dict[str, object] = {}
    for i, method in enumerate(methods):
        if method in panel.points:
            first, second = panel.drawn(method).T
            (handles[method],) = axes.plot(logit(first), logit(second), **{**look(i), "linestyle": "none"})
    drawn = np.concatenate([panel.drawn(method) for method in panel.points])
    if panel.line is not None:
        x = logit([drawn[:, 0].min(), drawn[:, 0].max()])
        axes.plot(x, panel.line.slope * x + panel.line.intercept, color="0.4", linestyle="--", linewidth=0.8, zorder=0)
    for axis, values in zip((axes.xaxis, axes.yaxis), drawn.T.tolist(), strict=True):
        ticks = ticks_of(values) if values else []
        axis.set_ticks(logit(ticks).tolist(), [f"{tick:g}" for tick in ticks])
    others = [method for method in methods if method != baseline and not math.isnan(robustness(panel, method))]
    if len(others) <= MOST_NAMED:
        text = "\n".join(f"{method} {signed(robustness(panel, method), 1)}" for method in others)
        axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", fontsize="small")
    axes.grid(color="0.9", linewidth=0.6)
    return handles


def ticks_of(values: Sequence[float], most: int = 6) -> list[float]:
    """Accuracies in percent that stand at an axis: those around what is drawn, and not too many."""
    for step in STEPS:
        first, last = math.floor(min(values) / step), math.ceil(max(values) / step)
        ticks = [step * place for place in range(first, last + 1) if 0 < step * place < 100]
        if len(ticks) <= most:
            break
    return ticks
