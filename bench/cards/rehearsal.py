"""What a rehearsal trains on in the place of a dataset: some of its images, or drawn ones where it is not here.

Written ``rehearsal:EXCERPT:NAME``, with an ``EXCERPT`` such as ``train=64+test=32+seed=0``, or ``drawn+train=64+…``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bench.cards.dataset import DatasetCard
from bench.errors import InputError
from bench.spec import digest

REHEARSAL = "rehearsal:"
"""What the name of such a dataset begins with."""

TOGETHER = 4
"""Images of a class that are taken before those of the next one, so that every class that is met has some."""

SIDE = 48
"""Pixels a side of a drawn image."""

WIDE = 64
"""Pixels from left to right of a drawn image with a mask, of a height of ``SIDE``: photographs are no squares."""

FORM = 1
"""Raised when other images are taken or drawn."""

MOST_IMAGES, MOST_SEED = 9_999_999, 999_999_999
"""As many digits as ``_CUT`` reads."""

_CUT = re.compile(r"(drawn\+)?train=(\d{1,7})\+test=(\d{1,7})\+seed=(\d{1,9})")


@dataclass(frozen=True)
class Excerpt:
    """How much a rehearsal takes of a dataset.

    Attributes:
        train: training images at most; ``test``: of each other split.
        seed: of which images, or of what is drawn.
        drawn: whether they are drawn.
    """

    train: int
    test: int
    seed: int = 0
    drawn: bool = False

    def __str__(self) -> str:
        return f"{'drawn+' if self.drawn else ''}train={self.train}+test={self.test}+seed={self.seed}"


def read_rehearsal(name: str) -> tuple[Excerpt, str]:
    """The excerpt and the dataset of a rehearsal's name. Raises ``InputError`` where it is not of that form."""
    text, _, of = name.removeprefix(REHEARSAL).partition(":")
    match = _CUT.fullmatch(text)
    if match is None or not of or of.startswith(REHEARSAL):
        form = f"{REHEARSAL}train=64+test=32+seed=0:NAME, or with drawn+ before train"
        raise InputError(f"{name}: what a rehearsal takes of a dataset is written {form}")
    return Excerpt(int(match[2]), int(match[3]), int(match[4]), bool(match[1])), of


def rehearsal_dataset(card: DatasetCard, excerpt: Excerpt) -> DatasetCard:
    """What a rehearsal takes of a dataset, as a card.

    Some of its images mean what the dataset means and the excerpt; drawn ones are those of every dataset with as many
    classes and the same splits. Raises ``InputError`` where an excerpt leaves no two classes.
    """
    classes, sizes = card.class_count or 2, card.splits or {"train": excerpt.train, "test": excerpt.test}
    caps = {split: excerpt.train if split == "train" else excerpt.test for split in sizes}
    has_labels = card.task == "classification"
    if excerpt.drawn:
        # of a mask's classes many are in one image
        splits, classes = caps, min(classes, excerpt.train // TOGETHER) if has_labels else classes
    else:
        splits = {split: min(sizes[split], cap) for split, cap in caps.items()}
    if classes < 2 or excerpt.test < 1:
        least = f"at least {2 * TOGETHER} training images and 1 test image"
        raise InputError(f"{card.name}: a rehearsal needs {least}, not {excerpt.train} and {excerpt.test}")
    stands_for = ["drawn", classes, SIDE] if excerpt.drawn else ["some", card.means]
    stands_for += [] if has_labels or not excerpt.drawn else [card.task, WIDE]
    kept: dict[str, Any] = {key: card.facts[key] for key in ("task", "metric") if key in card.facts}
    return DatasetCard(
        name=f"{REHEARSAL}{excerpt}:{card.name}",
        title=f"{card.title} (rehearsal, {'drawn' if excerpt.drawn else 'some'} images)",
        reader="rehearsal",
        path="" if excerpt.drawn else card.path,
        facts={**kept, "classes": classes, "splits": splits},
        means=digest(["rehearsal", FORM, *stands_for, str(excerpt), splits]),
        of=card,
        further=card.further,
    )
