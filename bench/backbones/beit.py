"""What methods ask of timm's Beit (BEiT, BEiT v2, and the students of Feature Distillation)."""

from __future__ import annotations

from typing import Any

from timm.models.beit import Beit
from torch import Tensor, nn

from bench.backbones.model import Family, Probe
from bench.backbones.vit import _Hooked


class BEiT(Family):
    """timm's Beit: a class token, layer scale, and relative position bias of each block or shared by all."""

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """What can be read, over B images, T tokens with [cls] first, and width D.

        ``tokens`` (B, T, D) after the last block and, where the model has a norm over all tokens, after that; models
        that pool the mean of the patches (timm's default) have none, only a norm of the pooled features.
        ``grid`` (B, D, h, w): the patches of it in their places.
        """
        assert isinstance(backbone, Beit)
        if name == "tokens":
            return _Hooked([backbone.norm], lambda _, output: output, lambda seen: seen[0])
        if name == "grid":
            height, width = backbone.patch_embed.grid_size

            def lay_out(_: int, output: Tensor) -> Tensor:
                patches = output[:, backbone.num_prefix_tokens :]
                return patches.transpose(1, 2).reshape(len(output), -1, height, width)

            return _Hooked([backbone.norm], lay_out, lambda seen: seen[0])
        return super().probe(name, backbone)

    def part(self, name: str, backbone: nn.Module) -> list[nn.Module | nn.Parameter]:
        """``attention`` (with the bias tables of blocks that have their own), ``ffn``; ``position``: all of it."""
        assert isinstance(backbone, Beit)
        blocks: list[Any] = list(backbone.blocks)
        if name == "attention":
            return [module for block in blocks for module in (block.attn, block.drop_path1)]
        if name == "ffn":
            return [module for block in blocks for module in (block.mlp, block.drop_path2)]
        if name == "position":
            own = [block.attn.relative_position_bias_table for block in blocks]
            return [part for part in (backbone.pos_embed, backbone.rel_pos_bias, *own) if part is not None]
        return super().part(name, backbone)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """Embeddings are layer 0, block i is layer i + 1; norms, head and a shared bias lie above (BEiT, 2022)."""
        assert isinstance(backbone, Beit)
        depth = len(backbone.blocks)
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1, depth + 1
        return (0 if parameter.startswith(("patch_embed", "cls_token", "pos_embed")) else depth + 1), depth + 1
