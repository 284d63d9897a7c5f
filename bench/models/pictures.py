"""The images that a trained model is asked about: a folder, with or without classes, or the test split of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cards.dataset import IMAGE_SUFFIXES, split_folder
from bench.cards.folders import typed_path
from bench.data import read_data
from bench.data.dataset import FileImages, Images
from bench.data.official import files_of
from bench.errors import InputError
from bench.registry import Registry


@dataclass(frozen=True)
class Pictures:
    """Images that are to be scored.

    Attributes:
        title: what they are, in words.
        names: of each image: its path in the folder, or its place in the split.
        classes: of each image the name of its class; empty where nobody says it.
    """

    title: str
    names: Sequence[str]
    images: Images
    classes: Sequence[str]


def read_pictures(text: str, registry: Registry) -> Pictures:
    """What ``folder:PATH`` or the name of a dataset stands for.

    A folder holds images, or folders of classes with images in them; of one with ``train`` and ``test`` the latter is
    read. Raises ``InputError`` where it holds no image.
    """
    if text.startswith("folder:"):
        return _of_folder(typed_path(text.removeprefix("folder:")))
    card = registry.dataset(text)
    card.require_files()
    dataset = read_data(card)
    names = [str(path) for path in files_of(dataset.test)] or [str(place) for place in range(len(dataset.test))]
    classes = [dataset.classes[label] for label in dataset.test.labels]
    return Pictures(f"{card.name}, test split", names, dataset.test.images, classes)


def _of_folder(folder: Path) -> Pictures:
    if not folder.is_dir():
        raise InputError(f"folder:{folder}: there is no such folder")
    root = folder
    if split_folder(folder, "train") and (test := split_folder(folder, "test")):
        root = test
    loose = [path for path in _visible(root) if _is_image(path)]
    inside = [path for part in _visible(root) if part.is_dir() for path in _visible(part) if _is_image(path)]
    paths = [*loose, *inside]
    if not paths:
        expected = f"expected {folder}/IMAGE or {folder}/CLASS/IMAGE ({', '.join(sorted(IMAGE_SUFFIXES))})"
        raise InputError(f"folder:{folder}: it holds no image; {expected}")
    names = [path.relative_to(folder).as_posix() for path in paths]
    classes = ["" if path.parent == root else path.parent.name for path in paths]
    return Pictures(str(root), names, FileImages(tuple(paths)), classes)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
