"""From a dataset's card to its splits, checked against what the card says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from bench.cards.code import file_digest
from bench.cards.dataset import FOLDER, DatasetCard
from bench.cards.readers import MASK_READERS, READERS, TASK_READERS
from bench.cards.rehearsal import read_rehearsal
from bench.data.dataset import AnySplit, ArrayImages, Dataset, MaskArrays, MaskedDataset, Split, masked
from bench.data.digits import Arrays
from bench.data.masks import read_folder_masks
from bench.data.official import open_dataset, open_segmentation
from bench.data.rehearsal import drawn, drawn_masks, drawn_noise, part_of
from bench.data.shapes import CLASSES, MaskedArrays
from bench.data.surveyed import with_levels, without_damaged
from bench.errors import InputError, choose
from bench.reading.loading import load_checked
from bench.task import find_task

AnyDataset = TypeVar("AnyDataset", bound=Dataset)


def read_data(card: DatasetCard) -> Dataset:
    """Open a dataset for classification.

    Raises:
        InputError: the card names no reader, or the data is not what the card says.
    """
    if card.task != "classification":
        raise InputError(f"{card.name}: it is for {card.task}: its images have not one label each")
    return _as_stated(card, _rehearsed(card, card.of) if card.of is not None else _opened(card))


def read_masks(card: DatasetCard) -> MaskedDataset:
    """Open a dataset for segmentation.

    Raises:
        InputError: the card names no reader of masks, or the data is not what the card says.
    """
    if card.of is not None:
        return _as_stated(card, _rehearsed_masks(card, card.of))
    if card.reader == FOLDER and card.task == "segmentation":
        return _as_stated(card, read_folder_masks(card))
    read = _reader(card, MASK_READERS, "reader of masks")
    if MASK_READERS.get(card.reader) == "shapes":
        return _as_stated(card, _generated_masks(card, read()))
    return open_segmentation(card, read)


def _as_stated(card: DatasetCard, dataset: AnyDataset) -> AnyDataset:
    """The dataset, if it has the classes and sizes that its card says; else raises ``InputError``."""
    sizes = {name: len(split) for name, split in dataset.splits.items()}
    stated, classes = card.splits, card.facts.get("classes")
    if sizes != stated or len(dataset.classes) != classes:
        raise InputError(
            f"{card.name}: its card says {classes} classes and {stated}, "
            f"found are {len(dataset.classes)} classes and {sizes}"
        )
    return dataset


def _opened(card: DatasetCard) -> Dataset:
    """A dataset by the reader that its card names."""
    read = _reader(card, READERS, "reader")
    if card.reader == FOLDER:
        return with_levels(read(card), card)
    return _generated(card, read()) if READERS.get(card.reader) == "digits" else open_dataset(card, read, Split)


def _rehearsed(card: DatasetCard, of: DatasetCard) -> Dataset:
    """What a rehearsal trains on: a part of a dataset, or drawn images."""
    excerpt = read_rehearsal(card.name)[0]
    if excerpt.drawn:
        return drawn(int(card.facts["classes"]), card.splits, excerpt.seed)
    return part_of(without_damaged(read_data(of), of), card.splits, excerpt.seed)


def _rehearsed_masks(card: DatasetCard, of: DatasetCard) -> MaskedDataset:
    """As ``_rehearsed``, of images with masks."""
    excerpt = read_rehearsal(card.name)[0]
    if excerpt.drawn:
        return drawn_masks(int(card.facts["classes"]), card.splits, excerpt.seed)
    return part_of(read_masks(of), card.splits, excerpt.seed)


def read_official(card: DatasetCard, kind: type[AnySplit]) -> Dataset:
    """Open a dataset of official lists for its task, which asks for that kind of lists.

    Raises:
        InputError: the card names no reader of the task's, or the data is not what the card says.
    """
    if card.of is not None:
        return _as_stated(card, _rehearsed_official(card, card.of, kind))
    readers = TASK_READERS.get(card.task, {})
    return open_dataset(card, _reader(card, readers, f"reader for {card.task}"), kind)


def _rehearsed_official(card: DatasetCard, of: DatasetCard, kind: type[AnySplit]) -> Dataset:
    """As ``_rehearsed``, of images of which a task asks something else."""
    excerpt = read_rehearsal(card.name)[0]
    if excerpt.drawn:
        return drawn_noise(find_task(card.task), int(card.facts["classes"]), card.splits, excerpt.seed)
    return part_of(read_official(of, kind), card.splits, excerpt.seed)


def _reader(card: DatasetCard, readers: Mapping[str, str], what: str) -> Callable[..., Any]:
    """The reader that a card names: the suite's, or a plug-in's, whose file is run."""
    if card.code is not None:
        read = getattr(load_checked("readers", card.code, file_digest(card.code)), "read", None)
        if not callable(read):
            raise InputError(
                f"{card.code}:1: no function is called 'read'; a reader's file has one (def read(card): ...)"
            )
        return read  # type: ignore[no-any-return]
    if card.reader not in readers:
        raise InputError(f"{card.name}: {choose(card.reader, readers, what)}")
    return getattr(import_module(f"bench.data.{readers[card.reader]}"), f"read_{card.reader}")  # type: ignore[no-any-return]


def arrays_sha256(arrays: Mapping[str, Arrays | MaskedArrays]) -> str:
    """The SHA-256 of the pixels and labels, or masks, of all splits, in hexadecimal.

    Labels and levels of masks count as little-endian int64.
    """
    running = hashlib.sha256()
    for name, (pixels, labels) in sorted(arrays.items()):
        running.update(f"{name} {pixels.shape}\n".encode() + pixels.tobytes() + labels.astype("<i8").tobytes())
    return running.hexdigest()


def _generated(card: DatasetCard, arrays: Mapping[str, Arrays]) -> Dataset:
    """A dataset that is generated or comes with a package, once its bytes are checked."""
    _check_bytes(card, arrays)
    splits = {name: Split(ArrayImages(pixels), labels) for name, (pixels, labels) in arrays.items()}
    last = max(int(labels.max()) for _, labels in arrays.values())
    classes = [str(label) for label in range(last + 1)]
    return Dataset(classes, splits["train"], splits.get("val"), splits["test"])


def _generated_masks(card: DatasetCard, arrays: Mapping[str, MaskedArrays]) -> MaskedDataset:
    """As ``_generated``, of images with masks."""
    _check_bytes(card, arrays)
    splits = {name: masked(ArrayImages(pixels), MaskArrays(levels)) for name, (pixels, levels) in arrays.items()}
    return MaskedDataset(CLASSES, splits["train"], splits.get("val"), splits["test"])


def _check_bytes(card: DatasetCard, arrays: Mapping[str, Arrays | MaskedArrays]) -> None:
    """Raise ``InputError`` where what was generated is not what the card was written for."""
    sha256, stated = arrays_sha256(arrays), card.facts.get("sha256")
    if sha256 != stated:
        raise InputError(f"{card.name}: its bytes have the checksum {sha256}, its card says {stated}")
