"""BSS: shrink the smallest singular values of a batch's features (Chen et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.backbones import Model
from bench.losses import at_least_float32
from bench.method import Batch, Method, Terms, hyper


def spectral_shrinkage(features: Tensor, k: int) -> Tensor:
    """Sum of the k smallest squared singular values of a batch's feature matrix (Chen et al., the penalty L_bss).

    Args:
        features: (B, D), one row an image, not divided by B.
        k: how many, at most min(B, D).

    Returns:
        (), in squared units of ``features``; computed in float32 at least.

    Raises:
        ValueError: ``k`` exceeds min(B, D).
    """
    if k > min(features.shape):
        raise ValueError(f"k = {k} exceeds the {min(features.shape)} singular values of the features")
    with torch.autocast(features.device.type, enabled=False):
        smallest: Tensor = torch.linalg.svdvals(at_least_float32(features))[-k:]
        return smallest.square().sum()


@dataclass(frozen=True)
class BSS(Method):
    """Cross-entropy plus eta times the k smallest squared singular values of the batch's pooled features.

    The penalty depends on the shape of the batch: eta was published for 48 images by 2048 features. The authors train
    the head at ten times the backbone's learning rate, in their baselines too: here ``head_lr`` of the protocol.
    """

    paper = "Chen et al., 'Catastrophic Forgetting Meets Negative Transfer', NeurIPS 2019, section 4"

    eta: float = hyper(0.001, low=0, source="paper, section 4 and released code")
    k: int = hyper(1, low=1, source="paper, section 4 and released code")

    def loss(self, model: Model, batch: Batch) -> Terms:
        """Cross-entropy and the shrinkage of the same forward pass's features."""
        output = model(batch.images)
        return {
            "ce": batch.cross_entropy(output),
            "bss": self.eta * spectral_shrinkage(output.features, self.k),
        }
