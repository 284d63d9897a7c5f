"""L2-SP: weight decay towards the pre-trained weights (Li et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import penalised, squared_norm
from bench.method import Batch, Method, Stage, Terms, hyper, replace
from bench.protocol import Recipe


def squared_distance(weights: Sequence[Tensor], start: Sequence[Tensor]) -> Tensor:
    """Half the squared Euclidean distance of weights to where they started, 1/2 ‖w − w⁰‖² (Li et al., section 3).

    Args:
        weights: tensors of any shapes.
        start: tensors of the same shapes.

    Returns:
        (), a sum over all elements, not a mean.

    Raises:
        ValueError: the two lists do not have the same length.
    """
    distances = [(w - w0).square().sum() for w, w0 in zip(weights, start, strict=True)]
    return 0.5 * torch.stack(distances).sum()


@dataclass(frozen=True)
class L2SP(Method):
    """Cross-entropy plus alpha/2 ‖w − w⁰‖² on the backbone and beta/2 ‖w‖² on the head.

    What is outside of the scope is neither pulled back nor decayed; buffers (batch norm's statistics) never are.
    The penalty is part of the gradient: with AdamW it passes through the moments, unlike decoupled weight decay.
    """

    paper = "Li, Grandvalet and Davoine, 'Explicit Inductive Bias for Transfer Learning', ICML 2018, section 3"
    per_image = True

    alpha: float = hyper(0.1, low=0, source="authors' script for Stanford Dogs (0.01: their parser, TLlib)")
    beta: float = hyper(0.01, low=0, source="authors' scripts; applied to the new head")
    scope: str = hyper(
        "all",
        choices=("all", "kernels"),
        source="all: the formula of section 3, TLlib; kernels: authors' TensorFlow code, no biases, norms, embeddings",
    )
    replaces_decay: bool = hyper(True, source="the penalty stands in the place of weight decay (section 3)")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; the start of the weights is kept beside it."""
        backbone, head = penalised(model.backbone, self.scope), penalised(model.head, self.scope)
        start = [weight.detach().clone() for weight in backbone]

        def loss(model: Model, batch: Batch) -> Terms:
            return {
                "ce": batch.cross_entropy(model(batch.images)),
                "l2sp": self.alpha * squared_distance(backbone, start),
                "l2": self.beta * squared_norm(head),
            }

        yield Stage(model, loss, replace(recipe, weight_decay=0.0) if self.replaces_decay else recipe)
