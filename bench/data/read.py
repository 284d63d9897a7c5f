"""From a dataset's card to its splits, checked against what the card says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from bench.cards.dataset import DatasetCard
from bench.data.class_folders import read_caltech101, read_imagenet
from bench.data.dataset import ArrayImages, Dataset, MaskedSplit, SegmentationDataset, Split
from bench.data.digits import Arrays, read_cluttered_digits, read_digits
from bench.data.folder import read_folder
from bench.data.listed import (
    read_aircraft,
    read_cars,
    read_cub,
    read_dogs,
    read_domainnet,
    read_dtd,
    read_flowers102,
    read_inat2017,
    read_pets,
    read_places365,
)
from bench.data.masks import read_ade20k, read_voc2012
from bench.data.official import Reader, open_dataset, open_segmentation
from bench.data.pixels import read_cifar10, read_cifar100, read_svhn
from bench.errors import InputError, choose


def read_data(card: DatasetCard) -> Dataset:
    """Open a dataset for classification.

    Raises:
        InputError: the card names no reader, or the data is not what the card says.
    """
    if card.reader in MASK_READERS:
        raise InputError(f"{card.name}: it is for {card.facts.get('task')}: it has masks, and no label of an image")
    if card.reader not in READERS:
        raise InputError(f"{card.name}: {choose(card.reader, READERS, 'reader')}")
    dataset = READERS[card.reader](card)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    found = {name: len(split) for name, split in splits.items() if split is not None}
    stated, classes = dict(card.facts.get("splits", {})), card.facts.get("classes")
    if found != stated or len(dataset.classes) != classes:
        raise InputError(
            f"{card.name}: its card says {classes} classes and {stated}, "
            f"found are {len(dataset.classes)} classes and {found}"
        )
    return dataset


def read_masks(card: DatasetCard) -> SegmentationDataset:
    """Open a dataset for segmentation.

    Raises:
        InputError: the card names no reader of masks, or the data is not what the card says.
    """
    if card.reader not in MASK_READERS:
        raise InputError(f"{card.name}: {choose(card.reader, MASK_READERS, 'reader of masks')}")
    return open_segmentation(card, MASK_READERS[card.reader])


def arrays_sha256(arrays: Mapping[str, Arrays]) -> str:
    """The SHA-256 of the pixels and labels of all splits, in hexadecimal; labels count as little-endian int64."""
    running = hashlib.sha256()
    for name, (pixels, labels) in sorted(arrays.items()):
        running.update(f"{name} {pixels.shape}\n".encode() + pixels.tobytes() + labels.astype("<i8").tobytes())
    return running.hexdigest()


def _in_memory(read: Callable[[], Mapping[str, Arrays]]) -> Callable[[DatasetCard], Dataset]:
    """A reader for a dataset that is generated or comes with a package: its bytes are checked."""

    def reader(card: DatasetCard) -> Dataset:
        arrays = read()
        sha256 = arrays_sha256(arrays)
        if sha256 != card.facts.get("sha256"):
            stated = card.facts.get("sha256")
            raise InputError(f"{card.name}: its bytes have the checksum {sha256}, its card says {stated}")
        splits = {name: Split(ArrayImages(pixels), labels) for name, (pixels, labels) in arrays.items()}
        classes = [str(label) for label in range(1 + max(int(labels.max()) for _, labels in arrays.values()))]
        return Dataset(classes, splits["train"], splits.get("val"), splits["test"])

    return reader


def _official(read: Reader[Split]) -> Callable[[DatasetCard], Dataset]:
    """A reader for files that were published with lists: they are verified against the card."""
    return lambda card: open_dataset(card, read)


READERS: dict[str, Callable[[DatasetCard], Dataset]] = {
    "digits": _in_memory(read_digits),
    "cluttered_digits": _in_memory(read_cluttered_digits),
    "folder": read_folder,
    "aircraft": _official(read_aircraft),
    "caltech101": _official(read_caltech101),
    "cars": _official(read_cars),
    "cifar10": _official(read_cifar10),
    "cifar100": _official(read_cifar100),
    "cub": _official(read_cub),
    "dogs": _official(read_dogs),
    "domainnet": _official(read_domainnet),
    "dtd": _official(read_dtd),
    "flowers102": _official(read_flowers102),
    "imagenet": _official(read_imagenet),
    "inat2017": _official(read_inat2017),
    "pets": _official(read_pets),
    "places365": _official(read_places365),
    "svhn": _official(read_svhn),
}
"""How datasets are read, by the ``reader`` of their card."""

MASK_READERS: dict[str, Reader[MaskedSplit]] = {"ade20k": read_ade20k, "voc2012": read_voc2012}
"""How datasets for segmentation are read."""
