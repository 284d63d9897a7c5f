"""Measures of features of trained models: from the kept file to the table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli import main
from bench.errors import InputError
from bench.models import kept, measuring
from bench.models.measuring import Asked, measure_run
from bench.models.subject import Subject
from bench.records.measured import Measurement, read_arrays
from bench.records.record import Record
from bench.records.scores import Scores
from bench.records.store import Store
from bench.registry import Registry
from tests.models.trained import planned, train

REGISTRY = Registry()
FEATURES = ("s_dbw", "silhouette", "uniformity")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of two points, of which the last model was kept."""
    folder = tmp_path_factory.mktemp("measured")
    train(planned("ce", "steps=20", "lr=0.003"), folder, keep="last")
    return folder


def of(results: Path, name: str, **asked: object) -> tuple[Measurement, Path]:
    store = Store(results)
    stored = store.record(next(iter(store.finished())))
    assert isinstance(stored.record, Record)
    wanted: dict[str, object] = {"step": stored.record.curve[-1].step, "images": 60, **asked}
    return measure_run(Asked(name, **wanted), stored, REGISTRY, results)[:2]  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", FEATURES)
def test_features_of_a_kept_model(results: Path, name: str) -> None:
    measurement, path = of(results, name)
    assert [*measurement.numbers] == [metric.name for metric in REGISTRY.measure(name).gives]
    assert all(value is not None and math.isfinite(value) for value in measurement.numbers.values())
    for metric in REGISTRY.measure(name).gives:
        value = measurement.numbers[metric.name]
        assert value is not None
        assert metric.low is None or value >= metric.low
        assert metric.high is None or value <= metric.high
    assert path.is_file()


@pytest.mark.slow
def test_s_dbw_in_many_dimensions_says_that_it_is_scat_alone(results: Path) -> None:
    measurement, _ = of(results, "s_dbw")
    assert measurement.numbers["s_dbw"] == measurement.numbers["scat"]
    assert "the score is Scat alone" in measurement.remarks[0]


@pytest.mark.slow
class TestTheSource:
    def test_an_untouched_model_has_not_drifted(self, results: Path) -> None:
        measurement, path = of(results, "drift", of_source=True)
        assert measurement.numbers == {"drift": 0.0, "drift_mean": 0.0}
        arrays = read_arrays(path)
        assert [*arrays["layers"]] == ["blocks.0", "blocks.1", "blocks.2", "blocks.3", "features"]
        assert arrays["drift"].shape == (5,)

    def test_and_is_like_itself(self, results: Path) -> None:
        measurement, path = of(results, "cka", of_source=True)
        assert measurement.numbers["cka"] == pytest.approx(1, abs=1e-9)
        assert np.allclose(read_arrays(path)["cka"], 1)

    def test_training_moves_it(self, results: Path) -> None:
        drift, cka = of(results, "drift")[0].numbers, of(results, "cka")[0].numbers
        assert (drift["drift"] or 0) > 0.001
        assert 0 < (cka["cka"] or 0) < 0.9999

    def test_few_images_are_said_to_make_it_high(self, results: Path) -> None:
        assert "fewer images than dimensions" in of(results, "cka", images=20)[0].remarks[0]
        assert of(results, "cka", images=0)[0].remarks == []


@pytest.mark.slow
class TestWhatCannotBe:
    def test_features_that_are_no_numbers(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*arguments: Any) -> Any:
            model: Any = load(*arguments)
            model.mean.fill_(math.nan)
            return model

        load = kept.load_model
        monkeypatch.setattr(measuring, "load_model", broken)
        for name in FEATURES:
            with pytest.raises(InputError, match=rf"^{name} of .*: its features are not all finite numbers$"):
                of(results, name, images=40)

    def test_one_class(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        same = np.ones((9, 4), np.float32), np.zeros(9, np.int64)
        monkeypatch.setattr(Subject, "features", lambda _: same)
        with pytest.raises(InputError, match=r"s_dbw of .*: its images are all of one class"):
            of(results, "s_dbw", images=41)
        with pytest.raises(InputError, match=r"silhouette of .*: it compares images of a class with those of another"):
            of(results, "silhouette", images=41)

    def test_a_network_whose_layers_are_not_known(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def bare(*arguments: Any) -> Any:
            model: Any = load(*arguments)
            del model.backbone.feature_info
            return model

        load = kept.load_model
        monkeypatch.setattr(measuring, "load_model", bare)
        with pytest.raises(InputError, match=r"cka of .*: VisionTransformer does not say which modules are its layers"):
            of(results, "cka", images=42)

    def test_a_network_that_has_other_layers_than_before(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def shorter(*arguments: Any) -> Any:
            model: Any = load(*arguments)
            model.backbone.feature_info.pop()
            return model

        load = kept.load_model
        monkeypatch.setattr(measuring, "load_model", shorter)
        with pytest.raises(InputError, match=r"drift of .*: its method trained a network with other layers"):
            of(results, "drift", images=42)


@pytest.mark.slow
def test_no_kept_model_is_one_line_with_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, _ = train(planned(), tmp_path, keep="none")
    assert main(["measure", record.id, "s_dbw", "--results", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "was not kept; --train trains it again, for these measures alone" in lines[0]


def test_no_run_is_one_line_with_the_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "demo", "s_dbw", "--results", "r"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'bench run demo --results r --keep last' trains and keeps them" in line


@pytest.mark.slow
def test_tables_show_the_kept_model_and_the_last_in_place_of_an_oracle(results: Path) -> None:
    of(results, "s_dbw", images=None)
    (run,) = Store(results).finished().values()
    scores, metric = Scores(results), REGISTRY.metrics["s_dbw_tong"]
    value = scores.of(run, metric, "last")
    assert 0 < value < 1
    assert scores.of(run, metric, "best-test") == value
    assert math.isnan(scores.of(run, metric, "last", "val"))


@pytest.mark.slow
def test_what_was_not_measured_names_the_command(results: Path) -> None:
    (run,) = Store(results).finished().values()
    scores, metric = Scores(results), REGISTRY.metrics["attention_distance"]  # no test here measures it
    for rule, more in (("last", ""), ("best-test", ""), ("best-val", " --selection best-val")):
        assert math.isnan(scores.of(run, metric, rule))
        command = f"'bench measure {run.id} attention_distance{more}'"
        assert scores.why_not(run, metric) == f"it was not measured; {command} measures the kept model"
