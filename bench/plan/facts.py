"""Numbers of a paper's table that need no run: they are counted, and the card of a dataset or backbone has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.cards import BackboneCard, DatasetCard
from bench.errors import InputError, choose
from bench.metrics import TOP1
from bench.plan.cards import Cards
from bench.plan.table import Counted, PlannedCell


@dataclass(frozen=True)
class CardNumber:
    """A number of cards.

    Attributes:
        about: what it is, in words.
        axes: whose cards it takes, in the order of ``count``'s arguments.
        count: gives it; None where the cards do not say it.
    """

    about: str
    axes: tuple[str, ...]
    count: Callable[..., float | None]


def _train_images(dataset: DatasetCard) -> float | None:
    return dataset.splits.get("train")


def _test_images(dataset: DatasetCard) -> float | None:
    return dataset.splits.get("test")


def _classes(dataset: DatasetCard) -> float | None:
    classes: int | None = dataset.facts.get("classes")
    return classes


def _million_weights(backbone: BackboneCard, dataset: DatasetCard) -> float | None:
    weights, width, classes = backbone.facts.get("parameters"), backbone.facts.get("width"), _classes(dataset)
    if weights is None or width is None or classes is None:
        return None
    return float((weights + (width + 1) * classes) / 1e6)


FACTS = {
    "train_images": CardNumber("the training images", ("dataset",), _train_images),
    "test_images": CardNumber("the test images", ("dataset",), _test_images),
    "classes": CardNumber("the classes", ("dataset",), _classes),
    "million_weights": CardNumber(
        "millions of weights with a head for the dataset's classes", ("backbone", "dataset"), _million_weights
    ),
}
"""What a label may stand for beside what is run, by name."""


def counted_cell(cell: PlannedCell, axes: Mapping[str, Any], cards: Cards, paper: str, place: str) -> PlannedCell:
    """A cell with the number that ``axes`` names as its ``fact``, or with the reason why no card has it.

    A dataset's card may say what is meant by a paper's own number. Raises ``InputError``: there is no such fact, or the
    cell lacks the dataset or backbone whose it would be.
    """
    name = str(axes["fact"])
    if name not in FACTS:
        raise InputError(f"{place}: {choose(name, FACTS, 'fact')}")
    fact = FACTS[name]
    if lacking := [axis for axis in fact.axes if axis not in axes]:
        raise InputError(f"{place}: the fact {name} is of a {' and a '.join(lacking)}; give labels or axes")
    find: Mapping[str, Callable[[str], Any]] = {"dataset": cards.dataset, "backbone": cards.backbone}
    asked = [find[axis](str(axes[axis])) for axis in fact.axes]
    value = fact.count(*asked)
    cell = replace(cell, metric=TOP1, unlike=False, names_metric=False)  # no metric is measured
    if value is None:
        return replace(cell, reason=f"no card says {fact.about}: {', '.join(card.name for card in asked)}")
    of_paper = (asked[0].facts.get("papers") or {}).get(paper) or {} if fact.axes == ("dataset",) else {}
    return replace(cell, counted=Counted(float(value), " ".join(str(of_paper.get("source", "")).split())))
