"""Features of the last blocks of a transformer, in the place of those that it pools."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LastBlocks:
    """Has a transformer give, of its last blocks, [cls] behind its last norm, and the mean of the last one's patches.

    As DINOv2's linear evaluation reads them: (B, (count + 1) · D), from the earliest of these blocks to the last, the
    mean behind them. Registers are in neither. Without a class token the mean of a block's patches stands for it. The
    weights of the backbone keep their names.

    Args:
        backbone: of a family whose ``block_output`` can be read.
        count: of blocks.
        classless: whether it has no class token.
    """

    def __init__(self, backbone: nn.Module, count: int, classless: bool) -> None:
        layers: Any = backbone
        self.backbone, self.blocks = layers, list(layers.blocks)[-count:]
        self.norm: nn.Module = layers.norm
        if isinstance(layers.norm, nn.Identity) and getattr(layers, "fc_norm", None) is not None:
            self.norm = layers.fc_norm  # BEiT's, of the pooled patches
        self.prefix, self.classless = int(layers.num_prefix_tokens), classless
        self.seen: list[Tensor] = []

    def join_in(self, dim: int) -> int:
        """Join the backbone, which gives ``dim`` numbers an image; how many it gives then."""
        for block in self.blocks:
            block.register_forward_hook(self.see)
        self.backbone.register_forward_hook(self.give)
        return dim * (len(self.blocks) + 1)

    def see(self, block: nn.Module, inputs: Any, tokens: Tensor) -> None:
        """Keep what a block gives, (B, T, D), until the pass is done."""
        self.seen.append(tokens)

    def give(self, backbone: nn.Module, inputs: Any, pooled: Tensor) -> Tensor:
        """The features in the place of the pooled ones."""
        seen, self.seen = self.seen[-len(self.blocks) :], []
        patches = self.norm(seen[-1][:, self.prefix :]).mean(1)
        if self.classless:
            firsts = [self.norm(tokens[:, self.prefix :]).mean(1) for tokens in seen]
        else:
            firsts = [self.norm(tokens[:, 0]) for tokens in seen]
        return torch.cat([*firsts, patches], 1)


def no_blocks(first: int, last: int, depth: int) -> str:
    """Why a backbone of so many blocks has not these."""
    if last == depth:
        return f"there are no {last - first + 1} last blocks: the backbone has {depth}, so {depth} is the most"
    asked = f"is no block {first}" if first == last else f"are no blocks {first} to {last}"
    return f"there {asked}: the backbone has {depth}, counted from 1"
