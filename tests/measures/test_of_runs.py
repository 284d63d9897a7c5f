"""Measures of the kept model of a run: its accuracy is the record's, and training images are those of the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data import read_data
from bench.errors import InputError
from bench.models import measuring
from bench.models.measuring import Asked, measure_run
from bench.records.measured import read_arrays
from bench.records.record import Record, Stored
from bench.registry import Registry
from bench.training.trial import splits
from tests.models.trained import planned, train

COUNTING = """\
from bench.measure import Measure, Measured
from bench.metrics import Metric

MEASURE = Measure("counting", gives=(Metric("seen", "seen", "", measure="counting"),), images=50)


def measure(subject):
    training = subject.of_training(100)
    labels = [label for _, labels in training.batches() for label in labels.tolist()]
    assert training.model is subject.model and subject.of != training.of
    return Measured({"seen": training.of}, {"labels": training.split.labels, "again": labels})
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path, Path]:
    """A run with a validation split, its folder, and that of the results."""
    results = tmp_path_factory.mktemp("results")
    record, folder = train(planned("ce", "validation=0.2"), results)
    return record, folder, results


@pytest.mark.slow
def test_the_landscape_at_0_is_what_the_record_says(kept: tuple[Record, Path, Path]) -> None:
    record, folder, results = kept
    for point in record.curve:
        asked = Asked("landscape", point.step, images=0, options={"directions": 1, "points": 3})
        measurement, path, _ = measure_run(asked, Stored(record, folder), Registry(), results)
        arrays = read_arrays(path)
        assert measurement.images == measurement.of
        assert arrays["accuracy"][0, 1] == pytest.approx(point.test["top1"])


@pytest.mark.parametrize("has_validation", [True, False])
def test_training_images_are_all_that_there_are_without_those_held_out(
    has_validation: bool, kept: tuple[Record, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder, _ = kept
    dataset = read_data(Registry().dataset(record.run.dataset.name))
    if not has_validation:
        dataset = replace(dataset, val=None)
        monkeypatch.setattr(measuring, "opened", lambda card, results: dataset)
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / "counting.py").write_text(COUNTING, encoding="utf-8")
    asked = Asked("counting", record.curve[-1].step)
    measurement, path, _ = measure_run(asked, Stored(record, folder), Registry([tmp_path]), tmp_path)
    sampled, val, _ = splits(dataset, record.run)
    assert val is not None
    assert measurement.numbers["seen"] == len(dataset.train) - (0 if has_validation else len(val))
    assert measurement.images == 50
    arrays = read_arrays(path)
    assert len(sampled) != len(arrays["labels"]) == 100
    assert np.array_equal(arrays["labels"], arrays["again"])


@pytest.mark.parametrize("measure", ["landscape", "corruption"])
def test_the_model_that_a_run_started_from_has_no_accuracy(kept: tuple[Record, Path, Path], measure: str) -> None:
    record, folder, results = kept
    with pytest.raises(InputError, match="head is not trained"):
        measure_run(Asked(measure, record.curve[-1].step, of_source=True), Stored(record, folder), Registry(), results)
