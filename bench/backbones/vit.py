"""What methods ask of transformers with a class token, a grid of patches and blocks that are alike; timm's ViT."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from timm.layers import Attention
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones.model import Family, Hooked, Probe, norms_outside

Parts = list[nn.Module | nn.Parameter]


def attention_logits(qkv: Tensor, attention: Any, queries: int | None = None, prefix: int = 0) -> Tensor:
    """Scaled attention logits before the softmax, of timm's standard attention.

    Args:
        qkv: (B, T, 3·H·d), the output of the block's query-key-value projection.
        attention: the block's attention module, for its heads, scale and query/key norms.
        queries: how many of the first queries; None: all of them.
        prefix: how many of the first keys are left out.

    Returns:
        (B, H, queries, T − prefix).
    """
    batch, tokens, _ = qkv.shape
    # unbound first: the gradient of an index into all three would be a zero tensor of the size of qkv, twice over
    query, key, _ = qkv.view(batch, tokens, 3, attention.num_heads, attention.head_dim).unbind(2)
    query = attention.q_norm(query[:, :queries].transpose(1, 2))
    key = attention.k_norm(key[:, prefix:].transpose(1, 2))
    logits: Tensor = query * attention.scale @ key.transpose(-2, -1)
    return logits


def cls_attention_logits(qkv: Tensor, attention: Any, prefix: int) -> Tensor:
    """Scaled attention logits of the [cls] query before the softmax, without its own key (GTA, eq. 2).

    Only this row is computed: B·H·N products, no N×N map, whatever the attention kernel is.

    Args:
        qkv: (B, T, 3·H·d), the output of the block's query-key-value projection.
        attention: the block's attention module, for its heads, scale and query/key norms.
        prefix: tokens before the patches ([cls] and registers), whose keys are left out.

    Returns:
        (B, H, N) over the N patches.
    """
    return attention_logits(qkv, attention, 1, prefix).squeeze(2)


class Blocks(Family):
    """A class token before a grid of patches, then blocks that are alike: timm's ViT and Beit, and T2T-ViT.

    The blocks are ``backbone.blocks``, with ``attn``, ``mlp``, ``drop_path1`` and ``drop_path2`` in each.
    """

    @abstractmethod
    def grid_size(self, backbone: Any) -> tuple[int, int]:
        """Patches along the height and the width."""

    @abstractmethod
    def projections(self, backbone: Any) -> list[nn.Module]:
        """A module of each block from whose output ``logits`` tells the attention."""

    @abstractmethod
    def logits(self, number: int, seen: Tensor, backbone: Any, queries: int | None, prefix: int) -> Tensor:
        """Attention logits before the softmax: what the softmax is given, scale and position bias included.

        Args:
            number: of the block.
            seen: what its module of ``projections`` gave.
            backbone: the model.
            queries: how many of the first queries; None: all of them.
            prefix: how many of the first keys are left out.

        Returns:
            (B, H, queries, T − prefix).
        """

    @abstractmethod
    def embeddings(self, backbone: Any) -> Parts:
        """Patch embedding, class token and embeddings of position that lie outside the blocks."""

    @abstractmethod
    def scales(self, block: Any) -> Parts:
        """The gains of a block's two branches (layer scale); none where it has none."""

    @abstractmethod
    def position(self, backbone: Any) -> Parts:
        """What tells the model where a patch is; none where that is fixed."""

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """What can be read, over L blocks, B images, H heads, N patches, T tokens ([cls] first) and width D.

        ``tokens`` (B, T, D) after the last norm (after the last block where a model has a norm of the pooled features
        alone); ``grid`` (B, D, h, w), its patches in their places. ``cls_attention`` (L, B, H, N): logits of the
        [cls] query over the patches, position bias included where there is one; ``cls_attention_map`` (B, H, N) of
        the last block, after the softmax over all keys; ``attention_maps`` (L, B, H, T, T) after the softmax, rows
        are queries (large: 150 kB an image, block and head at T = 197). ``msa_output`` and ``block_output``
        (L, B, T, D): the first after the output projection, before layer scale and residual; the second after all.
        """
        layers: Any = backbone
        blocks: list[Any] = list(layers.blocks)
        prefix = int(layers.num_prefix_tokens)
        if name == "tokens":
            return Hooked([layers.norm])
        if name == "grid":
            height, width = self.grid_size(layers)

            def lay_out(_: int, output: Tensor) -> Tensor:
                return output[:, prefix:].transpose(1, 2).reshape(len(output), -1, height, width)

            return Hooked([layers.norm], lay_out)
        if name in ("msa_output", "block_output"):
            return Hooked([block.attn for block in blocks] if name == "msa_output" else blocks, stacked=True)
        return self._attention(name, layers, prefix) or super().probe(name, backbone)

    def _attention(self, name: str, backbone: Any, prefix: int) -> Probe | None:
        projections = self.projections(backbone)
        if name == "cls_attention":
            return Hooked(
                projections,
                lambda number, seen: self.logits(number, seen, backbone, 1, prefix).squeeze(2),
                stacked=True,
            )
        if name == "cls_attention_map":
            last = len(projections) - 1

            def row(_: int, seen: Tensor) -> Tensor:
                return self.logits(last, seen, backbone, 1, 0).squeeze(2).softmax(-1)[..., prefix:]

            return Hooked(projections[-1:], row)
        if name == "attention_maps":
            return Hooked(
                projections,
                lambda number, seen: self.logits(number, seen, backbone, None, 0).softmax(-1),
                stacked=True,
            )
        return None

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """``attention``, ``ffn``: the branches of all blocks, with their stochastic depth; ``norms``, ``embeddings``.

        ``norms`` holds the norms outside the branches, and layer scale. ``position``: what tells places apart; it may
        lie inside ``attention`` or ``embeddings``.
        """
        layers: Any = backbone
        blocks: list[Any] = list(layers.blocks)
        if name == "attention":
            return [module for block in blocks for module in (block.attn, block.drop_path1)]
        if name == "ffn":
            return [module for block in blocks for module in (block.mlp, block.drop_path2)]
        if name == "embeddings":
            return self.embeddings(layers)
        if name == "norms":
            others = (part for other in ("attention", "ffn", "embeddings") for part in self.part(other, backbone))
            return norms_outside(backbone, others) + [scale for block in blocks for scale in self.scales(block)]
        return self.position(layers) if name == "position" else super().part(name, backbone)


class ViT(Blocks):
    """timm's VisionTransformer (ViT, DeiT, MAE, DINO, iBOT, CLIP) with a class token and standard attention."""

    def grid_size(self, backbone: Any) -> tuple[int, int]:
        """Patches along the height and the width."""
        height, width = backbone.patch_embed.grid_size
        return height, width

    def projections(self, backbone: Any) -> list[nn.Module]:
        """The query-key-value projections."""
        return [block.attn.qkv for block in backbone.blocks]

    def logits(self, number: int, seen: Tensor, backbone: Any, queries: int | None, prefix: int) -> Tensor:
        """q·k/√d, from the output of the query-key-value projection."""
        return attention_logits(seen, backbone.blocks[number].attn, queries, prefix)

    def embeddings(self, backbone: Any) -> Parts:
        """Patch embedding, [cls] and further tokens, position embedding."""
        names = ("cls_token", "reg_token", "dist_token", "pos_embed")
        tokens = [getattr(backbone, name, None) for name in names]
        return [backbone.patch_embed, *(token for token in tokens if token is not None)]

    def scales(self, block: Any) -> Parts:
        """timm's ``LayerScale``."""
        return [scale for scale in (block.ls1, block.ls2) if not isinstance(scale, nn.Identity)]

    def position(self, backbone: Any) -> Parts:
        """The learned embedding of every place."""
        return [] if backbone.pos_embed is None else [backbone.pos_embed]

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """Embeddings are layer 0, block i is layer i + 1, the final norm and the head lie above (BEiT, 2022)."""
        assert isinstance(backbone, VisionTransformer)
        depth = len(backbone.blocks)
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1, depth + 1
        return (depth + 1 if parameter.startswith(("norm", "fc_norm")) else 0), depth + 1


def is_vit(backbone: nn.Module) -> bool:
    """Whether ``ViT`` serves this model: its class, a class token and timm's standard attention in every block."""
    return (
        isinstance(backbone, VisionTransformer)
        and backbone.cls_token is not None
        and all(isinstance(getattr(block, "attn", None), Attention) for block in backbone.blocks)
    )
