"""Mean ranks of methods over 6 datasets or more: a critical-difference diagram (Demšar, 2006, figure 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from bench.figures.fonts import width_of, wrapped
from bench.figures.scene import Scene, Sketch
from bench.figures.style import NORMAL, SMALL, WIDTHS
from bench.notation import one_line
from bench.papers.published import Key
from bench.stats.across import cliques, critical_difference, mean_ranks
from bench.stats.reach import refusal
from bench.stats.samples import Floats
from bench.tables.across import Group, by_dataset, complete
from bench.tables.compare import Entry, Table

LINE, FOLDED = 0.22, 0.117
"""Inches between two labels, and of each line of theirs where they are folded."""

USUAL_WIDTH, LABELS = 5.5, 0.31
"""Inches of a figure unless others are asked for, and the share of them that labels may take on either side."""


def sketches(scene: Scene) -> list[Sketch]:
    """One diagram for each backbone and rate, of the methods that have finished on all datasets."""
    table = scene.table
    groups = by_dataset(table.plan, [[_values(entry, scene.published) for entry in line] for line in table.entries])
    return diagrams(groups, scene, lower=_is_lower(table, scene.published))


def diagrams(groups: Mapping[Key, Group], scene: Scene, lower: bool = False) -> list[Sketch]:
    """A diagram for each group: the values by method and dataset, by the labels that it has in common.

    Raises:
        ValueError: there are fewer than two methods, or too few datasets for a claim about datasets like these.
    """
    completed = {where: complete(group) for where, group in groups.items()}
    if not completed:
        raise ValueError("nothing to draw: there are no numbers of methods on datasets")
    alpha = scene.table.plan.rules.alpha
    for where, (methods, common, _) in completed.items():
        place = f"{' / '.join(where)}: " if where else ""
        if len(methods) < 2:
            raise ValueError(f"{place}ranks take two methods or more; {len(methods)} has finished runs")
        if hopeless := refusal("wilcoxon", len(common), alpha=alpha):
            raise ValueError(
                f"{place}a critical-difference diagram is about datasets like these, on which all {len(methods)} "
                f"methods have finished: {hopeless}"
            )
    several = len(completed) > 1
    return [
        diagram(-means if lower else means, methods, alpha, scene.width, where if several else ())
        for where, (methods, _, means) in completed.items()
    ]


def diagram(scores: ArrayLike, methods: Sequence[str], alpha: float = 0.05, width: str = "", part: Key = ()) -> Sketch:
    """Mean ranks on an axis, best to the left; a bar joins methods that the critical difference cannot separate.

    The difference is Nemenyi's (``bench.stats.across.critical_difference``).

    Args:
        scores: (datasets, methods), the mean over seeds, finite; higher is better; at least 2 of each.
        methods: their labels.
        alpha: level of the family of all pairs, in (0, 1).
        width: ``column``, ``page``, or empty.
        part: which of several diagrams it is.

    Raises:
        ValueError: there are not as many labels as methods, or the scores are not such a table.
    """
    ranks = mean_ranks(scores)
    if len(methods) != ranks.size:
        raise ValueError(f"every method needs a label; there are {len(methods)} labels for {ranks.size} methods")
    datasets = np.shape(scores)[0]
    difference = critical_difference(ranks.size, datasets, alpha)
    title = f"mean rank over {datasets} datasets; joined: not separated (Nemenyi, α = {alpha:g})"
    inches = WIDTHS.get(width, USUAL_WIDTH)
    return Sketch(lambda: _drawing(ranks, [*map(one_line, methods)], difference, title, inches), methods, part)


def _values(entry: Entry, published: bool) -> tuple[float, ...]:
    if not published:
        return (entry.cell.mean,) if entry.n else ()
    number = entry.planned.published
    return () if math.isnan(number) else (number,)


def _is_lower(table: Table, published: bool) -> bool:
    """Whether less is better. Raises ``ValueError`` where it is of some columns only."""
    contests = table.plan.contests
    signs = {table.at(contest.places[0]).planned.metric.sign for contest in contests}
    if published:
        signs = {-1 if contest.lower else 1 for contest in contests}
    if len(signs) > 1:
        raise ValueError("of some columns more is better and of others less; ranks need one metric")
    return signs == {-1}


def _drawing(ranks: Floats, methods: Sequence[str], difference: float, title: str, width: float) -> Figure:
    """The axis at y = 0, labels below it, bars between; one unit of y is the height of a label."""
    drawing = Figure(figsize=(width, 1.0))
    count, groups = ranks.size, cliques(ranks, difference)
    names = [
        wrapped(f"{name}\u2002{rank:.2f}", LABELS * width, SMALL, drawing)
        for name, rank in zip(methods, ranks, strict=True)
    ]
    order = [int(i) for i in np.argsort(ranks, kind="stable")]
    half = (count + 1) // 2
    sides = (order[:half], order[half:][::-1])
    margins = [
        max(width_of(line, SMALL, drawing) for i in side for line in names[i].split("\n")) + 0.08 for side in sides
    ]
    axis = width - sum(margins)
    unit = max(LINE, 0.06 + FOLDED * max(1 + name.count("\n") for name in names))
    longer = "" if 1 + difference <= count else " (longer than the axis)"
    rule = wrapped(f"critical difference {difference:.2f}{longer}", axis + margins[1] - 0.05, SMALL, drawing)
    above = (0.48 + FOLDED * (1 + rule.count("\n"))) / unit
    bars = 0.11 / unit
    below = bars * (len(groups) + 1) + half
    heading = wrapped(title, width - 0.1, NORMAL, drawing)
    top = 0.08 + 0.14 * (1 + heading.count("\n"))
    height = top + (above + below) * unit + 0.05
    drawing.set_size_inches(width, height)
    drawing.suptitle(heading, y=1 - 0.03 / height, va="top")
    axes = drawing.add_axes((margins[0] / width, 0.05 / height, axis / width, (above + below) * unit / height))
    axes.set_xlim(1, count)
    axes.set_ylim(-below, above)
    axes.axis("off")
    axes.plot([1, count], [0, 0], color="black", linewidth=0.8, clip_on=False)
    step = math.ceil(count * 0.17 / axis)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [0, 0.04 / unit], color="black", linewidth=0.8, clip_on=False)
        if (rank - 1) % step == 0:
            axes.text(rank, 0.06 / unit, f"{rank}", ha="center", va="bottom", fontsize=SMALL)
    _rule(axes, difference, count, rule, unit)
    for line, group in enumerate(groups, 1):
        y = -bars * line
        ends = [float(min(ranks[list(group)])) - 0.03, float(max(ranks[list(group)])) + 0.03]
        axes.plot(ends, [y, y], color="black", linewidth=2.5, solid_capstyle="butt", clip_on=False)
    for side, edge, align in ((sides[0], 1.0, "right"), (sides[1], float(count), "left")):
        for number, i in enumerate(side):
            place, at = -bars * (len(groups) + 1) - number - 0.5, float(ranks[i])
            axes.plot([at, at, edge], [0, place, place], color="0.35", linewidth=0.7, clip_on=False)
            axes.annotate(
                names[i],
                (edge, place),
                xytext=(-3 if align == "right" else 3, 0),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=SMALL,
                annotation_clip=False,
            )
    return drawing


def _rule(axes: Axes, difference: float, count: int, text: str, unit: float) -> None:
    """The critical difference, to scale, above the axis."""
    stop, fits = min(1 + difference, float(count)), 1 + difference <= count
    y, tick = 0.36 / unit, 0.035 / unit
    axes.plot([1, stop], [y, y], color="black", linewidth=1.0, clip_on=False)
    for end in (1.0, stop) if fits else (1.0,):
        axes.plot([end, end], [y - tick, y + tick], color="black", linewidth=1.0, clip_on=False)
    axes.text(1, y + 1.4 * tick, text, ha="left", va="bottom", fontsize=SMALL)
