"""What methods ask of timm's Beit (BEiT, SimMIM, data2vec, and the students of Feature Distillation)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from torch import Tensor, nn

from bench.backbones.vit import ViT
from bench.cards.lacking import OF_BEIT


class BEiT(ViT):
    """timm's Beit: a class token, layer scale, and relative position bias of each block or shared by all.

    Models that pool the mean of the patches (timm's default) have no norm over all tokens, only one of the pooled
    features; their ``tokens`` are those after the last block. Position tables are decayed, as in the released code of
    BEiT, SimMIM, data2vec and Feature Distillation.
    """

    undecayed: ClassVar[Collection[str]] = ("cls_token", "pos_embed")
    lacks: ClassVar = OF_BEIT

    def projections(self, backbone: Any) -> list[nn.Module]:
        """The norms before the attention: timm applies its projection as a function, so no module can be watched."""
        return [block.norm1 for block in backbone.blocks]

    def logits(self, number: int, seen: Tensor, backbone: Any, queries: int | None, prefix: int) -> Tensor:
        """q·k/√d and the position bias, from the normed tokens; only the queries that are wanted are projected.

        The keys have no bias of their own. Where [cls] alone asks, its query is taken through the keys' projection,
        which saves projecting every key.
        """
        attention = backbone.blocks[number].attn
        heads, width = attention.num_heads, seen.shape[-1]
        inner = attention.qkv.weight.shape[0] // 3
        of_queries, of_keys, _ = attention.qkv.weight.unflatten(0, (3, heads, inner // heads)).unbind(0)
        query = (seen[:, :queries] @ of_queries.reshape(inner, width).T).unflatten(-1, (heads, -1))
        if attention.q_bias is not None:
            query = query + attention.q_bias.view(heads, -1)
        asked = (query.transpose(1, 2) * attention.scale) @ of_keys  # (B, H, queries, D)
        logits: Tensor = asked @ seen[:, None, prefix:].transpose(-2, -1)
        if attention.relative_position_bias_table is not None:
            logits = logits + attention._get_rel_pos_bias()[..., :queries, prefix:]
        if backbone.rel_pos_bias is not None:
            logits = logits + backbone.rel_pos_bias()[..., :queries, prefix:]
        return logits


class PatchesOfBEiT(BEiT):
    """timm's Beit as the student of a teacher without a class token: its ``tokens`` are those of patches alone."""

    classless: ClassVar[bool] = True
