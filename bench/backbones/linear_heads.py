"""Many linear heads on parts of the same features, trained at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SPREAD = 0.01
"""Standard deviation of the weights that a head starts with (released code of DINOv2)."""


class LinearHeads(nn.Module):
    """Linear layers on consecutive parts of the features, so many on each part; together they answer with their mean.

    Those of a part are one layer, so that they cost little more than one of them. Heads are counted part by part.

    Args:
        parts: the first and the end of each part, in features.
        each: heads on a part.
        dim: D of the features.
        classes: K.
    """

    def __init__(self, parts: Sequence[tuple[int, int]], each: int, dim: int, classes: int) -> None:
        super().__init__()
        self.parts, self.each, self.dim, self.classes = tuple(parts), each, dim, classes
        layers = [nn.Linear(end - first, each * classes) for first, end in parts]
        for layer in layers:
            nn.init.normal_(layer.weight, std=SPREAD)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)

    def __len__(self) -> int:
        return len(self.parts) * self.each

    def each_of(self, features: Tensor) -> Tensor:
        """The logits of each head, (B, H, K), of features (B, D)."""
        of_parts = zip(self.parts, self.layers, strict=True)
        logits = [layer(features[:, first:end]) for (first, end), layer in of_parts]
        return torch.cat([of_part.unflatten(1, (self.each, self.classes)) for of_part in logits], 1)

    def forward(self, features: Tensor) -> Tensor:
        """The mean of their logits, (B, K)."""
        return self.each_of(features).mean(1)

    @torch.no_grad()
    def head(self, number: int) -> nn.Linear:
        """One head as a layer on all the features, whose weights are 0 outside of its part."""
        part, within = divmod(number, self.each)
        (first, end), layer = self.parts[part], self.layers[part]
        assert isinstance(layer, nn.Linear)
        rows = slice(within * self.classes, (within + 1) * self.classes)
        plain = nn.Linear(self.dim, self.classes, device=layer.weight.device)
        nn.init.zeros_(plain.weight)
        plain.weight[:, first:end] = layer.weight[rows]
        plain.bias.copy_(layer.bias[rows])
        return plain

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The linear layer that computes their mean."""
        heads = [self.head(number) for number in range(len(self))]
        plain = heads[0]
        plain.weight.copy_(torch.stack([head.weight.double() for head in heads]).mean(0))
        plain.bias.copy_(torch.stack([head.bias.double() for head in heads]).mean(0))
        return plain
