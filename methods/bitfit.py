"""BitFit: only the biases and the head are trained (Ben Zaken et al., ACL 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage
from bench.protocol import Recipe


@dataclass(frozen=True)
class BitFit(Method):
    """Every bias of the backbone is trained, those of its norms too, and the new head; all other weights are frozen.

    The network is in training mode as in fine-tuning, so that frozen branches drop paths; batch norms keep their
    statistics. A ViT-B/16 has 102,912 biases, 0.12 % of its weights. The paper's smaller form, queries and second
    layers of FFNs alone, cannot be told apart where queries, keys and values are one layer.
    """

    paper = (
        "Ben Zaken, Ravfogel and Goldberg, 'BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based "
        "Masked Language-models', ACL 2022, section 3"
    )
    per_image = True

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains biases and head.

        Raises:
            InputError: the backbone has no biases.
        """
        yield Stage(model, self.loss, recipe, train=(*model.part("biases"), model.head), frozen_drops=True)
