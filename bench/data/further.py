"""Further tests, opened: splits whose labels are those of the training classes (``bench.cards.further``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cards.dataset import DatasetCard
from bench.cards.further import FurtherTest, require_several
from bench.cards.layout import undivided
from bench.cards.rehearsal import read_rehearsal
from bench.data.corrupted import KINDS, CorruptedImages
from bench.data.dataset import ArrayImages, Dataset, FileImages, Indices, Split
from bench.data.official import file_split, files_of, joined, some_of
from bench.data.surveyed import undamaged
from bench.errors import InputError, choose
from bench.images.folder import further_folder, levels_of
from bench.notation import counted

Open = Callable[[DatasetCard], Dataset]


@dataclass(frozen=True)
class SomeClasses(Split):
    """A split of which an answer is one of some groups of classes: of the others' logits nothing counts.

    Attributes:
        of_classes: (G, M) the groups, as of ``among``.
    """

    of_classes: Indices

    @property
    def among(self) -> Indices:
        return self.of_classes

    @property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"labels": self.labels}


def open_further(card: DatasetCard, dataset: Dataset, read: Open, results: Path | None = None) -> dict[str, Split]:
    """The further tests of a dataset, by name; ``read`` opens another dataset, and surveys are kept in ``results``.

    A rehearsal has as many images of each as of its own test split; where these are drawn they stand for all.

    Raises:
        InputError: images are missing, or are not what the card says, or none is of a class of the dataset.
    """
    if card.of is None:
        return {test.name: _opened(test, card, dataset, read, results) for test in card.further}
    excerpt = read_rehearsal(card.name)[0]
    if excerpt.drawn:
        return {test.name: dataset.test for test in card.further}
    splits = {test.name: _opened(test, card, dataset, read, results) for test in card.further}
    return {name: split.part(np.arange(min(len(split), excerpt.test))) for name, split in splits.items()}


def _opened(test: FurtherTest, card: DatasetCard, dataset: Dataset, read: Open, results: Path | None) -> Split:
    place = f"{card.without_further}: {test.name}"
    if "corrupt" in test.facts:
        return _corrupted(test, dataset.test, place, verified=card.of is None)
    if test.of is not None:
        of = read(test.of)
        split = joined(of.splits, test.facts.get("splits", ["test"]))
        return matched(split, of.classes, dataset.classes, place)
    if test.layout is not None:
        return _of_folder(test, card, dataset, place, results)
    reader = test.facts.get("reader")
    layout = undivided(Path(test.folder) / ("images" if reader == "objectnet" else ""), place)
    files = layout.files["test"]
    if (count := test.facts.get("images")) is not None and len(files) != count:
        raise InputError(f"{place}: its card says {count:,} images, and {test.folder} has {len(files):,}")
    split, names = _of_files(files)
    if reader == "objectnet":
        images = FileImages(tuple(path for path, _ in files), border=OBJECTNET_BORDER)
        meant = objectnet_wnids(Path(test.folder) / "mappings", place)
        return grouped(replace(split, images=images), names, meant, dataset.classes, place)
    if reader == "numbered":
        wnids = imagenet_wnids()
        names = [wnids[int(name)] if name in NUMBERS else name for name in names]
    return matched(split, names, dataset.classes, place)


def _of_folder(test: FurtherTest, card: DatasetCard, dataset: Dataset, place: str, results: Path | None) -> Split:
    """Somebody's own folder, decoded as the dataset's own images are."""
    assert test.layout is not None
    split, names = _of_files(test.layout.files["test"])
    split = matched(split, names, dataset.classes, place)
    folder = further_folder(test, card.of or card)
    assert folder is not None
    return undamaged(replace(split, images=FileImages(files_of(split), levels_of(folder))), folder, results)


def _of_files(files: Sequence[tuple[Path, str]]) -> tuple[Split, list[str]]:
    """Image files with their classes as a split, and the names of its classes, sorted."""
    names = sorted({name for _, name in files})
    numbers = {name: number for number, name in enumerate(names)}
    return file_split([path for path, _ in files], [numbers[name] for _, name in files]), names


def alone(split: Split, classes: Sequence[str]) -> Dataset:
    """A split as the test split of a dataset without training images."""
    nothing = Split(ArrayImages(np.zeros((0, 1, 1, 1), np.uint8)), np.zeros(0, np.int64))
    return Dataset(classes, nothing, None, split)


def matched(split: Split, names: Sequence[str], classes: Sequence[str], place: str) -> Split:
    """A split with the labels that the training classes have, by their names; images of other classes are left out.

    Where it lacks some of the training classes an answer is one of those it has, as ImageNet-A and ImageNet-R are
    scored by their authors. Raises ``InputError`` where no class has the name of one, or a single one has.
    """
    return grouped(split, names, {name: [name] for name in names}, classes, place)


def grouped(
    split: Split, names: Sequence[str], meant: Mapping[str, Sequence[str]], classes: Sequence[str], place: str
) -> Split:
    """As ``matched``, where a class may stand for several of the training's, any of which is right.

    ``meant`` says for which, by its name; what is not in it stands for none.
    """
    labels = {name: label for label, name in enumerate(classes)}
    groups = [[labels[each] for each in meant.get(name, ()) if each in labels] for name in names]
    kept = np.flatnonzero([bool(groups[label]) for label in split.labels])
    require_several(sorted({classes[groups[label][0]] for label in split.labels[kept]}), names, place)
    if left_out := sorted({names[label] for label in split.labels if not groups[label]}):
        named = ", ".join([*left_out[:5], *(["…"] if len(left_out) > 5 else [])])
        print(f"{place}: {counted(len(left_out), 'class', 'classes')} left out, not the dataset's: {named}", flush=True)
    images, present = some_of(split, kept).images, [groups[label] for label in split.labels[kept]]
    first = np.array([group[0] for group in present], dtype=np.int64)
    different = sorted({group[0]: group for group in present}.values())
    widest = max(map(len, different))
    if widest == 1 and len(different) == len(classes):
        return Split(images, first)
    return SomeClasses(images, first, np.array([group + group[:1] * (widest - len(group)) for group in different]))


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


NUMBERS = frozenset(map(str, range(1000)))

OBJECTNET_BORDER = 2
"""Pixels of red around each image, which its authors ask to be cut off."""


def objectnet_wnids(mappings: Path, place: str) -> dict[str, list[str]]:
    """The WordNet ids of each of ObjectNet's folders that has some, by its own files.

    A folder has a label, a label the names of classes of ImageNet, a name its place in ILSVRC2012's own order, and that
    the place in the order of WordNet ids. Raises ``InputError`` where the files do not say so.
    """
    try:
        labels, named, places = (
            json.loads((mappings / f"{file}.json").read_text(encoding="utf-8"))
            for file in ("folder_to_objectnet_label", "objectnet_to_imagenet_1k", "pytorch_to_imagenet_2012_id")
        )
        lines = (mappings / "imagenet_to_label_2012_v2").read_text(encoding="utf-8").splitlines()
        of_place, wnids = {at: int(number) for number, at in places.items()}, imagenet_wnids()
        of_name = {line.strip(): wnids[of_place[number]] for number, line in enumerate(lines)}
        names = {folder: named[label].split("; ") for folder, label in labels.items() if label in named}
        return {folder: [of_name[name] for name in each] for folder, each in names.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InputError(f"{place}: {mappings} is not ObjectNet's mapping of its classes: {problem}") from None
