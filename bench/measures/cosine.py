"""Cosine similarity of features: of pairs of one class, and of pairs of two.

Of pooled features the cosine of each pair of images is taken, each pair once. The numbers are means over all pairs of a
class (positive) and of different classes (negative). The distributions are of two classes alone, drawn by a seed that
never changes, as LaCViT's Fig. 2 has them; which two is not printed there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric
from bench.spec import derive

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "cosine",
    gives=(
        Metric("cosine_positive", "cosine within classes", "", low=-1, high=1, decimals=3, measure="cosine"),
        Metric("cosine_negative", "cosine between", "", lower=True, low=-1, high=1, decimals=3, measure="cosine"),
    ),
    images=2000,
    source="LaCViT, Fig. 2",
)

EDGES = np.linspace(-1, 1, 101)
"""Of the bins of the distributions."""

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


def measure(subject: Subject) -> Measured:
    """Means over all pairs, and the distributions (100,) over ``EDGES`` of the pairs of two classes (2,)."""
    features, labels = subject.features()
    every = np.unique(labels)
    if len(every) < 2:
        raise CannotMeasure("there are images of one class alone, so no pairs of two")
    chosen = np.sort(np.random.RandomState(derive("classes of a pair")).permutation(every)[:2])
    inside = np.isin(labels, chosen)
    positive, negative = pairs(features[inside], labels[inside])
    within, between = means(features, labels)
    arrays = {
        "classes": chosen,
        "edges": EDGES,
        "positive": np.histogram(positive, EDGES)[0],
        "negative": np.histogram(negative, EDGES)[0],
    }
    return Measured({"cosine_positive": within, "cosine_negative": between}, arrays)


def pairs(features: Floats, labels: Labels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The cosines of all pairs of features (N, D) of one class, and of two, by labels (N,); each pair once."""
    unit = _unit(features)
    first, second = np.triu_indices(len(unit), 1)
    cosines = np.clip((unit @ unit.T)[first, second], -1, 1)
    same = labels[first] == labels[second]
    return cosines[same], cosines[~same]


def means(features: Floats, labels: Labels) -> tuple[float, float]:
    """The mean cosine over all pairs of one class, and of two; nan where there is no such pair.

    By sums of unit features, so that memory does not grow with the number of pairs: the sum of all cosines among some
    images is the square of the length of their sum.
    """
    unit = _unit(features)
    lengths = (unit**2).sum(axis=1)  # 1, but of a feature that is 0
    total = _among(unit, lengths)
    groups = [labels == label for label in np.unique(labels)]
    within = math.fsum(_among(unit[group], lengths[group]) for group in groups)
    positive = sum(int(group.sum()) * (int(group.sum()) - 1) // 2 for group in groups)
    negative = len(unit) * (len(unit) - 1) // 2 - positive
    return within / positive if positive else math.nan, (total - within) / negative if negative else math.nan


def _among(unit: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]) -> float:
    """The sum of the cosines of all pairs, each once."""
    return float(((unit.sum(axis=0) ** 2).sum() - lengths.sum()) / 2)


def _unit(features: Floats) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    unit: npt.NDArray[np.float64] = features / np.maximum(lengths, np.finfo(np.float64).tiny)
    return unit
