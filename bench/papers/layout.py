"""How a published table hangs together: which rows it compares, which columns an average is over, what better means."""

from __future__ import annotations

from bench.papers.published import Key, PublishedTable


def group_of(table: PublishedTable, row: int) -> Key:
    """The labels that a row shares with those that it is compared with."""
    within = table.ranking.within if table.ranking else ()
    return tuple(table.rows[row][table.stub.index(level)] for level in within)


def comparison_groups(table: PublishedTable) -> dict[Key, list[int]]:
    """The rows that are compared with each other, by the labels that they share."""
    groups = dict[Key, list[int]]()
    for row in range(len(table.rows)):
        groups.setdefault(group_of(table, row), []).append(row)
    return groups


def alike(table: PublishedTable, at: int) -> list[int]:
    """The columns that the average in a column is over: the others of its kind."""
    column = table.columns[at]
    return [
        number
        for number, other in enumerate(table.columns)
        if number != at and (len(column) == 1 or other[-1] == column[-1])
    ]


def orientation(table: PublishedTable, at: int) -> int:
    """1 where more is better in a column, -1 where less is, 0 where its cells are not compared."""
    inner, ranking = table.columns[at][-1], table.ranking
    if ranking is None or inner in ranking.skip:
        return 0
    return -1 if ranking.columns.get(inner, ranking.order) == "lower" else 1
