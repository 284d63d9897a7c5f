"""Metrics of masks: those of torchmetrics on random maps, and what arithmetic says of simple ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from bench.metrics import METRICS, scores
from bench.metrics.segmentation import MaskPredictions, class_iou, counts_of, image_iou

CLASSES, IGNORED = 6, 255
Maps = npt.NDArray[np.uint8]


def maps(seed: int, images: int = 4, absent: int = -1) -> tuple[Maps, Maps]:
    """Predictions and masks (images, 20, 16), a tenth of the masks' pixels ignored, without one of the classes."""
    state = np.random.RandomState(seed)
    classes = [each for each in range(CLASSES) if each != absent]
    predicted, true = (state.choice(classes, (images, 20, 16)).astype(np.uint8) for _ in range(2))
    true = np.where(state.rand(*true.shape) < 0.5, predicted, true)
    return predicted, np.where(state.rand(*true.shape) < 0.1, IGNORED, true).astype(np.uint8)


def predictions(predicted: Maps, true: Maps) -> MaskPredictions:
    counts = np.stack([counts_of(*pair, CLASSES) for pair in zip(predicted, true, strict=True)], axis=1)
    return MaskPredictions(*counts)


def theirs(metric: Any, predicted: Maps, true: Maps) -> npt.NDArray[np.float64]:
    value = metric(torch.from_numpy(predicted).long(), torch.from_numpy(true).long())
    return np.asarray(100 * value.double())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("absent", [-1, 2])
def test_they_are_those_of_torchmetrics(seed: int, absent: int) -> None:
    predicted, true = maps(seed, absent=absent)
    how: dict[str, Any] = {"num_classes": CLASSES, "ignore_index": IGNORED}
    each = theirs(MulticlassJaccardIndex(average="none", **how), predicted, true)
    of_classes = 100 * class_iou(predictions(predicted, true))
    present = [at for at in range(CLASSES) if at != absent]
    assert of_classes[present] == pytest.approx(each[present])
    assert np.isnan(of_classes).sum() == (absent >= 0)
    named = scores(predictions(predicted, true))
    assert list(named) == ["miou", "mean_accuracy", "pixel_accuracy"]
    assert named["miou"] == pytest.approx(each[present].mean())
    assert named["mean_accuracy"] == pytest.approx(
        theirs(MulticlassAccuracy(average="none", **how), predicted, true)[present].mean()
    )
    assert named["pixel_accuracy"] == pytest.approx(
        float(theirs(MulticlassAccuracy(average="micro", **how), predicted, true))
    )


def test_a_perfect_predictor_scores_100() -> None:
    _, true = maps(0)
    said = np.where(true == IGNORED, 0, true).astype(np.uint8)
    assert set(scores(predictions(said, true)).values()) == {100.0}
    assert image_iou(predictions(said, true)).tolist() == [100.0] * len(true)


def test_a_constant_predictor_scores_what_arithmetic_says() -> None:
    true = np.zeros((1, 4, 4), np.uint8)
    true[0, 0], true[0, 1, :2], true[0, 3] = 1, IGNORED, 2  # 4 pixels of 1, 2 of none, 4 of 2, 6 of 0
    named = scores(predictions(np.zeros_like(true), true))
    assert named["miou"] == pytest.approx(100 * (6 / 14) / 3)
    assert named["mean_accuracy"] == pytest.approx(100 / 3)
    assert named["pixel_accuracy"] == pytest.approx(100 * 6 / 14)


def test_the_iou_of_an_image_is_of_the_classes_that_it_has() -> None:
    true = np.zeros((2, 2, 2), np.uint8)
    true[1] = IGNORED
    said = np.array([[[0, 0], [0, 3]], [[1, 1], [1, 1]]], np.uint8)
    assert image_iou(predictions(said, true)) == pytest.approx([100 * (3 / 4 + 0) / 2, np.nan], nan_ok=True)


def test_they_survive_being_kept() -> None:
    made = predictions(*maps(1))
    assert scores(MaskPredictions.of(made.arrays)) == scores(made)


@pytest.mark.parametrize(
    ("said", "mask", "problem"),
    [(np.zeros((2, 2)), np.zeros((2, 3)), "two sizes|for a mask"), (np.full((2, 2), 6), np.zeros((2, 2)), "beyond 6")],
)
def test_what_cannot_be_counted_is_refused(said: Any, mask: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        counts_of(said, mask, CLASSES)


def test_they_are_in_the_list_of_metrics() -> None:
    assert METRICS["miou"].task == "segmentation"
    assert METRICS["top1"].task == "classification"
