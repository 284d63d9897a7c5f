"""The cells of a table for machines: full numbers and plain signs, by the names of their columns."""

from __future__ import annotations

from bench.notation import none_if_nan
from bench.plan.table import Place
from bench.sheets.sheet import Record, Value
from bench.tables.cells import Cell
from bench.tables.compare import Entry, Table
from bench.tables.verdicts import verdict_facts


def records_of(table: Table, ours: bool = True) -> list[Record]:
    """Each cell for machines, by the names of columns: full numbers, plain signs; None is what does not exist."""
    axes = dict.fromkeys(axis for _, entry in table.places() for axis in entry.planned.axes)
    records = list[Record]()
    for (row, column), entry in wanted(table):
        labels = {
            "row": path_of(*table.plan.rows[row]),
            "column": path_of(*table.plan.columns[column]),
            **{axis: entry.planned.axes.get(axis) for axis in axes},
            "metric": entry.planned.metric.name if entry.planned.names_metric else None,
        }
        records.append({**labels, **_facts(entry if ours else Entry(entry.planned, Cell()))})
    return records


def path_of(*labels: Value) -> str:
    """Labels of several levels as one."""
    return " / ".join(str(label) for label in labels if label)


def wanted(table: Table) -> list[tuple[Place, Entry]]:
    """The entries in which something is shown, with their places."""
    return [(place, entry) for place, entry in table.places() if entry.planned.axes]


def _facts(entry: Entry) -> Record:
    cell, printed = entry.cell, entry.planned.printed
    return {
        "mean": entry.mean,
        "std": entry.std,
        "n": entry.n if cell.has_n else None,
        "planned": cell.planned,
        "failed": cell.failed,
        "delta": entry.delta,
        "p": entry.p,
        "p_holm": entry.p_holm,
        "delta_low": entry.low,
        "delta_high": entry.high,
        "superiority": entry.superiority,
        "significant": entry.significant,
        "best": entry.rank == 1,
        "indistinguishable": entry.near,
        "chosen": cell.chosen or None,
        "note": _note(cell),
        "published": none_if_nan(entry.planned.published),
        "published_std": float(printed.std) if printed and printed.std else None,
        "printed": _ascii(printed.value) if printed else None,
        **{name: _ascii(fact) if isinstance(fact, str) else fact for name, fact in verdict_facts(entry).items()},
    }


def _note(cell: Cell) -> str | None:
    """Why there is no number, and what was left out of one."""
    if not cell.values:
        return cell.why_empty or None
    left_out = [f"left out: {label}, {why}" for label, why in cell.left_out]
    return "; ".join(filter(None, [*left_out, cell.failures, cell.lacking])) or None


def _ascii(text: str) -> str:
    """The signs of a number as programs read them."""
    return text.replace("−", "-").replace("±", "+-")
