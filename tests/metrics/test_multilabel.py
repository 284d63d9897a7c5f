"""The metrics of multi-label classification: what torchmetrics computes, and what arithmetic says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_average_precision, multilabel_exact_match

from bench.metrics import METRICS, predictions_of, score_of
from bench.metrics.multilabel import MultiLabelPredictions, exact_match, mean_average_precision

QUICK = settings(max_examples=40, deadline=None)
IGNORED = -1


def drawn(seed: int, images: int, classes: int, ties: bool) -> MultiLabelPredictions:
    """A tenth does not count; the last class is present by no image; with ties, logits are a few whole numbers."""
    state = np.random.RandomState(seed)
    logits = state.randint(-2, 3, (images, classes)) if ties else state.randn(images, classes)
    present = (state.uniform(size=(images, classes)) < 0.4).astype(np.float16)
    present[:, -1] = 0
    present[state.uniform(size=present.shape) < 0.1] = np.nan
    return MultiLabelPredictions(logits.astype(np.float16), present)


def as_torchmetrics(predictions: MultiLabelPredictions) -> tuple[torch.Tensor, torch.Tensor]:
    targets = np.nan_to_num(predictions.present, nan=IGNORED).astype(np.int64)
    return torch.from_numpy(predictions.logits.astype(np.float32)).sigmoid(), torch.from_numpy(targets)


def of(logits: list[list[float]], present: list[list[float]]) -> MultiLabelPredictions:
    return MultiLabelPredictions(np.array(logits, np.float16), np.array(present, np.float16))


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 5), st.booleans())
def test_mean_average_precision_is_that_of_torchmetrics(seed: int, images: int, classes: int, ties: bool) -> None:
    predictions = drawn(seed, images, classes, ties)
    scores, targets = as_torchmetrics(predictions)
    each = [
        float(binary_average_precision(scores[:, k], targets[:, k], ignore_index=IGNORED))
        for k in range(classes)
        if (targets[:, k] == 1).any()
    ]
    ours = mean_average_precision(predictions)
    assert ours == pytest.approx(100 * np.mean(each), abs=1e-3) if each else math.isnan(ours)


@QUICK
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(2, 5))
def test_exact_match_is_that_of_torchmetrics(seed: int, images: int, classes: int) -> None:
    predictions = drawn(seed, images, classes, ties=False)
    counted = np.where(
        np.isnan(predictions.present), -1, predictions.logits
    )  # as what counts as right is, where it is 0
    scores, targets = as_torchmetrics(MultiLabelPredictions(counted, predictions.present))
    theirs = multilabel_exact_match(scores, targets.clamp(min=0), classes)
    assert exact_match(predictions) == pytest.approx(100 * float(theirs), abs=1e-3)


def test_a_perfect_ranking_is_100_and_one_score_for_all_is_the_share_of_images() -> None:
    present = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    assert mean_average_precision(of([[2, -1], [1, 3], [0, -2], [2, -3]], present)) == 100
    assert mean_average_precision(of([[0, 0]] * 4, present)) == pytest.approx(100 * (1 / 2 + 1 / 4) / 2)


def test_areas_by_hand() -> None:
    """Ranked right, wrong, right: half of the recall at precision 1, half at 2/3."""
    assert mean_average_precision(of([[3], [2], [1]], [[1], [0], [1]])) == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_what_does_not_count_changes_nothing() -> None:
    logits, present = [[3.0], [2.0], [1.0]], [[1.0], [0.0], [1.0]]
    for logit in (9.0, 2.5, -9.0):
        more = of([*logits, [logit]], [*present, [math.nan]])
        assert mean_average_precision(more) == mean_average_precision(of(logits, present))
        assert exact_match(more) == pytest.approx(100 * 3 / 4)


def test_without_an_image_that_shows_a_class_there_is_no_number() -> None:
    assert math.isnan(mean_average_precision(of([[1, 2]], [[0, math.nan]])))
    assert math.isnan(mean_average_precision(of([[math.nan, 2]], [[1, 1]])))


def test_exact_match_by_hand() -> None:
    assert exact_match(of([[1, -1], [1, 1], [-1, -1], [0, 5]], [[1, 0], [1, 0], [0, 0], [0, 1]])) == 75


def test_is_known_by_its_mean_average_precision_and_kept_as_it_is() -> None:
    assert score_of("multilabel") is METRICS["map"]
    kept = drawn(0, 5, 3, ties=False)
    again = predictions_of("multilabel").of(kept.arrays)
    assert again == kept or all(np.array_equal(again.arrays[k], kept.arrays[k], equal_nan=True) for k in kept.arrays)
    assert {*kept.of_points, *kept.of_split} == {*kept.arrays}
    assert sum(array.nbytes for array in kept.arrays.values()) == 2 * 2 * 5 * 3
