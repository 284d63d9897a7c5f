"""The last block of a transformer computed for its class token alone, where nothing else of it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from timm import layers
from timm.layers import Attention, AttentionRope, apply_rot_embed_cat
from timm.models import VisionTransformer
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bench.backbones.t2t import T2TViT

_WHOLE = frozenset({"norm1", "qkv", "k_proj", "v_proj", "k_norm"})
"""Parts of a block and its attention that are given all tokens, as ever: any module, and anybody may look at it."""

_LINEAR = frozenset({"q_proj", "proj", "fc1", "fc2", "fc1_g", "fc1_x"})
"""Linear layers of timm's; what a method puts in the place of one treats each token for itself."""

_OF_EACH_TOKEN = frozenset(
    {
        *(nn.Identity, nn.Dropout, nn.LayerNorm, nn.RMSNorm, nn.GELU, nn.SiLU, nn.ReLU, nn.Tanh, nn.Sigmoid),
        *(layers.LayerNorm, layers.LayerNormFp32, layers.RmsNorm, layers.SimpleNorm, layers.LayerScale),
        *(layers.DropPath, layers.GELU, layers.GELUTanh, layers.QuickGELU),
    }
)
"""Layers that treat every token for itself."""

_ATTENTIONS = (Attention, AttentionRope, EvaAttention)

_COMPOSED = (*_ATTENTIONS, layers.Mlp, layers.GluMlp, layers.SwiGLU)
"""What is made of several layers; these types and none derived from them, of which one has a norm over places."""


@contextmanager
def class_token_alone(backbone: nn.Module) -> Iterator[None]:
    """Passes of a backbone inside compute of its last block what the class token needs, where it pools that alone.

    Keys and values are of all tokens; query, projection, MLP and the norm behind of the class token. What is pooled is
    the same but for the order of sums, and stochastic depth draws the same, since it drops whole images. Passes are as
    ever where there is no such block (``narrowed``). The backbone is changed for as long as this lasts, and no longer.
    """
    block: Any = narrowed(backbone)
    if block is None:
        yield
        return
    block.forward = MethodType(_standard if type(block) is Block else _rotary, block)
    try:
        yield
    finally:
        del block.forward


def narrowed(backbone: nn.Module) -> nn.Module | None:
    """The last block of a backbone, where it may be computed for the class token alone; else None.

    It may not where features are pooled of anything else; where a hook would miss what it looks at or changes (a probe
    of tokens, a branch or tokens that a method puts in); where a layer is not known to treat each token for itself; or
    where units are dropped, which would be drawn for fewer. A module says that it does by ``each_token = True``.
    """
    if not _pools_class_token(backbone):
        return None
    ends: Any = backbone
    block = ends.blocks[-1]
    if type(block) not in (Block, EvaBlock) or not _is_readable(block.attn):
        return None
    if _is_watched(ends.blocks) or not _narrows("norm", ends.norm):
        return None
    return block if _all_narrow(block) else None


def _pools_class_token(backbone: Any) -> bool:
    if _is_replaced(backbone):
        return False
    if type(backbone) is T2TViT:
        return True
    return (
        type(backbone) in (VisionTransformer, Eva)
        and backbone.cls_token is not None
        and backbone.global_pool == "token"
        and backbone.attn_pool is None
        and not backbone.grad_checkpointing  # blocks are computed again on the way back, when this is over
    )


def _is_readable(attention: Any) -> bool:
    """Whether ``_attended`` computes what an attention does."""
    if type(attention) not in _ATTENTIONS or attention.gate is not None:
        return False
    has_biases_apart = getattr(attention, "q_bias", None) is not None
    return not has_biases_apart and getattr(attention, "num_kv_groups", 1) == 1


def _all_narrow(owner: nn.Module) -> bool:
    """Whether nobody looks at a module, and all parts of it that are not given all tokens are such as ``_narrows``."""
    parts = owner._modules.items()  # as everything here looked at in every pass: ten times as fast as named_children
    return not _is_watched(owner) and all(
        _narrows(name, part) for name, part in parts if part is not None and name not in _WHOLE
    )


def _narrows(name: str, part: nn.Module) -> bool:
    """Whether a part gives one token what it gives it among all, and nobody looks at it."""
    if isinstance(part, _COMPOSED):
        return type(part) in _COMPOSED and _all_narrow(part)
    if _drops_units(part) or _is_watched(part):
        return False
    if part._modules and any(_drops_units(module) or _is_watched(module) for module in part.modules()):
        return False
    return type(part) in _OF_EACH_TOKEN or name in _LINEAR or getattr(part, "each_token", False)


def _is_watched(module: nn.Module) -> bool:
    """Whether a hook looks at a module, or somebody put another function in the place of its own."""
    forward = module._forward_pre_hooks or module._forward_hooks
    return bool(forward or module._backward_hooks or module._backward_pre_hooks) or _is_replaced(module)


def _is_replaced(module: nn.Module) -> bool:
    return "forward" in module.__dict__


def _drops_units(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0


def _standard(block: Any, tokens: Tensor) -> Tensor:
    """What timm's ``Block`` gives of the class token, (B, 1, D), for tokens (B, T, D)."""
    first = tokens[:, :1] + block.drop_path1(block.ls1(_attended(block.attn, block.norm1(tokens))))
    out: Tensor = first + block.drop_path2(block.ls2(block.mlp(block.norm2(first))))
    return out


def _rotary(
    block: Any, tokens: Tensor, rope: Tensor | None = None, attn_mask: None = None, is_causal: bool = False
) -> Tensor:
    """Likewise of timm's ``EvaBlock``, which is called with the turns of the patches; models mask no tokens."""
    attended = _attended(block.attn, block.norm1(tokens), rope)
    first = tokens[:, :1] + block.drop_path1(attended if block.gamma_1 is None else block.gamma_1 * attended)
    changed = block.mlp(block.norm2(first))
    out: Tensor = first + block.drop_path2(changed if block.gamma_2 is None else block.gamma_2 * changed)
    return out


def _attended(attention: Any, tokens: Tensor, rope: Tensor | None = None) -> Tensor:
    """What an attention gives of the class token, (B, 1, D), for normed tokens (B, T, D); by the kernel of timm's."""
    if getattr(attention, "qkv", None) is not None:
        every = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = every.unbind(0)
        query = query[:, :, :1]
    else:
        projections = (attention.q_proj, tokens[:, :1]), (attention.k_proj, tokens), (attention.v_proj, tokens)
        query, key, value = (
            project(some).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for project, some in projections
        )
    query, key = attention.q_norm(query), attention.k_norm(key)
    if rope is not None:  # the class token is at no place
        straight = attention.num_prefix_tokens
        turned = apply_rot_embed_cat(key[:, :, straight:], rope, half=attention.rotate_half)
        key = torch.cat([key[:, :, :straight], turned], 2).type_as(value)
        query = query.type_as(value)
    if attention.fused_attn:
        mixed = F.scaled_dot_product_attention(query, key, value)
    else:
        mixed = (query * attention.scale @ key.transpose(-2, -1)).softmax(-1) @ value
    out: Tensor = attention.proj_drop(attention.proj(attention.norm(mixed.transpose(1, 2).flatten(2))))
    return out
