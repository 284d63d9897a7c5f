"""Datasets as their authors publish them: official lists of images, verified against a card when they are opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from bench.cards.dataset import DatasetCard, read_list
from bench.data.dataset import (
    ArrayImages,
    Dataset,
    FileImages,
    Indices,
    MaskedSplit,
    MaskFiles,
    SegmentationDataset,
    Split,
)
from bench.errors import InputError

AnySplit = TypeVar("AnySplit", Split, MaskedSplit)


@dataclass(frozen=True)
class Official(Generic[AnySplit]):
    """What a reader finds.

    Attributes:
        classes: their names, by label.
        lists: the official lists that the card uses, by name.
        seen: whether the files were found by looking into folders, so that all of them are there.
    """

    classes: Sequence[str]
    lists: Mapping[str, AnySplit]
    seen: bool = False


Reader = Callable[[DatasetCard], Official[AnySplit]]


def file_split(paths: Iterable[str | Path], labels: Iterable[int]) -> Split:
    """A split of image files and their labels."""
    return Split(FileImages(tuple(paths)), np.array(list(labels), dtype=np.int64))


def open_dataset(card: DatasetCard, read: Reader[Split]) -> Dataset:
    """The splits of a classification dataset, made of the official lists that its card uses, and verified.

    Raises:
        InputError: files are missing, a checksum or a number differs from the card's, or an image is in two splits; it
            says what was expected, what was found, and how the data is fetched.
    """
    found = _verified(card, read)
    splits = {split: _joined([found.lists[name] for name in names]) for split, names in card.use.items()}
    if "list" in card.facts:
        splits["train"] = _chosen(card, splits["train"])
    _refuse_shared(card, {split: files_of(part) for split, part in splits.items()})
    return Dataset(found.classes, splits["train"], splits.get("val"), splits["test"])


def open_segmentation(card: DatasetCard, read: Reader[MaskedSplit]) -> SegmentationDataset:
    """As ``open_dataset``, for a dataset of images with masks."""
    found = _verified(card, read)
    splits = {split: _joined_masked([found.lists[name] for name in names]) for split, names in card.use.items()}
    _refuse_shared(card, {split: files_of(part)[: len(part)] for split, part in splits.items()})
    return SegmentationDataset(found.classes, splits["train"], splits.get("val"), splits["test"])


def files_of(split: Split | MaskedSplit) -> tuple[str | Path, ...]:
    """The files of a split: its images, then its masks; none for images in memory."""
    images = split.images.paths if isinstance(split.images, FileImages) else ()
    return images + split.masks.paths if isinstance(split, MaskedSplit) else images


def file_checksum(path: Path, algorithm: str) -> str:
    """``md5:...`` or ``sha256:...`` of a file, as cards write it."""
    running = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            running.update(piece)
    return f"{algorithm}:{running.hexdigest()}"


def verify_checksums(card: DatasetCard) -> None:
    """Raise ``InputError`` where a file's checksum is not the card's."""
    for name, stated in card.facts.get("checksums", {}).items():
        path = Path(card.path) / name
        if not path.is_file():
            raise InputError(f"{card.name}: there is no {path}; {card.how_to_fetch}")
        found = file_checksum(path, stated.partition(":")[0])
        if found != stated:
            raise InputError(
                f"{card.name}: {path} has the checksum {found}, its card says {stated}; {card.how_to_fetch}"
            )


def _verified(card: DatasetCard, read: Reader[AnySplit]) -> Official[AnySplit]:
    """What the reader finds, checked against the card."""
    card.require_files()
    verify_checksums(card)
    try:
        found = read(card)
    except InputError:
        raise
    except Exception as error:  # other people's files and readers: whatever is wrong is told the same way
        raise InputError(
            f"{card.name}: {card.path} cannot be read: {type(error).__name__}: {error}; {card.how_to_fetch}"
        ) from error
    if not isinstance(found, Official):
        raise InputError(f"{card.name}: its reader {card.code} must give an Official, not a {type(found).__name__}")
    sizes = {name: len(split) for name, split in found.lists.items()}
    stated = {name: card.facts["official"][name] for name in card.lists}
    if sizes != stated or len(found.classes) != card.facts["classes"]:
        raise InputError(
            f"{card.name}: its card says {card.facts['classes']} classes and {stated}, found are "
            f"{len(found.classes)} classes and {sizes} in {card.path}; {card.how_to_fetch}"
        )
    for name, split in found.lists.items():
        if isinstance(split, Split) and not set(np.unique(split.labels)) <= set(range(len(found.classes))):
            raise InputError(f"{card.name}: '{name}' has labels outside of 0 to {len(found.classes) - 1}")
    files = [path for split in found.lists.values() for path in files_of(split)]
    _refuse_outside(card, files)
    if not found.seen:
        _require_images(card, files)
    return found


def _refuse_outside(card: DatasetCard, paths: Sequence[str | Path]) -> None:
    """Raise ``InputError`` where a list names a file outside of the dataset's folder."""
    root = f"{card.path}{os.sep}"
    for path in map(str, paths):
        if not path.startswith(root) or f"{os.sep}..{os.sep}" in path:
            raise InputError(f"{card.name}: a list names {path}, which is not in {card.path}; {card.how_to_fetch}")


def _require_images(card: DatasetCard, paths: Sequence[str | Path]) -> None:
    """Raise ``InputError`` where listed files are not there; a folder is read once, which is quick on network disks."""
    present: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in present:
            present[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in present[folder]:
            missing.append(path)
    if missing:
        raise InputError(
            f"{card.name}: {len(missing)} of {len(paths)} files are missing, the first is {missing[0]}; "
            f"{card.how_to_fetch}"
        )


def _joined(splits: Sequence[Split]) -> Split:
    """Several lists as one split, in order."""
    labels = np.concatenate([split.labels for split in splits])
    images = [split.images for split in splits]
    if len(splits) == 1:
        return splits[0]
    if all(isinstance(part, ArrayImages) for part in images):
        return Split(ArrayImages(np.concatenate([p.pixels for p in images if isinstance(p, ArrayImages)])), labels)
    return Split(FileImages(tuple(path for split in splits for path in files_of(split))), labels)


def _joined_masked(splits: Sequence[MaskedSplit]) -> MaskedSplit:
    images = tuple(path for split in splits for path in split.images.paths)
    masks = tuple(path for split in splits for path in split.masks.paths)
    return MaskedSplit(FileImages(images), MaskFiles(masks, splits[0].masks.first))


def _chosen(card: DatasetCard, train: Split) -> Split:
    """The training images that the card's list file names, in its order.

    A line names the image whose path agrees with it from the file name up through most folders. Published lists are
    often written for folders of their own (``train/26/pug_125.jpg``); the file name must agree, and name one image.
    """
    paths = [str(path).replace(os.sep, "/") for path in files_of(train)]
    if not paths:
        raise InputError(f"{card.name}: its images are not files, so no list can name them")
    by_name: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        by_name.setdefault(path.rpartition("/")[2], []).append(index)
    chosen: list[int] = []
    for line in read_list(Path(card.facts["list"])):
        matching = by_name.get(line.rpartition("/")[2], [])
        for tail in _tails(line):
            matching = [index for index in matching if paths[index].endswith(f"/{tail}")] or matching
        if len(matching) != 1:
            told = "is no training image" if not matching else f"could be {len(matching)} training images"
            raise InputError(f"{card.facts['list']}: {line} {told} of {card.plain_name}")
        chosen += matching
    if len(set(chosen)) < len(chosen):
        raise InputError(f"{card.facts['list']}: two lines name the same image of {card.plain_name}")
    return _taken(train, np.array(chosen, dtype=np.int64))


def _tails(line: str) -> list[str]:
    """The ends of a path, the shortest first: ``c``, ``b/c``, ``a/b/c``."""
    parts = line.split("/")
    return ["/".join(parts[start:]) for start in reversed(range(len(parts)))]


def _taken(split: Split, indices: Indices) -> Split:
    return file_split([files_of(split)[index] for index in indices], split.labels[indices])


def _refuse_shared(card: DatasetCard, files: Mapping[str, Sequence[str | Path]]) -> None:
    """Raise ``InputError`` where a file is in two splits, or in one twice."""
    everything = {split: set(map(str, paths)) for split, paths in files.items()}
    if len(set().union(*everything.values())) == sum(map(len, files.values())):
        return
    seen: dict[str, str] = {}
    for split, paths in files.items():
        for path in map(str, paths):
            if path in seen:
                raise InputError(f"{card.name}: {path} is in '{seen[path]}' and again in '{split}'")
            seen[path] = split
