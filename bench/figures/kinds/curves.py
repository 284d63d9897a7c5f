"""Learning curves: the metric by step on the validation and the test split, with the points that are selected."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.measured import how_to_measure, measured_curve
from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, mean_std, methods_of, panels_of, seeds_line
from bench.figures.style import look
from bench.metrics import Metric
from bench.notation import MEASURED, SPLITS, listed
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.tables.compare import Entry

OF_RUN = True
"""A run by itself has it, too."""
FEW = 3
"""Methods up to which each seed is drawn, too; beyond, a band says how far they lie apart."""

CIRCLE: dict[str, Any] = {"markersize": 5.5, "markerfacecolor": "none", "markeredgewidth": 0.7}


@dataclass(frozen=True)
class Curve:
    """The curve of a cell on a split.

    Attributes:
        steps: of its points, which all its seeds share.
        seeds: the values of each seed by point; nan where there is none.
        picked: the point of each seed that the selection rule picks, counted from 0.
    """

    name: str
    split: str
    steps: tuple[int, ...]
    seeds: tuple[tuple[float, ...], ...]
    picked: tuple[int, ...]

    @cached_property
    def spread(self) -> list[tuple[float, float]]:
        """Mean and deviation over the seeds at each point."""
        return [mean_std(values) for values in zip(*self.seeds, strict=True)]


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for each setting and split; of a single method both splits share a panel."""
    entries = scene.drawn
    for entry in entries:
        if not (entry.planned.metric.of_curve or entry.planned.metric.measure):
            raise ValueError(f"{entry.planned.metric.title} has no curve: it is of the whole run")
    splits = [scene.split] if scene.split else list(SPLITS)
    apart = len(methods_of(entries)) > 1
    panels: dict[str, list[Curve]] = {}
    for labels, inside in panels_of(entries).items():
        for split in splits:
            title = " / ".join((*labels, MEASURED[split]) if apart and len(splits) > 1 else labels)
            if curves := [curve for entry in inside for curve in _curves(entry, split, scene)]:
                panels.setdefault(title, []).extend(curves)
    curves = [curve for inside in panels.values() for curve in inside]
    if not curves:
        raise ValueError(f"nothing to draw: {_why_not(entries, splits, scene)}")
    if max(len(curve.steps) for curve in curves) < 2:
        raise ValueError("a curve takes two points, and these runs were scored once ('evaluations' in the protocol)")
    return [Sketch(lambda: _drawing(scene, entries, panels), scene.labels)]


def _curves(entry: Entry, split: str, scene: Scene) -> Iterator[Curve]:
    """The curve of a cell, one for each row of steps among its seeds; none where no seed has a value."""
    metric, results, rule = entry.planned.metric, scene.records, scene.table.plan.rules.selection
    by_steps: dict[tuple[int, ...], list[tuple[tuple[float, ...], int]]] = {}
    for spec in entry.cell.runs:
        run = results.finished[spec.id]
        values = _values(run, metric, results.scores, split)
        if not all(map(math.isnan, values)):
            picked = results.scores.point(run, rule, results.picking(entry.planned))
            by_steps.setdefault(tuple(step for step, _, _ in run.values), []).append((values, picked))
    for steps, seeds in by_steps.items():
        yield Curve(entry.planned.name, split, steps, tuple(each for each, _ in seeds), tuple(at for _, at in seeds))


def _values(run: Finished, metric: Metric, scores: Scores, split: str) -> tuple[float, ...]:
    """The values of a run at each point of its curve; what is measured of kept models is where one was kept."""
    if metric.measure:
        return measured_curve(run, metric, scores, split)
    return tuple(scores.values(run, metric, split))


def _why_not(entries: Sequence[Entry], splits: Sequence[str], scene: Scene) -> str:
    """Why no run has a value on some splits."""
    if measure := entries[0].planned.metric.measure:
        return f"{measure} was not measured{how_to_measure(scene, measure, '--points', 'all')}"
    scores = scene.records.scores
    for split in splits:
        for entry in entries:
            for spec in entry.cell.runs:
                if reason := scores.why_not(scene.records.finished[spec.id], entry.planned.metric, split):
                    return reason
    return "the runs have no validation split" if "val" in splits else f"no run has a value{scene.remedy}"


def _drawing(scene: Scene, entries: Sequence[Entry], panels: Mapping[str, Sequence[Curve]]) -> Figure:
    methods, rule = methods_of(entries), scene.table.plan.rules.selection
    splits = {curve.split for curves in panels.values() for curve in curves} if len(methods) > 1 else {""}
    page = page_of(scene.width, len(panels), together=len(splits))
    metrics = tuple(dict.fromkeys(entry.planned.metric.heading for entry in entries))
    along = listed(metrics) + (f", {MEASURED[scene.split]} split" if scene.split else "")
    handles: dict[str, Any] = {}
    for axes, curves in zip(page.add(list(panels), "step", along), panels.values(), strict=True):
        for curve in curves:
            name = curve.name if len(methods) > 1 else MEASURED[curve.split]
            style = look(methods.index(curve.name) if len(methods) > 1 else [*MEASURED].index(curve.split))
            handles[name] = _draw(axes, curve, style, len(methods) <= FEW)
            if len(methods) <= FEW or rule != "last":
                _circle(axes, curve, style["color"])
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=True))
        axes.grid(axis="y", color="0.9", linewidth=0.6)
    alone = f"{methods[0]}: {scene.table.plan.title}" if len(methods) == 1 else scene.table.plan.title
    page.title(alone, common_line(scene.table))
    page.legend(
        {name: handles[name] for name in (*methods, *MEASURED.values()) if name in handles}, _note(scene, entries)
    )
    return page.fitted()


def _note(scene: Scene, entries: Sequence[Entry]) -> str:
    rule = scene.table.plan.rules.selection
    few = len(methods_of(entries)) <= FEW
    picked = f"circled: what the rule '{rule}' selects{' (an oracle)' * (rule == 'best-test')}"
    if not few and rule == "last":
        picked = "the last points are selected"
    if all(entry.n == 1 for entry in entries):
        return f"n = 1 seed; {picked}"
    spread = "thin: each seed" if few else "band: ± sample standard deviation"
    return f"mean over {seeds_line(entry.n for entry in entries)}; {spread}; {picked}"


def _draw(axes: Axes, curve: Curve, style: Mapping[str, Any], with_seeds: bool) -> Any:
    """Draw a curve; gives what stands for it in the legend."""
    means = [mean for mean, _ in curve.spread]
    (line,) = axes.plot(curve.steps, means, markevery=max(1, len(means) // 8), **style)
    if with_seeds and len(curve.seeds) > 1:
        for values in curve.seeds:
            axes.plot(curve.steps, values, color=style["color"], linewidth=0.5, alpha=0.6)
    elif len(curve.seeds) > 1:
        low, high = ([mean + side * std for mean, std in curve.spread] for side in (-1, 1))
        axes.fill_between(curve.steps, low, high, color=style["color"], alpha=0.1, linewidth=0)
    return line


def _circle(axes: Axes, curve: Curve, colour: str) -> None:
    """Mark the point of each seed that is selected."""
    for values, at in zip(curve.seeds, curve.picked, strict=True):
        axes.plot(curve.steps[at], values[at], marker="o", markeredgecolor=colour, **CIRCLE)
