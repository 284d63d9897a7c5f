"""Datasets as their authors publish them: official lists of images, verified against a card when they are opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic

import numpy as np
import numpy.typing as npt

from bench.cards.dataset import DatasetCard, read_list
from bench.data.dataset import (
    AnySplit,
    ArrayImages,
    Dataset,
    FileImages,
    Images,
    MaskedDataset,
    MaskedSplit,
    MaskFiles,
    Split,
)
from bench.errors import InputError


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


def open_dataset(card: DatasetCard, read: Reader[AnySplit], kind: type[AnySplit]) -> Dataset:
    """The splits of a dataset, made of the official lists that its card uses, and verified.

    ``kind`` is what its task asks for of a list of images.

    Raises:
        InputError: files are missing, a checksum or a number differs from the card's, an image is in two splits, or
            lists are not of that kind; it says what was expected, what was found, and how the data is fetched.
    """
    classes, splits = _opened(card, read, kind)
    return Dataset(classes, splits["train"], splits.get("val"), splits["test"])


def open_segmentation(card: DatasetCard, read: Reader[MaskedSplit]) -> MaskedDataset:
    """As ``open_dataset``, for a dataset of images with masks."""
    classes, splits = _opened(card, read, MaskedSplit)
    return MaskedDataset(classes, splits["train"], splits.get("val"), splits["test"])


def _opened(
    card: DatasetCard, read: Reader[AnySplit], kind: type[AnySplit]
) -> tuple[Sequence[str], dict[str, AnySplit]]:
    """The names of the classes, and the splits by name."""
    official = _verified(card, read, kind)
    splits = {split: joined(official.lists, names) for split, names in card.use.items()}
    if "list" in card.facts:
        splits["train"] = _chosen(card, splits["train"])
    _refuse_shared(card, splits)
    return official.classes, splits


def files_of(split: Split) -> tuple[str | Path, ...]:
    """The files of a split's images; none for images in memory."""
    return split.images.paths if isinstance(split.images, FileImages) else ()


def mask_files_of(split: Split) -> tuple[str | Path, ...]:
    """The files of a split's masks; none where it has no masks, or has them in memory."""
    return split.masks.paths if isinstance(split, MaskedSplit) and isinstance(split.masks, MaskFiles) else ()


def some_of(split: AnySplit, indices: npt.NDArray[np.int64]) -> AnySplit:
    """Some of a split's images, of files or in memory, in that order."""
    return split.chosen(indices, _some_images(split, indices))


def _some_images(split: Split, indices: npt.NDArray[np.int64]) -> Images:
    if isinstance(split.images, ArrayImages):
        return ArrayImages(split.images.pixels[indices])
    chosen = tuple(files_of(split)[index] for index in indices)
    return replace(split.images, paths=chosen) if isinstance(split.images, FileImages) else FileImages(chosen)


def file_checksum(path: Path, algorithm: str) -> str:
    """``md5:...`` or ``sha256:...`` of a file, as cards write it."""
    running = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            running.update(piece)
    return f"{algorithm}:{running.hexdigest()}"


def _verify_checksums(card: DatasetCard) -> None:
    """Raise ``InputError`` where a file's checksum is not the card's."""
    for name, stated in card.facts.get("checksums", {}).items():
        path = Path(card.path) / name
        if not path.is_file():
            raise InputError(f"{card.name}: there is no {path}; {card.how_to_fetch}")
        checksum = file_checksum(path, stated.partition(":")[0])
        if checksum != stated:
            problem = f"{path} has the checksum {checksum}, its card says {stated}"
            raise InputError(f"{card.name}: {problem}; {card.how_to_fetch}")


def _verified(card: DatasetCard, read: Reader[AnySplit], kind: type[AnySplit]) -> Official[AnySplit]:
    """What the reader finds, checked against the card."""
    card.require_files()
    _verify_checksums(card)
    try:
        official = read(card)
    except InputError:
        raise
    except Exception as error:  # other people's files and readers: whatever is wrong is told the same way
        raise InputError(
            f"{card.name}: {card.path} cannot be read: {type(error).__name__}: {error}; {card.how_to_fetch}"
        ) from error
    if not isinstance(official, Official):
        raise InputError(f"{card.name}: its reader {card.code} must give an Official, not a {type(official).__name__}")
    sizes = {name: len(split) for name, split in official.lists.items()}
    stated = {name: card.facts["official"][name] for name in card.lists}
    if sizes != stated or len(official.classes) != card.facts["classes"]:
        raise InputError(
            f"{card.name}: its card says {card.facts['classes']} classes and {stated}, found are "
            f"{len(official.classes)} classes and {sizes} in {card.path}; {card.how_to_fetch}"
        )
    for name, split in official.lists.items():
        if not isinstance(split, kind):
            wanted = f"its task, {card.task}, needs a {kind.__name__}"
            raise InputError(f"{card.name}: its reader gives '{name}' as a {type(split).__name__}; {wanted}")
        if odd := split.odd(len(official.classes)):
            raise InputError(f"{card.name}: '{name}' has {odd}")
    files = [path for split in official.lists.values() for path in files_of(split)]
    files += [path for split in official.lists.values() for path in mask_files_of(split)]
    _refuse_outside(card, files)
    if not official.seen:
        _require_images(card, files)
    return official


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


def joined(lists: Mapping[str, AnySplit], names: Sequence[str]) -> AnySplit:
    """Several lists as one split, in order."""
    splits = [lists[name] for name in names]
    first, *others = splits
    if not others:
        return first
    pixels = [split.images.pixels for split in splits if isinstance(split.images, ArrayImages)]
    files = FileImages(tuple(path for split in splits for path in files_of(split)))
    try:
        return first.joined(others, ArrayImages(np.concatenate(pixels)) if len(pixels) == len(splits) else files)
    except InputError as error:
        raise InputError(f"{', '.join(names)}: {error}") from None


def _chosen(card: DatasetCard, train: AnySplit) -> AnySplit:
    """The training images that the card's list file names, in its order.

    A line names the image whose path agrees with it from the file name up through most folders. Published lists are
    often written for folders of their own, and with a label behind (``train/26/pug_125.jpg 26``), which is passed over:
    the file name must agree, and name one image.
    """
    paths = [str(path).replace(os.sep, "/") for path in files_of(train)]
    if not paths:
        raise InputError(f"{card.name}: its images are not files, so no list can name them")
    indices: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        indices.setdefault(path.rpartition("/")[2], []).append(index)
    chosen: list[int] = []
    for line in read_list(Path(card.facts["list"])):
        path, _, label = line.rpartition(" ")
        is_labelled = label.isdecimal() and path.rpartition("/")[2].rstrip() in indices
        parts = (path.rstrip() if is_labelled else line).split("/")
        matching = indices.get(parts[-1], [])
        for start in reversed(range(len(parts) - 1)):
            tail = "/".join(parts[start:])
            matching = [index for index in matching if paths[index].endswith(f"/{tail}")] or matching
        if len(matching) != 1:
            problem = f"could be {len(matching)} training images" if matching else "is no training image"
            raise InputError(f"{card.facts['list']}: {line} {problem} of {card.plain_name}")
        chosen += matching
    if len(set(chosen)) < len(chosen):
        raise InputError(f"{card.facts['list']}: two lines name the same image of {card.plain_name}")
    return some_of(train, np.array(chosen))


def _refuse_shared(card: DatasetCard, splits: Mapping[str, Split]) -> None:
    """Raise ``InputError`` where an image's file is in two splits, or in one twice."""
    seen: dict[str, str] = {}
    for name, split in splits.items():
        for path in map(str, files_of(split)):
            if path in seen:
                raise InputError(f"{card.name}: {path} is in '{seen[path]}' and again in '{name}'")
            seen[path] = name
