"""What is compared in a paper's table: which rows with which, which columns an average is over, what over datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.papers.labels import assigned
from bench.papers.published import Key, PublishedTable
from bench.plan.paper import TablePlan
from bench.tables.across import claimed
from bench.tables.claim import Claim, sentences

Values = Sequence[Sequence[tuple[float, ...]]]
"""The values of each cell, one a seed, by row and column."""


def compared_rows(plan: TablePlan) -> Iterator[list[tuple[int, int]]]:
    """Pairs of a row and its baseline, the nearest one above it or the first; a list for those compared together."""
    for rows in comparison_groups(plan.table).values():
        bases = [row for row in rows if set(plan.baselines) & set(plan.table.rows[row])]
        if bases:
            others = [row for row in rows if row not in bases]
            yield [(row, max((base for base in bases if base < row), default=bases[0])) for row in others]


def alike(table: PublishedTable, at: int) -> list[int]:
    """The columns that the average in a column is over: the others of its kind."""
    column = table.columns[at]
    return [
        number
        for number, other in enumerate(table.columns)
        if number != at and (len(column) == 1 or other[-1] == column[-1])
    ]


def told_column(table: PublishedTable, at: int) -> Key:
    """The labels of a column on the levels on which columns differ."""
    differ = [len({column[level] for column in table.columns}) > 1 for level in range(len(table.columns[at]))]
    return tuple(label for label, tells in zip(table.columns[at], differ, strict=True) if tells)


def group_of(table: PublishedTable, row: int) -> Key:
    """The labels that a row shares with those that it is compared with."""
    within = table.ranking.within if table.ranking else ()
    return tuple(table.rows[row][table.stub.index(level)] for level in within)


def comparison_groups(table: PublishedTable) -> dict[Key, list[int]]:
    """The rows that are compared with each other, by the labels that they share."""
    groups = dict[Key, list[int]]()
    for number in range(len(table.rows)):
        groups.setdefault(group_of(table, number), []).append(number)
    return groups


def orientation(table: PublishedTable, at: int) -> int:
    """1 where more is better in a column, -1 where less is, 0 where its cells are not compared."""
    inner, ranking = table.columns[at][-1], table.ranking
    if ranking is None or inner in ranking.skip:
        return 0
    return -1 if ranking.columns.get(inner, ranking.order) == "lower" else 1


def published_values(table: PublishedTable) -> list[list[tuple[float, ...]]]:
    """The published numbers as values of which more is better; none where nothing is compared or printed."""
    signs = [orientation(table, at) for at in range(len(table.columns))]
    return [
        [
            (sign * cell.number,) if sign and cell.number == cell.number else ()
            for sign, cell in zip(signs, row, strict=True)
        ]
        for row in table.cells
    ]


def by_dataset(table: PublishedTable, values: Values) -> dict[Key, dict[str, dict[str, tuple[float, ...]]]]:
    """Values of cells by method and dataset, apart for each column's labels.

    A method is the labels of its row; labels that stand for a dataset are left out of both.

    Args:
        table: the table.
        values: by row and column; cells without any are left out, and so are averages.
    """
    found: dict[Key, dict[str, dict[str, tuple[float, ...]]]] = {}
    for row, key in enumerate(table.rows):
        for at, column in enumerate(table.columns):
            axes = assigned(table, key, column)
            if values[row][at] and not axes.get("average") and axes.get("dataset"):
                group = found.setdefault(_where(table, at), {})
                group.setdefault(_name(table, row), {})[str(axes["dataset"])] = values[row][at]
    return found


def claims_over(plan: TablePlan, values: Values, across: str, alpha: float) -> list[str]:
    """What can be claimed over the datasets of a table, in sentences: methods against the baseline of their rows.

    Args:
        plan: the table's plan.
        values: as for ``by_dataset``.
        across: ``these`` or ``like-these``.
        alpha: level of each family of methods.
    """
    if not any(own for row in values for own in row):
        return ["Nothing is claimed over datasets: no run has finished."]
    rivals, claims = dict[str, dict[str, None]](), list[Claim]()
    for pairs in compared_rows(plan):
        for row, base in pairs:
            rivals.setdefault(_name(plan.table, base), {})[_name(plan.table, row)] = None
    if not rivals:
        return ["Nothing is claimed over datasets: the table declares no baseline to compare with."]
    for where, group in by_dataset(plan.table, values).items():
        for baseline, methods in rivals.items():
            compared = {name: values for name, values in group.items() if name in methods or name == baseline}
            if len(compared) > 1 and baseline in compared:
                claims.append(claimed(across, where, compared, baseline, alpha))
    none = "Nothing is claimed over datasets: no method and its baseline have both finished on any of them."
    return sentences(claims) or [none]


def _name(table: PublishedTable, row: int) -> str:
    return " / ".join(_no_dataset(table.rows[row], _of(table, "labels")))


def _where(table: PublishedTable, at: int) -> Key:
    return _no_dataset(told_column(table, at), {**_of(table, "labels"), **_of(table, "columns")})


def _no_dataset(key: Key, meant: Mapping[str, Any]) -> Key:
    """Labels without those that stand for a dataset, and without empty ones."""
    datasets = {label for label, axes in meant.items() if isinstance(axes, Mapping) and "dataset" in axes}
    return tuple(label for label in key if label and label not in datasets)


def _of(table: PublishedTable, section: str) -> Mapping[str, Any]:
    return table.runs.get(section) or {}
