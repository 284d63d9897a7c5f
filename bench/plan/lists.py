"""Lists of training images in the place of a rate's draw, one a rate: ``cub200@train_15.txt`` for cells of 15 %."""

from __future__ import annotations

from collections.abc import Collection

from bench.cards import DatasetCard
from bench.rate import Rate, about_images, budget_of


def drawn(card: DatasetCard, rate: Rate) -> int:
    """About how many training images a rate draws; a share is rounded over all of them."""
    return about_images(rate, card.splits.get("train", 0), card.class_count)


def is_of_rate(listed: DatasetCard, card: DatasetCard, rate: Rate) -> bool:
    """Whether a list has as many images as a rate draws of a dataset, but for the rounding of a share in each class."""
    rounding = 0 if budget_of(rate) else card.class_count
    return abs(listed.splits["train"] - drawn(card, rate)) <= rounding


def serves(listed: DatasetCard, card: DatasetCard, rate: Rate, rates: Collection[Rate]) -> bool:
    """Whether a list stands for a rate: the only one that there is, or else the one that draws about as many images."""
    if len(rates) == 1:
        return rate in rates
    nearest = min(rates, key=lambda each: abs(listed.splits["train"] - drawn(card, each)))
    return rate == nearest and is_of_rate(listed, card, rate)
