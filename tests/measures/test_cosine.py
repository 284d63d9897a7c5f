"""Cosines of pairs: each pair once, means without a matrix of all of them, and the accuracy of kept models."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.measures.cosine import means, pairs
from bench.records.measured import folder_of, read_arrays, read_measurement
from tests.models.trained import planned, train


def test_each_pair_counts_once() -> None:
    features = np.random.RandomState(0).normal(size=(7, 4))
    labels = np.array([0, 1, 0, 1, 2, 2, 2])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    each = {(i, j): float(unit[i] @ unit[j]) for i, j in combinations(range(7), 2)}
    within = [cosine for (i, j), cosine in each.items() if labels[i] == labels[j]]
    between = [cosine for (i, j), cosine in each.items() if labels[i] != labels[j]]
    positive, negative = pairs(features, labels)
    assert np.allclose(np.sort(positive), sorted(within))
    assert np.allclose(np.sort(negative), sorted(between))
    assert means(features, labels) == pytest.approx((np.mean(within), np.mean(between)))


def test_a_mean_of_no_pairs_is_none_and_a_feature_of_length_0_is_like_nothing() -> None:
    within, between = means(np.eye(3), np.arange(3))
    assert math.isnan(within)
    assert between == pytest.approx(0)
    assert means(np.array([[0.0, 0], [1, 0], [1, 0]]), np.zeros(3, np.int64))[0] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_a_run_is_measured_at_every_point_on_the_images_it_was_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, _ = train(planned(), tmp_path)
    words = [record.id, "--results", str(tmp_path)]
    assert main(["measure", *words, "accuracy", "--split", "train", "--points", "all"]) == 0
    assert main(["measure", *words, "accuracy", "cosine", "embedding"]) == 0
    folder = folder_of(tmp_path, record.id)
    assert record.subset is not None
    steps = [point.step for point in record.curve]
    trained = [read_measurement(folder / f"accuracy-{step}-train.json") for step in steps]
    assert {measurement.images for measurement in trained} == {record.subset.images}
    on_test = read_measurement(folder / f"accuracy-{steps[-1]}-test.json")
    assert on_test.numbers["accuracy"] == pytest.approx(record.curve[-1].test["top1"])
    out = capsys.readouterr().out
    assert all(f"after {step} steps" in out for step in steps)
    arrays = read_arrays(folder / f"embedding-{steps[-1]}-test.json")
    assert arrays["tsne"].shape == arrays["pca"].shape == (len(arrays["labels"]), 2)
    histogram = read_arrays(folder / f"cosine-{steps[-1]}-test.json")
    assert histogram["positive"].sum() > 0
    assert len(histogram["edges"]) == 1 + len(histogram["positive"])

    assert main(["figure", *words, "--kind", "curves", "--metric", "accuracy", "--split", "train"]) == 0
    assert main(["figure", *words, "--kind", "embedding"]) == 0
    assert main(["figure", *words, "--kind", "classes", "--split", "train"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("bench: --split train: runs are not scored on their training images")
