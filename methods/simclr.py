"""SimCLR fine-tuning: LaCViT's baseline without labels, then fine-tuning with a new head (arXiv:2002.05709)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32, supervised_contrastive
from bench.method import Batch, Method, Stage, Terms, hyper
from bench.protocol import Recipe


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """NT-Xent over two views (Chen et al., 2020, eq. 1): which of the 2B − 1 others is the same image?

        −1/(2B) Σ_i log[ exp(z_i·z_p(i) / τ) / Σ_{a ≠ i} exp(z_i·z_a / τ) ],  p(i) the other view of i's image

    Args:
        z: (2, B, D), the views, of unit length.
        temperature: τ.

    Returns:
        (), in nats, the mean over 2B anchors; computed in float32 at least. 0 for B = 1.

    Raises:
        ValueError: ``z`` is not (2, B, D).
    """
    if z.ndim != 3 or len(z) != 2:
        raise ValueError(f"z {tuple(z.shape)} must be (2, B, D)")
    return supervised_contrastive(z.flatten(0, 1), torch.arange(z.shape[1], device=z.device).repeat(2), temperature)


@dataclass(frozen=True)
class SimCLR(Method):
    """LaCViT with the labels withheld in the first stage: only the other view of an image is a positive."""

    paper = "Chen et al., arXiv:2002.05709, eq. 1, as the baseline of LaCViT (Long et al., section 5)"

    share: float = hyper(
        0.83, low=0, high=1, source="of all epochs for stage 1; our choice, as lacvit: its paper is silent on this"
    )
    contrast_batch: int = hyper(
        0, low=0, source="images of a step of stage 1; 0: the protocol's; our choice, as lacvit"
    )
    contrast_augmentation: str = hyper(
        "protocol",
        choices=("protocol", "autoaugment", "contrastive", "crop_flip"),
        source="of stage 1; our choice, as lacvit (released code: contrastive)",
    )
    temperature: float = hyper(0.1, low=0.01, source="tau; LaCViT section 4, not said of the baseline")
    projection: int = hyper(128, low=1, source="width of the projector's output; LaCViT's released code")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="released: stage 2 trains only the head (linear probe), and stage 1's loss is multiplied by tau / 0.07",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Two stages, each with a whole schedule; the projector is thrown away between them."""
        projector = nn.Sequential(nn.Linear(model.dim, model.dim), nn.ReLU(), nn.Linear(model.dim, self.projection))
        scale = self.temperature / 0.07 if self.variant == "released" else 1.0

        def contrast(model: Model, batch: Batch) -> Terms:
            features = model(batch.images.flatten(0, 1)).features
            z = F.normalize(at_least_float32(projector(features)), dim=1)
            return {"con": scale * nt_xent(z.reshape(*batch.images.shape[:2], -1), self.temperature)}

        yield Stage(
            model,
            contrast,
            recipe.share(self.share),
            train=(model.backbone, projector),
            views=2,
            data=data.fed(self.contrast_batch, self.contrast_augmentation),
        )
        tuned = model.head if self.variant == "released" else model
        yield Stage(model, self.loss, recipe.rest(self.share), train=(tuned,))
