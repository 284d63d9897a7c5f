"""The images that a trained model is asked about: a folder, with or without classes, or the test split of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cards.folder import typed_folder
from bench.cards.image_files import is_dropping, is_image
from bench.cards.label_table import read_table
from bench.cards.layout import divided, find_layout
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

    A folder holds images, or folders of classes with images in them; of one that is divided into splits the one for
    testing is read. A table names images with their labels. Raises ``InputError`` where there is no image.
    """
    if text.startswith("folder:"):
        return _of_folder(text)
    card = registry.dataset(text)
    card.require_files()
    dataset = read_data(card)
    names = [str(path) for path in files_of(dataset.test)] or [str(place) for place in range(len(dataset.test))]
    classes = [dataset.classes[label] for label in dataset.test.labels]
    return Pictures(f"{card.name}, test split", names, dataset.test.images, classes)


def _of_folder(text: str) -> Pictures:
    path, options = typed_folder(text.removeprefix("folder:"))
    if path.is_file() and options.split is None:
        rows = [(path.parent / row.path, row.label) for row in read_table(path)]
        return _labelled(str(path), path.parent, rows)
    if path.is_file() or options.split is not None or divided(path, text):
        layout = find_layout(path, options, text)
        return _labelled(f"{path}, {layout.sources['test']}", path, layout.files["test"])
    if not path.is_dir():
        raise InputError(f"{text}: there is no such folder")
    loose = [(image, "") for image in _images(path)]
    inside = [(image, part.name) for part in _visible(path) if part.is_dir() for image in _images(part)]
    if not loose and not inside:
        raise InputError(f"{text}: it holds no image; expected {path}/IMAGE or {path}/CLASS/IMAGE")
    return _labelled(str(path), path, [*loose, *inside])


def _labelled(title: str, root: Path, images: Sequence[tuple[Path, str]]) -> Pictures:
    names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path, _ in images]
    files = FileImages(tuple(path for path, _ in images))
    return Pictures(title, names, files, [label for _, label in images])


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not is_dropping(path.name))


def _images(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if is_image(path.name) and path.is_file()]
