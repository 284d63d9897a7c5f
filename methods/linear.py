"""Linear probe: only the head is trained, on features that stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class LinearProbe(Method):
    """Only the linear head is trained; the backbone is frozen in eval mode: no path is dropped, batch norms stay.

    Papers probe with an optimiser and augmentation of their own (LARS, base learning rate 0.1, no weight decay in MAE
    and Feature Distillation): these are the protocol's (``optimizer: lars``), as for every method. For evaluation, and
    in a kept model, the batch norm is part of the linear layer.
    """

    paper = "the linear probe of representation learning (such as 'ImageNet-1K linear probe' in Feature Distillation)"
    per_image = True

    batch_norm: bool = hyper(
        False,
        source="before the head, without scale and shift (eps 1e-6), the head then starting at sd 0.01; released code "
        "of MAE and Feature Distillation",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains the head alone."""
        if self.batch_norm:
            model.norm_features()
        yield Stage(model, self.loss, recipe, train=(model.head,))
