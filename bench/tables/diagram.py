"""A critical-difference diagram: mean ranks of methods over datasets (Demšar, 2006, figure 1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from bench.notation import one_line
from bench.stats.across import cliques, critical_difference, mean_ranks
from bench.stats.samples import Floats
from bench.tables.figure import save

LINE = 0.24
"""Inches between two labels."""


def diagram(scores: ArrayLike, methods: Sequence[str], paths: Iterable[Path], alpha: float = 0.05) -> None:
    """Draw mean ranks on an axis, best to the left; a bar joins methods that the critical difference cannot separate.

    The difference is Nemenyi's (``bench.stats.across.critical_difference``). The same scores give the same bytes with
    the same matplotlib.

    Args:
        scores: (datasets, methods), the mean over seeds, finite; higher is better; at least 2 of each.
        methods: their labels.
        paths: where to save it, .png or .pdf.
        alpha: level of the family of all pairs, in (0, 1).

    Raises:
        ValueError: there are not as many labels as methods, the scores are not such a table, or a suffix is unknown.
    """
    ranks = mean_ranks(scores)
    if len(methods) != ranks.size:
        raise ValueError(f"every method needs a label; there are {len(methods)} labels for {ranks.size} methods")
    datasets = np.shape(scores)[0]
    difference = critical_difference(ranks.size, datasets, alpha)
    title = f"mean rank over {datasets} datasets; joined: not separated (Nemenyi, α = {alpha:g})"
    names = [one_line(name) for name in methods]
    save(paths, lambda: _drawing(ranks, names, difference, title), bbox_inches="tight", pad_inches=0.05)


def _drawing(ranks: Floats, methods: Sequence[str], difference: float, title: str) -> Figure:
    """The axis at y = 0, labels below it at half lines, bars between; one unit of y is ``LINE``."""
    count, groups = ranks.size, cliques(ranks, difference)
    lines = 2.4 + 0.45 * len(groups) + (count + 1) // 2
    drawing = Figure(figsize=(5.5, LINE * lines + 0.4))
    drawing.suptitle(title, y=0.99)
    axes = drawing.add_axes((0.22, 0.02, 0.56, 0.88))
    axes.set_xlim(1, count)
    axes.set_ylim(-(lines - 2.4), 2.4)
    axes.axis("off")
    axes.plot([1, count], [0, 0], color="black", linewidth=0.8, clip_on=False)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [0, 0.18], color="black", linewidth=0.8, clip_on=False)
        axes.text(rank, 0.3, f"{rank}", ha="center", va="bottom")
    _rule(axes, difference, count)
    for line, group in enumerate(groups):
        height = -0.45 * (line + 1)
        ends = [float(min(ranks[list(group)])) - 0.03, float(max(ranks[list(group)])) + 0.03]
        axes.plot(ends, [height, height], color="black", linewidth=2.5, solid_capstyle="butt", clip_on=False)
    _labels(axes, ranks, methods, -0.45 * (len(groups) + 1))
    return drawing


def _rule(axes: Axes, difference: float, count: int) -> None:
    """The critical difference, to scale, above the axis."""
    stop, fits = min(1 + difference, float(count)), 1 + difference <= count
    axes.plot([1, stop], [1.6, 1.6], color="black", linewidth=1.0, clip_on=False)
    for end in (1.0, stop) if fits else (1.0,):
        axes.plot([end, end], [1.45, 1.75], color="black", linewidth=1.0, clip_on=False)
    longer = "" if fits else " (longer than the axis)"
    axes.text((1 + stop) / 2, 1.8, f"critical difference {difference:.2f}{longer}", ha="center", va="bottom")


def _labels(axes: Axes, ranks: Floats, methods: Sequence[str], top: float) -> None:
    """The better half of the methods to the left, the other to the right, the best and the worst on top."""
    order = [int(i) for i in np.argsort(ranks, kind="stable")]
    half = (len(order) + 1) // 2
    for group, side, align in ((order[:half], 1.0, "right"), (order[half:][::-1], float(len(order)), "left")):
        for line, i in enumerate(group):
            height, rank = top - line, float(ranks[i])
            axes.plot([rank, rank, side], [0, height, height], color="0.35", linewidth=0.7, clip_on=False)
            text = f"{methods[i]}  {rank:.2f} " if align == "right" else f" {rank:.2f}  {methods[i]}"
            axes.text(side, height, text, ha=align, va="center")
