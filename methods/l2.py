"""L2: weight decay towards zero, in the loss; what L2-SP is compared with (Li et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import penalised, squared_norm
from bench.method import Batch, Method, Stage, Terms, hyper, replace
from bench.protocol import Recipe


@dataclass(frozen=True)
class L2(Method):
    """Cross-entropy plus alpha/2 ‖w‖² on the backbone and beta/2 ‖w‖² on the head, in the place of weight decay.

    What is outside of the scope is not decayed. The penalty is part of the gradient: with AdamW it passes through the
    moments, unlike decoupled weight decay.
    """

    paper = "Li, Grandvalet and Davoine, 'Explicit Inductive Bias for Transfer Learning', ICML 2018, the baseline L2"
    per_image = True

    alpha: float = hyper(1e-4, low=0, source="authors' script for Stanford Dogs, L2 on the pre-trained layers")
    beta: float = hyper(1e-3, low=0, source="authors' script for Stanford Dogs, L2 on the new layer")
    scope: str = hyper(
        "all",
        choices=("all", "kernels"),
        source="all: the formula; kernels: authors' TensorFlow code, no biases, norms and embeddings",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage, without the optimiser's weight decay."""
        yield Stage(model, self.loss, replace(recipe, weight_decay=0.0))

    def loss(self, model: Model, batch: Batch) -> Terms:
        """Cross-entropy and the two penalties."""
        return {
            "ce": batch.cross_entropy(model(batch.images)),
            "l2": self.alpha * squared_norm(penalised(model.backbone, self.scope)),
            "l2_head": self.beta * squared_norm(penalised(model.head, self.scope)),
        }
