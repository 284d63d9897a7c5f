"""Numbers taken from a table: the values of some rows and columns, or their gaps to other rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.papers.labels import matches
from bench.papers.published import Key, telling_labels

OTHERS = "others"
"""In the place of a selector: all rows but those that are compared."""


class Untestable(Exception):
    """A number that a statement needs is not there; ``place`` is its cell, empty where it is of none."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason


@dataclass(frozen=True)
class Matrix:
    """A table's numbers, as printed or as ours.

    Attributes:
        values: by row and column; nan where there is none.
        slack: half a unit of the last printed digit; 0 where nothing was rounded.
        signs: 1 where higher is better, -1 where lower is.
        groups: by row; only rows of one group are compared.
        lacking: why there is no number, by row and column; empty where none is wanted or one is there.
        noise: half of the width of each mean's interval, nan where one run has none; none of what is printed.
    """

    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    values: Sequence[Sequence[float]]
    slack: Sequence[Sequence[float]]
    signs: Sequence[Sequence[int]]
    groups: tuple[Key, ...]
    lacking: Sequence[Sequence[str]]
    decimals: int = 2
    noise: Sequence[Sequence[float]] = ()

    def transposed(self) -> Matrix:
        """Rows as columns, for a table whose columns are what is compared; then all rows are one group."""
        turned = (list(zip(*lines, strict=True)) for lines in (self.values, self.slack, self.signs, self.lacking))
        values, slack, signs, lacking = turned
        groups, noise = ((),) * len(self.columns), list(zip(*self.noise, strict=True))
        return Matrix(self.columns, self.rows, values, slack, signs, groups, lacking, self.decimals, noise)

    def noise_at(self, row: int, column: int) -> float:
        """Half of the width of a mean's interval; 0 of what is printed."""
        return self.noise[row][column] if self.noise else 0.0

    def name(self, row: int, column: int) -> str:
        labels = telling_labels(self.columns, column) or self.columns[column]
        return " / ".join(filter(None, (*self.rows[row], *labels)))


@dataclass(frozen=True)
class Quantity:
    """Which numbers are taken from a table.

    Attributes:
        pairs: selectors of rows, each with those of the rows that it is compared with; none for plain values.
        against: ``each`` of those, or the ``best`` of them.
        rows: selectors of which a row must match one; empty for all rows.
        leave_out: selectors of cells that are not meant.
        transposed: rows and columns change places.
        across: rows of different groups are compared too.
    """

    table: str
    pairs: tuple[tuple[str, tuple[str, ...]], ...]
    against: str = "each"
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    transposed: bool = False
    across: bool = False


@dataclass(frozen=True)
class Item:
    """A number with the cell it is of, how far the rounding of what was printed can move it, and how far seeds can.

    ``rows`` are those of a gap, whatever its column.
    """

    place: str
    value: float
    slack: float
    noise: float = 0.0
    rows: str = ""


def items(quantity: Quantity, matrix: Matrix) -> list[list[Item]]:
    """The numbers of a quantity; those of one row, or pair of rows, together, in the order of the columns.

    Raises ``Untestable``: one is lacking, or there is none at all.
    """
    matrix = matrix.transposed() if quantity.transposed else matrix
    columns = list(range(len(matrix.columns)))
    if quantity.columns:
        columns = [at for selector in quantity.columns for at in columns if matches(matrix.columns[at], selector)]
    sequences = list[list[Item]]()
    for selector, selectors in quantity.pairs:
        for row, labels in enumerate(matrix.rows):
            is_meant = not quantity.rows or any(matches(labels, at) for at in quantity.rows)
            if is_meant and matches(labels, selector):
                compared = _rivals(matrix, quantity, row, selector, selectors)
                sequences += [_sequence(matrix, quantity.leave_out, row, rivals, columns) for rivals in compared]
    sequences = [sequence for sequence in sequences if sequence]
    if not sequences:
        raise Untestable("the table prints no such number")
    return sequences


def _rivals(
    matrix: Matrix, quantity: Quantity, row: int, selector: str, selectors: Sequence[str]
) -> list[list[int] | None]:
    """The rows that a row is compared with, a list for each comparison; the only one is None for plain values."""
    if not selectors:
        return [None]
    rivals = [
        rival
        for rival, labels in enumerate(matrix.rows)
        if rival != row
        and (quantity.across or matrix.groups[rival] == matrix.groups[row])
        and any(not matches(labels, selector) if at == OTHERS else matches(labels, at) for at in selectors)
    ]
    return [rivals] if quantity.against == "best" else [[rival] for rival in rivals]


def _sequence(
    matrix: Matrix, leave_out: Sequence[str], row: int, rivals: Sequence[int] | None, columns: Sequence[int]
) -> list[Item]:
    sequence = []
    for column in columns:
        if any(matches((*matrix.rows[row], *matrix.columns[column]), selector) for selector in leave_out):
            continue
        for number in (row, *(rivals or ())):
            if reason := matrix.lacking[number][column]:
                raise Untestable(reason, matrix.name(number, column))
        if not math.isnan(matrix.values[row][column]):
            sequence += _item(matrix, row, rivals, column)
    return sequence


def _item(matrix: Matrix, row: int, rivals: Sequence[int] | None, column: int) -> list[Item]:
    """The value of a cell, or its gap to the best rival; none where the table prints nothing for any rival."""
    value, place, slack = matrix.values[row][column], matrix.name(row, column), matrix.slack[row][column]
    noise = matrix.noise_at(row, column)
    if rivals is None:
        return [Item(place, value, slack, noise)]
    gaps = {rival: matrix.signs[row][column] * (value - matrix.values[rival][column]) for rival in rivals}
    gaps = {rival: gap for rival, gap in gaps.items() if not math.isnan(gap)}
    if not gaps:
        return []
    rival = min(gaps, key=gaps.__getitem__)
    labels = " / ".join(label for label in matrix.rows[rival] if label and label not in matrix.rows[row])
    noise = math.hypot(noise, matrix.noise_at(rival, column))
    rows = f"{' / '.join(filter(None, matrix.rows[row]))} against {labels}"
    return [Item(f"{place} against {labels}", gaps[rival], slack + matrix.slack[rival][column], noise, rows)]
