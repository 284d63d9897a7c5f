"""From a plan and the records there are to tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.experiment import TableRules
from bench.grid import Plan, Planned
from bench.sheets import SUFFIXES
from bench.spec import percent
from bench.store import Finished, Point, Store, write_file
from bench.tables import FORMATS, Cell, Layout, Table, compare, render


def score(curve: Sequence[Point], rule: str, split: str = "test") -> float:
    """The accuracy at the point of a curve that a selection rule picks, in percent.

    Args:
        curve: the points of a run.
        rule: ``last``; ``best-val``, the first point of the highest validation accuracy; or ``best-test``, an oracle
            that looks at the test split.
        split: whose accuracy is wanted, ``test`` or ``val``.

    Returns:
        nan where a validation split is needed and there is none.
    """
    if math.isnan(curve[-1].val) and "val" in (rule.removeprefix("best-"), split):
        return math.nan
    chosen = curve[-1]
    if rule != "last":
        chosen = max(curve, key=lambda point: point.val if rule == "best-val" else point.test)
    return chosen.test if split == "test" else chosen.val


def fill(plan: Plan, store: Store) -> Table:
    """The experiment's table with what the store has of it."""
    experiment, rules = plan.experiment, plan.experiment.table
    finished, failures = store.finished(), store.failures()
    cells = [_cell(axes, runs, finished, failures, rules) for axes, runs in _cells(plan.runs)]
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
            metric="top-1 (%)" if rules.split == "test" else "validation top-1 (%)",
            selection=rules.selection,
        ),
    )


def write_tables(table: Table, folder: Path, name: str) -> dict[str, Path]:
    """Write a table in every format. Returns the path of each."""
    paths = {format: folder / f"{name}.{SUFFIXES[format]}" for format in FORMATS}
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
    rules: TableRules,
) -> Cell:
    ids = [planned.spec.id for planned in runs]
    values = [score(finished[run_id].curve, rules.selection, rules.split) for run_id in ids if run_id in finished]
    failed = sum(run_id in failures and run_id not in finished for run_id in ids)
    return Cell(axes, tuple(value for value in values if not math.isnan(value)), len(ids), failed)


def _labels(plan: Plan) -> list[tuple[str, str]]:
    """Every (axis, label) in the order of the experiment."""
    experiment = plan.experiment
    return [
        *(("dataset", card.title) for card in experiment.datasets),
        *(("backbone", card.name) for card in experiment.backbones),
        *(("method", entry.label) for entry in experiment.methods),
        *(("rate", percent(rate)) for rate in experiment.rates),
    ]
