"""Budgets of images that cannot be met, as far as cards tell it: refused where runs are planned or trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from bench.cards import DatasetCard
from bench.cards.layout import ImageLayout
from bench.rate import Budget, besides, budget_of, held_out, least_images, most_shots, shortfall
from bench.spec import RunSpec
from bench.task import find_task


def unmet_budgets(runs: Iterable[RunSpec], dataset: Callable[[str], DatasetCard]) -> Iterator[str]:
    """Why budgets of some runs cannot be met, in words, each once.

    ``dataset`` gives the card of a dataset. Of folders each class is known here; of other datasets how many images
    there are in all, so that a class with few of them is told when they are opened (``bench.launch.budgets``).
    """
    every = ((spec.dataset.name, spec.rate, spec.protocol.validation) for spec in runs if budget_of(spec.rate))
    for name, rate, validation in dict.fromkeys(every):
        card = dataset(name)
        share = 0.0 if "val" in card.splits else validation
        budget = budget_of(rate)
        assert budget is not None, "others were left out"
        if budget.per_class and not find_task(card.task).one_label:
            yield (
                f"{card.title} at {budget.label}: for {card.task} an image has not one label, so that nothing is of "
                "each class: take images in all, such as 1000-images, or a rate in percent"
            )
        elif reason := _unmet(budget, card, share):
            yield f"{card.title} at {budget.label}: {reason}{besides(share)}"


def _unmet(budget: Budget, card: DatasetCard, share: float) -> str:
    """Why a budget cannot be met for certain, in words; empty where it may be."""
    if isinstance(card.layout, ImageLayout):
        counts = card.layout.counts("train")
        return shortfall(budget.name, {name: count - held_out(share, count) for name, count in counts.items()})
    train, classes = card.splits.get("train"), card.class_count
    if train is None:
        return ""
    left = train - max(0, held_out(share, train) - classes)  # of each class the share is rounded down
    if not budget.per_class and budget.images < classes and find_task(card.task).one_label:
        return least_images(classes)
    wanted = budget.images * (max(1, classes) if budget.per_class else 1)
    if wanted <= left:
        return ""
    of_each = f"{classes:,} classes are {wanted:,} images, and " if budget.per_class else ""
    most = f"; {most_shots(left // classes)}" if budget.per_class and classes else ""
    return f"{of_each}there are {left:,} to train on{most}"
