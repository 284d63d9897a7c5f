"""From a dataset's card to its splits, checked against what the card says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from bench.cards.dataset import DatasetCard
from bench.data.dataset import ArrayImages, Dataset, Split
from bench.data.digits import Arrays, read_cluttered_digits, read_digits
from bench.data.folder import read_folder
from bench.errors import InputError, choose


def read_data(card: DatasetCard) -> Dataset:
    """Open a dataset.

    Raises:
        InputError: the card names no reader, or the data is not what the card says.
    """
    if card.reader not in READERS:
        raise InputError(f"{card.name}: {choose(card.reader, READERS, 'reader')}")
    dataset = READERS[card.reader](card)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    found = {name: len(split) for name, split in splits.items() if split is not None}
    stated = dict(card.facts["splits"])
    if found != stated or len(dataset.classes) != card.facts["classes"]:
        raise InputError(
            f"{card.name}: its card says {card.facts['classes']} classes and {stated}, "
            f"found are {len(dataset.classes)} classes and {found}"
        )
    return dataset


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


READERS: dict[str, Callable[[DatasetCard], Dataset]] = {
    "digits": _in_memory(read_digits),
    "cluttered_digits": _in_memory(read_cluttered_digits),
    "folder": read_folder,
}
"""How datasets are read, by the ``reader`` of their card."""
