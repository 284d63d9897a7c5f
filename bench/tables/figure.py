"""Accuracy against sampling rate, as a figure for a paper."""

from __future__ import annotations

import errno
import io
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.notation import listed, one_line
from bench.papers.published import Key
from bench.records.files import write_file
from bench.tables.compare import Entry, Table

METHOD, RATE = "method", "rate"
# Okabe and Ito (2008) without the yellow, which is too light on white; blue first
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "p", "h", "*")
DASHES = ("-", "--", ":")
STYLE = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 8, "figure.titlesize": 9,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "pdf.fonttype": 42, "text.parse_math": False,
}  # fmt: skip
METADATA: Mapping[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
LOG_FROM = 20  # a ratio of the largest to the smallest rate from which a linear axis crowds the small ones


def figure(table: Table, paths: Iterable[Path]) -> None:
    """Draw the mean ± sample standard deviation of every method over the rates, a panel per remaining labels.

    Methods are shifted a little along the rate so that their error bars do not hide each other. The same table gives
    the same bytes with the same matplotlib.

    The cells need the axis "rate", with a number in every label, such as "15 %".

    Raises:
        ValueError: there is no axis "rate", a rate has no number, no cell has a value, or a suffix is unknown.
    """
    if not table.finished:
        raise ValueError("there is nothing to draw: no cell has a value")
    if not table.has_rates:
        raise ValueError(f"a figure needs the axis '{RATE}'; there are {', '.join(table.finished[0].planned.axes)}")
    save(paths, lambda: _drawing(table))


def save(paths: Iterable[Path], draw: Callable[[], Figure], **options: Any) -> None:
    """Draw in the style of all figures and save it at each path, whole or not at all.

    Raises:
        ValueError: a path ends neither in .png nor in .pdf.
        OSError: it cannot be written; names it.
    """
    paths = [Path(path) for path in paths]
    if unknown := [str(path) for path in paths if path.suffix not in METADATA]:
        raise ValueError(f"a figure is saved as {listed(tuple(METADATA))}; got {', '.join(unknown)}")
    for path in paths:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with style.context(["default", STYLE]):
        drawing = draw()
        for path in paths:
            content = io.BytesIO()
            drawing.savefig(content, format=path.suffix[1:], dpi=300, metadata=METADATA[path.suffix], **options)
            write_file(path, content.getvalue())


def _drawing(table: Table) -> Figure:
    """One panel per labels other than method and rate, at most four beside each other, one legend below them."""
    panels = _panels(table)
    across = len(panels) if len(panels) <= 3 else min(4, math.ceil(len(panels) ** 0.5))
    down = math.ceil(len(panels) / across)
    width, height = (3.6 if across == 1 else 2.5 * across), (2.3 if across == 1 else 2.0) * down + 1.0
    drawing = Figure(figsize=(width, height), layout="constrained")
    methods = tuple(dict.fromkeys(entry.planned.name for entry in table.finished))
    rates = {entry.planned.axes[RATE]: _number(entry.planned.axes[RATE]) for entry in table.finished}
    for place, (labels, entries) in enumerate(panels.items(), 1):
        axes = drawing.add_subplot(down, across, place)
        axes.set_title(" / ".join(map(one_line, labels)))
        _panel(axes, entries, methods, rates)
        if place > len(panels) - across:
            axes.set_xlabel(_rate_name(rates))
        if place % across == 1 or across == 1:
            metrics = dict.fromkeys(entry.planned.metric.heading for entry in table.finished)
            axes.set_ylabel(one_line(listed(tuple(metrics))))
    common = ", ".join(f"{axis} {labels[0]}" for axis, labels in _labels(table, alone=True).items())
    title = one_line(table.plan.title) + f"\n{one_line(common)}" * bool(common)
    lines = [wrap(line, int(14 * width)) for line in title.splitlines()]
    drawing.suptitle("\n".join(chain(*lines)))
    _legend(drawing, table, methods)
    return drawing


def _labels(table: Table, alone: bool) -> dict[str, Key]:
    """The axes beside method and rate with their labels: those with one label, or those with several."""
    labels = {}
    for axis in table.finished[0].planned.axes:
        labels[axis] = tuple(dict.fromkeys(entry.planned.axes[axis] for entry in table.finished))
    return {axis: each for axis, each in labels.items() if axis not in (METHOD, RATE) and (len(each) == 1) is alone}


def _panels(table: Table) -> dict[Key, list[Entry]]:
    apart = _labels(table, alone=False)
    panels: dict[Key, list[Entry]] = {}
    for entry in table.finished:
        panels.setdefault(tuple(entry.planned.axes[axis] for axis in apart), []).append(entry)
    return panels


def _panel(axes: Axes, entries: Sequence[Entry], methods: Key, rates: Mapping[str, float]) -> None:
    scale = math.log10 if _is_log(rates) else float
    places = sorted({scale(rate) for rate in rates.values()})
    gap = min((right - left for left, right in pairwise(places)), default=1.0)
    shift = min(0.012 * (places[-1] - places[0] or 1.0), 0.5 * gap / len(methods))
    for i, method in enumerate(methods):
        line = sorted((e for e in entries if e.planned.name == method), key=lambda e: rates[e.planned.axes[RATE]])
        if line:
            axes.errorbar(
                [scale(rates[entry.planned.axes[RATE]]) + (i - (len(methods) - 1) / 2) * shift for entry in line],
                [entry.mean or 0.0 for entry in line],
                yerr=[math.nan if entry.std is None else entry.std for entry in line],
                label=one_line(method),
                **_look(i),
            )
    axes.set_xticks(places, [f"{rate:g}" for rate in sorted(set(rates.values()))])
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _look(i: int) -> dict[str, Any]:
    """Colour, marker and dash of the i-th method; markers repeat later than colours, dashes change when those do."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": DASHES[i // len(COLOURS) % len(DASHES)],
        "linewidth": 1.1,
        "markersize": 3.4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
        "elinewidth": 0.8,
        "capsize": 1.8,
    }


def _legend(drawing: Figure, table: Table, methods: Key) -> None:
    handles: dict[str, Any] = {}
    for axes in drawing.axes:
        drawn, labels = axes.get_legend_handles_labels()
        handles |= zip(labels, drawn, strict=True)
    names = [name for name in map(one_line, methods) if name in handles]
    counts = sorted({entry.n for entry in table.finished})
    seeds = f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"
    note = "n = 1 seed, no error bars" if counts == [1] else f"mean ± sample standard deviation, {seeds} seeds"
    entry_width = 0.45 + 0.06 * max(map(len, names))  # inches at 8 points
    columns = max(1, min(len(names), int(drawing.get_figwidth() / entry_width)))
    drawing.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=math.ceil(len(names) / math.ceil(len(names) / columns)),
        title=note,
        title_fontsize=7,
        frameon=False,
        columnspacing=1.2,
    )


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
