"""Linear probe: only the head is trained, on features that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage
from bench.protocol import Recipe


@dataclass(frozen=True)
class LinearProbe(Method):
    """Only the linear head is trained; the backbone is frozen in eval mode.

    So it drops no path, and its batch-norm statistics stay.

    Papers probe with an optimiser and augmentation of their own (LARS, learning rate 0.1, no weight decay in Feature
    Distillation); here the protocol's hold, as for every method.
    """

    paper = "the linear probe of representation learning (such as 'ImageNet-1K linear probe' in Feature Distillation)"
    per_image = True

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains the head alone."""
        yield Stage(model, self.loss, recipe, train=(model.head,))
