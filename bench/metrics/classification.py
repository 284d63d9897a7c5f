"""How well images are classified: shares of right answers, and how good the probabilities are.

NumPy is imported when something is computed: what metrics there are is asked far more often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.metric import Metric
from bench.metrics.predictions import SHARES, Predictions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BINS = 15
"""Of the calibration error; Guo et al., ICML 2017, and torchmetrics' default."""


def top1(predictions: Predictions) -> float:
    """Share of images whose true class is the predicted one, in percent."""
    return 100 * float(predictions.right.mean())


def top5(predictions: Predictions) -> float:
    """Share of images whose true class is among the five of the highest logits, in percent."""
    return 100 * float((predictions.rank <= 5).mean())


def mean_per_class(predictions: Predictions) -> float:
    """Mean over the classes that the split has of the share of their images that is right, in percent."""
    import numpy as np

    images = np.bincount(predictions.labels)
    right = np.bincount(predictions.labels, weights=predictions.right)
    return 100 * float(np.mean(right[images > 0] / images[images > 0]))


def nll(predictions: Predictions) -> float:
    """Mean negative natural logarithm of the true class's probability."""
    return -float(predictions.log_probability.mean())


def ece(predictions: Predictions) -> float:
    """Expected calibration error over ``BINS`` equal-width bins ``(low, high]`` of the confidence, in percent.

    The mean over images of the gap between accuracy and mean confidence of their bin; Guo et al., "On calibration of
    modern neural networks", ICML 2017, equation 3.
    """
    import numpy as np

    confidence = predictions.confidence
    if np.isnan(confidence).any():
        return float("nan")
    # counted in steps, of which an edge is a whole number; rounded, since a quotient need not be one
    bins = np.ceil(np.round(confidence * SHARES) / (SHARES // BINS)).astype(np.int64) - 1
    gaps = np.bincount(bins, weights=predictions.right - confidence, minlength=BINS)
    return 100 * float(np.abs(gaps).sum() / confidence.size)


def brier(predictions: Predictions) -> float:
    """Mean over images of the squared distance between the probabilities and the true class's one-hot vector, 0 to 2.

    Brier, "Verification of forecasts expressed in terms of probability", 1950: summed over classes, not their mean.
    """
    return float((predictions.squares - 2 * predictions.probability + 1).mean())


def right(predictions: Predictions) -> npt.NDArray[np.bool_]:
    """(images,), whether the predicted class is the true one."""
    return predictions.right


PREDICTIONS = Predictions

PER_IMAGE = right

METRICS = (
    Metric("top1", "top-1", "%", low=0, high=100, compute=top1, per_image=True),
    Metric("top5", "top-5", "%", low=0, high=100, compute=top5, per_image=True),
    Metric("mean_per_class", "mean per class", "%", low=0, high=100, compute=mean_per_class),
    Metric("nll", "negative log-likelihood", "", lower=True, low=0, decimals=3, compute=nll),
    Metric("ece", "calibration error", "%", lower=True, low=0, high=100, compute=ece),
    Metric("brier", "Brier score", "", lower=True, low=0, high=2, decimals=3, compute=brier),
)
