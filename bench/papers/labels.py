"""What the labels of a published table's cell amount to, as its ``runs`` section declares them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.papers.published import PublishedTable, mapping
from bench.reading.syntax import split_chain

TOGETHER = " & "
"""Between labels that are meant together: ``MAE & CE`` is the row that has both."""


def matches(labels: Iterable[str], selector: str) -> bool:
    """Whether a row or column, or a cell by the labels of both, has all labels of a selector."""
    return {*labels}.issuperset(selector.split(TOGETHER))


def assigned(table: PublishedTable, row: Sequence[str], column: Sequence[str]) -> dict[str, Any]:
    """What a cell is assigned: of the axes, the column's labels, the row's and several together the last one counts.

    ``settings`` add up, and so do the ``hyper`` of a method; these two are always there.
    """
    declared, labels = table.runs, mapping(table.runs.get("labels"))
    of_columns = {**labels, **mapping(declared.get("columns"))}
    together = [key for key in labels if TOGETHER in key and matches((*row, *column), key)]
    together.sort(key=lambda key: key.count(TOGETHER))
    meanings = [*(of_columns.get(label) for label in column), *(labels.get(label) for label in (*row, *together))]
    axes: dict[str, Any] = {"seeds": declared.get("seeds")}
    settings, hyper = {**mapping(declared.get("settings"))}, dict[str, dict[str, Any]]()
    for meaning in map(mapping, [declared.get("axes"), *meanings]):
        settings |= mapping(meaning.get("settings"))
        for method, values in mapping(meaning.get("hyper")).items():
            hyper[method] = {**hyper.get(method, {}), **values}
        axes |= meaning
    return {**axes, "settings": settings, "hyper": hyper}


def method_parts(method: Any, hyper: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A method and its policies with their hyper-parameters, those that labels give in the place of their own."""
    parts = dict(method) if isinstance(method, dict) else {name: {} for name in split_chain(str(method))}
    return parts | {name: {**(parts[name] or {}), **values} for name, values in hyper.items() if name in parts}
