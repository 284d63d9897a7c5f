"""The validation split of a run, as a method sees it that chooses by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.backbones import Model
from bench.hyper import Value
from bench.method import Batch

if TYPE_CHECKING:
    from bench.data.training import TrainingImages


@dataclass(frozen=True)
class Validation:
    """The validation split of a run, for a method that chooses by it; nothing is trained on it.

    Attributes:
        images: the split, which is only looked at without augmentation.
        scorer: the task's score of a model on the split, larger being better.
        chosen: what was chosen, by name; the record of the run says it.
    """

    images: TrainingImages
    scorer: Callable[[Model], float]
    chosen: dict[str, Value] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def score(self, model: Model) -> float:
        """The task's score of a model on the whole split; larger is better, whatever the score is.

        Of a task whose score is better where it is less it is the negative, and −∞ where it is no number. Nothing is
        drawn at random; the model is left in eval mode.
        """
        return self.scorer(model)

    def plain(self, batch_size: int = 256) -> Iterator[Batch]:
        """Every image once, in order, without augmentation."""
        return self.images.plain(batch_size)

    def features(self, model: Model) -> Validation:
        """The split with what a model's backbone gives for its images in their place (``TrainingImages.features``)."""
        return replace(self, images=self.images.features(model))

    def chose(self, **what: Value) -> None:
        """Note what was chosen, by name, for the record of the run."""
        self.chosen.update(what)
