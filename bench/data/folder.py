"""Somebody's own images: a folder with a folder for each class in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.cards.dataset import DatasetCard, image_files, split_folder
from bench.data.dataset import Dataset, FileImages, Split


def read_folder(card: DatasetCard) -> Dataset:
    """``train/CLASS/*``, ``test/CLASS/*`` and, where there is one, ``val/CLASS/*``; classes are sorted by name."""
    root = Path(card.path)
    train = split_folder(root, "train")
    assert train is not None  # the card was made from this folder
    classes = sorted({path.parent.name for path in image_files(train)})

    def split(name: str) -> Split | None:
        folder = split_folder(root, name)
        if folder is None:
            return None
        paths = image_files(folder)
        labels = np.array([classes.index(path.parent.name) for path in paths], dtype=np.int64)
        return Split(FileImages(tuple(paths)), labels)

    training, test = split("train"), split("test")
    assert training is not None
    assert test is not None
    return Dataset(classes, training, split("val"), test)
