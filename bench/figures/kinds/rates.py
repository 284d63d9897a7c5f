"""The metric against the sampling rate, mean ± deviation of every method."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures.page import page_of
from bench.figures.scene import Scene, Sketch, common_line, deviation_line, methods_of, panels_of
from bench.figures.style import BARS, look
from bench.notation import listed
from bench.papers.published import Key
from bench.tables.compare import Entry

RATE = "rate"
LOG_FROM = 20  # a ratio of the largest to the smallest rate from which a linear axis crowds the small ones


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel for the labels beside method and rate, its methods shifted a little so that none is hidden.

    The cells need the axis "rate", with a number in every label, such as "15 %".
    """
    entries = scene.drawn
    if not scene.table.has_rates:
        raise ValueError(f"a figure needs the axis '{RATE}'; there are {', '.join(entries[0].planned.axes)}")
    rates = {entry.planned.axes[RATE]: _number(entry.planned.axes[RATE]) for entry in entries}
    return [Sketch(lambda: _drawing(scene, entries, rates), scene.labels)]


def _drawing(scene: Scene, entries: Sequence[Entry], rates: Mapping[str, float]) -> Figure:
    panels, methods = panels_of(entries, without=[RATE]), methods_of(entries)
    page = page_of(scene.width, len(panels))
    metrics = tuple(dict.fromkeys(entry.planned.metric.heading for entry in entries))
    every = page.add([" / ".join(labels) for labels in panels], _rate_name(rates), listed(metrics))
    handles: dict[str, object] = {}
    for axes, inside in zip(every, panels.values(), strict=True):
        handles |= _panel(axes, inside, methods, rates)
    page.title(scene.table.plan.title, common_line(scene.table))
    page.legend({method: handles[method] for method in methods}, deviation_line([entry.n for entry in entries]))
    return page.fitted()


def _panel(axes: Axes, entries: Sequence[Entry], methods: Key, rates: Mapping[str, float]) -> dict[str, object]:
    """Draw the methods of a panel; gives what stands for each in the legend."""
    scale = math.log10 if _is_log(rates) else float
    places = sorted({scale(rate) for rate in rates.values()})
    gap = min((right - left for left, right in pairwise(places)), default=1.0)
    shift = min(0.012 * (places[-1] - places[0] or 1.0), 0.5 * gap / len(methods))
    handles: dict[str, object] = {}
    for i, method in enumerate(methods):
        line = sorted((e for e in entries if e.planned.name == method), key=lambda e: rates[e.planned.axes[RATE]])
        if line:
            handles[method] = axes.errorbar(
                [scale(rates[entry.planned.axes[RATE]]) + (i - (len(methods) - 1) / 2) * shift for entry in line],
                [entry.mean or 0.0 for entry in line],
                yerr=[math.nan if entry.std is None else entry.std for entry in line],
                **look(i),
                **BARS,
            )
    axes.set_xticks(places, [f"{rate:g}" for rate in sorted(set(rates.values()))])
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    return handles


def _number(label: str) -> float:
    number = re.search(r"\d+(\.\d+)?", label)
    if number is None:
        raise ValueError(f"a figure needs a number in every rate; '{label}' has none")
    return float(number[0])


def _is_log(rates: Mapping[str, float]) -> bool:
    return min(rates.values()) > 0 and max(rates.values()) > LOG_FROM * min(rates.values())


def _rate_name(rates: Mapping[str, float]) -> str:
    unit = "%" if all("%" in label for label in rates) else ""
    return f"sampling rate ({', '.join(filter(None, (unit, 'log scale' * _is_log(rates))))})".removesuffix(" ()")
