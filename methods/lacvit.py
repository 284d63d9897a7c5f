"""LaCViT: label-aware contrastive training, then fine-tuning with a new head (Long et al.)."""

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
class LaCViT(Method):
    """Supervised contrast of two views of each image; then, without the projector, cross-entropy with all weights.

    Eq. 1 sums over anchors and does not say that z has unit length; here, as in the released code, the anchors are
    averaged and z is normalised. Each stage has a schedule of its own; the contrast may have larger batches than the
    protocol's, and another augmentation.
    """

    paper = "Long et al., 'LaCViT: A Label-aware Contrastive Fine-tuning Framework for Vision Transformers', eq. 1"

    share: float = hyper(
        0.83,
        low=0,
        high=1,
        source="of all epochs for stage 1; paper 4: 50 of 60 (released code: 500 of 600)",
    )
    contrast_batch: int = hyper(
        0,
        low=0,
        source="images of a step of stage 1; 0: the protocol's; paper 4: 4,096, beside 128 (released code: 128)",
    )
    contrast_set: int = hyper(
        0, low=0, source="of them, those that are contrasted; 0: all; released code: 128, 32 such sets a step"
    )
    contrast_augmentation: str = hyper(
        "protocol",
        choices=("protocol", "autoaugment", "contrastive", "crop_flip"),
        source="of stage 1; paper 3.2: AutoAugment; released code: contrastive",
    )
    temperature: float = hyper(0.1, low=0.01, source="tau; paper 4")
    projection: int = hyper(128, low=1, source="width of the projector's output; released code")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="released: stage 2 trains only the head (linear probe), and stage 1's loss is multiplied by tau / 0.07",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Two stages, each with a whole schedule; the projector is thrown away between them."""
        projector = nn.Sequential(nn.Linear(model.dim, model.dim), nn.ReLU(), nn.Linear(model.dim, self.projection))
        scale = self.temperature / 0.07 if self.variant == "released" else 1.0

        def first(model: Model, batch: Batch) -> Terms:
            features = model(batch.images.flatten(0, 1)).features
            z = F.normalize(at_least_float32(projector(features)), dim=1)
            z = z.reshape(*batch.images.shape[:2], -1)
            return {"con": scale * in_sets(self.contrast, self.contrast_set, z, batch.labels)}

        yield Stage(
            model,
            first,
            recipe.share(self.share),
            train=(model.backbone, projector),
            views=2,
            data=data.fed(self.contrast_batch, self.contrast_augmentation),
        )
        tuned = model.head if self.variant == "released" else model
        yield Stage(model, self.loss, recipe.rest(self.share), train=(tuned,))

    def contrast(self, z: Tensor, labels: Tensor) -> Tensor:
        """Eq. 1 over all views z (V, B, D), of unit length, of images with labels (B,): a scalar, in nats."""
        return supervised_contrastive(z.flatten(0, 1), labels.repeat(len(z)), self.temperature)
