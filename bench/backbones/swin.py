"""What methods ask of timm's SwinTransformer and SwinTransformerV2: the last stage's grid, tokens and parts."""

from __future__ import annotations

from typing import Any, ClassVar

from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

from bench.backbones.model import Family, Parts, Probe, linears, norms_outside
from bench.cards.lacking import OF_SWIN

SWINS = (SwinTransformer, SwinTransformerV2)
"""What ``Swin`` serves: not timm's ``swinv2_cr``."""


class Swin(Family):
    """timm's SwinTransformer (Liu et al., ICCV 2021) and SwinTransformerV2 (Liu et al., CVPR 2022); no class token."""

    lacks: ClassVar = OF_SWIN

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """What can be read, over B images, an h × w grid of N patches and width D, all of the last stage.

        ``grid`` (B, D, h, w) is the output of the last block before the final norm, which is what DRLoc's released
        code takes from a Swin; ``tokens`` (B, N, D) are its places row by row after the final norm.
        """
        assert isinstance(backbone, SWINS)
        if name == "grid":
            return Probe([backbone.layers[-1]], lambda _, output: output.permute(0, 3, 1, 2).contiguous())
        if name == "tokens":
            return Probe([backbone.norm], lambda _, output: output.flatten(1, 2))
        return super().probe(name, backbone)

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """``attention``, ``ffn``: the branches of all blocks, with their stochastic depth; ``norms``, ``embeddings``.

        ``embeddings`` are the projections of patches and of merged patches, ``norms`` all outside the attention.
        ``position`` is relative: each block's table (Swin) or the small MLP that computes it (V2). It is inside the
        attention, so ``attention`` lists it too. ``linears`` are the linear layers of the branches; a V2 has none that
        are called as modules.
        """
        assert isinstance(backbone, SWINS)
        blocks: list[Any] = [block for stage in backbone.layers for block in stage.blocks]
        if name == "attention":
            return [module for block in blocks for module in (block.attn, block.drop_path1)]
        if name == "ffn":
            return [module for block in blocks for module in (block.mlp, block.drop_path2)]
        if name == "embeddings":
            merging = [stage.downsample for stage in backbone.layers if not isinstance(stage.downsample, nn.Identity)]
            return [backbone.patch_embed.proj, *(step.reduction for step in merging)]
        if name == "norms":
            return norms_outside(backbone, self.part("attention", backbone) + self.part("ffn", backbone))
        if name == "linears" and isinstance(backbone, SwinTransformer):
            return [layer for block in blocks for layer in linears(block.attn, block.mlp)]
        if name == "position":
            table = "relative_position_bias_table" if isinstance(backbone, SwinTransformer) else "cpb_mlp"
            return [getattr(block.attn, table) for block in blocks]
        return super().part(name, backbone)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """The patch embedding is layer 0, blocks count from 1 through all stages, final norm and head lie above.

        A downsampling has the layer of the block before it, as in the released code of SimMIM and Feature Distillation.
        """
        assert isinstance(backbone, SWINS)
        depths = [len(stage.blocks) for stage in backbone.layers]
        top = sum(depths) + 1
        place = parameter.split(".")
        if place[0] == "layers":
            block = int(place[3]) + 1 if place[2] == "blocks" else 0
            return sum(depths[: int(place[1])]) + block, top
        return (top if place[0] == "norm" else 0), top
