"""Printed averages: which columns and rows they are, over which columns, and whether they follow from those."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from fractions import Fraction

from bench.notation import fixed
from bench.papers.attainable import half_unit, rounded
from bench.papers.findings import At, Audit
from bench.papers.labels import assigned
from bench.papers.published import Printed, PublishedTable

_AVERAGE = re.compile(r"(avg|average|mean)\.?", re.IGNORECASE)
_FEWEST = 2
"""Rows that must contradict a guess at what an average is over, for it to be the guess that is given up."""


def is_average(table: PublishedTable, column: int) -> bool:
    """Whether a column is an average of the row: by its label, or as the table's ``runs`` section says."""
    return _is_declared(table, column) or any(map(is_average_label, table.columns[column]))


def is_average_label(label: str) -> bool:
    return _AVERAGE.fullmatch(label.strip()) is not None


def check_averages(table: PublishedTable, result: Audit) -> None:
    """Note the averages that do not follow from the columns that they are over."""
    for column in range(len(table.columns)):
        if not is_average(table, column):
            continue
        over = averaged(table, column)
        for row, line in enumerate(table.cells):
            at = At(table, row, column)
            if not math.isnan(at.cell.number):
                _check(at, [line[number] for number in over] if over is not None else None, result)


def averaged(table: PublishedTable, column: int) -> list[int] | None:
    """The columns that an average is over; None where that cannot be known.

    They are the others with the same inner labels; of a printed average with decimals, those with decimals. Of an
    average that has nothing but its label, it may also be those since the last average to the left, if more rows agree
    with that; where several rows are complete and none agrees with either, it is an average of something else.
    """
    inner = table.columns[column][1:]
    numbers = range(len(table.columns))
    alike = [number for number in numbers if table.columns[number][1:] == inner and not is_average(table, number)]
    if not _is_whole(table, column):
        alike = [number for number in alike if not _is_whole(table, number)]
    if _is_declared(table, column):
        return alike
    earlier = max((number for number in range(column) if is_average(table, number)), default=-1)
    block = [number for number in alike if earlier < number < column]
    over = max(alike, block, key=lambda columns: _agreeing(table, column, columns)[0])
    agreeing, complete = _agreeing(table, column, over)
    return over if agreeing or complete < _FEWEST else None


def differ(gap: str, most: Fraction) -> str:
    """How far two numbers are apart, and how far rounding may put them."""
    return f"they differ by {gap}, and rounding explains at most {float(most):g}"


def _is_declared(table: PublishedTable, column: int) -> bool:
    return bool(assigned(table, (), table.columns[column]).get("average"))


def _is_whole(table: PublishedTable, column: int) -> bool:
    """Whether a column has numbers, none of them with decimals."""
    numbers = [line[column] for line in table.cells if not math.isnan(line[column].number)]
    return bool(numbers) and not any(cell.decimals for cell in numbers)


def _agreeing(table: PublishedTable, column: int, over: Sequence[int]) -> tuple[int, int]:
    """In how many rows the average is that of these columns, and in how many all of them are printed."""
    rows = [(line[column], [line[number] for number in over]) for line in table.cells]
    complete = [(average, cells) for average, cells in rows if _is_complete([average, *cells]) and cells]
    agree = (abs(_mean(cells) - Fraction(average.digits)) <= _most(average, cells) for average, cells in complete)
    return sum(agree), len(complete)


def _check(at: At, cells: Sequence[Printed] | None, result: Audit) -> None:
    printed = at.cell.digits
    if cells is None:
        reason = "in no row it is the mean of the other columns, so what it is the average of is not known"
        result.pass_over(at, "average", printed, reason)
        return
    if not cells or not _is_complete(cells):
        result.pass_over(at, "average", printed, "a value that the average is over is not printed")
        return
    result.checked["average"] += 1
    mean = _mean(cells)
    if mean in rounded(printed):
        return
    most = _most(at.cell, cells)
    gap, decimals = abs(mean - Fraction(printed)), at.cell.decimals + 1
    computed = fixed(float(mean), decimals)
    verdict = (
        f"the mean of the {len(cells)} printed values is {computed}; printed is {printed}; "
        f"{differ(fixed(float(gap), decimals), most)}"
    )
    result.note(at, "average", printed, computed, verdict, gap <= most)


def _is_complete(cells: Sequence[Printed]) -> bool:
    return not any(math.isnan(cell.number) for cell in cells)


def _mean(cells: Sequence[Printed]) -> Fraction:
    return statistics.mean(Fraction(cell.digits) for cell in cells)


def _most(average: Printed, cells: Sequence[Printed]) -> Fraction:
    """How far rounding may put an average from the mean of what is printed."""
    return statistics.mean(half_unit(cell.digits) for cell in cells) + half_unit(average.digits)
