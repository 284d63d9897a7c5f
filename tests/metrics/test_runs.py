"""What a run keeps of its images is enough: every metric of its curve, and those of plug-ins, without its model."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.metrics import METRICS
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.proof import read_predictions
from bench.records.record import Record
from bench.records.scores import Scores
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.trial import run_trial

PAGE = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
(DECLARED,) = re.findall(r"```python\n(from bench\.metrics import.*?)```", PAGE, re.DOTALL)
OF_CURVE = [name for name, metric in METRICS.items() if metric.of_curve and metric.task == "classification"]
TYPED = (
    "--methods",
    "ce",
    "--rates",
    "15",
    "--seeds",
    "1",
    "--set",
    "steps=6",
    "--set",
    "warmup=1",
    "--set",
    "evaluations=2",
)


def spec() -> RunSpec:
    overrides = Overrides("ce", rates="15", seeds="1", settings=("steps=6", "warmup=1", "evaluations=2"))
    (only,) = read_plan("demo", Registry(), overrides).unique.values()
    return only


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was trained for six steps and scored twice, on both splits."""
    root = tmp_path_factory.mktemp("trained") / "results"
    outcome, store = run_trial(spec(), Registry(), torch.device("cpu")), Store(root)
    with store.draft() as draft:
        np.savez_compressed(draft / "predictions.npz", **outcome.predictions)  # type: ignore[arg-type]
        store.publish(draft, spec(), outcome.record)
    return root


def record_of(root: Path) -> Record:
    record = Store(root).record(spec().id).record
    assert isinstance(record, Record)
    return record


@pytest.mark.slow
@pytest.mark.parametrize("split", ["test", "val"])
def test_every_metric_of_the_curve_is_that_of_the_kept_predictions(trained: Path, split: str) -> None:
    (run,) = Store(trained).finished().values()
    points = [getattr(point, split) for point in record_of(trained).curve]
    assert len(points) == 2
    for name in OF_CURVE:
        again = replace(METRICS[name], name=f"again_{name}")  # the record has none of that name
        assert Scores(trained).values(run, again, split) == [point[name] for point in points]
        assert Scores(trained).values(run, METRICS[name], split) == [point[name] for point in points]
    stored, truth = read_predictions(trained / "runs" / run.folder / "predictions.npz", split)
    predicted, labels = stored[""], truth["labels"]
    by_hand = 100 * (predicted == labels).mean(1)
    assert [point["top1"] for point in points] == pytest.approx(by_hand.tolist())
    assert {name: array.shape for name, array in stored.items()} == dict.fromkeys(stored, predicted.shape)


@pytest.mark.slow
def test_cost_is_in_the_record_and_seconds_of_training_grow(trained: Path) -> None:
    record, (run,) = record_of(trained), Store(trained).finished().values()
    first, last = [point.seconds for point in record.curve]
    assert first is not None
    assert last is not None
    assert 0 < first < last
    scores, timing = Scores(trained), record.timing
    assert timing.evaluation_seconds is not None
    assert scores.of(run, METRICS["seconds"], "last") == timing.seconds - timing.evaluation_seconds
    assert scores.of(run, METRICS["trainable"], "last") == max(stage.trained_weights for stage in record.stages) > 1000
    assert scores.of(run, METRICS["peak_memory"], "last") > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "the run kept no predictions"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "it cannot be read as predictions"),
        (lambda path: np.savez(path, test=np.zeros((1, 9)), test_labels=np.zeros(9)), "do not fit the record's curve"),
        (lambda path: save_other_answers(path), "the predictions are not those of the record, by its top-1"),
    ],
)
def test_predictions_that_cannot_be_used_are_a_reason_and_no_crash(
    trained: Path, here: Path, capsys: pytest.CaptureFixture[str], damage: object, why: str
) -> None:
    root = here / "results"
    (run,) = Store(trained).finished().values()
    folder = root / "runs" / run.folder
    folder.mkdir(parents=True)
    for file in (trained / "runs" / run.folder).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damage(folder / "predictions.npz")  # type: ignore[operator]
    assert main(["table", "demo", *TYPED, "--metric", "nll", "--format", "csv"]) == 0
    assert float(rows(capsys)[0]["mean"]) > 0  # the record has it
    again = replace(METRICS["nll"], name="again")
    scores, (finished,) = Scores(root), Store(root).finished().values()
    assert all(map(math.isnan, scores.values(finished, again)))
    assert why in scores.why_not(finished, again)


def save_other_answers(path: Path) -> None:
    with np.load(path) as arrays:
        kept = dict(arrays)
    np.savez(path, **{**kept, "test": (kept["test"] + 1) % 10})


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


class TestOfAPlugin:
    @pytest.fixture
    def mine(self, here: Path) -> Path:
        path = here / "mine" / "metrics" / "sure_and_right.py"
        path.parent.mkdir(parents=True)
        path.write_text(DECLARED, encoding="utf-8")
        return path

    @pytest.mark.slow
    def test_is_computed_of_runs_trained_before(
        self, trained: Path, mine: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        typed = (*TYPED, "--plugin", "mine", "--results", str(trained))
        assert main(["table", "demo", *typed, "--metric", "sure_and_right", "--format", "csv"]) == 0
        (cell,) = rows(capsys)
        (run,) = Store(trained).finished().values()
        stored, truth = read_predictions(trained / "runs" / run.folder / "predictions.npz", "test")
        predicted, labels = stored[""], truth["labels"]
        sure = stored["confidence"][-1] > 0.9 * 65535
        assert float(cell["mean"]) == pytest.approx(100 * (sure & (predicted[-1] == labels)).mean())
        assert cell["metric"] == "sure_and_right"
        assert main(["table", "demo", *typed, "--metric", "top1,sure_and_right", "--width", "150"]) == 0
        assert "right and sure of it (%)" in capsys.readouterr().out
        assert main(["runs", "demo", *typed]) == 0
        (row,) = rows(capsys)
        assert row["test.sure_and_right"] == cell["mean"]
        assert row["val.sure_and_right"] != ""

    def test_is_listed(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["list", "metrics", "--plugin", "mine", "--format", "json"]) == 0
        listed = json.loads(capsys.readouterr().out)
        assert "sure_and_right" in [row["name"] for row in listed]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("x = \n", "sure_and_right.py:1: not valid Python"),
            ("import nothing_called_so\n", "sure_and_right.py: cannot be loaded: ModuleNotFoundError"),
            ("METRIC = 5\n", "sure_and_right.py: it must say METRIC = Metric('sure_and_right', ...)"),
            (
                DECLARED.replace('Metric("sure', 'Metric("too_sure'),
                "it must say METRIC = Metric('sure_and_right', ...)",
            ),
            (DECLARED.replace("compute=sure_and_right, ", ""), "it has one of 'compute', 'of_run' and 'measure'"),
            (DECLARED.replace("high=100, ", ""), "a share of images is computed at a scored point, from 0 to 100"),
        ],
    )
    def test_that_is_wrong_is_told_in_one_line(
        self, mine: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
    ) -> None:
        mine.write_text(text, encoding="utf-8")
        assert main(["table", "demo", "--plugin", "mine", "--metric", "sure_and_right"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line

    def test_with_a_name_that_is_taken(self, mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
        mine.with_name("top1.py").write_text(DECLARED.replace('sure_and_right"', 'top1"'), encoding="utf-8")
        assert main(["table", "demo", "--plugin", "mine"]) == 2
        assert "there is a metric called 'top1' already; rename the file and it" in capsys.readouterr().err

    @pytest.mark.slow
    def test_that_cannot_be_computed_is_told_in_one_line(
        self, trained: Path, mine: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        mine.write_text(DECLARED.replace("return 100", "return 1 / 0 * 100"), encoding="utf-8")
        typed = (*TYPED, "--plugin", "mine", "--results", str(trained), "--metric", "sure_and_right")
        assert main(["table", "demo", *typed]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "metric sure_and_right: it cannot be computed of " in line
        assert line.endswith("ZeroDivisionError: division by zero")
