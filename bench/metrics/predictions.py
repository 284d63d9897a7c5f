"""What is kept of each image at each scored point, in few bytes, and what metrics see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CLASSIFICATION = "classification"
"""The task of a dataset, and of a record, that names none."""

AnyKept = TypeVar("AnyKept", bound="KeptArrays")

ARRAYS = ("confidence", "log_probability", "rank", "squares")
"""What is kept of an image beside the predicted class, as ``predictions.npz`` names it after the split."""

CLASS_NAMES = "class_names"
"""What the names of the classes are called beside them, by label; runs from before they were kept have none."""

BYTES = 12
"""Kept of an image at a scored point: the predicted class, and what ``compact`` gives."""

SHARES = 65535
"""Steps of a share. It is a multiple of 15, so that the edges of 15 bins lie on steps and no image changes its bin."""


class TaskPredictions(Protocol):
    """What was predicted of each image of a split at a point of a run's curve, whatever the task.

    Attributes:
        task: whose predictions they are.
        of_points: names of the arrays that are kept at each point, (images, ...) each; the first is always there.
        of_split: names of those that are kept once: what was to be predicted.
    """

    task: ClassVar[str]
    of_points: ClassVar[Sequence[str]]
    of_split: ClassVar[Sequence[str]]

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """Those of both kinds, by name."""
        ...

    @classmethod
    def bytes_of(cls, classes: int) -> int:
        """What is kept of an image at a point, where there are so many classes."""
        ...

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> TaskPredictions:
        """Predictions from their arrays at a point, as ``arrays`` gives them."""
        ...


class KeptArrays(TaskPredictions):
    """Predictions whose fields are the arrays that are kept: a frozen dataclass derives from it.

    Attributes:
        of_class: bytes of all of ``of_points``, of an image for each class.
    """

    of_class: ClassVar[int]

    @classmethod
    def bytes_of(cls, classes: int) -> int:
        """As of ``TaskPredictions``."""
        return cls.of_class * classes

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """By name, as they are kept."""
        return {name: getattr(self, name) for name in (*self.of_points, *self.of_split)}

    @classmethod
    def of(cls: type[AnyKept], arrays: Mapping[str, npt.NDArray[Any]]) -> AnyKept:
        """From arrays as ``arrays`` gives them."""
        return cls(**arrays)


class NotKept(LookupError):
    """A run did not keep what a metric is computed from; the message says what."""


@dataclass(frozen=True)
class Predictions:
    """What was predicted of each image of a split at a point of a run's curve.

    Args:
        predicted: (images,), the class with the highest logit, the first of equals.
        labels: (images,), the true class.
        stored: the arrays of ``ARRAYS``, each (images,), as ``compact`` makes them; those of older runs lack.

    Its attributes raise ``NotKept`` where a run did not keep them.
    """

    task: ClassVar[str] = CLASSIFICATION
    of_points: ClassVar[Sequence[str]] = ("", *ARRAYS)
    of_split: ClassVar[Sequence[str]] = ("labels",)

    predicted: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    stored: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """As they are kept: what was predicted has no name but the split's."""
        return {"": self.predicted, **self.stored, "labels": self.labels}

    @classmethod
    def bytes_of(cls, classes: int) -> int:
        """The predicted class, and what ``compact`` gives."""
        return BYTES

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Predictions:
        """From arrays as ``arrays`` gives them."""
        return cls(arrays[""], arrays["labels"], {name: arrays[name] for name in ARRAYS if name in arrays})

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """(images,), whether the predicted class is the true one."""
        right: npt.NDArray[np.bool_] = self.predicted == self.labels
        return right

    @cached_property
    def confidence(self) -> Floats:
        """(images,), the probability of the predicted class, at most 1 / ``SHARES`` too high; nan where it is none."""
        return _share(self._stored("confidence"))

    @cached_property
    def log_probability(self) -> Floats:
        """(images,), the natural logarithm of the true class's probability, to 7 digits."""
        return self._stored("log_probability").astype("float64")

    @cached_property
    def probability(self) -> Floats:
        """(images,), the true class's probability."""
        import numpy as np

        return np.exp(self.log_probability)

    @cached_property
    def rank(self) -> npt.NDArray[np.int64]:
        """(images,), the place of the true class, 1 for the highest logit; of equals the first class comes first."""
        return self._stored("rank").astype("int64")

    @cached_property
    def squares(self) -> Floats:
        """(images,), the sum over classes of the squared probabilities, at most 1 / ``SHARES`` too high."""
        return _share(self._stored("squares"))

    def _stored(self, name: str) -> npt.NDArray[Any]:
        if name not in self.stored:
            raise NotKept(f"the run kept no {name.replace('_', ' ')} of its images")
        return self.stored[name]


def compact(
    confidence: Floats, log_probability: Floats, rank: npt.NDArray[Any], squares: Floats
) -> dict[str, npt.NDArray[Any]]:
    """What is kept of some images, from exact values.

    A share is rounded up to the next of ``SHARES`` steps in two bytes (a float16 would be 16 times coarser near 1); 0
    says that it is no number. The logarithm keeps a float32: it has no bound, and of a small probability the mean of
    logarithms wants its order of magnitude.

    Args:
        confidence: (images,), in [0, 1].
        log_probability: (images,).
        rank: (images,), from 1.
        squares: (images,), in [0, 1].
    """
    return {
        "confidence": _steps(confidence),
        "log_probability": log_probability.astype("float32"),
        "rank": rank.clip(max=SHARES).astype("uint16"),
        "squares": _steps(squares),
    }


def _steps(share: Floats) -> npt.NDArray[np.uint16]:
    import numpy as np

    steps = np.ceil(np.clip(share, 0, 1) * SHARES)
    return np.nan_to_num(steps, nan=0.0).astype(np.uint16)


def _share(steps: npt.NDArray[np.uint16]) -> Floats:
    import numpy as np

    return np.where(steps == 0, np.nan, steps / SHARES)
