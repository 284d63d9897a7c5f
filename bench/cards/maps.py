"""Which backbones have feature maps that a decoder takes, told from their cards; building one says it for certain."""

from __future__ import annotations

from bench.cards.backbone import BackboneCard
from bench.cards.offers import timm_offers
from bench.cards.patches import is_own

_OWN = {
    "t2t_vit": "a T2T-ViT has no published recipe for segmentation",
    "cvt": "a CvT has no published recipe for segmentation",
    "cifar_resnet": "a ResNet for CIFAR has 3 stages, not 4",
}
"""Why architectures of the suite's own have none, by what a card calls them."""

_MAY_BE = ("vit", "deit", "beit", "eva", "flexivit", "naflexvit", "aimv2", "test")
"""What names of timm's begin with, of which some are ViTs with a class token that nothing else tells."""


def without_maps(card: BackboneCard) -> str:
    """Why a decoder cannot stand on a backbone, in words; empty where it can, and where its card does not tell."""
    if is_own(card):
        reason = _OWN.get(card.model, "")
    else:
        is_known = timm_offers(card.model) or card.model.startswith(_MAY_BE)
        reason = "" if is_known else "nobody knows its feature maps"
    takes = "a decoder takes a ViT with a class token, a Beit, a Swin or a ResNet"
    return f"{card.name}: {reason}; {takes}" if reason else ""
