"""SCL: cross-entropy beside a supervised contrastive loss, as COIN's baseline (arXiv:2011.01403)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32, in_sets, supervised_contrastive
from bench.method import Batch, Method, Stage, Terms, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class SCL(Method):
    """Cross-entropy plus lambda times the supervised contrastive loss of projected features; one view.

    The form is that of COIN (section 3.2), which is COIN without its first stage; of its lambda in the paper and in the
    released code the card of COIN tells. Gunel et al. weigh cross-entropy with 1 − lambda (their lambda of 0.9 is a
    ratio of 9, not of 0.1) and contrast the encoder's output itself: ``scl(weighting=convex)``. They write a sum over
    the anchors of a batch beside a mean of cross-entropies and published no code; here both are means.
    """

    paper = "Gunel et al., arXiv:2011.01403, in the form of COIN (Pan et al.), section 3.2, L = L_ce + lambda L_con"

    weight: float = hyper(
        {"added": 0.1, "convex": 0.9},
        by="weighting",
        low=0,
        source="lambda; COIN 4.2 for added; Gunel et al. for convex: most often their best",
    )
    weighting: str = hyper(
        "added",
        choices=("added", "convex"),
        source="added: COIN 3.2, CE + lambda SCL; convex: Gunel et al., (1 - lambda) CE + lambda SCL",
    )
    projector: bool = hyper(
        {"added": True, "convex": False}, by="weighting", source="COIN's released code; Gunel et al.: none"
    )
    temperature: float = hyper(0.3, low=0.01, source="tau; COIN 4.2")
    projection: int = hyper(256, low=1, source="width of the projector's output; COIN's released code")
    contrast_set: int = hyper(
        0, low=0, source="images that are contrasted; 0: the batch's; COIN's released code: 64, four such sets a step"
    )
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="released: COIN's code has the anchor among its positives and divides by the batch, not by |P_i|",
    )
    anchors: str = hyper(
        "all",
        choices=("all", "paired"),
        source="of what eq. 1 of COIN is the mean: all n images; paired: those with a positive in it, our choice",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; the projector is trained with the model and not used afterwards.

        Raises:
            ValueError: lambda is above 1 where cross-entropy is weighed with 1 − lambda.
        """
        released, paired = self.variant == "released", self.anchors == "paired"
        convex = self.weighting == "convex"
        if convex and self.weight > 1:
            raise ValueError(f"scl: weight is {self.weight}; with weighting=convex it must be at most 1")
        projector: nn.Module = nn.Identity()
        if self.projector:
            projector = nn.Sequential(nn.Linear(model.dim, model.dim), nn.ReLU(), nn.Linear(model.dim, self.projection))

        def of_set(z: Tensor, labels: Tensor) -> Tensor:
            return supervised_contrastive(
                z, labels, self.temperature, self_positive=released, over_batch=released, paired_only=paired
            )

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images)
            z = F.normalize(at_least_float32(projector(output.features)), dim=1)
            contrast = in_sets(of_set, self.contrast_set, z, batch.labels)
            ce = batch.cross_entropy(output)
            return {"ce": (1 - self.weight) * ce if convex else ce, "con": self.weight * contrast}

        yield Stage(model, loss, recipe, train=(model, projector))
