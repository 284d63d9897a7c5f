"""The metrics of segmentation: what torchmetrics computes, what arithmetic says, and what never changes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from bench.data import dataset
from bench.metrics import segmentation
from bench.metrics.segmentation import (
    IGNORED,
    METRICS,
    MaskPredictions,
    confusion,
    counts_of,
    image_iou,
    mean_accuracy,
    miou,
    pixel_accuracy,
)

QUICK = settings(max_examples=40, deadline=None)

Levels = npt.NDArray[np.int64]


def maps(seed: int, images: int, classes: int, absent: bool = False) -> tuple[Levels, Levels]:
    """Predictions and masks (images, 9, 7); half of the pixels agree, a fifth is ignored."""
    state = np.random.RandomState(seed)
    most = max(1, classes // 2) if absent else classes
    masks = state.randint(0, most, (images, 9, 7))
    predictions = np.where(state.uniform(size=masks.shape) < 0.5, masks, state.randint(0, most, masks.shape))
    masks[state.uniform(size=masks.shape) < 0.2] = IGNORED
    return predictions, masks


def counted(predictions: Levels, masks: Levels, classes: int) -> MaskPredictions:
    return MaskPredictions.of_images([counts_of(p, m, classes) for p, m in zip(predictions, masks, strict=True)])


def jaccard(predictions: Levels, masks: Levels, classes: int, average: Any = "macro") -> Any:
    arrays = torch.from_numpy(predictions), torch.from_numpy(masks)
    return multiclass_jaccard_index(*arrays, classes, average, ignore_index=IGNORED).numpy()


@QUICK
@given(seed=st.integers(0, 10**6), images=st.integers(1, 4), classes=st.integers(2, 9), absent=st.booleans())
def test_miou_is_that_of_torchmetrics(seed: int, images: int, classes: int, absent: bool) -> None:
    predictions, masks = maps(seed, images, classes, absent)
    kept = counted(predictions, masks, classes)
    assert miou(kept) == pytest.approx(100 * jaccard(predictions, masks, classes), abs=1e-4)
    union, of_class = kept.union.sum(0), jaccard(predictions, masks, classes, "none")
    ours = kept.intersection.sum(0)[union > 0] / union[union > 0]
    np.testing.assert_allclose(ours, of_class[union > 0], atol=1e-6)
    if absent and classes >= 4:
        assert (union == 0).any()


@QUICK
@given(seed=st.integers(0, 10**6), images=st.integers(1, 4), classes=st.integers(2, 9))
def test_accuracies_are_those_of_torchmetrics(seed: int, images: int, classes: int) -> None:
    predictions, masks = maps(seed, images, classes)
    arrays = torch.from_numpy(predictions), torch.from_numpy(masks)
    kept = counted(predictions, masks, classes)
    micro = multiclass_accuracy(*arrays, classes, average="micro", ignore_index=IGNORED).item()
    recalls = multiclass_accuracy(*arrays, classes, average="none", ignore_index=IGNORED).numpy()
    assert pixel_accuracy(kept) == pytest.approx(100 * micro, abs=1e-4)
    assert mean_accuracy(kept) == pytest.approx(100 * recalls[kept.true.sum(0) > 0].mean(), abs=1e-4)


@QUICK
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 9))
def test_iou_of_an_image_is_its_miou_alone(seed: int, classes: int) -> None:
    predictions, masks = maps(seed, 3, classes)
    each = image_iou(counted(predictions, masks, classes))
    assert each.shape == (3,)
    for number in range(3):
        expected = 100 * jaccard(predictions[[number]], masks[[number]], classes)
        assert each[number] == pytest.approx(expected, abs=1e-4)


def test_perfect_predictions_score_100() -> None:
    _, masks = maps(0, 3, 5)
    right = np.where(masks == IGNORED, 0, masks)
    kept = counted(right, masks, 5)
    assert [metric.of(kept) for metric in METRICS] == [100, 100, 100]
    assert image_iou(kept).tolist() == [100, 100, 100]


def test_a_constant_prediction_scores_what_arithmetic_says() -> None:
    """Of 8 pixels 4 are of class 0, 2 of class 1 and 2 ignored; class 2 is nowhere, and all is said to be class 0."""
    mask = np.array([[0, 0, 0, 0], [1, 1, IGNORED, IGNORED]])
    kept = counted(np.zeros((1, 2, 4), np.int64), mask[None], 3)
    assert miou(kept) == pytest.approx(100 * (4 / 6 + 0) / 2)
    assert mean_accuracy(kept) == pytest.approx(100 * (1 + 0) / 2)
    assert pixel_accuracy(kept) == pytest.approx(100 * 4 / 6)
    assert image_iou(kept) == pytest.approx([100 * (4 / 6 + 0) / 2])


def test_counts_are_of_all_images_together_and_not_a_mean_of_images() -> None:
    masks, predictions = np.zeros((2, 1, 4), np.int64), np.array([[[0, 0, 0, 0]], [[0, 1, 1, 1]]])
    kept = counted(predictions, masks, 2)
    assert miou(kept) == pytest.approx(100 * (5 / 8 + 0) / 2)
    assert image_iou(kept) == pytest.approx([100, 100 * (1 / 4 + 0) / 2])


def test_where_nothing_is_counted_there_is_no_number() -> None:
    """An image that is ignored whole changes nothing; where all are, there is no value, and nothing is warned of."""
    _, masks = maps(1, 2, 3)
    masks[1] = IGNORED
    kept = counted(np.zeros_like(masks), masks, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = image_iou(kept)
        assert math.isnan(alone[1])
        assert alone[0] == miou(kept)
        nothing = counted(np.zeros_like(masks[1:]), masks[1:], 3)
        assert all(math.isnan(metric.of(nothing)) for metric in METRICS)


def test_confusion_counts_true_classes_in_rows() -> None:
    prediction, mask = np.array([[0, 1, 1, 2]], np.uint8), np.array([[0, 0, 1, IGNORED]], np.uint8)
    assert confusion(prediction, mask, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert counts_of(prediction, mask, 3).tolist() == [[1, 1, 0], [1, 2, 0], [2, 1, 0]]


def test_many_pixels_of_many_images_do_not_overflow() -> None:
    pixels = np.full((3, 2), 2**31, np.uint32)
    kept = MaskPredictions(pixels, pixels, pixels)
    assert [miou(kept), mean_accuracy(kept), pixel_accuracy(kept)] == [100, 100, 100]
    assert image_iou(kept).tolist() == [100, 100, 100]


def test_what_is_no_class_is_refused() -> None:
    good = np.array([[0, 1]])
    with pytest.raises(ValueError, match=r"a mask has levels 0 to 3, not 0 to 1"):
        counts_of(good, np.array([[0, 3]]), 2)
    with pytest.raises(ValueError, match=r"a prediction has levels 0 to 2"):
        counts_of(np.array([[0, 2]]), good, 2)
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        counts_of(good, good.T, 2)


def test_arrays_are_kept_and_read_again() -> None:
    kept = counted(*maps(2, 3, 4), 4)
    again = MaskPredictions.of(kept.arrays)
    assert list(kept.arrays) == [*MaskPredictions.of_points, *MaskPredictions.of_split]
    assert {array.shape for array in kept.arrays.values()} == {(3, 4)}
    assert [metric.of(again) for metric in METRICS] == [metric.of(kept) for metric in METRICS]


def test_ignored_is_the_level_that_datasets_have() -> None:
    assert segmentation.IGNORED == dataset.IGNORED


def test_more_right_pixels_than_there_are_cannot_be() -> None:
    two, one = np.full((1, 2), 2, np.uint32), np.full((1, 2), 1, np.uint32)
    with pytest.raises(ValueError, match="more pixels are right than there are"):
        MaskPredictions(two, two, one)
    with pytest.raises(ValueError, match="more pixels are right than there are"):
        MaskPredictions(two, one, two)
