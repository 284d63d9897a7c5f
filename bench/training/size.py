"""How much of a run there is, from the sizes of the splits on its dataset's card."""

from __future__ import annotations

from dataclasses import dataclass

from bench.cards import DatasetCard
from bench.metrics import predictions_of
from bench.metrics.predictions import BYTES
from bench.rate import about_images
from bench.spec import RunSpec


@dataclass(frozen=True)
class Size:
    """How much of a run there is: steps, points of the curve, and images evaluated at each; None where not known.

    ``kept`` are the bytes that are kept of each image at a point.
    """

    steps: int | None
    points: int
    images: int | None
    kept: int = BYTES


def size_of(spec: RunSpec, card: DatasetCard, beside: int = 0) -> Size:
    """How much of a run there is, from the sizes of the splits on its dataset's card.

    So many further models are scored ``beside`` its own at each point, on its own splits.
    """
    recipe = spec.protocol.recipe
    train, val, test = (card.splits.get(split) for split in ("train", "val", "test"))
    classes = int(card.facts.get("classes") or 0)
    kept = predictions_of(card.task).bytes_of(classes)
    if train is None or test is None:
        return Size(recipe.steps or None, spec.protocol.evaluations, None, kept)
    held_out = 0 if val is not None else round(spec.protocol.validation * train)
    images = max(1, about_images(spec.rate, train - held_out, classes))
    steps = recipe.resolved(images, spec.protocol.batch_size).last
    further = sum(each.size(test) for each in card.further)
    scored = (1 + beside) * (test + (held_out if val is None else val)) + further
    return Size(steps, spec.protocol.evaluations, scored, kept)
