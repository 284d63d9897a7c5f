"""Records that were made before the form changed: shown, tabled, written as rows, rerun, and not trained again."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.spec as spec_module
from bench.cli import main
from bench.records.record import SCHEMA, FailedRecord, Record, read_record

OLD = Path(__file__).with_name("schema1")
DONE, FAILED = "6a88edcc9905", "0a1d4b85d900"
TYPED = ["--methods", "ce", "--rates", "15", "--seeds", "1", "--set", "steps=12", "--set", "warmup=2"]
TYPED += ["--set", "evaluations=2"]
DIVERGING = [*TYPED, "--set", "lr=1e30"]
LATER = ("top5", "nll", "ece", "brier")
"""Metrics of which such runs did not keep enough."""


@pytest.fixture
def older(here: Path) -> Path:
    """A folder of results with a finished run of schema 1 and one that diverged; nothing may be trained."""
    shutil.copytree(OLD, here / "results")
    return here / "results"


@pytest.fixture
def old(older: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where the engine trains as it did then: only the form of records is another one."""
    monkeypatch.setattr(spec_module, "ENGINE", 1)
    return older


def file_of(root: Path, run_id: str) -> Path:
    (path,) = root.glob(f"*/*-{run_id}*/record.json")
    return path


def plain(root: Path, run_id: str) -> dict[str, Any]:
    return dict(json.loads(file_of(root, run_id).read_text(encoding="utf-8")))


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(list(arguments)) == code
    return capsys.readouterr().out


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(said(capsys, *arguments, "--format", "csv"))))


def test_becomes_one_of_today_with_what_it_says(old: Path) -> None:
    before, record = plain(old, DONE), read_record(file_of(old, DONE).read_bytes())
    assert before["schema"] == 1
    assert isinstance(record, Record)
    assert record.schema == SCHEMA
    assert record.run.id == record.id == DONE
    for point, was in zip(record.curve, before["curve"], strict=True):
        assert (point.step, point.loss, point.seconds) == (was["step"], was["loss"], None)
        for scores, kept in ((point.val, was["val"]), (point.test, was["test"])):
            assert scores == {"top1": kept["top1"], "mean_per_class": kept["mean_per_class"]}
    assert record.usage is not None
    assert record.usage.memory_bytes == before["usage"]["memory_bytes"]
    failed = read_record(file_of(old, FAILED).read_bytes())
    assert isinstance(failed, FailedRecord)
    assert (failed.error.failed_of, failed.run.id) == ("diverged", FAILED)


def test_is_shown(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "test top-1: 47.74 % after 12 steps" in said(capsys, "show", DONE[:6])
    assert "parameters: –\n  trained weights: 78,490\n" in said(capsys, "show", DONE[:6])
    assert "Diverged: the term ce of the loss is nan" in said(capsys, "show", FAILED[:6])
    assert [json.loads(said(capsys, "show", run, "--format", "json"))[0]["id"] for run in (DONE, FAILED)] == [
        DONE,
        FAILED,
    ]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("top1", 47.73869346733669),
        ("mean_per_class", 47.58082385592422),
        ("seconds", 1.571 - 0.33),
        ("trainable", 78490),
    ],
)
def test_is_tabled(old: Path, capsys: pytest.CaptureFixture[str], metric: str, value: float) -> None:
    (cell,) = rows(capsys, "table", "demo", *TYPED, "--metric", metric)
    assert float(cell["mean"]) == pytest.approx(value)
    assert cell["n"] == "1"


@pytest.mark.parametrize("metric", [*LATER, "seconds_to_40", "energy", "parameters"])
def test_what_it_does_not_hold_has_a_reason(old: Path, capsys: pytest.CaptureFixture[str], metric: str) -> None:
    (cell,) = rows(capsys, "table", "demo", *TYPED, "--metric", metric)
    assert (cell["mean"], cell["n"]) == ("", "0")
    reason = "the run kept no " if metric in LATER else "it was not measured, or not reached: "
    assert cell["note"].startswith(reason)


def test_is_a_row(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (done,), (failed,) = rows(capsys, "runs", "demo", *TYPED), rows(capsys, "runs", "demo", *DIVERGING)
    assert (done["id"], done["status"], done["test.top1"]) == (DONE, "done", "47.73869346733669")
    assert {done[f"{split}.{name}"] for split in ("test", "val") for name in LATER} == {""}
    assert done["version.torch"] == plain(old, DONE)["environment"]["packages"]["torch"]
    assert (failed["id"], failed["status"], failed["test.top1"]) == (FAILED, "failed", "")


@pytest.mark.slow
def test_is_not_trained_again(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {run: file_of(old, run).read_bytes() for run in (DONE, FAILED)}
    assert "0 runs were trained now, 1 of 1 are done" in said(capsys, "run", "demo", *TYPED)
    assert "0 runs were trained now, 0 of 1 are done, 1 failed" in said(capsys, "run", "demo", *DIVERGING, code=1)
    assert {run: file_of(old, run).read_bytes() for run in before} == before


def test_one_of_a_newer_form_is_said_to_be_newer_and_left_alone(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(old, DONE)
    path.write_text(json.dumps({**plain(old, DONE), "schema": SCHEMA + 1, "curve": "what comes then"}), "utf-8")
    content = path.read_bytes()
    for command, code in (("table", 0), ("run", 0), ("runs", 0), ("plan", 0), ("status", 0), ("show", 2)):
        assert main(["show", DONE] if command == "show" else [command, "demo", *TYPED]) == code
        captured = capsys.readouterr()
        (line,) = [line for line in (captured.out + captured.err).splitlines() if "newer version" in line]
        assert f"(schema {SCHEMA + 1})" in line
        assert "damaged" not in captured.out + captured.err
    assert "0 runs were trained now" in said(capsys, "run", "demo", *TYPED)
    assert path.read_bytes() == content


def test_of_an_earlier_engine_it_is_shown_and_counts_for_no_run_of_today(
    older: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "test top-1: 47.74 % after 12 steps" in said(capsys, "show", DONE[:6])
    (cell,) = rows(capsys, "table", "demo", *TYPED)
    assert (cell["mean"], cell["n"]) == ("", "0")
    assert main(["rerun", DONE, "--check"]) == 2
    assert "its spec is now that of another run" in capsys.readouterr().err


def downgrade(path: Path) -> None:
    """Make a record of today, and the predictions beside it, what they were in schema 1."""
    record = json.loads(path.read_text(encoding="utf-8"))
    for point in record["curve"]:
        del point["seconds"]
        for split, images in (("val", record["validation_images"]), ("test", record["test_images"])):
            kept = {name: point[split][name] for name in ("top1", "mean_per_class")}
            point[split] = {**kept, "right": round(kept["top1"] * images / 100)}
    del record["checksum"]
    then = plain(OLD, DONE)["spec"]["protocol"]  # settings that came later are not in it
    recipe = {name: value for name, value in record["spec"]["protocol"]["recipe"].items() if name in then["recipe"]}
    kept = {name: value for name, value in record["spec"]["protocol"].items() if name in then}
    record["spec"]["protocol"] = {**kept, "recipe": recipe}
    del record["spec"]["further"]
    path.write_text(json.dumps({**record, "schema": 1}), encoding="utf-8")
    file = path.with_name("predictions.npz")
    with np.load(file) as arrays:
        old = {name: arrays[name] for name in ("val", "test", "val_labels", "test_labels", "training_indices")}
    np.savez_compressed(file, **old)


def shape(value: object) -> object:
    """What plain data has: its keys, and the kind of each value."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_trained_again_it_is_equal_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of this machine put into the old form: another machine may round otherwise."""
    monkeypatch.chdir(tmp_path)
    said(capsys, "run", "demo", *TYPED)
    (path,) = Path("results/runs").glob("*/record.json")
    today = json.loads(path.read_text(encoding="utf-8"))["id"]
    downgrade(path)
    was, now = plain(OLD, DONE), plain(Path("results"), today)
    for part in ("spec", "curve", "stages", "subset", "timing"):
        assert shape(now[part]) == shape(was[part])
    assert now["spec"] == was["spec"]
    assert "equal to the last bit: 2 points of the curve, 5 arrays of predictions" in said(
        capsys, "rerun", today, "--check"
    )
