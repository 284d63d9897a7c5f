"""A dataset's card: what the data is and how it is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cards.backbone import file_sha256
from bench.document import Section, read_document
from bench.errors import InputError
from bench.spec import Named, digest

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})

_SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


@dataclass(frozen=True)
class DatasetCard:
    """A dataset.

    Attributes:
        name: as it is written in an experiment.
        title: what tables call it.
        reader: which reader of ``bench.data`` reads it.
        path: where its files lie, for readers that need a place.
        facts: the card's entries: classes, sizes of the splits, licence, source, checksums.
        means: digest of its content.
    """

    name: str
    title: str
    reader: str
    path: str
    facts: dict[str, Any]
    means: str

    @property
    def named(self) -> Named:
        """What a run's spec keeps of the card."""
        return Named(self.name, self.means)


def read_dataset(name: str, path: Path) -> DatasetCard:
    """The card in a file. Raises ``InputError`` where it is malformed."""
    facts = read_document(path)
    means = digest([facts.text("reader"), facts.get("sha256"), facts.get("version", 1)])
    return DatasetCard(name, facts.text("title"), facts.text("reader"), "", facts, means)


def folder_dataset(folder: Path) -> DatasetCard:
    """The card of a folder of images: ``train/CLASS/*.jpg``, ``test/CLASS/*.jpg`` and, if there is one, ``val``.

    Its meaning is a hash of every image's name and bytes, so that moving the folder changes nothing.

    Raises:
        InputError: the folder or one of its needed parts is missing or empty; says what is expected.
    """
    layout = f"expected {folder}/train/CLASS/IMAGE and {folder}/test/CLASS/IMAGE (val/ is optional)"
    if not folder.is_dir():
        raise InputError(f"folder:{folder}: there is no such folder; {layout}")
    splits = {split: part for split in _SPLIT_FOLDERS if (part := split_folder(folder, split)) is not None}
    for split in ("train", "test"):
        if split not in splits:
            raise InputError(f"folder:{folder}: it has no folder '{split}'; {layout}")
    files = {split: image_files(part) for split, part in splits.items()}
    for split, found in files.items():
        if not found:
            raise InputError(f"folder:{folder}: '{splits[split].name}' holds no image; {layout}")
    classes = sorted({path.parent.name for path in files["train"]})
    for split, found in files.items():
        unknown = sorted({path.parent.name for path in found} - set(classes))
        if unknown:
            raise InputError(f"folder:{folder}: '{splits[split].name}' has classes that 'train' lacks: {unknown[:5]}")
    facts = Section(f"folder:{folder}", 1)
    facts.update(
        task="classification", classes=len(classes), splits={split: len(found) for split, found in files.items()}
    )
    means = _content(folder, [path for found in files.values() for path in found])
    return DatasetCard(f"folder:{folder}", folder.name, "folder", str(folder), facts, means)


def split_folder(folder: Path, split: str) -> Path | None:
    """The folder of a split (``train``, ``val`` or ``test``) under one of its usual names, if there is one."""
    return next((part for name in _SPLIT_FOLDERS[split] if (part := folder / name).is_dir()), None)


def image_files(folder: Path) -> list[Path]:
    """The images of ``folder/CLASS/*``, sorted by class and name."""
    return sorted(path for path in folder.glob("*/*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _content(folder: Path, files: list[Path]) -> str:
    """12 hexadecimal digits of the names and bytes of the images."""
    running = hashlib.sha256()
    for path in files:
        running.update(f"{path.relative_to(folder).as_posix()}\0{file_sha256(path)}\n".encode())
    return running.hexdigest()[:12]
