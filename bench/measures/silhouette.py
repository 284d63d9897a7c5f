"""Silhouette: how much nearer an image lies to its own class than to the next one. More is better.

Rousseeuw (1987): of each image, b − a over the larger of both, where a is its mean distance to the others of its class
and b the smallest mean distance to the images of another one; 0 where it is alone in its class. The mean over images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "silhouette",
    gives=(Metric("silhouette", "silhouette", "", low=-1, high=1, decimals=3, measure="silhouette"),),
    source="Rousseeuw, Journal of Computational and Applied Mathematics 20, 1987; computed by scikit-learn",
)

MEGABYTES = 64
"""Distances that are in memory at a time."""


def measure(subject: Subject) -> Measured:
    """Of the pooled features of all images. Raises ``CannotMeasure``: there are no two classes to compare."""
    features, labels = subject.features()
    if not 1 < len(np.unique(labels)) < len(labels):
        raise CannotMeasure("it compares images of a class with those of another one, and there are none")
    return Measured({"silhouette": silhouette(features, labels)})


def silhouette(features: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float:
    """Of features (N, D) with labels (N,), by Euclidean distance; some rows of distances at a time."""
    from sklearn import config_context
    from sklearn.metrics import silhouette_score

    with config_context(working_memory=MEGABYTES):
        return float(silhouette_score(features.astype(np.float64), labels))
