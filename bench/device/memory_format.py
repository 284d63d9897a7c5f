"""The memory format of images: channels last for a convolutional backbone on a GPU, for whose kernels it is made."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def laid_out(backbone: nn.Module, images: Tensor) -> Tensor:
    """Images (B, C, H, W) in the memory format in which a backbone computes them; weights stay as they are.

    A convolution of images in channels last gives its output so, and all behind it does (torch's memory formats).
    """
    if not wants_channels_last(backbone, images.device):
        return images
    return images.contiguous(memory_format=torch.channels_last)


def wants_channels_last(backbone: nn.Module, device: torch.device) -> bool:
    """Whether it is on a GPU and has convolutions whose windows overlap, as those of patches do not."""
    if device.type != "cuda":
        return False
    layers = (layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d))
    return any(side > step for layer in layers for side, step in zip(layer.kernel_size, layer.stride, strict=True))
