"""Lists of training images in the place of a rate's draw, one a rate: ``cub200@train_15.txt`` for cells of 15 %."""

from __future__ import annotations

from collections.abc import Collection

from bench.cards import DatasetCard


def drawn(card: DatasetCard, rate: float) -> int:
    """About how many training images a rate (in percent) draws; by class it is rounded."""
    return round(card.splits.get("train", 0) * rate / 100)


def is_of_rate(listed: DatasetCard, card: DatasetCard, rate: float) -> bool:
    """Whether a list has as many images as a rate draws of a dataset, but for the rounding in each class."""
    return abs(listed.splits["train"] - drawn(card, rate)) <= int(card.facts.get("classes") or 0)


def serves(listed: DatasetCard, card: DatasetCard, rate: float, rates: Collection[float]) -> bool:
    """Whether a list stands for a rate: the only one that there is, or else the one that draws about as many images."""
    if len(rates) == 1:
        return rate in rates
    nearest = min(rates, key=lambda each: abs(listed.splits["train"] - drawn(card, each)))
    return rate == nearest and is_of_rate(listed, card, rate)
