"""What methods ask of timm's Beit (BEiT, SimMIM, data2vec, and the students of Feature Distillation)."""

from __future__ import annotations

from typing import Any

from timm.models.beit import Beit
from torch import Tensor, nn

from bench.backbones.vit import Blocks, Parts


class BEiT(Blocks):
    """timm's Beit: a class token, layer scale, and relative position bias of each block or shared by all.

    Models that pool the mean of the patches (timm's default) have no norm over all tokens, only one of the pooled
    features; their ``tokens`` are those after the last block.
    """

    def grid_size(self, backbone: Any) -> tuple[int, int]:
        """Patches along the height and the width."""
        height, width = backbone.patch_embed.grid_size
        return height, width

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

    def embeddings(self, backbone: Any) -> Parts:
        """Patch embedding, class token, position embedding, and a position bias that all blocks share."""
        tokens = (backbone.cls_token, backbone.pos_embed, backbone.rel_pos_bias)
        return [backbone.patch_embed, *(token for token in tokens if token is not None)]

    def scales(self, block: Any) -> Parts:
        """The two gains of layer scale."""
        return [gain for gain in (block.gamma_1, block.gamma_2) if gain is not None]

    def position(self, backbone: Any) -> Parts:
        """Position embedding and position bias, shared or of each block, whichever there is."""
        own = [block.attn.relative_position_bias_table for block in backbone.blocks]
        return [part for part in (backbone.pos_embed, backbone.rel_pos_bias, *own) if part is not None]

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """Embeddings are layer 0, block i is layer i + 1; norms, head and a shared bias lie above (BEiT, 2022)."""
        assert isinstance(backbone, Beit)
        depth = len(backbone.blocks)
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1, depth + 1
        return (0 if parameter.startswith(("patch_embed", "cls_token", "pos_embed")) else depth + 1), depth + 1
