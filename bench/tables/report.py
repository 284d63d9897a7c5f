"""From a plan and the records there are to tables and figures."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import InputError
from bench.metrics import TOP1
from bench.plan.experiment import TableRules
from bench.plan.grid import Plan, Planned
from bench.records.scores import Scores
from bench.records.store import Finished, Point, Store, write_file
from bench.sheets import SUFFIXES
from bench.spec import percent
from bench.stats import refusal
from bench.tables import FORMATS, Cell, Layout, Table, compare, render
from bench.tables.across import Group, complete


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
    return Scores(Path()).of(_finished(curve), TOP1, rule, split)


def chosen_point(curve: Sequence[Point], rule: str) -> int:
    """The place in a curve of the point that a selection rule picks (see ``score``), counted from 0."""
    return Scores(Path()).point(_finished(curve), rule, TOP1)


def _finished(curve: Sequence[Point]) -> Finished:
    return Finished("", "", [(point.step, point.val, point.test) for point in curve], 0.0)


def fill(plan: Plan, store: Store) -> Table:
    """The experiment's table with what the store has of it.

    Raises:
        InputError: there are too many seeds for the exact test.
    """
    experiment, rules = plan.experiment, plan.experiment.table
    finished, failures = store.finished(), store.failures()
    cells = [_cell(axes, runs, finished, failures, rules) for axes, runs in _cells(plan.runs)]
    cells += [Cell(excluded.axes, (), 0, reason=excluded.reason) for excluded in plan.excluded]
    order = {label: place for place, label in enumerate(_labels(plan))}
    cells.sort(key=lambda cell: [order[axis, label] for axis, label in cell.axes.items()])
    layout = Layout(
        title=experiment.title,
        rows=rules.rows,
        columns=rules.columns,
        baseline=experiment.baseline,
        family=rules.family,
        alpha=rules.alpha,
        metric="top-1 (%)" if rules.split == "test" else "validation top-1 (%)",
        selection=rules.selection,
        test=rules.test,
        shared=experiment.shared,
        across=rules.across,
    )
    try:
        return compare(cells, layout)
    except ValueError as error:
        raise InputError(f"{experiment.name}: {error}") from None


def write_tables(table: Table, folder: Path, name: str) -> dict[str, Path]:
    """Write a table in every format that has a file of its own. Returns the path of each."""
    paths = {format: folder / f"{name}.{SUFFIXES[format]}" for format in FORMATS if format in SUFFIXES}
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


def write_diagrams(
    groups: Mapping[tuple[str, ...], Group], name: str, folder: Path, output: Path | None = None, alpha: float = 0.05
) -> list[Path]:
    """Draw a critical-difference diagram of the mean ranks over the datasets, one for each group.

    Args:
        groups: the values by method and dataset, by the labels that a group has in common (a backbone, a rate).
        name: what it is of; with the labels the names of the files.
        folder: where PNG and PDF are written.
        output: one file instead, .png or .pdf; there must then be one group.
        alpha: level of the critical difference.

    Returns:
        The paths.

    Raises:
        InputError: there are fewer than two methods or too few datasets for a claim about datasets like these, or
            several groups and one file; nothing is written.
    """
    found = {where: complete(group) for where, group in groups.items()}
    if not found:
        raise InputError(f"{name}: nothing to draw: there are no numbers of methods on datasets")
    for where, (methods, common, _) in found.items():
        told = f"{name}, {' / '.join(where)}" if where else name
        if len(methods) < 2:
            raise InputError(f"{told}: ranks take two methods or more; {len(methods)} has finished runs")
        if hopeless := refusal("wilcoxon", len(common), alpha=alpha):
            raise InputError(
                f"{told}: a critical-difference diagram is about datasets like these, on which all {len(methods)} "
                f"methods have finished: {hopeless}"
            )
    if output is not None and len(found) > 1:
        places = "; ".join(" / ".join(where) for where in found)
        raise InputError(f"--output {output}: there is a diagram for each of {places}; choose one with --rates")
    from bench.tables.diagram import diagram  # matplotlib: only when something is drawn

    paths: list[Path] = []
    for where, (methods, _, means) in found.items():
        stem = "-".join(["cd", *where]) if len(found) > 1 else "cd"
        own = [output] if output else [folder / f"{name}-{slug(stem)}{suffix}" for suffix in (".png", ".pdf")]
        own[0].parent.mkdir(parents=True, exist_ok=True)
        diagram(means, methods, own, alpha)
        paths += own
    return paths


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")


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
    scores = {
        planned.spec.seed: score(finished[planned.spec.id].curve, rules.selection, rules.split)
        for planned in runs
        if planned.spec.id in finished
    }
    values = {seed: value for seed, value in scores.items() if not math.isnan(value)}
    failed = sum(run_id in failures and run_id not in finished for run_id in ids)
    return Cell(axes, tuple(values.values()), len(ids), failed, seeds=tuple(values))


def _labels(plan: Plan) -> list[tuple[str, str]]:
    """Every (axis, label) in the order of the experiment."""
    experiment = plan.experiment
    return [
        *(("dataset", card.title) for card in experiment.datasets),
        *(("backbone", card.name) for card in experiment.backbones),
        *(("method", entry.label) for entry in experiment.methods),
        *(("rate", percent(rate)) for rate in experiment.rates),
    ]
