"""A backbone with drawn weights in the place of its pre-trained ones: what a rehearsal trains where those are not here.

``NAME@drawn`` has the card's architecture, and a drawn head where the published weights come with the classifier of
their pre-training, or a drawn text tower where they were trained with one, so that methods which take these are trained
too; ``NAME@small`` has few layers of it besides, and of a ResNet few filters.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.cards.backbone import DRAWN, TO_BE_GIVEN, BackboneCard, text_offers
from bench.cards.offers import RESNET_OFFERS, offers_of
from bench.spec import digest

SMALL = "small"
CHOICES = (DRAWN, SMALL)
"""What may stand behind the ``@`` of a backbone whose weights are drawn."""

_OWN_LAYERS: dict[str, dict[str, Any]] = {
    "cifar_resnet": {"depth": 8},
    "cvt": {"depth": [1, 2, 3]},  # as many as the number of the stage: transformers builds no fewer
    "t2t_vit": {"depth": 2},
    "vision_transformer": {"depth": 2},
}
"""The arguments that leave few layers, of architectures that are not built by a name of timm's."""


def drawn_backbone(card: BackboneCard, choice: str) -> BackboneCard:
    """The card with drawn weights, whole or small; whatever it lacks, runs of it can be planned."""
    arguments = {**card.arguments, **(few_layers(card) if choice == SMALL else {})}
    offers = card.offers | ({"source_head"} if _comes_with_head(card) else frozenset())
    offers |= text_offers(card.text_tower, DRAWN)
    means = digest([card.model, arguments, card.facts.get("pixels"), card.facts.get("position"), choice])
    return replace(
        card,
        name=f"{card.name}@{choice}",
        arguments=arguments,
        weights=DRAWN,
        sha256="",
        offers=offers,
        means=means,
    )


def few_layers(card: BackboneCard) -> dict[str, Any]:
    """Arguments with which the architecture has few layers of each kind; none where that is not known of it."""
    if card.model == "resnet":
        return {}
    if card.model in _OWN_LAYERS and not card.name.startswith("timm:"):
        return _OWN_LAYERS[card.model]
    offers = offers_of(card.model)
    if card.model.startswith("swin"):
        return {"depths": [1, 1, 2, 1]}  # every second block of a stage shifts its windows
    if offers >= RESNET_OFFERS - {"batch_norm"}:
        return {"layers": [1, 1, 1, 1], "channels": [16, 32, 64, 64]}
    return {"depth": 2} if "attention" in offers else {}


def _comes_with_head(card: BackboneCard) -> bool:
    """Whether the card's own weights have the classifier of their pre-training, as far as is known without them."""
    of_labels = str(card.facts.get("pretraining", "")).startswith("supervised")
    return "source_head" in card.offers or (card.weights == TO_BE_GIVEN and of_labels)
