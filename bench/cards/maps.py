"""Which backbones have feature maps that a decoder takes, told from their cards; building one says it for certain."""

from __future__ import annotations

from bench.cards.backbone import BackboneCard
from bench.cards.kinds import POOLED_MAPS
from bench.cards.patches import is_own
from bench.cards.timm_names import kind_of_timm, unserved_by_name

TAKES = "a decoder takes a ViT, a Beit, a Swin or a ResNet"
"""In the words of every refusal."""

_OWN = {
    "t2t_vit": "not written yet: a T2T-ViT has no published recipe for segmentation",
    "cvt": "not written yet: a CvT has no published recipe for segmentation",
    "cifar_resnet": "cannot be: a ResNet for CIFAR has 3 stages, not 4",
}
"""Why architectures of the suite's own have none, by what a card calls them."""

_MAY_BE = ("vit", "deit", "beit", "eva", "flexivit", "aimv2", "test")
"""What names of timm's begin with, of which some are ViTs that nothing else tells."""


def without_maps(card: BackboneCard) -> str:
    """Why a decoder cannot stand on a backbone, in words; empty where it can, and where its card does not tell."""
    reason = _OWN.get(card.model, "") if is_own(card) else _of_timm(card.model)
    return f"{card.name}: {reason}; {TAKES}" if reason else ""


def _of_timm(model: str) -> str:
    kind = kind_of_timm(model)
    if kind is None:
        unserved = unserved_by_name(model)
        if unserved:
            return f"not written yet for {unserved}"
        return "" if model.startswith(_MAY_BE) else "not recognised: nobody knows its feature maps"
    return f"not written yet for {kind.title}" if kind is POOLED_MAPS else ""
