"""The ways to look at a table that a page holds: metrics, selection rules, tests, and whose numbers are shown."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.plan.table import TablePlan
from bench.rules import SOURCES
from bench.sheets.view import BOTH, OURS, PUBLISHED, default_source
from bench.tables.compare import Table

MOST = 1000
"""Cells of a page over all its choices, about: each is computed as ``bench table`` computes it."""


@dataclass(frozen=True)
class Viewpoint:
    """What is asked of a table; empty is what the target says."""

    metric: str = ""
    selection: str = ""
    test: str = ""

    @property
    def changes(self) -> int:
        """In how many ways it is not what the target says."""
        return sum(map(bool, (self.metric, self.selection, self.test)))


def viewpoints(
    metrics: Sequence[str],
    selections: Sequence[str],
    tests: Sequence[str],
    cells: int,
    is_typed: Callable[[Viewpoint], bool] = lambda view: False,
    most: int = MOST,
) -> list[Viewpoint]:
    """What a page answers, the usual first, then what differs from it in one way, in two and in three.

    As many as make up to ``most`` cells together, but the usual one and those that were typed in any case.
    """
    each = [["", *filter(None, dict.fromkeys(values))] for values in (metrics, selections, tests)]
    every = sorted((Viewpoint(*words) for words in itertools.product(*each)), key=lambda view: view.changes)
    count = max(1, most // max(1, cells))
    return every[:count] + [view for view in every[count:] if is_typed(view)]


def sources_of(table: Table) -> tuple[str, ...]:
    """Whose numbers a table can be shown with, the usual first."""
    usual = default_source([table])
    if not table.plan.is_published or usual == OURS:
        return (OURS,)
    if usual == PUBLISHED:
        return (PUBLISHED,)
    return (BOTH, *(source for source in SOURCES if source != BOTH))


def cells_in(tables: Sequence[TablePlan]) -> int:
    """How many cells have something in them."""
    return sum(1 for table in tables for _, cell in table.places() if cell.axes)
