"""Linear CKA: how alike the features of the trained model and of the one it started from are, layer by layer.

Centred kernel alignment with a linear kernel (Kornblith et al., ICML 2019): of centred features X and Y of the same
images, ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), all Frobenius norms. 1 where one is a rotation of the other, up to scale and shift; 0
where nothing of one tells of the other linearly. A layer's features are its output, the mean over tokens or places.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.measure import Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.subject import Subject

MEASURE = Measure(
    "cka",
    gives=(
        Metric("cka", "CKA with the source", "", low=0, high=1, decimals=3, measure="cka"),
        Metric("cka_mean", "CKA, mean of layers", "", low=0, high=1, decimals=3, measure="cka"),
    ),
    source="Kornblith et al., ICML 2019",
)


def measure(subject: Subject) -> Measured:
    """``cka`` is that of the features; arrays are ``layers``, the names from the input on, and ``cka`` of each.

    Raises ``CannotMeasure``: as ``Subject.layers``.
    """
    moments: dict[str, Moments] = {}
    for batch in subject.layers():
        for name, (source, trained) in batch.items():
            moments.setdefault(name, Moments()).add(source, trained)
    values = np.array([each.cka() for each in moments.values()])
    wide = max(max(each.widths) for each in moments.values())
    few = (
        f"{len(subject.split):,} images for features of up to {wide:,} dimensions: with fewer images than dimensions "
        "CKA is higher than with many"
    )
    return Measured(
        {"cka": float(values[-1]), "cka_mean": float(values.mean())},
        {"layers": np.array(list(moments)), "cka": values},
        (few,) if len(subject.split) < wide else (),
    )


class Moments:
    """First and second moments of two kinds of features of the same images, added up batch by batch.

    Memory is of D × D numbers in double precision, however many images there are.
    """

    def __init__(self) -> None:
        self.count = 0

    @property
    def widths(self) -> tuple[int, int]:
        """D of both."""
        return len(self.x), len(self.y)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add features of the same images, (B, D) and (B, E)."""
        x, y = x.double(), y.double()
        if not self.count:  # what is added up is small beside an origin among the features
            self.origins = x.mean(0), y.mean(0)
            self.x, self.y = x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1])
            self.xx, self.xy, self.yy = (a.T @ b * 0 for a, b in ((x, x), (x, y), (y, y)))
        x, y = x - self.origins[0], y - self.origins[1]
        self.count += len(x)
        self.x, self.y = self.x + x.sum(0), self.y + y.sum(0)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += y.T @ y

    def cka(self) -> float:
        """Of all that was added; nan where one of them is the same for all images."""
        xx = self.xx - self.x.outer(self.x) / self.count
        xy = self.xy - self.x.outer(self.y) / self.count
        yy = self.yy - self.y.outer(self.y) / self.count
        scale = float(xx.norm() * yy.norm())
        return float(xy.square().sum()) / scale if scale > 0 else math.nan
