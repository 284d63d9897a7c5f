"""The verdict on each published number of a table: what it rests on, and the sign that stands behind ours."""

from __future__ import annotations

import math

from bench.notation import fixed
from bench.plan.table import Ground, Place, PlannedCell, TablePlan
from bench.stats.pooling import UNKNOWN, Spread, pooled
from bench.stats.verdict import (
    CANNOT_TELL,
    DIFFERS,
    NOT_COMPARABLE,
    NOT_RUN,
    SAME,
    Claimed,
    ImageSets,
    Verdict,
    judge,
    of_runs,
)
from bench.tables.cells import Cells
from bench.tables.margins import margins_of

SIGNS = {SAME: "=", DIFFERS: "≠", CANNOT_TELL: "?", NOT_COMPARABLE: "n/c", NOT_RUN: ""}
"""What stands behind our number; where nothing has run, no number stands there either."""


def sign_of(verdict: Verdict, decimals: int) -> str:
    """The sign of a verdict; behind what cannot be told, half of the width of the gap's interval."""
    half = verdict.half_width
    is_open = verdict.word == CANNOT_TELL and not math.isnan(half)
    return SIGNS[verdict.word] + (f" ±{fixed(half, decimals)}" if is_open else "")


def verdicts_on(plan: TablePlan, cells: Cells) -> dict[Place, Verdict]:
    """The verdict on each published number of a table; none where no number is printed.

    Noise is pooled over the cells of one metric that are judged; averages over as many columns are apart from them.
    The test-set noise of an average is at most that of one accuracy as high as the average on as many images as the
    smallest of the test sets has, however the averaged columns hang together.
    """
    printed = {place: cell for place, cell in plan.places() if not (cell.quoted or math.isnan(cell.published))}
    grounds = {place: _averaged(cell, plan) if cell.averages else cell.ground for place, cell in printed.items()}
    claims = {place: _claimed(cell, grounds[place].runs) for place, cell in printed.items()}
    spreads = dict[tuple[str, int], list[Spread]]()
    for (row, column), planned in printed.items():
        ours = cells[row][column].summary
        if ours is not None and not grounds[row, column].differs:
            spreads.setdefault(_kind(planned), []).append(of_runs(ours, claims[row, column]))
    tables = {
        kind: pooled([spread.std for spread in each], [spread.freedom for spread in each])
        for kind, each in spreads.items()
    }
    margins = margins_of(plan)
    return {
        (row, column): judge(
            cells[row][column].summary,
            claims[row, column],
            margins[row, column],
            table=tables.get(_kind(planned), UNKNOWN),
            images=ImageSets(grounds[row, column].images),
            incomparable=grounds[row, column].differs,
            not_run=cells[row][column].why_empty,
        )
        for (row, column), planned in printed.items()
    }


def _claimed(planned: PlannedCell, runs: int) -> Claimed:
    printed = planned.printed
    assert printed is not None
    return Claimed(printed.number, float(printed.std or "nan"), runs, printed.decimals)


def _kind(planned: PlannedCell) -> tuple[str, int]:
    """Cells of one kind have noise of one kind."""
    return planned.metric.name, len(planned.averages)


def _averaged(planned: PlannedCell, plan: TablePlan) -> Ground:
    """What the verdict on an average rests on: the weakest of what those on its parts do."""
    grounds = [plan.cells[row][column].ground for row, column in planned.averages]
    images = [ground.images for ground in grounds if ground.images is not None]
    differs = dict.fromkeys(ground.differs for ground in (planned.ground, *grounds) if ground.differs)
    smallest = min(images) if len(images) == len(grounds) else None
    return Ground(min(ground.runs for ground in grounds), smallest, "; ".join(differs))
