"""A backbone's card: an architecture with its weights, and what methods may ask of it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cards.folders import converted_weights, typed_path
from bench.cards.offers import head_offers, offers_of, timm_offers
from bench.cards.text_towers import TEXT_TOWER, TextTowerCard, text_tower_of
from bench.errors import InputError, odd_characters, to_type
from bench.reading.document import Section, read_document
from bench.spec import Named, digest

TO_BE_GIVEN = "to be given as a file"
"""The weights of a card that says where they are ``published`` and ships none, where its name stands alone."""

DRAWN = "drawn"
"""The weights of a card whose place random ones take in a rehearsal (``bench.cards.drawn``)."""

RANDOM = ("none", DRAWN)
"""Weights that are drawn when a backbone is built."""

_TIMM_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")


@dataclass(frozen=True)
class BackboneCard:
    """An architecture with its weights.

    Attributes:
        name: as it is written in an experiment, weights included (``timm:vit_tiny_patch16_224@none``).
        arguments: what ``timm.create_model`` is given.
        weights: one of ``RANDOM``, ``"pretrained"`` (what timm downloads), a file of weights, or ``TO_BE_GIVEN``.
        sha256: of that file, checked when it is loaded.
        offers: probes and parts that methods may need.
        means: digest of what decides a run's result.
    """

    name: str
    title: str
    model: str
    arguments: dict[str, Any]
    weights: str
    sha256: str
    offers: frozenset[str]
    facts: dict[str, Any]
    means: str

    @property
    def named(self) -> Named:
        """What a run's spec keeps of the card. Raises ``InputError`` where it still lacks weights."""
        self.require_weights()
        return Named(self.name, self.means)

    @property
    def planned(self) -> Named:
        """As ``named``; of a card that lacks its weights, what stands for the runs that they would give.

        No run that is trained can have it: it is of no weights, and of this card alone.
        """
        if self.weights != TO_BE_GIVEN:
            return Named(self.name, self.means)
        return Named(self.name, digest([TO_BE_GIVEN, self.name, self.means]))

    @property
    def text_tower(self) -> TextTowerCard | None:
        """The text tower that it was pre-trained with; None where there is none, or it is not known."""
        return text_tower_of(self.model, self.facts)

    @property
    def absence(self) -> str:
        """What to do where the weights are not here, in words; empty where they are."""
        if self.weights != TO_BE_GIVEN:
            return ""
        return (
            f"the weights of {self.name} are not here: {to_type('show', self.name)} says where they are published, "
            f"{to_type('convert', self.name, 'CHECKPOINT')} puts them in place"
        )

    def require_weights(self) -> None:
        """Raise ``InputError`` where the card ships no weights and none were given."""
        if self.weights == TO_BE_GIVEN:
            published = " ".join(self.facts["published"].split())
            converted = f"what {to_type('convert', self.name, 'CHECKPOINT')} makes of the one"
            raise InputError(
                f"{self.name}: its weights are not shipped; write {self.name}@FILE.safetensors with "
                f"{converted if 'convert' in self.facts else 'those'} published at {published}, or put that file at "
                f"{converted_weights(self.name)}, or {self.name}@none for random ones"
            )


def read_backbone(name: str, path: Path) -> BackboneCard:
    """The card in a file, with the weights that ``name`` asks for after its ``@``, or else the card's own.

    A card ships its weights beside it, has ``weights: timm`` for those that timm fetches or ``weights: drawn`` for
    random ones, or says under ``published`` where they are to be had; the latter are looked for where ``bench convert``
    puts them, and without them the card can be listed and shown by its name alone, not planned. It offers what its
    architecture does, if it lists no ``offers``.
    Raises ``InputError``: the file is malformed, or the weights cannot be used.
    """
    facts, (_, chooses, weights_text) = read_document(path), name.partition("@")
    title, model = facts.text("title"), facts.text("model")
    arguments, offers = facts.get("arguments", {}), facts.get("offers", sorted(offers_of(model)))
    if not isinstance(arguments, dict) or not isinstance(offers, list) or any(type(it) is not str for it in offers):
        raise InputError(f"{path}:1: 'arguments' must be a mapping and 'offers' a list of texts")
    for key in ("parameters", "width"):
        if type(facts.get(key, 1)) is not int or facts.get(key, 1) < 1:
            raise InputError(f"{facts.place(key)}: '{key}' is a number of weights without a head, or of features")
    shipped = path.with_suffix(".safetensors")
    file = converted_weights(name) if "published" in facts and not shipped.is_file() else shipped
    weights, sha256 = str(file), ""
    if chooses:
        weights, sha256 = _weights(weights_text, name, "published" in facts)
    elif "weights" in facts:
        if facts["weights"] not in ("timm", DRAWN):
            allowed = "'timm' (fetched by timm) or 'drawn' (random), or is left out"
            raise InputError(f"{facts.place('weights')}: weights is {allowed}")
        weights = "pretrained" if facts["weights"] == "timm" else DRAWN
    elif "published" in facts and not file.is_file():
        facts.text("published")
        weights = TO_BE_GIVEN
    else:
        sha256 = facts.text("sha256") if "sha256" in facts or not file.is_file() else file_sha256(file)
    tower = text_tower_of(model, facts)
    stated = [TEXT_TOWER, facts[TEXT_TOWER]] if TEXT_TOWER in facts else []
    means = digest([model, arguments, facts.get("pixels"), facts.get("position"), sha256 or weights, *stated])
    offered = frozenset(offers) | head_offers(model, weights) | text_offers(tower, weights)
    return BackboneCard(name, title, model, arguments, weights, sha256, offered, facts, means)


def timm_backbone(name: str) -> BackboneCard:
    """The card of ``timm:NAME`` or ``timm:NAME@WEIGHTS``; what it offers is known from its name, without building it.

    Raises ``InputError``: the name cannot be a timm model's, or the weights cannot be used.
    """
    plain, chooses, weights_text = name.partition("@")
    model = plain.removeprefix("timm:")
    if not _TIMM_NAME.fullmatch(model):
        raise InputError(
            f"{plain}: a timm model's name holds letters, digits, '_' and '.' only, at most 200 of them"
            f"{odd_characters(model)}{_meant(model)}"
        )
    weights, sha256 = _weights(weights_text, name) if chooses else ("pretrained", "")
    means = digest(["timm", model, sha256 or weights])
    offers = timm_offers(model) | head_offers(model, weights) | text_offers(text_tower_of(model, {}), weights)
    return BackboneCard(name, f"timm's {model}", model, {}, weights, sha256, offers, Section("timm", 1), means)


def text_offers(tower: TextTowerCard | None, weights: str) -> frozenset[str]:
    """``text_tower`` where the weights were trained with it: those that timm fetches, or drawn ones beside drawn."""
    of_timm = weights == "pretrained" and tower is not None and bool(tower.weights)
    return frozenset({TEXT_TOWER} if of_timm or (weights == DRAWN and tower) else ())


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    running = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            running.update(piece)
    return running.hexdigest()


def _meant(model: str) -> str:
    """What was meant by what cannot be a timm model's name, for the end of a sentence; empty where nobody knows."""
    last, _, weights = model.strip().rpartition("/")[2].partition(":")
    if not _TIMM_NAME.fullmatch(last):
        return ""
    return f"; did you mean timm:{last}{'@' + weights if weights else ''}?"


def _weights(text: str, name: str, has_place: bool = False) -> tuple[str, str]:
    """The weights written after ``@`` (``none`` or a safetensors file) and that file's checksum."""
    if text == "none":
        return "none", ""
    path = Path(os.path.realpath(typed_path(text))) if text else Path()
    if path.suffix != ".safetensors" or not path.is_file():
        plain = name.partition("@")[0]
        problem = f"{name}: after @ stands 'none' (random weights) or an existing .safetensors file"
        if path.is_file():
            out = [] if has_place else ["OUT.safetensors"]
            problem += f"; {to_type('convert', plain, text, *out)} makes one of a checkpoint"
        elif path.suffix == ".safetensors":
            problem += f"; there is no file {path}"
        elif text and not path.exists():
            problem += f"; without the @, {plain} takes its own"
        raise InputError(problem)
    return str(path), file_sha256(path)
