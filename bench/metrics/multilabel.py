"""How well all that an image shows is named: every class ranks the images by its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.metrics.metric import Metric
from bench.metrics.predictions import KeptArrays


@dataclass(frozen=True)
class MultiLabelPredictions(KeptArrays):
    """Logits of each image, and what it shows: 1, 0, or nan where it does not count; single precision, (images, K)."""

    task, of_points, of_split, of_class = "multilabel", ("logits",), ("present",), 4
    logits: Any
    present: Any


def mean_average_precision(predictions: MultiLabelPredictions) -> float:
    """Mean over the classes that are present of the area under precision by recall, not interpolated, in percent."""
    import numpy as np
    from sklearn.metrics import average_precision_score

    areas = []
    for logits, present in zip(predictions.logits.T, predictions.present.T, strict=True):
        counted = ~np.isnan(present)
        if (present == 1).any() and np.isfinite(predictions.logits).all():
            areas.append(average_precision_score(present[counted], logits[counted]))
    return 100 * float(np.mean(areas)) if areas else float("nan")


def exact_match(predictions: MultiLabelPredictions) -> float:
    """Share of images of which no class that counts is wrong at a probability of a half, in percent."""
    return 100 * float((predictions.present != (predictions.logits <= 0)).all(1).mean())


PREDICTIONS = MultiLabelPredictions

METRICS = (
    Metric("map", "mAP", "%", low=0, high=100, compute=mean_average_precision, task="multilabel"),
    Metric("exact_match", "exact match", "%", low=0, high=100, compute=exact_match, per_image=True, task="multilabel"),
)
