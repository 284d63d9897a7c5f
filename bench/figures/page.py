"""A figure as wide as a paper's column or page, and as high as what stands in it needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bench.figures.fonts import width_of, wrapped
from bench.figures.style import NORMAL, SMALL, WIDTHS
from bench.notation import one_line

MOST_HEIGHT = 60.0
"""Inches of a figure: beyond, nobody reads it, and a PNG takes gigabytes."""

HANDLE, APART = 0.28, 0.11
"""Inches of a legend's mark with the space behind it, and between two of its columns."""


@dataclass
class Page:
    """Panels under one title, with one legend below them all.

    Panels are as high as they are asked to be: title, legend and labels are measured and the figure grows by them.

    Attributes:
        width: inches.
        across: panels side by side.
        panel_height: inches of each panel's axes.
        lines: of title and legend, if they stood one below the other.
        words: what stands above each panel, and below it.
    """

    width: float
    across: int
    panel_height: float
    drawing: Figure = field(init=False)
    panels: list[Axes] = field(init=False, default_factory=list)
    lines: int = field(init=False, default=0)
    words: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.drawing = Figure(figsize=(self.width, 1.0), layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03))

    @property
    def room(self) -> float:
        """Inches that a panel takes beside others, its labels left out."""
        return self.width / self.across - 0.45

    def add(self, titles: Sequence[str], x: str, y: str) -> list[Axes]:
        """All panels, with their titles; the lowest say what is along x, the leftmost what is along y.

        Raises:
            ValueError: there are too many for a figure.
        """
        down = math.ceil(len(titles) / self.across)
        if down * (self.panel_height + 0.3) > MOST_HEIGHT:
            raise ValueError(f"{len(titles)} panels are too many for a figure; choose some datasets, rates or methods")
        for place, title in enumerate(titles, 1):
            axes = self.drawing.add_subplot(down, self.across, place)
            self.words.append((one_line(title), one_line(x) if place > len(titles) - self.across else ""))
            if place % self.across == 1 or self.across == 1:
                axes.set_ylabel(self.fold(one_line(y), self.panel_height))
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            self.panels.append(axes)
        return self.panels

    def fold(self, text: str, room: float, size: float = NORMAL) -> str:
        """A text in lines of so many inches."""
        return wrapped(text, room, size, self.drawing)

    def title(self, *lines: str) -> None:
        """What is drawn, above all panels."""
        folded = [self.fold(one_line(line), self.width - 0.1) for line in lines if line]
        self.drawing.suptitle("\n".join(folded))
        self.lines += sum(line.count("\n") + 1 for line in folded)

    def legend(self, handles: Mapping[str, Any], note: str = "") -> None:
        """Whose marks are whose, below all panels, in as many columns as fit; the note is set above it, or alone."""
        labels = [self.fold(one_line(label), self.width - HANDLE - 0.2, SMALL) for label in handles]
        note = self.fold(one_line(note), self.width - 0.1, SMALL)
        self.lines += sum(label.count("\n") + 1 for label in (*labels, note))
        legend = self.drawing.legend(
            list(handles.values()),
            labels,
            loc="outside lower center",
            ncols=self._columns(labels),
            title=note or None,
            frameon=False,
            columnspacing=APART * 72 / SMALL,
            handlelength=2.2,
            handletextpad=0.5,
            borderpad=0.1,
            labelspacing=0.35,
        )
        legend.get_title().set_multialignment("center")

    def _columns(self, labels: Sequence[str]) -> int:
        """The most columns of a legend that fit, with no more than its lines need."""
        widths = [max(width_of(line, SMALL, self.drawing) for line in label.split("\n")) for label in labels]
        for columns in range(len(labels), 1, -1):
            shares = [share for share in np.array_split(widths, columns) if share.size]
            taken = math.fsum(float(share.max()) + HANDLE for share in shares) + APART * (len(shares) - 1)
            if taken <= self.width - 0.15:
                return math.ceil(len(labels) / math.ceil(len(labels) / columns))
        return 1

    def fitted(self) -> Figure:
        """The figure, as high as its panels, title and legend need.

        Raises:
            ValueError: it would be higher than ``MOST_HEIGHT``.
        """
        down = math.ceil(len(self.panels) / self.across)
        rooms = [self.room] * len(self.panels)
        height = down * (self.panel_height + 0.8) + 0.2 * self.lines  # too high at first: what is too low collapses
        for _ in range(6):
            if height > MOST_HEIGHT:
                raise ValueError(f"a figure of {height:.0f} inches is too high; choose some datasets, rates or methods")
            for axes, (title, x), room in zip(self.panels, self.words, rooms, strict=True):
                axes.set_title(self.fold(title, room))
                axes.set_xlabel(self.fold(x, room))
            self.drawing.set_size_inches(self.width, height)
            self.drawing.draw_without_rendering()
            wide = rooms
            rooms = [axes.get_position().width * self.width for axes in self.panels]
            lowest = min(axes.get_position().height for axes in self.panels) * height
            if abs(lowest - self.panel_height) < 0.01 and np.allclose(wide, rooms, atol=0.02):
                break
            height += (self.panel_height - lowest) * down
        for axes in self.panels:
            thin_ticks(axes)
        return self.drawing


def page_of(width: str, panels: int, panel_height: float = 0.0, most_across: int = 4, together: int = 1) -> Page:
    """A page for so many panels: by default a column for one panel, and else a page.

    So many panels as belong together, one after the other, stand in one row.
    """
    inches = WIDTHS[width or ("column" if panels == 1 else "page")]
    most = min(most_across, 4 if inches > 5 else 2)
    across = panels
    if panels == 4:
        across = 4 if most == 4 else min(2, most)
    elif panels > min(3, most):
        across = math.ceil(panels**0.5)
    across = min(most, math.ceil(across / together) * together)
    return Page(inches, max(1, across), panel_height or (1.7 if across == 1 else 1.3))


def thin_ticks(axes: Axes) -> None:
    """Leave out the numbers along x that would stand on another; the first stays, and the last where it can."""
    low, high = sorted(axes.get_xlim())
    every = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    ticks = [(tick, label) for tick, label in every if low <= tick <= high and label.get_text()]
    boxes = [label.get_window_extent() for _, label in ticks]
    apart = 0.02 * axes.figure.dpi
    kept = [0] if ticks else []
    for at in range(1, len(ticks)):
        if boxes[at].x0 > boxes[kept[-1]].x1 + apart:
            kept.append(at)
    last = len(ticks) - 1
    if kept and kept[-1] != last and boxes[last].x0 > boxes[0].x1 + apart:
        kept = [at for at in kept if boxes[last].x0 > boxes[at].x1 + apart] + [last]
    if len(kept) < len(ticks):
        texts = [label.get_text() if at in kept else "" for at, (_, label) in enumerate(ticks)]
        axes.set_xticks([tick for tick, _ in ticks], texts)
