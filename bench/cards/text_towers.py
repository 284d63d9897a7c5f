"""Which backbones were pre-trained together with a text tower, told from their names, and why others have none."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.errors import InputError
from bench.reading.document import Section

TEXT_TOWER = "text_tower"
"""What a method asks for, and a card says: the part of a CLIP that reads texts."""

PACKAGE, EXTRA = "open_clip", "clip"
"""What builds text towers, and the extra that installs it."""


@dataclass(frozen=True)
class TextTowerCard:
    """A text tower.

    Attributes:
        config: the name of open_clip's model, or ``embed_dim``, ``text_cfg`` and ``quick_gelu`` as its configs have
            them.
        weights: open_clip's tag of the weights that timm has the visual tower of; empty where they are drawn.
    """

    config: str | Mapping[str, Any]
    weights: str = ""


_QUICK = "_clip_quickgelu_"

PUBLISHED: Mapping[str, TextTowerCard] = {
    "vit_base_patch32_clip_quickgelu_224.openai": TextTowerCard("ViT-B-32-quickgelu", "openai"),
    "vit_base_patch32_clip_quickgelu_224.laion400m_e32": TextTowerCard("ViT-B-32-quickgelu", "laion400m_e32"),
    "vit_base_patch32_clip_quickgelu_224.metaclip_400m": TextTowerCard("ViT-B-32-quickgelu", "metaclip_400m"),
    "vit_base_patch32_clip_quickgelu_224.metaclip_2pt5b": TextTowerCard("ViT-B-32-quickgelu", "metaclip_fullcc"),
    "vit_base_patch32_clip_224.laion2b": TextTowerCard("ViT-B-32", "laion2b_s34b_b79k"),
    "vit_base_patch32_clip_224.datacompxl": TextTowerCard("ViT-B-32", "datacomp_xl_s13b_b90k"),
    "vit_base_patch32_clip_256.datacompxl": TextTowerCard("ViT-B-32-256", "datacomp_s34b_b86k"),
    "vit_base_patch16_clip_quickgelu_224.openai": TextTowerCard("ViT-B-16-quickgelu", "openai"),
    "vit_base_patch16_clip_quickgelu_224.metaclip_400m": TextTowerCard("ViT-B-16-quickgelu", "metaclip_400m"),
    "vit_base_patch16_clip_quickgelu_224.metaclip_2pt5b": TextTowerCard("ViT-B-16-quickgelu", "metaclip_fullcc"),
    "vit_base_patch16_clip_224.laion400m_e32": TextTowerCard("ViT-B-16", "laion400m_e32"),
    "vit_base_patch16_clip_224.laion2b": TextTowerCard("ViT-B-16", "laion2b_s34b_b88k"),
    "vit_base_patch16_clip_224.datacompxl": TextTowerCard("ViT-B-16", "datacomp_xl_s13b_b90k"),
    "vit_large_patch14_clip_quickgelu_224.openai": TextTowerCard("ViT-L-14-quickgelu", "openai"),
    "vit_large_patch14_clip_quickgelu_224.dfn2b": TextTowerCard("ViT-L-14-quickgelu", "dfn2b"),
    "vit_large_patch14_clip_quickgelu_224.metaclip_400m": TextTowerCard("ViT-L-14-quickgelu", "metaclip_400m"),
    "vit_large_patch14_clip_quickgelu_224.metaclip_2pt5b": TextTowerCard("ViT-L-14-quickgelu", "metaclip_fullcc"),
    "vit_large_patch14_clip_quickgelu_336.openai": TextTowerCard("ViT-L-14-336-quickgelu", "openai"),
    "vit_large_patch14_clip_224.laion400m_e32": TextTowerCard("ViT-L-14", "laion400m_e32"),
    "vit_large_patch14_clip_224.laion2b": TextTowerCard("ViT-L-14", "laion2b_s32b_b82k"),
    "vit_large_patch14_clip_224.datacompxl": TextTowerCard("ViT-L-14", "datacomp_xl_s13b_b90k"),
    "vit_large_patch14_clip_224.dfn2b_s39b": TextTowerCard("ViT-L-14", "dfn2b_s39b"),
    "vit_huge_patch14_clip_quickgelu_224.dfn5b": TextTowerCard("ViT-H-14-quickgelu", "dfn5b"),
    "vit_huge_patch14_clip_quickgelu_224.metaclip_2pt5b": TextTowerCard("ViT-H-14-quickgelu", "metaclip_fullcc"),
    "vit_huge_patch14_clip_quickgelu_378.dfn5b": TextTowerCard("ViT-H-14-378-quickgelu", "dfn5b"),
    "vit_huge_patch14_clip_224.laion2b": TextTowerCard("ViT-H-14", "laion2b_s32b_b79k"),
    "vit_huge_patch14_clip_224.metaclip_altogether": TextTowerCard("ViT-H-14", "metaclip_altogether"),
    "vit_giant_patch14_clip_224.laion2b": TextTowerCard("ViT-g-14", "laion2b_s12b_b42k"),
    "vit_gigantic_patch14_clip_quickgelu_224.metaclip_2pt5b": TextTowerCard("ViT-bigG-14-quickgelu", "metaclip_fullcc"),
    "vit_gigantic_patch14_clip_224.laion2b": TextTowerCard("ViT-bigG-14", "laion2b_s39b_b160k"),
}
"""The text towers that timm's weights have: by timm's names, each of the model that the visual tower was taken out of.

A test holds the activations equal, and a run the weights of both visual towers.
"""

_OF_TEXTS = re.compile(r"clip|siglip|vit_pe_core|vitamin_|beit3_|tipsv2|coca|eva_giant_patch14_(224|336)")
"""In names of weights that were pre-trained with texts."""


def text_tower_of(model: str, facts: Mapping[str, Any]) -> TextTowerCard | None:
    """The text tower of a backbone, by its card's own words or what a card calls timm's weights; None where none is.

    Raises ``InputError`` where a card's words are no text tower.
    """
    if TEXT_TOWER in facts:
        config, place = facts[TEXT_TOWER], facts.place(TEXT_TOWER) if isinstance(facts, Section) else TEXT_TOWER
        keys = {"embed_dim", "text_cfg", "quick_gelu"}
        if not isinstance(config, Mapping) or not {"embed_dim", "text_cfg"} <= config.keys() <= keys:
            raise InputError(f"{place}: '{TEXT_TOWER}' must be embed_dim, text_cfg and quick_gelu, as in open_clip")
        return TextTowerCard(config)
    return PUBLISHED.get(model)


def why_without_text(model: str, random: bool, timms: bool) -> str:
    """Why a backbone that has no text tower has none, in words that begin as ``bench.cards.reasons`` says.

    Args:
        model: what a card calls its architecture; timm's name, with the tag of its weights.
        random: whether its weights are drawn.
        timms: whether they are those that timm fetches.
    """
    name, _, tag = model.partition(".")
    quick = model.replace("_clip_", _QUICK)
    if not _OF_TEXTS.search(model):
        return "cannot be: it was not pre-trained with texts"
    if random:
        return "cannot be: its weights are random, and no text tower goes with them"
    if "ft" in tag.split("_"):
        return "cannot be: its weights were trained on labels behind the pre-training with texts"
    if not timms:
        return "not written yet for files of weights: take those that timm fetches"
    if _QUICK not in name and quick in PUBLISHED:
        return f"cannot be: its weights were trained with another activation; take timm:{quick}"
    return "not written yet for the texts of this model"


def lacking_package() -> str:
    """How open_clip is installed where it is not, in words; empty where it is."""
    if importlib.util.find_spec(PACKAGE) is not None:
        return ""
    return f"texts are read by {PACKAGE}, which is not installed: pip install 'finetune-bench[{EXTRA}]'"
