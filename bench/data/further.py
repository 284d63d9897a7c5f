"""Further tests, opened: splits whose labels are those of the training classes (``bench.cards.further``)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cards.dataset import DatasetCard
from bench.cards.further import FurtherTest
from bench.cards.layout import undivided
from bench.cards.rehearsal import read_rehearsal
from bench.data.corrupted import KINDS, CorruptedImages
from bench.data.dataset import ArrayImages, Dataset, Indices, Split
from bench.data.official import file_split, joined, some_of
from bench.errors import InputError, choose
from bench.notation import counted

Open = Callable[[DatasetCard], Dataset]


@dataclass(frozen=True)
class SomeClasses(Split):
    """A split of which an answer is one of some classes: of the others' logits nothing counts.

    Attributes:
        of_classes: their indices, ascending.
    """

    of_classes: Indices

    @property
    def among(self) -> Indices:
        return self.of_classes

    @property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"labels": self.labels}


def open_further(card: DatasetCard, dataset: Dataset, read: Open) -> dict[str, Split]:
    """The further tests of a dataset, by name; ``read`` opens another dataset.

    A rehearsal has as many images of each as of its own test split; where these are drawn they stand for all.

    Raises:
        InputError: images are missing, or are not what the card says, or none is of a class of the dataset.
    """
    if card.of is None:
        return {test.name: _opened(test, card, dataset, read) for test in card.further}
    excerpt = read_rehearsal(card.name)[0]
    if excerpt.drawn:
        return {test.name: dataset.test for test in card.further}
    splits = {test.name: _opened(test, card, dataset, read) for test in card.further}
    return {name: split.part(np.arange(min(len(split), excerpt.test))) for name, split in splits.items()}


def _opened(test: FurtherTest, card: DatasetCard, dataset: Dataset, read: Open) -> Split:
    place = f"{card.without_further}: {test.name}"
    if "corrupt" in test.facts:
        return _corrupted(test, dataset.test, place, verified=card.of is None)
    if test.of is not None:
        of = read(test.of)
        split = joined(of.splits, test.facts.get("splits", ["test"]))
        return matched(split, of.classes, dataset.classes, place)
    folders = {name: name for name in dataset.classes}
    if test.facts.get("reader") == "numbered":
        folders = {str(number): name for number, name in enumerate(imagenet_wnids())}
    layout = undivided(Path(test.folder), place)
    files = layout.files["test"]
    if (count := test.facts.get("images")) is not None and len(files) != count:
        raise InputError(f"{place}: its card says {count:,} images, and {test.folder} has {len(files):,}")
    names = sorted({name for _, name in files})
    numbers = {name: number for number, name in enumerate(names)}
    split = file_split([path for path, _ in files], [numbers[name] for _, name in files])
    return matched(split, [folders.get(name, name) for name in names], dataset.classes, place)


def alone(split: Split, classes: Sequence[str]) -> Dataset:
    """A split as the test split of a dataset without training images."""
    nothing = Split(ArrayImages(np.zeros((0, 1, 1, 1), np.uint8)), np.zeros(0, np.int64))
    return Dataset(classes, nothing, None, split)


def matched(split: Split, names: Sequence[str], classes: Sequence[str], place: str) -> Split:
    """A split with the labels that the training classes have, by their names; images of other classes are left out.

    Where it lacks some of the training classes an answer is one of those it has, as ImageNet-A and ImageNet-R are
    scored by their authors. Raises ``InputError`` where no class has the name of one.
    """
    labels = {name: label for label, name in enumerate(classes)}
    meant = np.array([labels.get(name, -1) for name in names], dtype=np.int64)[split.labels]
    kept = np.flatnonzero(meant >= 0)
    if not len(kept):
        raise InputError(f"{place}: none of its classes is one of the dataset's: {', '.join([*names][:5])}")
    left_out = sorted({names[label] for label in split.labels[meant < 0]})
    if left_out:
        named = ", ".join([*left_out[:5], *(["…"] if len(left_out) > 5 else [])])
        print(f"{place}: {counted(len(left_out), 'class', 'classes')} left out, not the dataset's: {named}", flush=True)
    part = some_of(split, kept)
    of_classes = np.unique(meant[kept])
    if len(of_classes) == len(classes):
        return Split(part.images, meant[kept])
    return SomeClasses(part.images, meant[kept], of_classes)


def _corrupted(test: FurtherTest, split: Split, place: str, verified: bool) -> Split:
    """A corrupted copy of a split; verified where a checksum of its bytes is stated."""
    kind = str(test.facts["corrupt"])
    if kind not in KINDS:
        raise InputError(f"{place}: {choose(kind, KINDS, 'corruption')}")
    images = CorruptedImages(split.images, kind, int(test.facts.get("severity", 3)))
    if verified and (stated := test.facts.get("sha256")) and (sha256 := images_sha256(images)) != stated:
        raise InputError(f"{place}: its bytes have the checksum {sha256}, its card says {stated}")
    return Split(images, split.labels)


def images_sha256(images: CorruptedImages) -> str:
    """The SHA-256 of the shapes and pixels of images, in hexadecimal."""
    running = hashlib.sha256()
    for image in images.take(np.arange(len(images))):
        running.update(f"{tuple(image.shape)}\n".encode() + image.contiguous().numpy().tobytes())
    return running.hexdigest()


def imagenet_wnids() -> Sequence[str]:
    """The WordNet ids of the classes of ImageNet-1k, sorted: the order of its labels."""
    from timm.data import ImageNetInfo

    names: Mapping[int, str] = dict(enumerate(ImageNetInfo("imagenet-1k").label_names()))
    return [names[label] for label in range(len(names))]
