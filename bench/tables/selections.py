"""Selection rules side by side: the same runs scored at other points of their curves, and what looking at test adds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.sheets import Sheet, Shown
from bench.stats import mean_std
from bench.tables import Table
from bench.tables.notation import fixed, signed

Key = tuple[str, ...]
Scores = Sequence[Sequence[Sequence[float]]]
"""The scores of each cell's finished runs, in percent, by row and column."""

INFLATION = "inflation"


def selection_sheet(
    name: str,
    title: str,
    stub: Key,
    rows: Sequence[Key],
    columns: Sequence[Key],
    scores: Mapping[str, Scores],
    decimals: int = 2,
) -> Sheet:
    """A sheet with a column for each rule below each column, and the inflation behind them.

    Args:
        name: of the sheet.
        title: its first line.
        stub: names of the levels of the row labels.
        rows: their labels.
        columns: their labels.
        scores: by rule; the same runs in each.
        decimals: digits after the point.
    """
    rules = list(scores)
    oracle, honest = "best-test", next((rule for rule in rules if rule != "best-test"), "")
    inflated = oracle in rules and bool(honest)
    shown = []
    for row in range(len(rows)):
        line: list[Shown] = []
        for column in range(len(columns)):
            means = {rule: _mean(scores[rule][row][column]) for rule in rules}
            line += [_cell(scores[rule][row][column], decimals) for rule in rules]
            if inflated:
                gap = means[oracle] - means[honest]
                line.append(Shown("" if math.isnan(gap) else signed(gap, decimals)))
        shown.append(tuple(line))
    heads = tuple((*column, rule) for column in columns for rule in [*rules, *([INFLATION] * inflated)])
    notes = ["Each rule picks a point of the same curves; nothing was trained anew."]
    if inflated:
        notes.append(f"{INFLATION}: {oracle}, which looks at the test split, less {honest}.")
    return Sheet(name, title, stub, heads, tuple(rows), tuple(shown), tuple(notes))


def scores_of(table: Table) -> list[list[tuple[float, ...]]]:
    """The scores in a table, by row and column; empty where there are none."""
    entries = [[table.entries.get((row, column)) for column in table.columns] for row in table.rows]
    return [[entry.cell.values if entry is not None else () for entry in line] for line in entries]


def _mean(values: Sequence[float]) -> float:
    return mean_std(values)[0] if values else math.nan


def _cell(values: Sequence[float], decimals: int) -> Shown:
    if not values:
        return Shown("–")
    mean, std = mean_std(values)
    return Shown(fixed(mean, decimals), "" if math.isnan(std) else fixed(std, decimals))
