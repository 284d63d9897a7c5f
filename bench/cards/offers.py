"""What backbones offer to methods, told from names and file headers: nothing that plans builds a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.cards.kinds import ADAPTED, BRANCHES, OWN, RESNET
from bench.cards.timm_names import kind_of_timm
from bench.reading.ordinary import open_ordinary

PARTS = BRANCHES | ADAPTED | {"batch_norm", "last_convs"}
"""What of the offers are parts, to be trained or left alone; the others are probes, but for ``source_head``."""

RESNET_OFFERS = RESNET.offers
"""What timm's ResNet offers (see ``bench.backbones.resnet``)."""

OWN_OFFERS = {name: kind.offers for name, kind in OWN.items()}
"""What architectures that are not built by timm's name offer, by what a card calls them."""

HEADS = ("head.fc", "head", "fc", "classifier")
"""What the classifier of the pre-training is called in files of weights."""

_NO_HEAD = re.compile(
    r"mae|dino|moco|clip|mim|ibot|ijepa|orig_in21k|eupe|radio|seer|sam2|samvit|siglip|lingbot|sapiens|ogvl|sa1b"
    r"|florence|qwen|gemma|deepseek|vit_pe_(lang|spatial)|aimv2|beit3_\w+\.(indomain_)?pt|tipsv2|bamboo|focalnet_huge_fl4"
)
"""In names and tags of weights that come without the classifier of their pre-training, if not fine-tuned (``ft``)."""


def offers_of(model: str) -> frozenset[str]:
    """Probes and parts of an architecture by what a card calls it: one of the suite's own, or a timm model."""
    return OWN_OFFERS.get(model) or timm_offers(model)


def timm_offers(model: str) -> frozenset[str]:
    """Probes and parts of a timm model by its name, tag included."""
    kind = kind_of_timm(model)
    return kind.offers if kind else frozenset()


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
