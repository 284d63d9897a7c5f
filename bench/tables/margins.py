"""What is no difference to a published number: half of what the paper itself claims there, or what was declared."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations

from bench.plan.table import Contest, Place, PlannedCell, TablePlan

MOST = 1.0
"""Of metrics in percent no margin is wider: nobody calls two accuracies that are further apart the same."""


def margins_of(plan: TablePlan) -> dict[Place, float]:
    """The margin of each printed number, in points.

    The table's own where one is declared. Else half of the printed gain: of a row over its baseline; of a baseline the
    smallest over it; without a baseline the smallest difference between two numbers of the contest, ties left out. It
    is at least the step in which the number is printed, and of metrics in percent at most ``MOST``.
    """
    gains = dict[Place, float]()
    for contest in plan.contests:
        gains |= _gains(plan, contest)
    cells = {place: cell for place, cell in plan.places() if not math.isnan(cell.published)}
    if plan.rules.margin is not None:
        return dict.fromkeys(cells, plan.rules.margin)
    return {place: _bounded(cell, gains.get(place, math.nan)) for place, cell in cells.items()}


def printed_gain(plan: TablePlan, place: Place, base: Place) -> float:
    """The printed difference of a row to its baseline; nan where one of the two is not printed."""
    row, other_row = (plan.cells[row][column].published for row, column in (place, base))
    return round(row - other_row, 9)


def _gains(plan: TablePlan, contest: Contest) -> dict[Place, float]:
    """What the paper claims at each place of a contest, a tie being no claim; nan where no two numbers differ."""
    gains = {place: abs(printed_gain(plan, place, base)) for place, base in contest.pairs}
    over = dict[Place, list[float]]()
    for place, base in contest.pairs:
        over.setdefault(base, []).append(gains[place])
    differences = (abs(printed_gain(plan, *pair)) for pair in combinations(contest.places, 2))
    smallest = _smallest(differences)
    bases = {base: _smallest(claimed) for base, claimed in over.items()}
    claimed_gains = {place: gain for place, gain in (gains | bases).items() if gain > 0}
    return dict.fromkeys(contest.places, smallest) | claimed_gains


def _smallest(gains: Iterable[float]) -> float:
    """The smallest that is not zero; nan where there is none."""
    return min((gain for gain in gains if gain > 0), default=math.nan)


def _bounded(cell: PlannedCell, gain: float) -> float:
    unit = 10.0 ** -(cell.printed.decimals if cell.printed else 0)
    in_percent = cell.metric.unit == "%" or (cell.metric.low, cell.metric.high) == (0, 100)
    if math.isnan(gain):
        return max(unit, MOST) if in_percent else unit
    return max(unit, min(gain / 2, MOST) if in_percent else gain / 2)
