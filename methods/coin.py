"""COIN: a supervised contrastive stage before fine-tuning, within the same budget (Pan et al., 2022)."""

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
class COIN(Method):
    """Contrast alone for a share alpha of the schedule, then cross-entropy plus lambda times contrast.

    The first stage trains encoder and projector, the second the classifier too; both share one schedule, one
    optimiser and the projector, and see one view of each image.

    The released code does not compute eq. 1: the gradient of its loss is 11 (10 classes) to 99 times (100 classes)
    smaller, on random features. Lambda is 0.1 beside both, and the learning rate of the first stage, which is contrast
    alone, is one as well; so what 0.1 and 0.01 stand for in print is what they do in the released form.
    """

    paper = "Pan et al., 'Improving Fine-tuning of Self-supervised Models with Contrastive Initialization', algorithm 1"

    alpha: float = hyper(
        0.7, low=0, high=1, source="paper 4.2 for CIFAR-10; tuned per dataset, no other value is published"
    )
    weight: float = hyper(
        0.1, low=0, source="lambda; paper 4.2 beside eq. 1, and released code beside a loss 11 to 99 times smaller"
    )
    temperature: float = hyper(0.3, low=0.01, source="tau; paper 4.2")
    projection: int = hyper(256, low=1, source="width of the projector's output; released code")
    contrast_set: int = hyper(
        0, low=0, source="images that are contrasted; 0: the batch's; released code: 64, four such sets a step"
    )
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="released: the anchor is among its positives and the sum divided by the batch, not by |P_i|",
    )
    anchors: str = hyper(
        "all",
        choices=("all", "paired"),
        source="of what eq. 1 is the mean: all n images of the batch; paired: those with a positive in it, our choice",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Two windows of one schedule."""
        projector = nn.Sequential(nn.Linear(model.dim, model.dim), nn.ReLU(), nn.Linear(model.dim, self.projection))
        released, paired = self.variant == "released", self.anchors == "paired"

        def contrast(features: Tensor, labels: Tensor) -> Tensor:
            return in_sets(of_set, self.contrast_set, F.normalize(at_least_float32(projector(features)), dim=1), labels)

        def of_set(z: Tensor, labels: Tensor) -> Tensor:
            return supervised_contrastive(
                z, labels, self.temperature, self_positive=released, over_batch=released, paired_only=paired
            )

        def initialise(model: Model, batch: Batch) -> Terms:
            return {"con": contrast(model(batch.images).features, batch.labels)}

        def tune(model: Model, batch: Batch) -> Terms:
            output = model(batch.images)
            con = self.weight * contrast(output.features, batch.labels)
            return {"ce": batch.cross_entropy(output), "con": con}

        yield Stage(model, initialise, recipe.window(0, self.alpha), train=(model.backbone, projector))
        yield Stage(model, tune, recipe.window(self.alpha, 1), train=(model, projector), continues=True)
