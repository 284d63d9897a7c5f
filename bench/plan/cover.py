"""Which cells of a plan are enough that each of its rows and labels is trained, and each method on each backbone."""

from __future__ import annotations

from collections.abc import Hashable

from bench.plan.table import Place, Plan, PlannedCell, TablePlan

Cell = tuple[int, Place]
"""Number of a table, and a place in it."""


def covering(plan: Plan) -> set[Cell]:
    """Few cells with runs that have, together, what all such cells have (see ``features``).

    Cells are taken greedily, the one that adds most before the others, the first of equals: so the choice is the same
    every time.
    """
    of = {
        (number, place): features(table, place, cell)
        for number, table in enumerate(plan.tables)
        for place, cell in table.places()
        if cell.candidates
    }
    chosen, left = set[Cell](), set[Hashable]().union(*of.values())
    while left:
        best = max(of, key=lambda cell: len(of[cell] & left))
        chosen.add(best)
        left -= of.pop(best)
    return chosen


def features(table: TablePlan, place: Place, cell: PlannedCell) -> set[Hashable]:
    """What a cell trains: its row, each label of its column, and its method with its settings on its backbone."""
    run, (row, column) = cell.candidates[0].runs[0], place
    labels = {(table.name, level, label) for level, label in enumerate(table.columns[column])}
    hyper = tuple(candidate.runs[0].method for candidate in cell.candidates)
    return {(table.name, row), *labels, (hyper, run.protocol, run.backbone)}
