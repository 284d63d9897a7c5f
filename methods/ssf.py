"""SSF: the output of every operation is scaled and shifted (Lian et al., NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe

OPERATIONS = (nn.Linear, nn.Conv2d, nn.LayerNorm)
"""What the paper puts them behind (figure 2): the layers of attention and MLP, the norms, the patch embedding."""


class Scaled(nn.Module):
    """An operation with its output scaled and shifted: y = γ ⊙ x + β, channel by channel (eq. 1).

    Args:
        operation: with a ``weight`` whose first axis is the channels of its output, and perhaps a ``bias``.
        sd: standard deviation of the normal draws of γ, about 1, and β, about 0.
    """

    each_token = True

    def __init__(self, operation: nn.Module, sd: float) -> None:
        super().__init__()
        weight = operation.weight
        assert isinstance(weight, Tensor)
        self.operation = operation
        self.is_image = isinstance(operation, (nn.Conv2d, LayerNorm2d))
        self.scale = nn.Parameter(torch.normal(weight.new_ones(len(weight)), sd))
        self.shift = nn.Parameter(torch.normal(weight.new_zeros(len(weight)), sd))

    def forward(self, x: Tensor) -> Tensor:
        """As the operation: its channels are the last axis, or of (B, C, H, W) the second."""
        shape = (-1, 1, 1) if self.is_image else (-1,)
        out: Tensor = self.operation(x) * self.scale.view(shape) + self.shift.view(shape)
        return out

    def merged(self) -> nn.Module:
        """The operation alone, with weights that give the same (section 3.2); one without a bias has one then."""
        operation, scale = self.operation, self.scale.detach()
        weight, bias = operation.weight, operation.bias
        assert isinstance(weight, nn.Parameter)
        weight.mul_(scale.view(-1, *[1] * (weight.ndim - 1)))
        shifted = self.shift.detach().clone()
        if isinstance(bias, nn.Parameter):
            bias.copy_(scale * bias + shifted)
        else:
            operation.bias = nn.Parameter(shifted)
        return operation


def merge(backbone: nn.Module) -> None:
    """Put every scale and shift into the weights of its operation."""
    for parent in list(backbone.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Scaled):
                setattr(parent, name, child.merged())


@dataclass(frozen=True)
class SSF(Method):
    """Scales and shifts behind every operation of a frozen backbone are trained, and the head.

    Operations are linear layers, convolutions and layer norms, so on a ViT-B/16 205,824 numbers beside the head: 0.28 M
    with one of 100 classes (Table 1). At the end, and in every kept model, they are merged into the weights, so
    that the network is the plain one and costs no more; an operation without a bias (a Swin's merging of patches) has
    one then. The frozen backbone drops paths as the protocol says, since the released code leaves the whole model in
    training mode. The released scripts train by AdamW, most often at 5e-3 (1e-3 to 2e-2), a rate for few weights.
    """

    paper = "Lian et al., 'Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning', NeurIPS 2022"
    needs = {"linears"}
    per_image = True

    sd: float = hyper(0.02, low=0, source="of the draws of γ about 1 and of β about 0; released code")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains γ, β and the head; then they are merged."""
        scaled = list[Scaled]()
        for parent in list(model.backbone.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, OPERATIONS) and isinstance(child.weight, nn.Parameter):
                    scaled.append(Scaled(child, self.sd))
                    setattr(parent, name, scaled[-1])
        model.merging = merge
        weights = [weight for each in scaled for weight in (each.scale, each.shift)]
        yield Stage(model, self.loss, recipe, train=(*weights, model.head), frozen_drops=True)
        model.merge()
