"""SimCLR fine-tuning: LaCViT's baseline without labels, then fine-tuning with a new head (arXiv:2002.05709)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from bench.methods.lacvit import LaCViT
from torch import Tensor

from bench.losses import supervised_contrastive
from bench.method import hyper


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
class SimCLR(LaCViT):  # type: ignore[misc]  # mypy reads methods/ under another name
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

    def contrast(self, z: Tensor, labels: Tensor) -> Tensor:
        """NT-Xent in the place of eq. 1 of LaCViT; the labels are not looked at."""
        return nt_xent(z, self.temperature)
