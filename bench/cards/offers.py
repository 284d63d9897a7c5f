"""What backbones offer to methods, told from names and file headers: nothing that plans builds a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

VIT_OFFERS = frozenset(
    {
        *("tokens", "grid", "cls_attention", "cls_attention_map", "msa_output", "block_output"),  # probes
        *("attention", "ffn", "position"),  # parts
    }
)
"""What timm's VisionTransformer offers (see ``bench.backbones.vit``)."""

BEIT_OFFERS = frozenset({"tokens", "grid", "attention", "ffn", "position"})
"""What timm's Beit offers (see ``bench.backbones.beit``)."""

RESNET_OFFERS = frozenset(
    {
        *("grid", "conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4"),  # probes
        *("batch_norm", "last_convs"),  # parts
    }
)
"""What timm's ResNet offers (see ``bench.backbones.resnet``)."""

SWIN_OFFERS = frozenset({"tokens", "grid", "attention", "ffn", "position"})
"""What timm's SwinTransformer and SwinTransformerV2 offer (see ``bench.backbones.swin``)."""

_VIT_NAMES = re.compile(r"(vit|deit)3?_(tiny|small|little|medium|base|large|huge|giant|so\w+)_\w+")
_BEIT_NAMES = re.compile(r"beit(v2)?_(base|large)_\w+")
_RESNET_NAMES = re.compile(
    r"(wide_)?resnet(aa|blur|rs)?\d+[cdst]?(_2|_gn)?|resnext\d+d?_\d+x\d+d|ecaresne\w+"
    r"|seresnet(aa)?\d+[dt]?|seresnext(aa)?\d+[dt]?_\d+x\d+d|senet154|test_resnet"
)
_SWIN_NAMES = re.compile(r"swin_\w+|swinv2_(?!cr_)\w+")
_NO_CLASS_TOKEN = re.compile(r"_gap_|relpos|_reg\d+_(gap|dinov2)|plus|siglip|pe_|rope")
_NO_HEAD = re.compile(r"mae|dino|moco|clip|mim|ibot")
"""In names and tags of weights that come without the classifier of their pre-training, if not fine-tuned (``ft``)."""


def timm_offers(model: str) -> frozenset[str]:
    """Probes and parts of a timm model by its name, tag included."""
    name = model.partition(".")[0]
    if _VIT_NAMES.fullmatch(name) and not _NO_CLASS_TOKEN.search(name):
        return VIT_OFFERS
    if _BEIT_NAMES.fullmatch(name):
        return BEIT_OFFERS
    if _RESNET_NAMES.fullmatch(name):
        return RESNET_OFFERS - {"batch_norm"} if name.endswith("_gn") else RESNET_OFFERS
    if _SWIN_NAMES.fullmatch(name):
        return SWIN_OFFERS
    return frozenset()


def head_offers(model: str, weights: str) -> frozenset[str]:
    """``source_head`` where the weights come with the classifier of their pre-training.

    Args:
        model: a timm model's name, tag included.
        weights: ``"none"``, ``"pretrained"`` (timm's, told from the name) or a safetensors file (told from its header).
    """
    if weights == "none":
        return frozenset()
    if weights == "pretrained":
        name, _, tag = model.partition(".")
        has_head = "ft" in tag.split("_") or not _NO_HEAD.search(f"{name}.{tag}")
    else:
        has_head = "head.weight" in _entries(Path(weights))
    return frozenset({"source_head"} if has_head else ())


def _entries(path: Path) -> dict[str, object]:
    """The names in a safetensors file; none where it is not one, which is told when it is loaded."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return dict(json.loads(file.read(min(size, 1 << 26))))
    except (OSError, ValueError):
        return {}
