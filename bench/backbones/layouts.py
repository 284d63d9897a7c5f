"""How published checkpoints name their weights: what is kept, dropped, renamed, and allowed to be missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How a checkpoint names the weights of a backbone. Whatever no rule speaks of is refused by its name.

    Attributes:
        entries: keys under which the tensors may lie, the first that is there counts; ``""`` is the file itself, and
            ``{network}`` stands for ``student`` or ``teacher``.
        prefix: of the names that are kept; it is taken off.
        mark: regular expression that a kept name begins with in this layout and in no other of the backbone.
        dropped: regular expression of whole names that are left out.
        renamed: regular expressions and what takes their place, in order.
        change: of the tensors, after that.
        fresh: regular expression of names that the checkpoint may lack where it has no classifier.
    """

    entries: tuple[str, ...] = ("",)
    prefix: str = ""
    mark: str = ""
    dropped: str = ""
    renamed: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = ()
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    fresh: str = ""


def next_stage(match: re.Match[str]) -> str:
    """Swin's own code puts the merging of patches at the end of a stage, timm at the start of the next."""
    return f"layers.{int(match[1]) + 1}.downsample."


def joined(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of queries, keys and values as one: ``….query``, ``….key``, ``….value`` become ``….qkv``."""
    changed: dict[str, Tensor] = {}
    for name, value in weights.items():
        place = name.removesuffix(".query.weight")
        if place != name:
            names = [f"{place}.{kind}.weight" for kind in ("key", "value")]
            changed[f"{place}.qkv.weight"] = torch.cat([value, *(weights[name] for name in names if name in weights)])
        elif not name.endswith((".key.weight", ".value.weight")):
            changed[name] = value
    return changed


_BUFFERS = r".*\.(relative_position_index|attn_mask|relative_coords_table)"
_SWIN = ((r"^layers\.(\d+)\.downsample\.", next_stage),)
_PLAIN = Layout(("model", "state_dict", ""))

# transformers' names of a BEiT
_TRANSFORMERS = (
    (r"^data2vec_vision\.", ""),
    (r"^embeddings\.(cls_token|mask_token|position_embeddings)$", r"\1"),
    (r"^position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.relative_position_bias\.", "rel_pos_bias."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.relative_position_bias\.", ".attn."),
    (r"\.attention\.attention\.(query|value)\.bias$", lambda match: f".attn.{match[1][0]}_bias"),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.lambda_([12])$", r".gamma_\1"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^pooler\.layernorm\.", "fc_norm."),
)

# a BEiT is pre-trained with a norm of all tokens, which its fine-tuning replaces by a new one of the pooled features
_BEIT = Layout(
    ("model", "module", ""),
    mark=r"blocks\.",
    dropped=rf"mask_token|lm_head\..+|norm\..+|{_BUFFERS}",
    fresh=r"fc_norm\..+",
)

LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "plain": (_PLAIN,),
    # DINO and iBOT: student and teacher with their heads, or the teacher's backbone alone
    "dino": (
        Layout(("{network}",), prefix="backbone.", dropped=r"head\..+|backbone\.masked_embed"),
        Layout(("state_dict", ""), mark=r"blocks\.", dropped=r"head\..+|masked_embed"),
    ),
    "esvit": (
        Layout(("{network}",), "backbone.", dropped=rf"head(_dense)?\..+|{_BUFFERS}", renamed=_SWIN),
        Layout(("{network}",), mark=r"layers\.", dropped=rf"head(_dense)?\..+|{_BUFFERS}", renamed=_SWIN),
    ),
    "moco": (Layout(("state_dict",), "encoder_q.", dropped=r"encoder_k\..+|queue(_ptr)?|encoder_q\.fc\..+"),),
    # the masked autoencoder as it is published, with its decoder or without; a class token's norm has no use here
    "mae": (Layout(("model", ""), mark=r"blocks\.", dropped=r"decoder_.+|mask_token|norm\..+", fresh=r"fc_norm\..+"),),
    "simmim": (
        Layout(
            ("model", ""),
            "encoder.",
            mark=r"encoder\.blocks\.",
            dropped=rf"decoder\..+|encoder\.(mask_token|norm\..+)|{_BUFFERS}",
            fresh=r"fc_norm\..+",
        ),
        _BEIT,
    ),
    "simmim_swin": (
        Layout(("model", ""), "encoder.", dropped=rf"decoder\..+|encoder\.mask_token|{_BUFFERS}", renamed=_SWIN),
        Layout(("model", ""), mark=r"layers\.", dropped=_BUFFERS, renamed=_SWIN),
    ),
    "beit": (_BEIT,),
    "data2vec": (
        _BEIT,
        Layout(
            ("",),
            mark=r"(data2vec_vision\.)?encoder\.",
            dropped=r"(data2vec_vision\.)?(embeddings\.mask_token|layernorm\..+)",
            renamed=_TRANSFORMERS,
            change=joined,
            fresh=r"fc_norm\..+",
        ),
    ),
    "swin": (Layout(("model", ""), mark=r"layers\.", dropped=_BUFFERS, renamed=_SWIN),),
    # with the teacher and what projects to its features, as published; a ViT's student as `bench export` writes it
    "feature_distillation": (
        Layout(
            ("model", ""),
            "encoder.",
            mark=r"encoder\.blocks\.",
            dropped=rf"(decoder|feature_model)\..+|encoder\.norm\..+|{_BUFFERS}",
            fresh=r"fc_norm\..+",
        ),
        Layout(
            ("model", ""),
            "encoder.",
            mark=r"encoder\.layers\.",
            dropped=rf"(decoder|feature_model)\..+|{_BUFFERS}",
            renamed=(*_SWIN, (r"\.rpe_mlp\.", ".cpb_mlp.")),
        ),
        _BEIT,
    ),
    "t2t": (Layout(("state_dict_ema", "state_dict", ""), mark=r"tokens_to_token\."),),
    "cvt": (Layout(("",), mark=r"cvt\."),),
    "cifar_resnet": (Layout(("state_dict", ""), mark=r"layer1\.", renamed=((r"^linear\.", "head."),)),),
}
"""The layouts of each kind of checkpoint, by the name that a card gives under ``convert``."""
