"""What of an image a built network does not see: rows and columns that its strides leave over at the border."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bench.backbones.model import Model


def unseen_pixels(model: Model, side: int, channels: int) -> int:
    """Rows at the bottom of an image, and columns at its right, that no layer of a network reads; 0 if it sees all.

    Convolutions that cut what they are given into pieces beside each other (their stride is their kernel, and nothing
    is padded) leave over what is less than a piece; an image goes through the network, whose tensors may hold no
    values, to see what sizes they meet. Others reach beyond the border.

    Args:
        model: a backbone with its head.
        side: of the images, in pixels.
        channels: of the images.

    Raises:
        Exception: whatever the network raises for such an image.
    """
    lost = [0]

    def look(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(layer, nn.Conv2d)
        height, stride = inputs[0].shape[-2], layer.stride[0]
        if layer.kernel_size[0] == stride > 1 and layer.padding in ((0, 0), "valid"):
            lost.append(height % stride * round(side / height))

    hooks = [
        layer.register_forward_pre_hook(look) for layer in model.backbone.modules() if isinstance(layer, nn.Conv2d)
    ]
    where = next(model.backbone.parameters()).device
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, side, side, device=where))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return max(lost)
