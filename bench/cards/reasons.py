"""Why a backbone cannot be used for something, told from its card: it cannot be, it is not written, or nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

from bench.cards.backbone import RANDOM, BackboneCard
from bench.cards.kinds import OWN, BackboneKind
from bench.cards.patches import is_own
from bench.cards.text_towers import TEXT_TOWER, why_without_text
from bench.cards.timm_names import is_ungrouped, kind_of_timm, unserved_by_name


def why_lacking(card: BackboneCard, names: Iterable[str]) -> str:
    """Why a backbone lacks probes or parts, in words that say which of three it is, each reason once.

    ``cannot be``: the architecture has nothing of the kind. ``not written yet``: it may have, and nothing here reads
    it. ``not recognised``: nobody knows what it is by its name. Empty for ``source_head``, which is of weights, and
    for what a card leaves out of a list of its own.
    """
    if "offers" in card.facts:
        return ""
    return "; ".join(dict.fromkeys(filter(None, (_reason(card, name) for name in names))))


def without_layers(card: BackboneCard) -> str:
    """Why the learning rate of a backbone cannot decay by layers, in words; empty where it can, or nobody knows."""
    if is_own(card) or not is_ungrouped(card.model):
        return ""
    return (
        f"{card.name}: layer_decay is not written yet: timm does not say which of its weights are of one layer; "
        "leave layer_decay at 1"
    )


def _reason(card: BackboneCard, name: str) -> str:
    if name == "source_head":
        return ""
    if name == TEXT_TOWER:
        return why_without_text(card.model, card.weights in RANDOM, card.weights == "pretrained")
    kind = _kind(card)
    if kind is None:
        unserved = "" if is_own(card) else unserved_by_name(card.model)
        return f"not written yet for {unserved}" if unserved else "not recognised: no kind of backbone has such a name"
    if name in kind.lacks:
        return f"cannot be: {kind.lacks[name]}"
    return f"not written yet for {kind.title}"


def _kind(card: BackboneCard) -> BackboneKind | None:
    return OWN[card.model] if is_own(card) else kind_of_timm(card.model)
