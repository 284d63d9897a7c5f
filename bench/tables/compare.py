"""From cells to a table: where each cell stands and how it compares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.errors import choose
from bench.stats import holm, mean_std
from bench.stats.family import near_best
from bench.tables.across import claims
from bench.tables.cells import METHOD, Cell, Layout
from bench.tables.notation import fixed
from bench.tables.table import Entry, Key, Table
from bench.tables.testing import p_value

Entries = dict[Key, Entry]  # by the labels along every axis of the cells


def compare(cells: Sequence[Cell], layout: Layout) -> Table:
    """Lay cells out and compare them; the order of labels along an axis is that of first appearance.

    Cells are compared within those equal in every axis but "method" (by the layout's test, then Holm; see
    ``bench.stats``), so no result depends on the order of the methods. Axes of the layout with one label are dropped
    from the body, except "method".

    Raises:
        ValueError: there are no cells, their axes differ or lack one of the layout's, the baseline is none of the
            methods, two cells fall on one place, or there are too many seeds for the exact test.
    """
    _check(cells, layout)
    axes = tuple(cells[0].axes)
    labels = {axis: tuple(dict.fromkeys(cell.axes[axis] for cell in cells)) for axis in axes}
    single = [axis for axis in layout.rows + layout.columns if axis != METHOD and len(labels[axis]) == 1]
    row_axes = tuple(axis for axis in layout.rows if axis not in single)
    column_axes = tuple(axis for axis in layout.columns if axis not in single)
    _check_places(cells, row_axes, column_axes)
    entries = _compared(cells, axes, layout)
    rows = _ordered((_key(cell, row_axes) for cell in cells), row_axes, labels)
    columns = _ordered((_key(cell, column_axes) for cell in cells), column_axes, labels)
    placed = {(_key(e.cell, row_axes), _key(e.cell, column_axes)): e for e in entries.values()}
    in_order = {(row, column): placed[row, column] for row in rows for column in columns if (row, column) in placed}
    constant = {axis: labels[axis][0] for axis in single}
    table = Table(layout, constant, row_axes, column_axes, rows, columns, in_order)
    return replace(table, claims=claims(table)) if layout.across else table


def _check(cells: Sequence[Cell], layout: Layout) -> None:
    if not cells:
        raise ValueError("a table needs at least one cell")
    axes = set(cells[0].axes)
    for cell in cells:
        if set(cell.axes) != axes:
            raise ValueError(f"cells differ in their axes: {', '.join(cells[0].axes)} and {', '.join(cell.axes)}")
    for axis in layout.rows + layout.columns:
        if axis not in axes:
            raise ValueError(choose(axis, axes, "axis"))
    methods = {cell.axes[METHOD] for cell in cells}
    if layout.baseline is not None and layout.baseline not in methods:
        raise ValueError("baseline: " + choose(layout.baseline, methods, METHOD))


def _check_places(cells: Sequence[Cell], row_axes: Key, column_axes: Key) -> None:
    seen: dict[tuple[Key, Key], Cell] = {}
    for cell in cells:
        place = _key(cell, row_axes), _key(cell, column_axes)
        if place in seen:
            differ = [axis for axis, label in cell.axes.items() if seen[place].axes[axis] != label]
            hint = f"; they differ in {', '.join(differ)}, which the layout does not place" if differ else ""
            raise ValueError(f"two cells at row '{' / '.join(place[0])}', column '{' / '.join(place[1])}'{hint}")
        seen[place] = cell


def _key(cell: Cell, axes: Iterable[str]) -> Key:
    return tuple(cell.axes[axis] for axis in axes)


def _ordered(keys: Iterable[Key], axes: Key, labels: Mapping[str, tuple[str, ...]]) -> tuple[Key, ...]:
    """Keys once each, sorted label by label, so that rows which share an outer label stand together."""
    return tuple(sorted(set(keys), key=lambda key: [labels[axis].index(x) for axis, x in zip(axes, key, strict=True)]))


def _compared(cells: Sequence[Cell], axes: Key, layout: Layout) -> Entries:
    groups: dict[Key, Entries] = {}
    for cell in cells:
        group = _key(cell, (axis for axis in axes if axis != METHOD))
        groups.setdefault(group, {})[_key(cell, axes)] = _summary(cell)
    families = [_marked(_against_baseline(group, layout), layout) for group in groups.values()]
    if layout.family == "table":
        families = [{key: entry for family in families for key, entry in family.items()}]
    return {key: entry for family in families for key, entry in _corrected(family, layout.alpha).items()}


def _summary(cell: Cell) -> Entry:
    if not cell.values:
        return Entry(cell)
    mean, std = mean_std(cell.values)
    return Entry(cell, len(cell.values), mean, _known(std))


def _against_baseline(group: Entries, layout: Layout) -> Entries:
    base = next((entry for entry in group.values() if entry.cell.axes[METHOD] == layout.baseline), None)
    if base is None or base.mean is None:
        return group
    compared = dict(group)
    for key, entry in group.items():
        if entry is not base and entry.mean is not None:
            p = p_value(layout.test, entry.cell, base.cell)
            compared[key] = replace(entry, delta=entry.mean - base.mean, p=_known(p))
    return compared


def _marked(group: Entries, layout: Layout) -> Entries:
    keys = [key for key, entry in group.items() if entry.mean is not None]
    if len(keys) < 2:
        return group
    means = [mean for key in keys if (mean := group[key].mean) is not None]
    top = fixed(max(means), layout.decimals)
    cells = [group[key].cell for key in keys]
    close = near_best(means, lambda i, j: p_value(layout.test, cells[i], cells[j]), layout.alpha)
    marked = dict(group)
    for key, mean, near in zip(keys, means, close, strict=True):
        best = fixed(mean, layout.decimals) == top
        marked[key] = replace(group[key], best=best, indistinguishable=best or bool(near))
    return marked


def _corrected(family: Entries, alpha: float) -> Entries:
    adjusted = holm([math.nan if entry.p is None else entry.p for entry in family.values()])
    return {
        key: replace(entry, p_holm=_known(float(p)), significant=bool(p <= alpha))
        for (key, entry), p in zip(family.items(), adjusted, strict=True)
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
