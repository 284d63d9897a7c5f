"""What many tests need of plans and stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from bench.plan.paper import plan_paper
from bench.plan.table import Plan, PlannedCell
from bench.records.record import AnyRecord, Stored, Usage
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.sheet import Sheet
from bench.sheets.view import PLAIN, Look, sheet_of
from bench.spec import RunSpec
from bench.tables.compare import fill


def runs_with_axes(plan: Plan) -> Iterator[tuple[RunSpec, Mapping[str, str]]]:
    """Every run of a plan, once for each cell that needs it, with what that cell is of."""
    for table in plan.tables:
        for _, cell in table.places():
            for candidate in cell.candidates:
                for spec in candidate.runs:
                    yield spec, cell.axes


def as_plain(stored: AnyRecord | Stored | Usage) -> dict[str, Any]:
    """A record as plain data, as its file has it; with the folder, where that is known."""
    if isinstance(stored, Stored):
        return {**msgspec.to_builtins(stored.record), "folder": str(stored.folder)}
    return dict(msgspec.to_builtins(stored))


def left_out(plan: Plan) -> list[PlannedCell]:
    """The cells of a plan that are not run."""
    return [cell for table in plan.tables for _, cell in table.places() if cell.reason]


def untimed(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The points of a curve without the seconds that they took, which no two runs share."""
    return [{name: value for name, value in point.items() if name != "seconds"} for point in points]


def curve_of(record: AnyRecord) -> list[dict[str, Any]]:
    """The points of a finished run, untimed."""
    return untimed(as_plain(record)["curve"])


@cache
def published_sheet(name: str, look: Look = PLAIN) -> Sheet:
    """A paper's table as it was published."""
    (table,) = fill(plan_paper(name, Registry()), Store("nowhere"))
    return sheet_of(table, look, "published")
