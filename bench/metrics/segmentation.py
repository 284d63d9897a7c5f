"""How well the pixels of images are classified, from counts of pixels that are kept of each image.

NumPy is imported when something is computed: what metrics there are is asked far more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bench.metrics.metric import Metric

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaskPredictions:
    """What was predicted of the pixels of each image of a split; those of no class are left out of all counts.

    Args:
        intersection: (images, classes), pixels of a class that are predicted as it.
        predicted: (images, classes), pixels that are predicted as a class.
        true: (images, classes), pixels of a class.
    """

    intersection: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    true: npt.NDArray[Any]

    task: ClassVar[str] = "segmentation"
    of_points: ClassVar[Sequence[str]] = ("intersection", "predicted")
    of_split: ClassVar[Sequence[str]] = ("true",)

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """As they are kept."""
        return {"intersection": self.intersection, "predicted": self.predicted, "true": self.true}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> MaskPredictions:
        """From arrays as ``arrays`` gives them."""
        return cls(arrays["intersection"], arrays["predicted"], arrays["true"])


def counts_of(prediction: npt.NDArray[Any], mask: npt.NDArray[Any], classes: int, ignored: int = 255) -> Counts:
    """(3, classes) of an image: intersection, predicted and true pixels, as ``MaskPredictions`` has them.

    Prediction and mask are (H, W) class indices; pixels whose mask is ``ignored`` count for nothing. Raises
    ``ValueError``: they are of two sizes, or a level is no class.
    """
    import numpy as np

    if prediction.shape != mask.shape:
        raise ValueError(f"a prediction of {prediction.shape} pixels for a mask of {mask.shape}")
    counted = mask != ignored
    said, is_true = prediction[counted].astype(np.int64), mask[counted].astype(np.int64)
    if max(said.max(initial=0), is_true.max(initial=0)) >= classes:
        raise ValueError(f"a pixel is of a class beyond {classes}")
    both = said[said == is_true]
    return np.stack([np.bincount(levels, minlength=classes) for levels in (both, said, is_true)])


def class_iou(predictions: MaskPredictions) -> Floats:
    """(classes,), intersection over union of each class, over all images together; nan where no pixel is of it.

    Everingham et al., "The PASCAL Visual Object Classes challenge", 2015: true positives over true positives, false
    positives and false negatives.
    """
    intersection, predicted, true = (_total(counts) for counts in predictions.arrays.values())
    return _share(intersection, predicted + true - intersection)


def miou(predictions: MaskPredictions) -> float:
    """Mean over classes of ``class_iou``, in percent, without those that neither masks nor predictions have."""
    import numpy as np

    return _mean(100 * np.asarray(class_iou(predictions)))


def mean_accuracy(predictions: MaskPredictions) -> float:
    """Mean over the classes that masks have of the share of their pixels that is right, in percent."""
    return _mean(100 * _share(_total(predictions.intersection), _total(predictions.true)))


def pixel_accuracy(predictions: MaskPredictions) -> float:
    """Share of pixels that are right, in percent."""
    return float(100 * _share(_total(predictions.intersection).sum(), _total(predictions.true).sum()))


def image_iou(predictions: MaskPredictions) -> Floats:
    """(images,), the mean over the classes that an image's mask or prediction has of their IoU in it, in percent."""
    import numpy as np

    intersection = predictions.intersection.astype(np.int64)
    union = predictions.predicted.astype(np.int64) + predictions.true - intersection
    shares, present = 100 * _share(intersection, union), union > 0
    count = present.sum(1)
    return np.divide(np.where(present, shares, 0).sum(1), count, out=np.full(len(count), np.nan), where=count > 0)


def _total(counts: npt.NDArray[Any]) -> Counts:
    import numpy as np

    return np.asarray(counts.astype(np.int64).sum(0))


def _share(part: Any, whole: Any) -> Floats:
    """The quotient; nan where there is nothing to divide by."""
    import numpy as np

    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _mean(values: Floats) -> float:
    """Of the numbers among them; nan where there is none."""
    import numpy as np

    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


PREDICTIONS = MaskPredictions

METRICS = (
    Metric("miou", "mIoU", "%", low=0, high=100, compute=miou, task="segmentation"),
    Metric("mean_accuracy", "mean accuracy", "%", low=0, high=100, compute=mean_accuracy, task="segmentation"),
    Metric("pixel_accuracy", "pixel accuracy", "%", low=0, high=100, compute=pixel_accuracy, task="segmentation"),
)
