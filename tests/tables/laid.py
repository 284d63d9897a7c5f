"""Tables from cells that are told apart by their axes, without an experiment or records behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.metrics import TOP1, Metric
from bench.plan.grid import heading_of, lay_out
from bench.plan.table import PlannedCell, TablePlan, TableRules
from bench.tables.caption import Caption
from bench.tables.cells import Cell
from bench.tables.compare import Entry, Table, compare
from bench.tables.legend import legend_of


@dataclass(frozen=True)
class Measured:
    """A cell's labels and values."""

    axes: Mapping[str, str]
    values: tuple[float, ...]
    planned: int
    failed: int = 0
    reason: str = ""
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Layout:
    """How cells are laid out and compared."""

    title: str
    rows: tuple[str, ...] = ("dataset", "backbone", "method")
    columns: tuple[str, ...] = ("rate",)
    baseline: str = ""
    family: str = "column"
    alpha: float = 0.05
    metric: Metric = TOP1
    decimals: int = 1
    test: str = "welch"
    across: str = ""


def laid(cells: Sequence[Measured], layout: Layout) -> Table:
    """The table of some cells, compared."""
    labels = {axis: tuple(dict.fromkeys(cell.axes[axis] for cell in cells)) for axis in cells[0].axes}
    planned = []
    for cell in cells:
        name, reason = cell.axes["method"], cell.reason
        planned.append(PlannedCell(cell.axes, name=name, reason=reason, metric=layout.metric, decimals=layout.decimals))
    loose = TablePlan(
        name=layout.title,
        title=layout.title,
        measured=heading_of([layout.metric], "test"),
        stub=layout.rows,
        rows=(),
        columns=(layout.columns,),
        cells=(tuple(planned),),
        baseline=layout.baseline,
        rules=TableRules(test=layout.test, family=layout.family, alpha=layout.alpha, across=layout.across),
    )
    plan = lay_out(loose, labels)
    measured = {tuple(cell.axes.items()): cell_of(cell) for cell in cells}
    grid = [[measured.get(tuple(planned.axes.items()), Cell()) for planned in line] for line in plan.cells]
    return compare(plan, grid)


def entries(table: Table) -> list[Entry]:
    """All entries, row by row."""
    return [entry for _, entry in table.places()]


def cell_of(cell: Measured) -> Cell:
    """Its values, as if of finished runs."""
    seeds = cell.seeds or tuple(range(len(cell.values)))
    failures = f"{cell.failed} of {cell.planned} runs failed (code)" if cell.failed else ""
    return Cell(cell.values, seeds, cell.planned, cell.failed, failures, reason=cell.reason)


def rules(table: Table) -> tuple[str, ...]:
    """All sentences below a table, without the signs of its marks."""
    caption = Caption(table)
    return (*caption.scoring(), *(meaning for _, meaning in legend_of({"": table})), *caption.results())
