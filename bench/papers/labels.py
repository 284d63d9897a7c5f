"""What the labels of a published table's cell amount to, as its ``runs`` section declares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bench.papers.published import PublishedTable, mapping
from bench.papers.stated import OTHERS
from bench.reading.keys import names
from bench.reading.syntax import split_chain

TOGETHER = " & "
"""Between labels that are meant together: ``MAE & CE`` is the row that has both."""


Path = tuple[str, ...]
"""The keys under which something is assigned."""

_OTHERS = names(OTHERS)


def matches(labels: Iterable[str], selector: str) -> bool:
    """Whether a row or column, or a cell by the labels of both, has all labels of a selector."""
    return {*labels}.issuperset(selector.split(TOGETHER))


def assigned(table: PublishedTable, row: Sequence[str], column: Sequence[str]) -> dict[str, Any]:
    """What a cell is assigned: of the axes, the column's labels, the row's and several together the last one counts.

    ``settings`` add up, and so do the ``hyper`` of a method; these two are always there.
    """
    declared = table.runs
    axes: dict[str, Any] = {"seeds": declared.get("seeds")}
    settings, hyper = {**mapping(declared.get("settings"))}, dict[str, dict[str, Any]]()
    for _, _, meaning in _meanings(table, row, column):
        settings |= mapping(meaning.get("settings"))
        for method, values in mapping(meaning.get("hyper")).items():
            hyper[method] = {**hyper.get(method, {}), **values}
        axes |= meaning
    return {**axes, "settings": settings, "hyper": hyper}


def others(table: PublishedTable, row: Sequence[str], column: Sequence[str]) -> dict[Path, str]:
    """Why what a cell is assigned is not the paper's (``as: other``), by what it is; empty of what nobody says it of.

    As in ``assigned``, the last one counts that gives a thing. By ``("backbone",)`` and other axes, ``("settings",
    "lr")``, ``("hyper", "gta", "weight")``, ``("method", "gta", "weight")``, ``("method", "settings", "lr")``, and
    ``("label", LABEL)`` of a label that assigns nothing else.
    """
    because = {value.path: value.stated.because for value in table.values if value.part == "settings"}
    for part, label, meaning in _meanings(table, row, column):
        if "method" in meaning:
            because = {path: why for path, why in because.items() if path[0] != "method"}
        of_label = table.others.get((part, label), "")
        gives = {value.path: value.stated.because for value in table.values_of.get((part, label), ())}
        gives |= {(axis,): "" for axis in meaning if axis not in ("settings", "hyper", *_OTHERS)}
        if of_label and not gives:
            gives["label", label] = ""
        because |= {path: why or of_label for path, why in gives.items()}
    return because


def _meanings(
    table: PublishedTable, row: Sequence[str], column: Sequence[str]
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """What the labels of a cell are assigned, a later one before earlier ones; each with its part of ``runs``."""
    labels, columns = mapping(table.runs.get("labels")), mapping(table.runs.get("columns"))
    together = [key for key in labels if TOGETHER in key and matches((*row, *column), key)]
    together.sort(key=lambda key: key.count(TOGETHER))
    yield "axes", "", mapping(table.runs.get("axes"))
    for label in column:
        part, of_part = ("columns", columns) if label in columns else ("labels", labels)
        yield part, label, mapping(of_part.get(label))
    for label in (*row, *together):
        yield "labels", label, mapping(labels.get(label))


def method_parts(method: Any, hyper: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A method and its policies with their hyper-parameters, those that labels give in the place of their own."""
    parts = dict(method) if isinstance(method, dict) else {name: {} for name in split_chain(str(method))}
    return parts | {name: {**(parts[name] or {}), **values} for name, values in hyper.items() if name in parts}
