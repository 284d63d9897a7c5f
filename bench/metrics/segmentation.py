"""How well the pixels of images are classified, from counts that are kept of each image.

NumPy is imported when something is computed: what metrics there are is asked far more often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.metrics.metric import Metric
from bench.metrics.predictions import KeptArrays

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

IGNORED = 255
"""The level of a mask's pixels that count for nothing."""


@dataclass(frozen=True)
class MaskPredictions(KeptArrays):
    """Pixels of each image of a split, counted by class at a point of a run's curve; those without a class left out.

    Args:
        intersection: (images, K), pixels of a class that were predicted to be of it.
        predicted: (images, K), pixels predicted to be of a class.
        true: (images, K), pixels of a class.
    """

    task: ClassVar[str] = "segmentation"
    of_points: ClassVar[Sequence[str]] = ("intersection", "predicted")
    of_split: ClassVar[Sequence[str]] = ("true",)
    of_class: ClassVar[int] = 8

    intersection: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    true: npt.NDArray[Any]

    def __post_init__(self) -> None:
        """Raises ``ValueError``: more pixels of an image are right than were predicted, or than there are."""
        if (self.intersection > self.predicted).any() or (self.intersection > self.true).any():
            raise ValueError("more pixels are right than there are")

    @classmethod
    def of_images(cls, counts: Sequence[Counts]) -> MaskPredictions:
        """From what ``counts_of`` gives for each image, of which there is at least one; kept in four bytes a count."""
        import numpy as np

        return cls(*np.stack(counts, axis=1).astype(np.uint32))

    @property
    def union(self) -> Counts:
        """(images, K), pixels that are of a class or predicted to be."""
        union: Counts = self.predicted.astype("int64") + self.true - self.intersection
        return union


def confusion(prediction: npt.NDArray[Any], mask: npt.NDArray[Any], classes: int) -> Counts:
    """(K, K): how many pixels of a true class (row) were predicted to be of a class (column), ignored ones left out.

    Args:
        prediction: (H, W) or any shape, class indices.
        mask: of the same shape, class indices or ``IGNORED``.
        classes: K, at most 255.

    Raises:
        ValueError: the shapes differ, or a level that is not ignored is no class.
    """
    import numpy as np

    if prediction.shape != mask.shape:
        raise ValueError(f"a prediction of shape {prediction.shape} is not that of a mask of shape {mask.shape}")
    counted = mask != IGNORED
    true, predicted = mask[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, levels in (("mask", true), ("prediction", predicted)):
        if levels.size and not 0 <= levels.min() <= levels.max() < classes:
            raise ValueError(f"a {name} has levels {levels.min()} to {levels.max()}, not 0 to {classes - 1}")
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def counts_of(prediction: npt.NDArray[Any], mask: npt.NDArray[Any], classes: int) -> Counts:
    """(3, K) of an image: pixels of intersection, predicted and true; arguments and errors as of ``confusion``."""
    import numpy as np

    counted = confusion(prediction, mask, classes)
    return np.stack([counted.diagonal(), counted.sum(0), counted.sum(1)])


def miou(predictions: MaskPredictions) -> float:
    """Mean over classes of the intersection of all images over their union, in percent.

    A class that is neither in a mask nor predicted anywhere is left out; nan where that leaves none.
    """
    return _mean_share(predictions.intersection.sum(0), predictions.union.sum(0))


def mean_accuracy(predictions: MaskPredictions) -> float:
    """Mean over classes of the share of their pixels that is right, over all images, in percent.

    A class that is in no mask is left out; nan where that leaves none.
    """
    return _mean_share(predictions.intersection.sum(0), predictions.true.sum(0))


def pixel_accuracy(predictions: MaskPredictions) -> float:
    """Share of the pixels of all images that is right, in percent; nan where no pixel has a class."""
    return _mean_share(predictions.intersection.sum(keepdims=True), predictions.true.sum(keepdims=True))


def image_iou(predictions: MaskPredictions) -> Floats:
    """(images,), the mean IoU of each image over the classes in its mask or its prediction, in percent.

    nan for an image of which no pixel has a class. Its mean is not ``miou``, which counts all images together.
    """
    import numpy as np

    shares = [
        _mean_share(intersection, union)
        for intersection, union in zip(predictions.intersection, predictions.union, strict=True)
    ]
    return np.array(shares, dtype=np.float64)


def _mean_share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> float:
    """Mean of part / whole in percent, where the whole is not 0; nan where it is 0 everywhere."""
    counted = whole > 0
    return 100 * float((part[counted] / whole[counted]).mean()) if counted.any() else float("nan")


PREDICTIONS = MaskPredictions

PER_IMAGE = image_iou

METRICS = (
    Metric("miou", "mIoU", "%", low=0, high=100, compute=miou, task="segmentation"),
    Metric("mean_accuracy", "mean accuracy", "%", low=0, high=100, compute=mean_accuracy, task="segmentation"),
    Metric("pixel_accuracy", "pixel accuracy", "%", low=0, high=100, compute=pixel_accuracy, task="segmentation"),
)
