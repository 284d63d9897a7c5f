"""Alignment and uniformity: how near images of a class lie, and how evenly all of them fill the sphere of features.

Wang and Isola (ICML 2020), with images of a class in the place of two views of one: of features f of length 1,
alignment is the mean of ‖f(x) − f(y)‖² over pairs of a class, uniformity the logarithm of the mean of
exp(−2 ‖f(x) − f(y)‖²) over all pairs. Less is better for both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "uniformity",
    gives=(
        Metric("alignment", "alignment", "", lower=True, low=0, high=4, decimals=3, measure="uniformity"),
        Metric("uniformity", "uniformity", "", lower=True, high=0, decimals=3, measure="uniformity"),
    ),
    source="Wang and Isola, ICML 2020",
)

ROWS = 1024
"""Images whose distances to all are in memory at a time."""


def measure(subject: Subject) -> Measured:
    """Of the pooled features of all images."""
    features, labels = subject.features()
    alignment, uniformity = alignment_uniformity(features, labels)
    return Measured({"alignment": alignment, "uniformity": uniformity})


def alignment_uniformity(
    features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64], t: float = 2.0
) -> tuple[float, float]:
    """Both numbers of features (N, D) with labels (N,); nan where there is no pair to take them of."""
    features = features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if not lengths.all():  # what has no length has no place on the sphere
        return math.nan, math.nan
    unit = features / lengths
    near = total = 0.0
    pairs = 0
    for begin in range(0, len(unit), ROWS):
        rows = np.arange(begin, min(begin + ROWS, len(unit)))
        squared = np.maximum(2 - 2 * unit[rows] @ unit.T, 0)
        same = labels[rows, None] == labels
        same[np.arange(len(rows)), rows] = False
        near += float(squared[same].sum())
        pairs += int(same.sum())
        total += float(np.exp(-t * squared).sum()) - len(rows)  # an image and itself are no pair
    everything = len(unit) * (len(unit) - 1)
    alignment = near / pairs if pairs else math.nan
    return alignment, math.log(total / everything) if everything and total > 0 else math.nan
