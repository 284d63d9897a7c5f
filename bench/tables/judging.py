"""The verdict on a published number: what it rests on, and what the verdicts of a table say together."""

from __future__ import annotations

import math

from bench.plan.table import Ground, Place, PlannedCell, TablePlan
from bench.stats.verdict import DIFFERS, NOT_COMPARABLE, NOT_RUN, REPRODUCED, TEST_NOISE, Claimed, Verdict, judge
from bench.tables.cells import Cells

SIGNS = {REPRODUCED: "=", TEST_NOISE: "≈", DIFFERS: "≠", NOT_COMPARABLE: "?", NOT_RUN: ""}
"""What stands behind our number; where nothing has run, no number stands there either."""


def verdict_on(planned: PlannedCell, cells: Cells, place: Place, plan: TablePlan) -> Verdict | None:
    """The verdict on the published number of a cell; None where no number is printed.

    The test-set noise of an average is at most that of one accuracy as high as the average on as many images as the
    smallest of the test sets has, however the averaged columns hang together.
    """
    printed, cell = planned.printed, cells[place[0]][place[1]]
    if printed is None or math.isnan(printed.number):
        return None
    ground = _averaged(planned, plan) if planned.averages else planned.ground
    claimed = Claimed(printed.number, float(printed.std or "nan"), ground.runs, printed.decimals)
    return judge(cell.values, claimed, test_images=ground.images, incomparable=ground.differs, not_run=cell.why_empty)


def _averaged(planned: PlannedCell, plan: TablePlan) -> Ground:
    """What the verdict on an average rests on: the weakest of what those on its parts do."""
    grounds = [plan.cells[row][column].ground for row, column in planned.averages]
    images = [ground.images for ground in grounds if ground.images is not None]
    differs = dict.fromkeys(ground.differs for ground in grounds if ground.differs)
    smallest = min(images) if len(images) == len(grounds) else None
    return Ground(min(ground.runs for ground in grounds), smallest, "; ".join(differs))
