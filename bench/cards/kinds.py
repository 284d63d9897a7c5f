"""Kinds of backbones: what each offers to methods, and why it cannot have the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.cards import lacking
from bench.cards.lacking import Reasons

BRANCHES = frozenset({"attention", "ffn", "norms", "embeddings", "position"})
"""The parts of a transformer."""

ADAPTED = frozenset({"linears", "token_blocks"})
"""What parameter-efficient methods put something into: linear layers, and blocks that take any number of tokens."""

OF_CLASS = frozenset({"cls_attention", "cls_attention_map"})
"""Probes that read what the class token attends to."""


@dataclass(frozen=True)
class BackboneKind:
    """A kind of backbone.

    Attributes:
        title: in words, behind "for".
        offers: probes and parts that methods may ask for.
        lacks: what it cannot have, each with the reason.
    """

    title: str
    offers: frozenset[str]
    lacks: Reasons


_OF_VIT = BRANCHES | ADAPTED | OF_CLASS | {"tokens", "grid", "attention_maps", "msa_output", "block_output"}

VIT = BackboneKind("ViTs", _OF_VIT, lacking.OF_BLOCKS)
"""timm's VisionTransformer with a class token (``bench.backbones.vit``)."""

CLASSLESS = BackboneKind("ViTs without a class token", _OF_VIT - OF_CLASS, lacking.NO_CLASS)
"""timm's VisionTransformer without one (``bench.backbones.vit``)."""

BEIT = BackboneKind("BEiTs", _OF_VIT - ADAPTED, lacking.OF_BEIT)
"""timm's Beit (``bench.backbones.beit``)."""

ROTARY = BackboneKind("ViTs with rotary positions", _OF_VIT - {"token_blocks"}, lacking.OF_BLOCKS)
"""timm's Eva with a class token (``bench.backbones.rotary``)."""

CLASSLESS_ROTARY = BackboneKind(
    "ViTs with rotary positions and no class token", ROTARY.offers - OF_CLASS, lacking.NO_CLASS
)
"""timm's Eva without one (``bench.backbones.rotary``)."""

ROTARY_APART = replace(
    ROTARY,
    title="ViTs with rotary positions whose queries, keys and values have a layer each",
    offers=ROTARY.offers - {"linears"},
)
"""Those that no ``qkv`` projects: what adapts linear layers by their names in a block would not find them."""

BIASED_ROTARY = replace(ROTARY, offers=ROTARY.offers - {"linears"}, lacks=lacking.OF_BIASED_ROTARY)
"""Those whose queries and values have biases that are no linear layer's."""

CLASSLESS_BIASED_ROTARY = replace(
    CLASSLESS_ROTARY, offers=CLASSLESS_ROTARY.offers - {"linears"}, lacks=lacking.NO_CLASS_BIASED_ROTARY
)
"""Likewise, without a class token."""

RESNET = BackboneKind(
    "ResNets",
    frozenset(
        {
            *("grid", "conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4"),  # probes
            *("batch_norm", "norms", "last_convs"),  # parts
        }
    ),
    lacking.OF_RESNET,
)
"""timm's ResNet (``bench.backbones.resnet``)."""

GROUP_NORM_RESNET = replace(RESNET, offers=RESNET.offers - {"batch_norm"})
"""Of group norms."""

CIFAR_RESNET = replace(RESNET, offers=RESNET.offers - {"conv_map_4"})
"""A ResNet for CIFAR, of three stages (``bench.backbones.cifar_resnet``)."""

SWIN = BackboneKind("Swins", BRANCHES | {"tokens", "grid", "linears"}, lacking.OF_SWIN)
"""timm's SwinTransformer (``bench.backbones.swin``)."""

SWIN_V2 = replace(SWIN, title="Swins of version 2", offers=SWIN.offers - {"linears"})
"""timm's SwinTransformerV2, which applies a projection as a function of its weights."""

CVT = BackboneKind("CvTs", BRANCHES | {"grid"}, lacking.OF_CVT)
"""``bench.backbones.cvt``."""

POOLED_MAPS = BackboneKind("networks that pool their last map", frozenset({"grid", "norms"}), lacking.OF_POOLED_MAPS)
"""timm's networks of stages, of whatever layers (``bench.backbones.pooled_maps``)."""

OWN: Mapping[str, BackboneKind] = {
    "vision_transformer": VIT,
    "resnet": RESNET,
    "cifar_resnet": CIFAR_RESNET,
    "t2t_vit": replace(VIT, title="T2T-ViTs"),
    "cvt": CVT,
}
"""Architectures that are not built by timm's name, by what a card calls them."""
