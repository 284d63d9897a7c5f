"""Runs as rows for people's own analysis: everything that the records say of each, in plain columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import InputError, harmless, json_text
from bench.metrics import METRICS, Metric
from bench.notation import none_if_nan
from bench.plan.table import Candidate, Plan, PlannedCell, TablePlan
from bench.protocol import Protocol, Recipe
from bench.rate import budget_of, rate_label
from bench.records.files import write_file
from bench.records.store import Store
from bench.rules import SPLITS
from bench.spec import RunSpec, written
from bench.tables.results import Results, results_of

if TYPE_CHECKING:
    import pandas


_USUAL = {f"protocol.{field.name}": field.default for kind in (Protocol, Recipe) for field in fields(kind)}
"""What a setting is of a run that leaves it at its default, beside others that do not."""


def run_rows(plan: Plan, store: Store, metrics: Mapping[str, Metric] = METRICS) -> list[dict[str, Any]]:
    """One row for each different run of a plan, finished or not; None is what is not known.

    Columns: ``id`` (None of a run whose weights are not here, as it depends on them), ``status`` (``done``, ``failed``,
    ``missing``, ``lacking`` of such a run), ``table`` (the first that needs the run), ``row``
    (what the method is called there), ``candidate`` (of a sweep), ``method``, ``backbone``, ``dataset``, ``rate``
    (percent; where a run has a budget of images the labels of tables, ``15 %`` and ``16-shot``), ``seed``; each
    hyper-parameter as ``METHOD.NAME`` and each setting as ``protocol.NAME``, but for those that are the default in all
    runs; each metric of the curve at the one point that the table's selection rule picks, by the metric that it shows,
    as ``test.METRIC`` and ``val.METRIC``, and the score on further tests as ``test.top1@NAME``; what the run took by
    the name of its metric; ``training_images``, how many it was trained on; and the versions of what trained it as
    ``version.PACKAGE``.

    Args:
        plan: whose runs.
        store: the records.
        metrics: by name; ``Registry.metrics`` has those of plug-ins too. Those that the plan shows are always there.
    """
    results = results_of(plan, store)
    rows: dict[str, dict[str, Any]] = {}
    planned = {cell.metric.name: cell.metric for table in plan.tables for _, cell in table.places() if cell.candidates}
    every = {**metrics, **planned}
    for table in plan.tables:
        for spec, cell, candidate in _runs(table):
            if spec.id not in rows:
                point = (table.rules.selection, results.picking(cell))
                rows[spec.id] = {
                    "id": None if cell.lack else spec.id,
                    "table": table.name,
                    "row": cell.name,
                    "candidate": candidate.label if len(cell.candidates) > 1 else None,
                    "method": spec.method.full_name,
                    "backbone": spec.backbone.name,
                    "dataset": spec.dataset.name,
                    "rate": spec.rate,
                    "seed": spec.seed,
                    "status": "lacking" if cell.lack else _status(spec, results),
                    **_settings(spec),
                    **dict(_scores(spec, every, point, results)),
                }
    if any(budget_of(spec.rate) for table in plan.tables for spec in table.runs()):
        for row in rows.values():
            row["rate"] = rate_label(row["rate"])
    _add_recorded(rows, results, store)
    columns = {column: _USUAL.get(column) for row in rows.values() for column in row}
    return [_completed(rows.pop(run_id), columns) for run_id in list(rows)]


def _completed(row: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """A row with all columns, in their order, of which each has a value where a row says nothing."""
    return {column: row.get(column, usual) for column, usual in columns.items()}


def frame(plan: Plan, store: Store, metrics: Mapping[str, Metric] = METRICS) -> pandas.DataFrame:
    """The same as a data frame, with a column of its own kind for each of ``run_rows``."""
    import pandas

    data = pandas.DataFrame.from_records(run_rows(plan, store, metrics))
    empty = [column for column in data if data[column].isna().all()]
    return data.astype(dict.fromkeys(empty, "float64"))


def _runs(table: TablePlan) -> Iterator[tuple[RunSpec, PlannedCell, Candidate]]:
    """The runs of a table, each with the cell and the candidate that it is of."""
    for _, cell in table.places():
        for candidate in cell.candidates:
            for spec in candidate.runs:
                yield spec, cell, candidate


def _status(spec: RunSpec, results: Results) -> str:
    if spec.id in results.finished:
        return "done"
    return "failed" if spec.id in results.failed else "missing"


def _settings(spec: RunSpec) -> dict[str, Any]:
    """Hyper-parameters by their method or policy, and settings that are not the default."""
    columns: dict[str, Any] = {}
    for method in (spec.method, *spec.method.policies):
        columns |= {f"{method.name}.{name}": value for name, value in method.hyper}
    for settings in (spec.protocol, spec.protocol.recipe):
        columns |= {f"protocol.{name}": value for name, value in written(settings).items()}
    return columns


def _scores(
    spec: RunSpec, metrics: Mapping[str, Metric], point: tuple[str, Metric], results: Results
) -> Iterator[tuple[str, float | None]]:
    """The metrics of a run, those of its curve at the point that a selection rule picks by a metric."""
    rule, picking = point
    run = results.finished.get(spec.id)
    elsewhere = [metrics[run.score].at(where) for where in results.scores.elsewhere(run)] if run else []
    for metric in {**metrics, **{metric.name: metric for metric in elsewhere}}.values():
        asked = run if run and results.scores.may_have(run, metric) else None
        for split in SPLITS if metric.of_curve else ("",):
            score = results.scores.of(asked, metric, rule, split or "test", picking) if asked else math.nan
            yield f"{split}.{metric.name}" if split else metric.name, none_if_nan(score)


def _add_recorded(rows: dict[str, dict[str, Any]], results: Results, store: Store) -> None:
    """The number of training images and the versions that the records name, as far as they do."""
    folders = [results.finished[run_id].folder for run_id in rows if run_id in results.finished]
    for row in rows.values():
        row["training_images"] = None
    for record, _ in store.records(folders):
        environment = record.environment.facts
        versions = {"python": environment.get("python"), **(environment.get("packages") or {})}
        rows[record.id]["training_images"] = (record.subset and record.subset.images) or None
        rows[record.id] |= {f"version.{name}": version for name, version in versions.items()}


def write_rows(
    plan: Plan, store: Store, format: str, output: Path | None, metrics: Mapping[str, Metric] = METRICS
) -> str:
    """Write the rows of a plan's runs as ``csv``, ``json`` (a list of objects) or ``parquet``, or give them as text.

    Returns:
        The text where ``output`` is None, which it cannot be for parquet; else the file's name.

    Raises:
        InputError: the file cannot be written, or what writes parquet is not installed.
    """
    if format == "parquet":
        content = _parquet(frame(plan, store, metrics))
    elif format == "json":
        content = f"{json_text(run_rows(plan, store, metrics))}\n".encode()
    else:
        rows, lines = run_rows(plan, store, metrics), io.StringIO()
        writer = csv.DictWriter(lines, list(rows[0]) if rows else ["id"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: harmless(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows
        )
        content = lines.getvalue().encode()
    if output is None:
        return content.decode()
    try:
        write_file(output, content)
    except OSError as error:
        raise InputError(f"--output {output}: {error.strerror}") from None
    return f"{output}\n"


def _parquet(data: pandas.DataFrame) -> bytes:
    try:
        content: bytes = data.to_parquet(index=False)
    except ImportError:
        raise InputError("--format parquet needs pyarrow: pip install pyarrow; csv and json need nothing") from None
    return content
