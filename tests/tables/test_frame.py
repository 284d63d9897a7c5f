"""Runs as rows: what ``bench runs`` writes and ``bench.frame`` gives, read back by pandas."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

import bench
from bench.cli import main
from bench.metrics import METRICS, Metric
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.records.scores import Scores
from bench.records.store import Finished, Store
from bench.registry import Registry
from tests.metrics.scored import TARGETS, nll, set_out
from tests.test_cli import fail

AXES = ["id", "table", "row", "candidate", "method", "backbone", "dataset", "rate", "seed", "status"]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, here: Path) -> tuple[str, ...]:
    """An experiment or a paper's table; of its last four runs one failed and three are missing."""
    typed = set_out(here, request.param)
    store = Store("results")
    for spec in list(plan_of(typed).unique.values())[-4:]:
        folder = store.finished()[spec.id].folder
        (here / "results" / "runs" / folder / "record.json").unlink()
    fail(store, spec, "no")
    return typed


def plan_of(target: tuple[str, ...]) -> Plan:
    return read_plan(target[0], Registry(["."]))


def read(capsys: pytest.CaptureFixture[str], target: tuple[str, ...], format: str, *typed: str) -> pandas.DataFrame:
    assert main(["runs", *target, "--format", format, *typed]) == 0
    text = capsys.readouterr().out
    assert text.isascii()
    return pandas.read_csv(io.StringIO(text)) if format == "csv" else pandas.DataFrame(json.loads(text))


def test_of_a_run_nothing_is_looked_for_that_it_cannot_have(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metrics of other tasks, and of its models where none was measured: a hundred for each run of thousands."""
    asked: list[Metric] = []

    def of(scores: Scores, run: Finished, metric: Metric, *how: Any) -> float:
        asked.append(metric)
        return look(scores, run, metric, *how)

    look = Scores.of
    monkeypatch.setattr(Scores, "of", of)
    data = read(capsys, target, "csv")
    assert {"val.miou", "s_dbw"} <= {*data.columns}, "they have their columns"
    assert {metric.task for metric in asked if metric.of_curve} == {"classification"}
    assert not [metric.name for metric in asked if metric.measure]


@pytest.mark.parametrize("format", ["csv", "json", "frame"])
def test_a_row_a_run_with_its_axes_and_scores(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str], format: str
) -> None:
    plan, store = plan_of(target), Store("results")
    data = bench.frame(plan, store) if format == "frame" else read(capsys, target, format)
    specs = plan.unique
    assert data["id"].tolist() == list(specs)
    assert data["seed"].tolist() == [spec.seed for spec in specs.values()]
    assert data["rate"].tolist() == [spec.rate for spec in specs.values()]
    assert data["method"].tolist() == [spec.method.name for spec in specs.values()]
    assert data["dataset"].tolist() == [spec.dataset.name for spec in specs.values()]
    assert (data["table"] == plan.tables[0].name).all()
    assert data["status"].tolist()[-5:] == ["done", "missing", "missing", "missing", "failed"]
    done = data[data["status"] == "done"]
    assert done["test.nll"].tolist() == pytest.approx([nll(specs[run]) for run in done["id"]])
    assert (done["test.top1"] == 90).all()
    assert (done["seconds"] == 10 + done["seed"]).all()
    assert (done["energy"] == 120 + done["seed"]).all()
    swept = data[data["method"] == "gta"]["gta.weight"]
    assert sorted({*swept}) == [0.1, 1.0]
    assert data[data["method"] == "ce"]["gta.weight"].isna().all()
    assert data[data["status"] != "done"][["test.nll", "seconds"]].isna().all(axis=None)


@pytest.mark.parametrize("format", ["csv", "json", "frame"])
def test_numbers_are_numbers_and_every_metric_has_a_column(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str], format: str
) -> None:
    data = bench.frame(plan_of(target), Store("results")) if format == "frame" else read(capsys, target, format)
    columns = [f"{split}.{name}" for name, metric in METRICS.items() if metric.of_curve for split in ("test", "val")]
    columns += [name for name, metric in METRICS.items() if not metric.of_curve]
    assert set(columns) <= set(data)
    numbers = [*columns, "rate", "seed", "protocol.steps", "gta.weight"]
    if format == "json":  # of a column of null alone JSON does not say what it is of
        numbers = [name for name in numbers if not data[name].isna().all()]
    assert all(pandas.api.types.is_numeric_dtype(data[name]) for name in numbers)
    assert data["seed"].dtype.kind == "i"
    assert list(data)[: len(AXES)] == AXES


def test_before_anything_has_run_the_columns_are_the_same(here: Path) -> None:
    data = bench.frame(read_plan("demo", Registry()), Store("none"))
    assert set(data["status"]) == {"missing"}
    assert data["test.top1"].isna().all()
    assert data["test.top1"].dtype == data["seconds"].dtype == "float64"


def test_all_scores_of_a_row_are_of_one_point_of_its_curve(
    target: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    by_top1 = read(capsys, target, "csv", "--selection", "best-val").iloc[0]
    by_nll = read(capsys, target, "csv", "--selection", "best-val", "--metric", "nll").iloc[0]
    assert (by_top1["test.top1"], by_nll["test.top1"]) == (90, 60)
    assert by_nll["test.nll"] == pytest.approx(by_top1["test.nll"] - 0.1)


def test_a_metric_that_is_asked_for_has_a_column(target: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    data = read(capsys, target, "csv", "--metric", "seconds_to_60")
    assert data["seconds_to_60"].dropna().unique().tolist() == [4.0]


def test_versions_stand_in_columns_of_their_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = set_out(here, "experiment")
    first, *_ = Store("results").finished().values()
    path = here / "results" / "runs" / first.folder / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["checksum"]  # as an older version wrote it
    record["environment"] = {"python": "3.11.4", "packages": {"torch": "2.14.1", "timm": None}}
    path.write_text(json.dumps(record), encoding="utf-8")
    data = read(capsys, target, "json").set_index("id")
    assert (data.at[first.id, "version.python"], data.at[first.id, "version.torch"]) == ("3.11.4", "2.14.1")
    assert data["version.torch"].notna().sum() == 1


def test_a_file_is_written_and_named(target: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", *target, "--output", "rows.csv"]) == 0
    assert capsys.readouterr().out == "rows.csv\n"
    assert len(pandas.read_csv("rows.csv")) == len(plan_of(target).unique)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("--format", "parquet"), "--format parquet: it is no text; name a file with --output"),
        (("--format", "parquet", "--output", "rows.parquet"), "--format parquet needs pyarrow: pip install pyarrow"),
        (("--output", "results"), "--output results: Is a directory"),
        (("--format", "xml"), "--format"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    (here / "results").mkdir()
    try:
        code = main(["runs", "demo", *typed])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert [path.name for path in here.iterdir()] == ["results"]
