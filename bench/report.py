"""From a plan and the records there are to tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.grid import Plan, Planned
from bench.store import Finished, Point, Store, write_file
from bench.tables import Cell, Layout, Table, compare, render

SUFFIXES = {"text": "txt", "markdown": "md", "csv": "csv", "json": "json", "latex": "tex"}


def score(curve: Sequence[Point], rule: str) -> float:
    """The test accuracy that a selection rule picks from a curve, in percent.

    Args:
        curve: the points of a run.
        rule: ``last``; ``best-val``, the first point of the highest validation accuracy; or ``best-test``, an oracle
            that looks at the test split.

    Returns:
        nan where the rule needs a validation split and there is none.
    """
    if rule == "last":
        return curve[-1].test
    if rule == "best-test":
        return max(point.test for point in curve)
    if any(math.isnan(point.val) for point in curve):
        return math.nan
    return max(curve, key=lambda point: point.val).test


def fill(plan: Plan, store: Store) -> Table:
    """The experiment's table with what the store has of it."""
    experiment, rules = plan.experiment, plan.experiment.table
    finished, failures = store.finished(), store.failures()
    cells = [_cell(axes, runs, finished, failures, rules.selection) for axes, runs in _cells(plan.runs)]
    cells += [Cell(excluded.axes, (), 0, reason=excluded.reason) for excluded in plan.excluded]
    order = {label: place for place, label in enumerate(_labels(plan))}
    cells.sort(key=lambda cell: [order[axis, label] for axis, label in cell.axes.items()])
    return compare(
        cells,
        Layout(
            title=experiment.title,
            rows=rules.rows,
            columns=rules.columns,
            baseline=experiment.baseline,
            family=rules.family,
            alpha=rules.alpha,
            selection=rules.selection,
        ),
    )


def write_tables(table: Table, folder: Path, name: str) -> dict[str, Path]:
    """Write a table in every format. Returns the path of each."""
    paths = {format: folder / f"{name}.{suffix}" for format, suffix in SUFFIXES.items()}
    for format, path in paths.items():
        write_file(path, render(table, format, 100))
    return paths


def write_figure(table: Table, folder: Path, name: str) -> list[Path]:
    """Draw accuracy against sampling rate, as PNG and PDF. Returns the paths."""
    from bench.tables.figure import figure  # matplotlib: only when something is drawn

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    figure(table, paths)
    return paths


def _cells(runs: Iterable[Planned]) -> list[tuple[Mapping[str, str], list[Planned]]]:
    found: dict[tuple[str, ...], tuple[Mapping[str, str], list[Planned]]] = {}
    for planned in runs:
        found.setdefault(tuple(planned.axes.values()), (planned.axes, []))[1].append(planned)
    return list(found.values())


def _cell(
    axes: Mapping[str, str],
    runs: Sequence[Planned],
    finished: Mapping[str, Finished],
    failures: Mapping[str, Any],
    rule: str,
) -> Cell:
    ids = [planned.spec.id for planned in runs]
    values = [score(finished[run_id].curve, rule) for run_id in ids if run_id in finished]
    failed = sum(run_id in failures and run_id not in finished for run_id in ids)
    return Cell(axes, tuple(value for value in values if not math.isnan(value)), len(ids), failed)


def _labels(plan: Plan) -> list[tuple[str, str]]:
    """Every (axis, label) in the order of the experiment."""
    experiment = plan.experiment
    return [
        *(("dataset", card.title) for card in experiment.datasets),
        *(("backbone", card.name) for card in experiment.backbones),
        *(("method", entry.label) for entry in experiment.methods),
        *(("rate", f"{rate:g} %") for rate in experiment.rates),
    ]
