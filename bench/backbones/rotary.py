"""What methods ask of timm's Eva: ViTs that turn queries and keys by their places (EVA-02, DINOv3, PE, RoPE-ViT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from timm.layers import AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention
from torch import Tensor, nn

from bench.backbones.model import CallProbe, Family, Parts, Probe
from bench.backbones.vit import ViT
from bench.cards.lacking import NO_CLASS, NO_CLASS_BIASED_ROTARY, OF_BIASED_ROTARY, OF_BLOCKS

Call = tuple[tuple[Tensor, ...], Mapping[str, Any]]
"""What an attention module is called with: the normed tokens by place, the turns of each patch by name."""


class Rotary(ViT):
    """timm's Eva with a class token: EVA, EVA-02, DINOv3, Perception Encoder, RoPE-ViT.

    Each attention turns the queries and keys of patches by angles of their places; those of [cls] and registers are
    left as they are (Heo et al., ECCV 2024; Siméoni et al., 2025). Logits are of what was turned, with the angles of
    that very pass, which training may vary.
    """

    lacks: ClassVar = OF_BLOCKS
    probes: ClassVar[type[Probe]] = CallProbe
    last: ClassVar[tuple[str, ...]] = ("norm.", "fc_norm.", "attn_pool.")

    def projections(self, backbone: Any) -> list[nn.Module]:
        """The attention modules, whose calls are read: timm applies some projections as functions."""
        return [block.attn for block in backbone.blocks]

    def logits(self, number: int, seen: Call, backbone: Any, queries: int | None, prefix: int) -> Tensor:
        """q·k/√d of the normed tokens, both turned; only the queries that are wanted are projected."""
        (tokens, *_), named = seen
        attention, rope = backbone.blocks[number].attn, named.get("rope")
        query = attention.q_norm(_projected(attention, tokens[:, :queries], 0))
        key = attention.k_norm(_projected(attention, tokens[:, prefix:], 1))
        if rope is not None:
            query = _turned(attention, query, rope, 0)
            key = _turned(attention, key, rope, prefix)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)  # some have fewer heads of keys
        logits: Tensor = query * attention.scale @ key.transpose(-2, -1)
        return logits

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """As a ViT's, without ``token_blocks``: each attention counts for itself which tokens are not turned."""
        return Family.part(self, name, backbone) if name == "token_blocks" else super().part(name, backbone)


class ClasslessRotary(Rotary):
    """timm's Eva without a class token."""

    lacks: ClassVar = NO_CLASS
    classless: ClassVar[bool] = True


class BiasedRotary(Rotary):
    """One whose queries and values have biases that are no linear layer's: ``qkv`` is a weight to timm, no module."""

    lacks: ClassVar = OF_BIASED_ROTARY


class ClasslessBiasedRotary(ClasslessRotary):
    """Likewise, without a class token."""

    lacks: ClassVar = NO_CLASS_BIASED_ROTARY


def _projected(attention: Any, tokens: Tensor, which: int) -> Tensor:
    """Queries (0) or keys (1) of tokens (B, T, D): (B, H, T, d)."""
    if attention.qkv is None:
        projected = (attention.q_proj, attention.k_proj)[which](tokens)
    elif type(attention.qkv) is nn.Linear:
        weight = attention.qkv.weight.chunk(3)[which]
        bias: Tensor | None = attention.qkv.bias
        if bias is not None:
            bias = bias.chunk(3)[which]
        elif which == 0:  # keys have no bias of their own
            bias = getattr(attention, "q_bias", None)
        projected = F.linear(tokens, weight, bias)
    else:  # somebody put another module there
        projected = attention.qkv(tokens).chunk(3, -1)[which]
    by_head: Tensor = projected.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
    return by_head


def _turned(attention: Any, heads: Tensor, rope: Tensor, first: int) -> Tensor:
    """Queries or keys (B, H, T, d), the first of them that of token ``first``, with those of patches turned."""
    straight = max(0, attention.num_prefix_tokens - first)
    count = heads.shape[2] - straight
    if count <= 0:
        return heads
    turned = apply_rot_embed_cat(heads[:, :, straight:], rope[..., :count, :], half=attention.rotate_half)
    return torch.cat([heads[:, :, :straight], turned.type_as(heads)], 2)


def is_rotary(backbone: nn.Module) -> bool:
    """Whether ``Rotary`` serves a model: timm's Eva with a class token and attention that it can read."""
    return _is_readable(backbone) and backbone.cls_token is not None


def is_classless_rotary(backbone: nn.Module) -> bool:
    """Whether ``ClasslessRotary`` serves a model: as ``is_rotary`` has it, without a class token."""
    return _is_readable(backbone) and backbone.cls_token is None


def _is_readable(backbone: nn.Module) -> bool:
    attentions = (EvaAttention, AttentionRope)
    return isinstance(backbone, Eva) and all(isinstance(block.attn, attentions) for block in backbone.blocks)


def has_biases_apart(backbone: Any) -> bool:
    """Whether attentions of timm's Eva have biases that are no linear layer's."""
    return any(getattr(block.attn, "q_bias", None) is not None for block in backbone.blocks)
