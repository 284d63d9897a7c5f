"""How far each method is from its baseline, with confidence intervals: a forest plot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.figures.fonts import width_of, wrapped
from bench.figures.saving import styled
from bench.figures.scene import Scene, Sketch
from bench.figures.style import COLOURS, NORMAL, SMALL, WIDTHS
from bench.metrics import Metric
from bench.notation import listed, one_line
from bench.papers.published import Key, telling_labels
from bench.plan.table import TablePlan
from bench.tables.compare import Entry, Table

LINE, FOLDED = 0.17, 0.117
"""Inches between two rows, and of a line of their labels where these are folded."""

TITLE, TICKS, LABEL, SPACE = 0.22, 0.25, 0.13, 0.3
"""Inches of a panel's title, of its ticks with numbers, of a line of its label, and between two panels."""

MOST_LINES, MOST_ACROSS = 40, 4
"""Rows of a panel, and panels that share their labels."""

LEAST, LABELS = 0.9, 0.45
"""Inches of a panel, and the share of a figure's width beyond which labels are folded."""

MOST_WIDTH, MOST_HEIGHT = WIDTHS["page"], 200.0
"""Inches of a figure; a page of a PDF is no higher."""

BLANK = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}

T = TypeVar("T", bound=Hashable)

Panel = tuple[int, Metric]
"""A column, and the metric of what stands in it."""


@dataclass(frozen=True)
class Gap:
    """A difference to a baseline, and where in the figure it stands.

    Attributes:
        row: of the table.
        baseline: what the difference is to.
    """

    row: int
    panel: Panel
    entry: Entry
    baseline: str

    @property
    def delta(self) -> float:
        return math.nan if self.entry.delta is None else self.entry.delta

    @property
    def ends(self) -> tuple[float, float] | None:
        """Of its interval; None where it has none."""
        low, high = self.entry.low, self.entry.high
        return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class RowLabel:
    """A row of panels: a row of the table with its usual n, or a heading."""

    label: str
    row: int | None = None
    n: int = 0


@dataclass(frozen=True)
class Strip:
    """Panels side by side that share their labels. All measures are in inches."""

    lines: tuple[RowLabel, ...]
    panels: tuple[Panel, ...]
    margin: float
    panel_width: float
    line: float = LINE

    @property
    def width(self) -> float:
        return self.margin + len(self.panels) * (self.panel_width + SPACE)

    @property
    def panel_height(self) -> float:
        return len(self.lines) * self.line

    @property
    def height(self) -> float:
        labels = max(len(self.label(metric)) for _, metric in self.panels)
        return TITLE + self.panel_height + TICKS + labels * LABEL + SPACE / 2

    def label(self, metric: Metric) -> list[str]:
        """The lines below an axis: what is different, in which unit, and which way is better."""
        unit = "points" if metric.unit == "%" else metric.unit
        what = one_line(f"difference in {metric.title}" + f" ({unit})" * bool(unit))
        better = "← better" if metric.lower else "better →"
        return [*wrap(what, int(self.panel_width / 0.057), break_on_hyphens=False), better]


@dataclass(frozen=True)
class GapsPage:
    """What a figure holds, and its panels on shelves from top to bottom."""

    gaps: tuple[Gap, ...]
    shelves: tuple[tuple[Strip, ...], ...]

    @property
    def width(self) -> float:
        return max(sum(strip.width for strip in shelf) for shelf in self.shelves)

    @property
    def height(self) -> float:
        return sum(max(strip.height for strip in shelf) for shelf in self.shelves)

    def stretched(self, width: float) -> GapsPage:
        """The same with panels as wide as it takes to fill so many inches."""
        panels = max(sum(len(strip.panels) for strip in shelf) for shelf in self.shelves)
        more = (width - self.width) / panels
        shelves = [
            tuple(replace(strip, panel_width=strip.panel_width + more) for strip in shelf) for shelf in self.shelves
        ]
        return GapsPage(self.gaps, tuple(shelves))


def sketches(scene: Scene) -> list[Sketch]:
    """One figure: a panel a column, with the difference of every method to its baseline, and which way is better.

    An interval is of its difference alone, at 1 - alpha; what is filled is significant in its family. Where an interval
    is far longer than most, an arrow says that it goes on.
    """
    table = scene.table
    if not table.plan.baseline:
        raise ValueError("a figure of gaps is of differences to a baseline, and the table names none")
    if not table.finished:
        scene.drawn  # noqa: B018 - it says why there is nothing
    page = page_of(table, scene.width)
    return [Sketch(lambda: _drawing(table, page, scene.width), scene.labels)]


def page_of(table: Table, width: str = "") -> GapsPage:
    """What is drawn of a table, and where. Raises ``ValueError`` where there is nothing, or too much for a page."""
    drawn = tuple(_gaps(table))
    if not drawn:
        raise ValueError("there is nothing to draw: no method has finished where its baseline has")
    most = WIDTHS.get(width, MOST_WIDTH)
    with styled([label for row in table.plan.rows for label in row]):
        page = GapsPage(drawn, tuple(_shelves(_strips(table.plan, drawn, most), most)))
    if page.height > MOST_HEIGHT:
        raise ValueError(
            f"{len(drawn)} differences make a figure {page.height:.0f} inches high, and {MOST_HEIGHT:.0f} are the "
            "most; choose some methods, datasets or rates"
        )
    return page


def _gaps(table: Table) -> Iterator[Gap]:
    bases = {place: base for contest in table.plan.contests for place, base in contest.pairs}
    for (row, column), entry in table.places():
        if entry.delta is not None:
            baseline = table.at(bases[row, column]).planned.name
            yield Gap(row, (column, entry.planned.metric), entry, baseline)


def _strips(plan: TablePlan, drawn: Sequence[Gap], most: float) -> list[Strip]:
    """All panels in so many inches, at most ``MOST_LINES`` high and ``MOST_ACROSS`` beside the same labels."""
    panels = sorted({gap.panel for gap in drawn}, key=lambda panel: (panel[0], panel[1].name))
    blocks = _blocks(_groups(plan, drawn))
    blocks, margin, line = _folded(blocks, LABELS * most)
    width = min(2.4 if len(blocks) > 1 else 3.2, most - margin - SPACE)
    if len(panels) > 1:
        width = min(2.0, max(LEAST, (most - margin) / min(MOST_ACROSS, len(panels)) - SPACE))
    across = min(MOST_ACROSS, max(1, int((most - margin) / (width + SPACE) + 1e-9)))
    shares = np.array_split(np.arange(len(panels)), math.ceil(len(panels) / across))
    return [Strip(block, tuple(panels[i] for i in share), margin, width, line) for block in blocks for share in shares]


def _folded(blocks: Sequence[tuple[RowLabel, ...]], room: float) -> tuple[list[tuple[RowLabel, ...]], float, float]:
    """The lines with labels that fit into so many inches, the margin they take, and the height of a line."""
    ruler = Figure()
    folded = [tuple(replace(line, label=_fold(line.label, room, ruler)) for line in block) for block in blocks]
    parts = [part for block in folded for line in block for part in line.label.split("\n")]
    bold = [part for block in folded for line in block if line.row is None for part in line.label.split("\n")]
    widths = [width_of(part, SMALL, ruler) * (1.12 if part in bold else 1.0) for part in parts]
    most = 1 + max(line.label.count("\n") for block in folded for line in block)
    return folded, max(widths) + 0.12, max(LINE, 0.05 + FOLDED * most)


def _fold(label: str, room: float, ruler: Figure) -> str:
    """A label in lines, none of which ends within its ``n = 3``."""
    return wrapped(label.replace(" = ", "\u00a0=\u00a0"), room, SMALL, ruler).replace("\u00a0", " ")


def _groups(plan: TablePlan, drawn: Sequence[Gap]) -> dict[str, list[RowLabel]]:
    """The rows under their headings: the outer labels that tell them apart; none where each would have its own."""
    by_row = dict(sorted(_by(drawn, lambda gap: gap.row).items()))
    keys = _telling([plan.rows[row] for row in by_row])
    headings = [one_line(" / ".join(key[:-1])) for key in keys]
    apart = len({*headings}) in (1, len(keys))
    several = len({gap.baseline for gap in drawn}) > 1
    groups: dict[str, list[RowLabel]] = {}
    for (row, of_row), key, heading in zip(by_row.items(), keys, headings, strict=True):
        label = " / ".join(key) if apart else key[-1]
        if several:
            label += f" to {listed(tuple(dict.fromkeys(gap.baseline for gap in of_row)))}"
        usual = _usual(of_row)
        groups.setdefault("" if apart else heading, []).append(RowLabel(f"{one_line(label)}, n = {usual}", row, usual))
    return groups


def _telling(rows: Sequence[Key]) -> list[Key]:
    """The labels of each row on the levels on which rows differ, and on the innermost."""
    levels = [*zip(*rows, strict=True)]
    telling = [level for level in levels[:-1] if len({*level}) > 1] + levels[-1:]
    return [tuple(filter(None, key)) for key in zip(*telling, strict=True)]


def _usual(drawn: Iterable[Gap]) -> int:
    counts = Counter(gap.entry.n for gap in drawn)
    return max(counts, key=lambda n: (counts[n], n))


def _blocks(groups: Mapping[str, Sequence[RowLabel]]) -> list[tuple[RowLabel, ...]]:
    """The lines of each panel: whole groups where they fit."""
    blocks: list[list[RowLabel]] = [[]]
    for heading, lines in groups.items():
        head = [RowLabel(heading)] if heading else []
        parts = math.ceil(len(lines) / (MOST_LINES - len(head)))
        for places in np.array_split(np.arange(len(lines)), parts):
            part = [*head, *(lines[i] for i in places)]
            if blocks[-1] and len(blocks[-1]) + len(part) > MOST_LINES:
                blocks.append([])
            blocks[-1] += part
    return [tuple(block) for block in blocks]


def _shelves(strips: Sequence[Strip], most: float) -> list[tuple[Strip, ...]]:
    """Strips side by side as far as they fit into so many inches."""
    shelves: list[tuple[Strip, ...]] = []
    for strip in strips:
        if shelves and sum(each.width for each in (*shelves[-1], strip)) <= most:
            shelves[-1] = (*shelves[-1], strip)
        else:
            shelves.append((strip,))
    return shelves


def _drawing(table: Table, page: GapsPage, exactly: str = "") -> Figure:
    """The figure, of the width that is asked for; else as wide as its panels and a title need."""
    limits = {metric: _limits(gaps) for metric, gaps in _by(page.gaps, lambda gap: gap.panel[1]).items()}
    panels = _by(page.gaps, lambda gap: gap.panel)
    width, top = WIDTHS.get(exactly) or max(page.width, WIDTHS["column"]), page.height
    if exactly:
        page = page.stretched(width)
    drawing = Figure(figsize=(width, 1.0))
    title = [wrapped(line, width - 0.1, NORMAL, drawing) for line in _title(table, page.gaps, limits)]
    height = top + 0.145 * sum(line.count("\n") + 1 for line in title) + 0.06
    drawing.set_size_inches(width, height)
    drawing.suptitle("\n".join(title), y=1 - 0.03 / height, va="top")
    for shelf in page.shelves:
        left = 0.0
        for strip in shelf:
            for at, panel in enumerate(strip.panels):
                start = left + strip.margin + at * (strip.panel_width + SPACE)
                bottom = top - TITLE - strip.panel_height
                sides = (start / width, bottom / height, strip.panel_width / width, strip.panel_height / height)
                axes = drawing.add_axes(sides)
                axes.set_title(one_line(" / ".join(filter(None, telling_labels(table.plan.columns, panel[0])))), pad=3)
                axes.set_xlabel("\n".join(strip.label(panel[1])), fontsize=SMALL)
                _panel(axes, strip.lines, {gap.row: gap for gap in panels[panel]}, limits[panel[1]], strip.panel_width)
                if at == 0:
                    _label_lines(axes, strip.lines)
            left += strip.width
        top -= max(strip.height for strip in shelf)
    return drawing


def _by(drawn: Iterable[Gap], key: Callable[[Gap], T]) -> dict[T, list[Gap]]:
    groups: dict[T, list[Gap]] = {}
    for gap in drawn:
        groups.setdefault(key(gap), []).append(gap)
    return groups


def _title(table: Table, drawn: Sequence[Gap], limits: Mapping[Metric, tuple[float, float]]) -> list[str]:
    """What is drawn, and what the signs mean."""
    rules = table.plan.rules
    baselines = tuple(dict.fromkeys(one_line(gap.baseline) for gap in drawn))
    baseline = baselines[0] if len(baselines) == 1 else "the baseline of each"
    notes = [f"differences to {baseline}"]
    if any(gap.ends for gap in drawn):
        notes[0] += f" with {100 * (1 - rules.alpha):g} % intervals, each by itself"
    if any(gap.entry.p is not None for gap in drawn):
        notes.append(f"filled: p ≤ {rules.alpha:g} (two-sided {table.test_name}, Holm-corrected)")
    if any(gap.ends is None for gap in drawn):
        notes.append("a point alone has no interval (one seed, or no test)")
    if any(_goes_on(gap, limits[gap.panel[1]]) for gap in drawn):
        notes.append("arrows: the interval goes on")
    return [one_line(table.heading), "; ".join(notes)]


def _limits(drawn: Sequence[Gap]) -> tuple[float, float]:
    """Of the axis of a metric: all differences, zero, and as much of the intervals as does not hide them."""
    deltas = [0.0, *(gap.delta for gap in drawn)]
    ends = [gap.ends for gap in drawn if gap.ends]
    halves = [(high - low) / 2 for low, high in ends]
    room = 2 * max(max(deltas) - min(deltas), float(np.median(halves)) if halves else 0.0)
    low = max(min([*deltas, *(low for low, _ in ends)]), min(deltas) - room)
    high = min(max([*deltas, *(high for _, high in ends)]), max(deltas) + room)
    edge = 0.06 * (high - low) or 1.0
    return low - edge, high + edge


def _goes_on(gap: Gap, limits: tuple[float, float]) -> bool:
    return gap.ends is not None and (gap.ends[0] < limits[0] or gap.ends[1] > limits[1])


def _panel(
    axes: Axes, lines: Sequence[RowLabel], inside: Mapping[int, Gap], limits: tuple[float, float], width: float
) -> None:
    """The differences of one column, in so many inches; the n of a cell beside it where its label names another."""
    axes.set_xlim(*limits)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=0.8)
    for height, line in enumerate(lines):
        if line.row is None:
            continue
        axes.axhline(height, color="0.92", linewidth=0.5, zorder=0)
        if gap := inside.get(line.row):
            _draw(axes, height, gap, limits)
            if gap.entry.n != line.n:
                right = min(gap.ends[1] if gap.ends else gap.delta, limits[1])
                _write(
                    axes, f"n = {gap.entry.n}", (right, height), xytext=(5, 0), ha="left", fontsize=SMALL, bbox=BLANK
                )
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(min(5, max(2, int(width / 0.33))), steps=[1, 2, 5, 10]))
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw(axes: Axes, height: float, gap: Gap, limits: tuple[float, float]) -> None:
    colour = COLOURS[0] if gap.entry.significant else "0.25"
    if gap.ends:
        ends = np.clip(gap.ends, *limits)
        axes.plot(ends, [height, height], color=colour, linewidth=1.1, solid_capstyle="butt")
        for end, whole, arrow in zip(ends, gap.ends, "<>", strict=True):
            goes_on = end != whole
            axes.plot(end, height, marker=arrow if goes_on else "|", color=colour, markersize=4, clip_on=False)
    fill = colour if gap.entry.significant else "white"
    axes.plot(gap.delta, height, marker="o", markersize=4.2, color=colour, markerfacecolor=fill, markeredgewidth=0.9)


def _label_lines(axes: Axes, lines: Sequence[RowLabel]) -> None:
    """The labels left of a strip; headings are bold."""
    left = axes.get_xlim()[0]
    for height, line in enumerate(lines):
        weight = "bold" if line.row is None else "normal"
        _write(axes, line.label, (left, height), xytext=(-5, 0), ha="right", fontsize=SMALL, fontweight=weight)


def _write(axes: Axes, text: str, place: tuple[float, float], **options: Any) -> None:
    axes.annotate(text, place, textcoords="offset points", va="center_baseline", annotation_clip=False, **options)
