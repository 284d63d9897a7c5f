"""A classifier behind a batch norm of the features, as linear probes of self-supervised backbones have it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.device.norm_groups import no_lone_value

EPSILON = 1e-6
MOMENTUM = 0.1


@runtime_checkable
class Foldable(Protocol):
    """A head that a linear layer can stand for at evaluation, as kept models have it."""

    def folded(self) -> nn.Linear:
        """The linear layer."""
        ...


class NormedLinear(nn.Linear):
    """A linear layer on features that a batch norm without scale and shift has normalised (MAE's linear probe).

    In training the features have mean 0 and variance 1 over the batch, at evaluation by running statistics of earlier
    batches (momentum 0.1, variance plus 1e-6), which ``folded`` takes into the layer.

    Args:
        head: the layer whose place is taken. Its weights, of sd 0.02, are halved: MAE's probe draws them at 0.01.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, head: nn.Linear) -> None:
        super().__init__(head.in_features, head.out_features, device="meta")
        self.weight, self.bias = nn.Parameter(0.5 * head.weight.detach()), nn.Parameter(head.bias.detach().clone())
        self.register_buffer("running_mean", torch.zeros_like(head.weight[0], requires_grad=False))
        self.register_buffer("running_var", torch.ones_like(head.weight[0], requires_grad=False))

    def forward(self, input: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D), which are normalised in float32 at least.

        Raises ``InputError``: in training there is one image, of which there is no variance.
        """
        input = input if input.dtype == torch.double else input.float()
        with no_lone_value():
            normed = F.batch_norm(
                input, self.running_mean, self.running_var, training=self.training, momentum=MOMENTUM, eps=EPSILON
            )
        return super().forward(normed)

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The linear layer that computes what this one does at evaluation: W/σ and b − W μ/σ."""
        deviation = (self.running_var.double() + EPSILON).sqrt()
        weight = self.weight.double() / deviation
        plain = nn.Linear(self.in_features, self.out_features, device="meta").to_empty(device=self.weight.device)
        plain.weight.copy_(weight)
        plain.bias.copy_(self.bias.double() - weight @ self.running_mean.double())
        return plain
