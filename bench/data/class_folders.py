"""Datasets whose folders are their classes: ImageNet and its parts, Caltech-101, and anybody's own images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bench.cards.dataset import DatasetCard
from bench.cards.folder_options import folder_options
from bench.cards.image_files import is_dropping, is_image
from bench.cards.layout import find_layout
from bench.data.dataset import Dataset, Split
from bench.data.official import Official, file_split, some_of
from bench.data.subset import take_each


def read_imagenet(card: DatasetCard) -> Official[Split]:
    """ImageNet (Russakovsky et al., 2015) or a part of it: ``train/WNID/*.JPEG`` and ``val/WNID/*.JPEG``.

    Classes are WordNet ids, sorted; ``wnids`` names them where the folder holds more, ``roots`` the folders that hold
    ``train`` and ``val`` where there are several.
    """
    roots = [Path(card.path) / root for root in card.options.get("roots", ["."])]
    folders = sorted({folder for root in roots for name in card.lists for folder in _folders(root / name)})
    classes = sorted(card.options.get("wnids", folders))
    lists = {name: _by_folder([root / name for root in roots], classes) for name in card.lists}
    return Official(classes, lists, seen=True)


def read_caltech101(card: DatasetCard) -> Official[Split]:
    """Caltech-101 (Fei-Fei et al., 2004): ``caltech101/101_ObjectCategories/CLASS/*.jpg``.

    It has no official split. ``per_class`` images of each class are for training and the rest for testing, drawn by the
    card's ``seed``; ``background`` says whether the folder BACKGROUND_Google counts as a class.
    """
    root = Path(card.path) / "caltech101" / "101_ObjectCategories"
    classes = [name for name in _folders(root) if card.options["background"] or name != "BACKGROUND_Google"]
    everything = _by_folder([root], classes)
    train, test = take_each(everything.labels, card.options["per_class"], card.options["seed"])
    drawn = {"train": train, "test": test}
    return Official(classes, {name: some_of(everything, drawn[name]) for name in card.lists}, seen=True)


def read_folder(card: DatasetCard) -> Dataset:
    """Somebody's own images, in any layout of ``bench.cards.layout``; classes by name."""
    card.require_files()
    layout = find_layout(Path(card.path), folder_options(card.options, card.name), card.name)
    places = {name: label for label, name in enumerate(layout.classes)}
    splits = {}
    for split, files in layout.files.items():
        splits[split] = file_split([path for path, _ in files], [places[label] for _, label in files])
    return Dataset(layout.classes, splits["train"], splits.get("val"), splits["test"])


def _by_folder(roots: Sequence[Path], classes: Sequence[str]) -> Split:
    """The images of ``ROOT/CLASS/*``, by class and then by name; labels are the places of the classes."""
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for folder in (str(root / name) for root in roots):
            if os.path.isdir(folder):
                files = [f"{folder}/{file}" for file in sorted(os.listdir(folder)) if is_image(file)]
                paths += files
                labels += [label] * len(files)
    return file_split(paths, labels)


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not is_dropping(entry.name))
