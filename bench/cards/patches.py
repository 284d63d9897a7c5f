"""How backbones cut images into patches, told from their cards: what of an image they would not see."""

from __future__ import annotations

import re

from bench.cards.backbone import BackboneCard
from bench.cards.offers import OWN_OFFERS, RESNET_OFFERS, offers_of, timm_offers

_PATCH = re.compile(r"_patch(\d+)(?=_|$)")
_STRIDES = {"cifar_resnet": 4, "cvt": 16, "t2t_vit": 16, "resnet": 8}
"""Pixels that lie between two places of the last layer, of architectures of the suite's own that have no patches."""

_USUAL, _OF_SWIN = 16, 4
"""Pixels a side of a patch of timm's VisionTransformer, where nothing is said, and of its Swins."""

_OF_FEW_LEVELS = 8
"""Pixels a side of a patch whose map a decoder makes less large than that of others (``bench.backbones.pyramid``)."""


def patch_size(card: BackboneCard) -> int:
    """Pixels a side of the patches that lie beside each other; 0 where there are none, or nobody knows it by name."""
    if written := card.arguments.get("patch_size"):
        return int(written)
    if is_own(card):
        return _USUAL if card.model == "vision_transformer" else 0
    model = card.model.partition(".")[0]
    match = _PATCH.search(model)
    return int(match[1]) if match else _OF_SWIN if model.startswith("swin") else 0


def is_understood(card: BackboneCard) -> bool:
    """Whether it is known without building it what the backbone sees of an image of any size."""
    overlaps = timm_offers(card.model) >= RESNET_OFFERS - {"batch_norm"}  # convolutions that reach beyond the border
    return bool(patch_size(card)) or is_own(card) or overlaps


def is_own(card: BackboneCard) -> bool:
    """Whether the architecture is one of the suite's own, and not built by a name of timm's."""
    return card.model in OWN_OFFERS and not card.name.startswith("timm:")


def least_size(card: BackboneCard, has_decoder: bool = False) -> int:
    """Pixels a side of an image of which the last layer sees 2 × 2 places; 0 where nobody knows it by name.

    With a decoder, as many of which a pyramid of four maps can be made: 4 × 4 patches of 8 pixels, or smaller ones.
    """
    offers = offers_of(card.model)
    if card.model in _STRIDES and is_own(card):
        return 2 * _STRIDES[card.model]
    if card.model.startswith("swin") or (offers >= RESNET_OFFERS - {"batch_norm"} and not is_own(card)):
        return 64
    patch = patch_size(card)
    return (4 if has_decoder and patch <= _OF_FEW_LEVELS else 2) * patch


def unseen(card: BackboneCard, image_size: int) -> str:
    """Why images of so many pixels a side do not fit the patches of a backbone; empty where they do. 0: its own."""
    patch = patch_size(card)
    if not image_size or not patch or not image_size % patch:
        return ""
    rest, low = image_size % patch, image_size - image_size % patch
    if not low:
        return f"{card.name}: image_size = {image_size} is less than a patch of it, {patch} pixels; take {patch}"
    lost = f"the last {rest} rows and columns" if rest > 1 else "the last row and column"
    return (
        f"{card.name}: image_size = {image_size} is no multiple of its patches, of {patch} pixels: {lost} would not be "
        f"seen; take {low} or {low + patch}"
    )
