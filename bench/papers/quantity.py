"""Numbers taken from a table: the values of some rows and columns, or their gaps to other rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.papers.labels import matches
from bench.papers.published import Key

OTHERS = "others"
"""In the place of a selector: all rows but those that are compared."""


class Untestable(Exception):
    """A number that a statement needs is not there.

    Args:
        reason: why.
        place: the cell; empty where it is of none.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason


@dataclass(frozen=True)
class Matrix:
    """A table's numbers, as printed or as ours.

    Attributes:
        rows: labels.
        columns: labels.
        values: by row and column; nan where there is none.
        slack: half a unit of the last printed digit; 0 where nothing was rounded.
        signs: 1 where higher is better, -1 where lower is.
        groups: by row; only rows of one group are compared.
        lacking: why there is no number, by row and column; empty where none is wanted or one is there.
        decimals: how many are shown.
    """

    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    values: Sequence[Sequence[float]]
    slack: Sequence[Sequence[float]]
    signs: Sequence[Sequence[int]]
    groups: tuple[Key, ...]
    lacking: Sequence[Sequence[str]]
    decimals: int = 2

    def transposed(self) -> Matrix:
        """Rows as columns, for a table whose columns are what is compared; then all rows are one group."""
        values, slack = (list(zip(*part, strict=True)) for part in (self.values, self.slack))
        signs, lacking = list(zip(*self.signs, strict=True)), list(zip(*self.lacking, strict=True))
        groups: tuple[Key, ...] = ((),) * len(self.columns)
        return Matrix(self.columns, self.rows, values, slack, signs, groups, lacking, self.decimals)


@dataclass(frozen=True)
class Quantity:
    """Which numbers are taken from a table.

    Attributes:
        table: ``paper/table``.
        pairs: selectors of rows, each with those of the rows that it is compared with; none for plain values.
        against: ``each`` of those, or the ``best`` of them.
        columns: selectors; empty for all columns.
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
    """A number with the cell it is of, and how far the rounding of what was printed can move it."""

    place: str
    value: float
    slack: float


def items(quantity: Quantity, matrix: Matrix) -> list[list[Item]]:
    """The numbers of a quantity; those of one row, or pair of rows, together, in the order of the columns.

    Raises:
        Untestable: one is lacking, or there is none at all.
    """
    matrix = matrix.transposed() if quantity.transposed else matrix
    found = [
        sequence
        for selector, others in quantity.pairs
        for row in _rows(matrix, quantity, selector)
        for rivals in _rivals(matrix, quantity, row, selector, others)
        if (sequence := _sequence(matrix, quantity, row, rivals))
    ]
    if not found:
        raise Untestable("the table prints no such number")
    return found


def _rows(matrix: Matrix, quantity: Quantity, selector: str) -> list[int]:
    return [
        number
        for number, labels in enumerate(matrix.rows)
        if matches(labels, selector) and (not quantity.rows or any(matches(labels, at) for at in quantity.rows))
    ]


def _rivals(matrix: Matrix, quantity: Quantity, row: int, own: str, others: Sequence[str]) -> list[list[int] | None]:
    """The rows that a row is compared with, a list for each comparison; the only one is None for plain values."""
    if not others:
        return [None]
    found = [
        number
        for number, labels in enumerate(matrix.rows)
        if number != row
        and (quantity.across or matrix.groups[number] == matrix.groups[row])
        and any(not matches(labels, own) if at == OTHERS else matches(labels, at) for at in others)
    ]
    return [found] if quantity.against == "best" else [[number] for number in found]


def _sequence(matrix: Matrix, quantity: Quantity, row: int, rivals: Sequence[int] | None) -> list[Item]:
    columns = list(range(len(matrix.columns)))
    if quantity.columns:
        columns = [at for chosen in quantity.columns for at in columns if matches(matrix.columns[at], chosen)]
    found = []
    for at in columns:
        if any(matches((*matrix.rows[row], *matrix.columns[at]), left) for left in quantity.leave_out):
            continue
        for number in (row, *(rivals or ())):
            if matrix.lacking[number][at]:
                raise Untestable(matrix.lacking[number][at], _name(matrix, number, at))
        if item := _item(matrix, row, rivals, at):
            found.append(item)
    return found


def _item(matrix: Matrix, row: int, rivals: Sequence[int] | None, column: int) -> Item | None:
    """A value or gap; None where the table prints nothing there."""
    value, sign = matrix.values[row][column], matrix.signs[row][column]
    place = _name(matrix, row, column)
    there = [number for number in rivals or () if not math.isnan(matrix.values[number][column])]
    if math.isnan(value) or (rivals is not None and not there):
        return None
    if rivals is None:
        return Item(place, value, matrix.slack[row][column])
    rival = max(there, key=lambda number: sign * matrix.values[number][column])
    told = " / ".join(label for label in matrix.rows[rival] if label and label not in matrix.rows[row])
    slack = matrix.slack[row][column] + matrix.slack[rival][column]
    return Item(f"{place} against {told}", sign * (value - matrix.values[rival][column]), slack)


def _name(matrix: Matrix, row: int, column: int) -> str:
    """A cell by its labels, without what all columns share."""
    own = matrix.columns[column]
    telling = [label for level, label in enumerate(own) if len({key[level] for key in matrix.columns}) > 1]
    return " / ".join(filter(None, (*matrix.rows[row], *(telling or own))))
