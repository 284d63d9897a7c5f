"""Drift: how far training moved the features of an image, layer by layer.

The root of the mean over images of ‖f − f₀‖², beside that of ‖f₀‖², where f₀ is what the pre-trained model gives and f
what the trained one does. 0 where nothing moved. A layer's features are its output, the mean over tokens or places.
Unlike CKA it sees that features were turned or scaled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.measure import Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "drift",
    gives=(
        Metric("drift", "drift of features", "", lower=True, low=0, decimals=3, measure="drift"),
        Metric("drift_mean", "drift, mean of layers", "", lower=True, low=0, decimals=3, measure="drift"),
    ),
    source="our choice",
)


def measure(subject: Subject) -> Measured:
    """``drift`` is that of the features; arrays are ``layers``, the names from the input on, and ``drift`` of each.

    Raises ``CannotMeasure``: as ``Subject.layers``.
    """
    moved: dict[str, float] = {}
    lengths: dict[str, float] = {}
    for batch in subject.layers():
        for name, (source, trained) in batch.items():
            source = source.double()
            moved[name] = moved.get(name, 0.0) + float((trained.double() - source).square().sum())
            lengths[name] = lengths.get(name, 0.0) + float(source.square().sum())
    values = np.array([relative(moved[name], lengths[name]) for name in moved])
    return Measured(
        {"drift": float(values[-1]), "drift_mean": float(values.mean())},
        {"layers": np.array(list(moved)), "drift": values},
    )


def relative(moved: float, lengths: float) -> float:
    """Of sums of squares over images; nan where the features before were all 0."""
    return math.sqrt(moved / lengths) if lengths > 0 else math.nan
