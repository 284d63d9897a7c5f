"""Numbers that a paper prints of a figure, as dots on a line for each, with the number beside it."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.figures.page import page_of
from bench.figures.scene import Sketch
from bench.figures.style import SMALL, look
from bench.papers.figure import PrintedNumbers

LINE = 0.19
"""Inches between two numbers."""


def printed_sketch(title: str, paper: str, printed: PrintedNumbers, width: str = "") -> Sketch:
    """A panel for each group, from top to bottom as they are printed."""
    labels = [label for group, values in printed.values.items() for label in (group, *values)]
    return Sketch(lambda: _drawing(title, paper, printed, width), [title, printed.measured, printed.source, *labels])


def _drawing(title: str, paper: str, printed: PrintedNumbers, width: str) -> Figure:
    most = max(len(values) for values in printed.values.values())
    page = page_of(width, len(printed.values), panel_height=LINE * most + 0.15)
    better = "less is better" if printed.lower else "more is better"
    every = page.add(list(printed.values), f"{printed.measured} ({better})", "")
    for axes, values in zip(every, printed.values.values(), strict=True):
        for at, value in enumerate(values.values()):
            axes.plot(value, at, **{**look(at), "markersize": 4.5})
            axes.annotate(f"{value:g}", (value, at), (5, 0), textcoords="offset points", va="center", fontsize=SMALL)
        axes.set_yticks(range(len(values)), list(values))
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.margins(x=0.18)
        axes.grid(axis="y", color="0.9", linewidth=0.6)
    number = title.partition(":")[0]  # the paper's figure may be of more than what it prints
    page.title(f"{paper.upper()}, {number}: {printed.measured}", f"as printed: {printed.source}")
    return page.fitted()
