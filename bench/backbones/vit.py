"""What methods ask of transformers with a class token, a grid of patches and blocks that are alike; timm's ViT."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from timm.layers import Attention
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones.class_token import class_token_alone
from bench.backbones.model import Family, Parts, Probe, linears, norms_outside
from bench.cards.lacking import NO_CLASS, OF_BLOCKS

_POSITIONS = ("pos_embed", "rel_pos_bias", "rope")
"""What tells places apart outside of the blocks."""


class ViT(Family):
    """A class token before a grid of patches, then blocks that are alike.

    timm's VisionTransformer (ViT, DeiT, MAE, DINO, iBOT, CLIP) with standard attention, and T2T-ViT, whose
    tokens-to-token module counts as embedding. The blocks are ``backbone.blocks``, with ``attn``, ``mlp``,
    ``drop_path1`` and ``drop_path2`` in each.

    Attributes:
        classless: whether no class token is among the ``tokens``, which are those of patches alone then.
        probes: the kind of probe that reads what ``projections`` lists.
        last: how the names of weights begin that lie above all blocks.
    """

    lacks: ClassVar = OF_BLOCKS
    classless: ClassVar[bool] = False
    probes: ClassVar[type[Probe]] = Probe
    last: ClassVar[tuple[str, ...]] = ("norm", "fc_norm", "rel_pos_bias")

    def projections(self, backbone: Any) -> list[nn.Module]:
        """A module of each block from whose output ``logits`` tells the attention."""
        return [block.attn.qkv for block in backbone.blocks]

    def logits(self, number: int, seen: Any, backbone: Any, queries: int | None, prefix: int) -> Tensor:
        """Attention logits before the softmax: what the softmax is given, scale and position bias included.

        Only the rows of the queries that are wanted are computed, whatever the attention kernel is.

        Args:
            number: of the block.
            seen: what its module of ``projections`` gave; here (B, T, 3·H·d).
            backbone: the model.
            queries: how many of the first queries; None: all of them.
            prefix: how many of the first keys are left out.

        Returns:
            (B, H, queries, T − prefix).
        """
        attention = backbone.blocks[number].attn
        # unbound first: the gradient of an index into all three would be a zero tensor of the size of qkv, twice over
        query, key, _ = seen.view(*seen.shape[:2], 3, attention.num_heads, attention.head_dim).unbind(2)
        query = attention.q_norm(query[:, :queries].transpose(1, 2))
        key = attention.k_norm(key[:, prefix:].transpose(1, 2))
        logits: Tensor = query * attention.scale @ key.transpose(-2, -1)
        return logits

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """What can be read, over L blocks, B images, H heads, N patches, T tokens ([cls] first) and width D.

        ``tokens`` (B, T, D) after the last norm (after the last block where a model has a norm of the pooled features
        alone); ``grid`` (B, D, h, w), its patches in their places. ``cls_attention`` (L, B, H, N): logits of the
        [cls] query over the patches, position bias included where there is one; ``cls_attention_map`` (B, H, N) of
        the last block, after the softmax over all keys; ``attention_maps`` (L, B, H, T, T) after the softmax, rows
        are queries (large: 150 kB an image, block and head at T = 197). ``msa_output`` and ``block_output``
        (L, B, T, D): the first after the output projection, before layer scale and residual; the second after all.
        """
        if name in self.lacks:
            return super().probe(name, backbone)
        layers: Any = backbone
        prefix, projections = int(layers.num_prefix_tokens), self.projections(layers)

        def cls_logits(number: int, seen: Any) -> Tensor:
            return self.logits(number, seen, layers, 1, prefix).squeeze(2)

        def cls_map(_: int, seen: Any) -> Tensor:
            logits = self.logits(len(projections) - 1, seen, layers, 1, 0)
            return logits.squeeze(2).softmax(-1)[..., prefix:]

        def maps(number: int, seen: Any) -> Tensor:
            return self.logits(number, seen, layers, None, 0).softmax(-1)

        if name == "tokens":
            first = prefix if self.classless else 0
            return Probe([layers.norm], lambda _, tokens: tokens[:, first:])
        if name == "grid":
            grid = grid_size(layers)
            return Probe([layers.norm], lambda _, tokens: tokens[:, prefix:].transpose(1, 2).unflatten(2, grid))
        if name == "msa_output":
            return Probe([block.attn for block in layers.blocks], stacked=True)
        if name == "block_output":
            return Probe(list(layers.blocks), stacked=True)
        if name == "cls_attention":
            return self.probes(projections, cls_logits, stacked=True)
        if name == "cls_attention_map":
            return self.probes(projections[-1:], cls_map)
        if name == "attention_maps":
            return self.probes(projections, maps, stacked=True)
        return super().probe(name, backbone)

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """``attention``, ``ffn``: the branches of all blocks, with their stochastic depth; ``norms``, ``embeddings``.

        ``norms`` holds the norms outside the branches, and layer scale; ``embeddings`` also tokens, and what tells
        places apart outside of the blocks. ``position``: all that does; it may lie inside ``attention`` too.
        ``linears``: the linear layers of the branches, each called as a module, so that what stands in its place is
        used. ``token_blocks``: the blocks, which take tokens (B, T, D) of any number T.
        Where features are pooled by attention, the layers of that are among those of the blocks.
        """
        if name in self.lacks:
            return super().part(name, backbone)
        layers: Any = backbone
        blocks: list[Any] = list(layers.blocks)
        pool = getattr(layers, "attn_pool", None)
        if name == "attention":
            pooling = _weights(pool, "latent", "pos_embed", "q", "kv", "q_norm", "k_norm", "proj")
            return [module for block in blocks for module in (block.attn, block.drop_path1)] + pooling
        if name == "ffn":
            return [module for block in blocks for module in (block.mlp, block.drop_path2)] + _weights(pool, "mlp")
        if name == "embeddings":
            patches, tokens = ("patch_embed", "tokens_to_token"), ("cls_token", "reg_token", "dist_token")
            return _weights(layers, *patches, *tokens, *_POSITIONS)
        if name == "norms":
            inside = (module for owner in ("attention", "ffn", "embeddings") for module in self.part(owner, backbone))
            scales = [gain for block in blocks for gain in _weights(block, "ls1", "ls2", "gamma_1", "gamma_2")]
            return norms_outside(backbone, inside) + scales
        if name == "linears":
            return [layer for block in blocks for layer in linears(block.attn, block.mlp)]
        if name == "token_blocks":
            return [*blocks]
        if name == "position":
            tables = [table for block in blocks for table in _weights(block.attn, "relative_position_bias_table")]
            return _weights(layers, *_POSITIONS) + tables
        return super().part(name, backbone)

    def pooling(self, backbone: nn.Module) -> AbstractContextManager[object]:
        """The last block is computed for the class token alone where it may be (``class_token_alone``)."""
        return class_token_alone(backbone)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """Embeddings are layer 0, block i is layer i + 1; norms, head and a shared bias lie above (BEiT, 2022)."""
        layers: Any = backbone
        top = len(layers.blocks) + 1
        if parameter.startswith("blocks."):
            return int(parameter.split(".")[1]) + 1, top
        return (top if parameter.startswith(self.last) else 0), top


class Classless(ViT):
    """timm's VisionTransformer without a class token: SigLIP, AIMv2, and those that pool the mean of the patches.

    Where features are pooled by attention, its query is of no block: it has no row in ``attention_maps``.
    """

    lacks: ClassVar = NO_CLASS
    classless: ClassVar[bool] = True
    last: ClassVar[tuple[str, ...]] = ("norm.", "fc_norm.", "attn_pool.")


def grid_size(backbone: Any) -> tuple[int, int]:
    """Patches along the height and the width."""
    height, width = getattr(backbone, "grid_size", None) or backbone.patch_embed.grid_size
    return height, width


def _weights(owner: Any, *names: str) -> Parts:
    """Which of its attributes hold weights: no fixed embedding, which is a buffer, and no identity."""
    values = (getattr(owner, name, None) for name in names)
    kinds = (nn.Module, nn.Parameter)
    return [value for value in values if isinstance(value, kinds) and not isinstance(value, nn.Identity)]


def is_vit(backbone: nn.Module) -> bool:
    """Whether ``ViT`` serves a model of timm's: its class, a class token and standard attention in every block."""
    return _has_standard_attention(backbone) and backbone.cls_token is not None


def is_classless(backbone: nn.Module) -> bool:
    """Whether ``Classless`` serves a model of timm's: as ``is_vit`` has it, without a class token."""
    return _has_standard_attention(backbone) and backbone.cls_token is None


def _has_standard_attention(backbone: nn.Module) -> bool:
    return isinstance(backbone, VisionTransformer) and all(
        isinstance(getattr(block, "attn", None), Attention) for block in backbone.blocks
    )
