"""A paper's table, in its own layout, with what was published."""

from __future__ import annotations

from collections.abc import Sequence

from bench.published import Key, PublishedTable, Ranking
from bench.sheets import Sheet, Shown, marked, ranks


def published_sheet(table: PublishedTable) -> Sheet:
    """The table as printed, the best of each comparison marked."""
    cells = [[Shown(cell.value, cell.std, cell.delta) for cell in row] for row in table.cells]
    numbers = [[cell.number for cell in row] for row in table.cells]
    return Sheet(
        name=table.name,
        title=heading(table, "as published"),
        stub=table.stub,
        columns=table.columns,
        rows=table.rows,
        cells=marked(cells, places(table, numbers)),
        notes=(table.note,) if table.note else (),
    )


def heading(table: PublishedTable, source: str) -> str:
    """The title line: paper, title, metric and whose numbers they are."""
    metric = f", {table.metric}" if table.metric else ""
    return f"{table.paper.upper()}, {table.title}{metric} ({source})"


def places(table: PublishedTable, numbers: Sequence[Sequence[float]]) -> list[list[int]]:
    """The rank of each cell among those that the paper compares it with: 1 best, 2 second, 0 otherwise."""
    found = [[0] * len(table.columns) for _ in table.rows]
    if table.ranking is None:
        return found
    groups: dict[Key, list[int]] = {}
    for number, label in enumerate(table.rows):
        groups.setdefault(_group(table, table.ranking, label), []).append(number)
    for at, column in enumerate(table.columns):
        inner = column[-1]
        if inner in table.ranking.skip:
            continue
        lower = table.ranking.columns.get(inner, table.ranking.order) == "lower"
        for rows in groups.values():
            for row, rank in zip(rows, ranks([numbers[row][at] for row in rows], lower), strict=True):
                found[row][at] = rank
    return found


def _group(table: PublishedTable, ranking: Ranking, label: Key) -> Key:
    return tuple(label[table.stub.index(level)] for level in ranking.within)
