"""What backbones offer to methods, told from names and file headers: nothing that plans builds a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.reading.ordinary import open_ordinary

_BRANCHES = frozenset({"attention", "ffn", "norms", "embeddings", "position"})

PARTS = _BRANCHES | {"batch_norm", "last_convs"}
"""What of the offers are parts, to be trained or left alone; the others are probes, but for ``source_head``."""

VIT_OFFERS = _BRANCHES | {
    *("tokens", "grid", "cls_attention", "cls_attention_map", "attention_maps", "msa_output", "block_output")
}
"""What timm's VisionTransformer offers (see ``bench.backbones.vit``)."""

BEIT_OFFERS = VIT_OFFERS
"""What timm's Beit offers (see ``bench.backbones.beit``)."""

RESNET_OFFERS = frozenset(
    {
        *("grid", "conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4"),  # probes
        *("batch_norm", "norms", "last_convs"),  # parts
    }
)
"""What timm's ResNet offers (see ``bench.backbones.resnet``)."""

SWIN_OFFERS = _BRANCHES | {"tokens", "grid"}
"""What timm's SwinTransformer and SwinTransformerV2 offer (see ``bench.backbones.swin``)."""

OWN_OFFERS = {
    "vision_transformer": VIT_OFFERS,
    "resnet": RESNET_OFFERS,
    "cifar_resnet": RESNET_OFFERS - {"conv_map_4"},
    "t2t_vit": VIT_OFFERS,
    "cvt": _BRANCHES | {"grid"},
}
"""What architectures that are not built by timm's name offer, by what a card calls them."""

HEADS = ("head.fc", "head", "fc", "classifier")
"""What the classifier of the pre-training is called in files of weights."""

_VIT_NAMES = re.compile(r"(vit|deit)3?_(tiny|small|little|medium|base|large|huge|giant|so\w+)_\w+")
_BEIT_NAMES = re.compile(r"beit(v2)?_(base|large)_\w+")
_RESNET_NAMES = re.compile(
    r"(wide_)?resnet(aa|blur|rs)?\d+[cdst]?(_2|_gn)?|resnext\d+d?_\d+x\d+d|ecaresne\w+"
    r"|seresnet(aa)?\d+[dt]?|seresnext(aa)?\d+[dt]?_\d+x\d+d|senet154|test_resnet"
)
_SWIN_NAMES = re.compile(r"swin_\w+|swinv2_(?!cr_)\w+")
_NOT_PLAIN = re.compile(
    r"_gap_|_map_|relpos|_reg\d+_(gap|dinov2)|plus|siglip|pe_|rope"
    r"|_18x2_|_rpn_|_xp_|dinov3|lingbot|sapiens"
)
"""In names of ViTs without a class token, of another class, or with blocks of another kind."""

_NO_HEAD = re.compile(r"mae|dino|moco|clip|mim|ibot|orig_in21k")
"""In names and tags of weights that come without the classifier of their pre-training, if not fine-tuned (``ft``)."""


def offers_of(model: str) -> frozenset[str]:
    """Probes and parts of an architecture by what a card calls it: one of the suite's own, or a timm model."""
    return OWN_OFFERS.get(model) or timm_offers(model)


def timm_offers(model: str) -> frozenset[str]:
    """Probes and parts of a timm model by its name, tag included."""
    name = model.partition(".")[0]
    if _VIT_NAMES.fullmatch(name) and not _NOT_PLAIN.search(name):
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

    Of timm's it is told from the model's name, tag included; of a safetensors file, from its header.
    """
    if weights == "none":
        return frozenset()
    if weights == "pretrained":
        name, _, tag = model.partition(".")
        has_head = "ft" in tag.split("_") or not _NO_HEAD.search(f"{name}.{tag}")
    else:
        entries = _entries(Path(weights))
        has_head = any(f"{head}.weight" in entries for head in HEADS)
    return frozenset({"source_head"} if has_head else ())


def _entries(path: Path) -> dict[str, object]:
    """The names in a safetensors file; none where it is not one, which is told when it is loaded."""
    try:
        with open_ordinary(path) as file:
            size = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(min(size, 1 << 26)))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}
