"""How a table fits a line and a page of LaTeX: in which letters, in how many blocks, on one page or several."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from bench.sheets.layout import SheetLayout
from bench.sheets.widths import DIGIT, Width, points

LINES = {"": 345.0, "column": 229.5, "page": 469.0}
"""Points of a line: the text of LaTeX's article, and a column and the text of its ``twocolumn``."""

PAGE = 540.0
"""Points of a page's height."""

GAPS = {"normalsize": 6.0, "small": 5.0, "footnotesize": 4.0, "scriptsize": 3.0, "tiny": 2.5}
"""``\\tabcolsep`` of each size, in points: half of the space between two columns."""

LEADING = {"normalsize": 12.0, "small": 11.0, "footnotesize": 9.5, "scriptsize": 8.0, "tiny": 6.0}
"""From line to line, in points."""

LARGEST_FIRST = ("normalsize", "small", "footnotesize", "scriptsize")
"""What is tried: smaller letters than ``\\scriptsize`` are nobody's choice but the reader's."""

SAFE = 0.98
"""The share of a line that a longtable may fill, as widths are estimates and nothing shrinks it."""

SHRUNK = 0.93
"""How small adjustbox may make a table in the smallest letters, where that spares a block."""

STUB = 0.5
"""The share of a line that labels of rows may take before they are broken into lines."""


@dataclass(frozen=True)
class Shape:
    """What the fit of a table depends on.

    Attributes:
        stub: of each level of the rows' labels, its width.
        numbers: of each column, the width of its cells.
        heads: of each column, the width of its heading on one line, and in as many lines as it has words.
        groups: columns that share a label, which stay together.
        above: of each group, the width of the widest label over it.
        lines: of a block, its rows and the lines of its header.
        caption: letters of the caption.
        below: letters below the table.
    """

    stub: tuple[Width, ...]
    numbers: tuple[Width, ...]
    heads: tuple[tuple[Width, Width], ...]
    groups: tuple[tuple[int, ...], ...]
    above: tuple[Width, ...]
    lines: int
    caption: int
    below: int

    def labels(self, size: str) -> list[float]:
        """The width of each level of the rows' labels."""
        return [points(level, size) for level in self.stub]

    def column(self, at: int, size: str, stacked: bool) -> float:
        """The width of a column with the space around it."""
        return max(points(self.numbers[at], size), points(self.heads[at][stacked], size)) + 2 * GAPS[size]

    def height(self, blocks: int, size: str, line: float) -> float:
        """About how high the table is, with its caption and what stands below it, in points."""
        lines = blocks * (self.lines + 2.5) * LEADING[size]
        caption = math.ceil(self.caption * DIGIT / line) * LEADING["normalsize"]
        return lines + caption + math.ceil(self.below * 0.85 * DIGIT / line) * LEADING["footnotesize"]


@dataclass(frozen=True)
class Fit:
    """How a table is set.

    Attributes:
        size: of its letters.
        stacked: whether headings stand in several lines.
        blocks: the columns of each block.
        paragraphs: of each level of the rows' labels, its width in points where it is broken into lines, else 0.
        is_long: whether it goes on from page to page.
        fits: whether it is as wide as a line or less.
    """

    size: str
    stacked: bool
    blocks: tuple[tuple[int, ...], ...]
    paragraphs: tuple[float, ...]
    is_long: bool
    fits: bool

    @property
    def gap(self) -> float:
        """Half of the space between two columns, in points."""
        return GAPS[self.size]


def fit(shape: Shape, layout: SheetLayout) -> Fit:
    """In as few blocks as ``\\scriptsize`` or the size that is asked for allows, and then in letters as large as fit.

    What is higher than a page is set as a longtable, which in a paper of two columns has pages of one.
    """
    line = LINES[layout.fit]
    chosen = _on_line(shape, layout, line)
    if layout.longtable or shape.height(len(chosen.blocks), chosen.size, line) > PAGE:
        return replace(_on_line(shape, layout, LINES[layout.fit and "page"] * SAFE, is_long=True), is_long=True)
    return chosen


def _on_line(shape: Shape, layout: SheetLayout, line: float, is_long: bool = False) -> Fit:
    sizes = (layout.font_size,) if layout.font_size else LARGEST_FIRST
    ways = [_way(shape, layout, line, size, stacked) for size in sizes for stacked in (False, True)]
    if not is_long:
        ways += [_way(shape, layout, line / SHRUNK, sizes[-1], stacked) for stacked in (False, True)]
    fitting = [way for way in ways if way.fits] or ways[-1:]
    fewest = min(len(way.blocks) for way in fitting)
    return next(way for way in fitting if len(way.blocks) == fewest)


def _way(shape: Shape, layout: SheetLayout, line: float, size: str, stacked: bool) -> Fit:
    """One way to set a table: its columns in blocks that each take a line."""
    paragraphs = _paragraphs(shape, size, line)
    labels = [wrapped or whole for wrapped, whole in zip(paragraphs, shape.labels(size), strict=True)]
    room = line - sum(labels) - 2 * GAPS[size] * (len(labels) - 1)
    if layout.columns_per_block:
        every, count = range(len(shape.numbers)), layout.columns_per_block
        blocks = tuple(tuple(every[at : at + count]) for at in every[::count])
    else:
        blocks = tuple(_blocks(shape, room, size, stacked))
    fits = all(_taken(shape, block, size, stacked) <= room for block in blocks)
    return Fit(size, stacked, blocks, paragraphs, False, fits)


def _paragraphs(shape: Shape, size: str, line: float) -> tuple[float, ...]:
    """The width of each level of labels that is broken into lines, since all together they would take too much."""
    labels = shape.labels(size)
    excess = sum(labels) - STUB * line
    paragraphs = [0.0] * len(labels)
    for level in sorted(range(len(labels)), key=lambda level: -labels[level]):
        if excess <= 0:
            break
        paragraphs[level] = max(labels[level] - excess, 0.25 * line)
        excess -= labels[level] - paragraphs[level]
    return tuple(paragraphs)


def _taken(shape: Shape, block: Sequence[int], size: str, stacked: bool) -> float:
    """The width of some columns; a label over several of them may be wider than they are."""
    taken = 0.0
    for group, above in zip(shape.groups, shape.above, strict=True):
        inside = [shape.column(at, size, stacked) for at in group if at in block]
        taken += max(sum(inside), points(above, size) + 2 * GAPS[size]) if inside else 0
    return taken


def _blocks(shape: Shape, room: float, size: str, stacked: bool) -> Iterator[tuple[int, ...]]:
    """As few blocks as hold all columns, of about as many columns each; what shares a label stays together."""
    units = list[tuple[int, ...]]()
    for group in shape.groups:
        together = _taken(shape, group, size, stacked) <= room
        units += [group] if together else [(at,) for at in group]
    filled = list[list[tuple[int, ...]]]()
    for unit in units:
        if filled and _taken(shape, [*chain(*filled[-1]), *unit], size, stacked) <= room:
            filled[-1].append(unit)
        else:
            filled.append([unit])
    each = math.ceil(len(units) / max(1, len(filled)))
    even = [units[at : at + each] for at in range(0, len(units), each)]
    if len(even) == len(filled) and all(_taken(shape, [*chain(*unit)], size, stacked) <= room for unit in even):
        filled = even
    for block in filled:
        yield tuple(chain(*block))
