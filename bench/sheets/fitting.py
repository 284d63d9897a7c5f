"""How a table fits a line and a page of LaTeX: in which letters, in how many blocks, on one page or several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, product

from bench.sheets.layout import SheetLayout
from bench.sheets.widths import DIGIT, SIZES, Width, points

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

STUB, NARROWEST = (0.5, 0.3), 0.2
"""The share of a line that labels of rows may take before they are broken into lines, and less where that helps; and
what one of them has at least."""


@dataclass(frozen=True)
class Letters:
    """How a table is set, but for where its columns stand.

    Attributes:
        size: of its letters.
        stacked: whether headings stand in several lines.
        stub: the share of a line that labels of rows may take.
    """

    size: str
    stacked: bool
    stub: float


@dataclass(frozen=True)
class Shape:
    """What the fit of a table depends on.

    Attributes:
        stub: of each level of the rows' labels, the widths of its name and labels.
        numbers: of each column, the width of its cells.
        heads: of each column, the width of its heading on one line, and in as many lines as it has words.
        groups: columns that share a label, which stay together.
        above: of each group, the width of the widest label over it, likewise.
        lines: of a block, those of its header and rules.
        caption: characters of the caption.
        below: characters below the table.
    """

    stub: tuple[tuple[Width, ...], ...]
    numbers: tuple[Width, ...]
    heads: tuple[tuple[Width, Width], ...]
    groups: tuple[tuple[int, ...], ...]
    above: tuple[tuple[Width, Width], ...]
    lines: float
    caption: int
    below: int

    @cached_property
    def group_of(self) -> dict[int, int]:
        """Of each column, which group it is in."""
        return {at: number for number, group in enumerate(self.groups) for at in group}

    def labels(self, size: str) -> list[float]:
        """The width of each level of the rows' labels."""
        return [max(points(label, size) for label in level) for level in self.stub]

    def column(self, at: int, letters: Letters) -> float:
        """The width of a column with the space around it."""
        inside = (self.numbers[at], self.heads[at][letters.stacked])
        return max(points(each, letters.size) for each in inside) + 2 * GAPS[letters.size]

    def height(self, fit: Fit, line: float) -> float:
        """About how high the table is, with its caption and what stands below it, in points."""
        rows = sum(max(lines) for lines in zip(*self._lines(fit), strict=True))
        lines = len(fit.blocks) * (rows + self.lines) * LEADING[fit.size]
        caption = math.ceil(self.caption * DIGIT / line) * LEADING["normalsize"]
        below = math.ceil(self.below * DIGIT * SIZES["footnotesize"] / line) * LEADING["footnotesize"]
        return float(lines + caption + below)

    def _lines(self, fit: Fit) -> Iterator[list[int]]:
        """Of each level of the rows' labels, in how many lines each label stands."""
        for level, taken in zip(self.stub, fit.paragraphs, strict=True):
            yield [math.ceil(points(label, fit.size) / taken) if taken else 1 for label in level[1:]]


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
    if not layout.longtable:
        ways = _fewest(_ways(shape, layout, line))
        low = [way for way in ways if shape.height(way, line) <= PAGE]
        if low:
            return low[0]
    ways = _fewest(_ways(shape, layout, LINES[layout.fit and "page"] * SAFE, shrunk=False))
    return replace(ways[0], is_long=True)


def _ways(shape: Shape, layout: SheetLayout, line: float, shrunk: bool = True) -> Iterator[Fit]:
    """Ways to set a table, the best first: with labels of rows on one line, with headings so, in large letters."""
    sizes = (layout.font_size,) if layout.font_size else LARGEST_FIRST
    for share in STUB:
        for size, is_stacked in product(sizes, (False, True)):
            yield _way(shape, layout, line, Letters(size, is_stacked, share))
        for is_stacked in (False, True) if shrunk else ():
            yield _way(shape, layout, line / SHRUNK, Letters(sizes[-1], is_stacked, share))


def _fewest(ways: Iterable[Fit]) -> list[Fit]:
    """Those of the fewest blocks among the ways that fit a line; the last one where none does."""
    every = list(ways)
    fitting = [way for way in every if way.fits] or every[-1:]
    fewest = min(len(way.blocks) for way in fitting)
    return [way for way in fitting if len(way.blocks) == fewest]


def _way(shape: Shape, layout: SheetLayout, line: float, letters: Letters) -> Fit:
    """One way to set a table: its columns in blocks that each take a line."""
    paragraphs, labels = _paragraphs(shape, letters, line), shape.labels(letters.size)
    stub = sum(wrapped or whole for wrapped, whole in zip(paragraphs, labels, strict=True))
    room = line - stub - 2 * GAPS[letters.size] * (len(labels) - 1)
    if layout.columns_per_block:
        every, count = range(len(shape.numbers)), layout.columns_per_block
        blocks = tuple(tuple(every[at : at + count]) for at in every[::count])
    else:
        blocks = tuple(_blocks(shape, room, letters))
    fits = all(_taken(shape, block, letters) <= room for block in blocks)
    return Fit(letters.size, letters.stacked, blocks, paragraphs, False, fits)


def _paragraphs(shape: Shape, letters: Letters, line: float) -> tuple[float, ...]:
    """The width of each level of labels that is broken into lines, since all together they would take too much."""
    labels = shape.labels(letters.size)
    excess, paragraphs = sum(labels) - letters.stub * line, [0.0] * len(labels)
    for level in sorted(range(len(labels)), key=lambda level: -labels[level]):
        kept = max(labels[level] - excess, NARROWEST * line)
        if excess > 0 and kept < labels[level]:
            paragraphs[level] = kept
            excess -= labels[level] - kept
    return tuple(paragraphs)


def _taken(shape: Shape, block: Iterable[int], letters: Letters) -> float:
    """The width of some columns; a label over several of them may be wider than they are."""
    inside = dict[int, float]()
    for at in block:
        group = shape.group_of[at]
        inside[group] = inside.get(group, 0) + shape.column(at, letters)
    above = {group: points(shape.above[group][letters.stacked], letters.size) for group in inside}
    return sum(max(taken, above[group] + 2 * GAPS[letters.size]) for group, taken in inside.items())


def _blocks(shape: Shape, room: float, letters: Letters) -> Iterator[tuple[int, ...]]:
    """As few blocks as hold all columns, of about as many columns each; what shares a label stays together."""

    def fits(units: Iterable[Sequence[int]]) -> bool:
        return _taken(shape, chain(*units), letters) <= room

    units = list[tuple[int, ...]]()
    for group in shape.groups:
        units += [group] if fits([group]) else [(at,) for at in group]
    filled = list[list[tuple[int, ...]]]()
    for unit in units:
        if filled and fits([*filled[-1], unit]):
            filled[-1].append(unit)
        else:
            filled.append([unit])
    each = math.ceil(len(units) / max(1, len(filled)))
    even = [units[at : at + each] for at in range(0, len(units), each)]
    if len(even) == len(filled) and all(map(fits, even)):
        filled = even
    for block in filled:
        yield tuple(chain(*block))
