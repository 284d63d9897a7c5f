"""A trained network with its normalisation: images in 0..1 to logits, the same wherever its weights come from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.backbones import Model


class Scorer(nn.Module):
    """Logits (B, K) of images (B, C, S, S) in 0..1.

    Args:
        network: gives logits for normalised images.
        mean: of the pixels, per channel; so is ``std``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)).view(-1, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def scorer_of(model: Model) -> Scorer:
    """The network of a model, as evaluation runs it."""
    network = nn.Sequential(model.backbone, model.head)
    return Scorer(network, model.mean.flatten().tolist(), model.std.flatten().tolist())


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Images (B, C, H, W) with so many channels: grey and colour are turned into each other, as ``Model`` does."""
    if images.shape[1] == channels:
        return images
    return images.mean(1, keepdim=True) if channels == 1 else images.expand(-1, channels, -1, -1)


def probe_images(channels: int, size: int, count: int = 3) -> Tensor:
    """Noise on which two forms of a model are compared, the same every time."""
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))
