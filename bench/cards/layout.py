"""How somebody's own images lie on the disk, and what of them is read: folders of classes, with splits or without, or
tables of paths and labels.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from bench.cards.folder_options import FolderOptions
from bench.cards.image_files import decoder_lacks, is_dropping, why_unread
from bench.cards.label_table import TABLE_SUFFIXES, LabelledRow, read_table
from bench.errors import InputError
from bench.spec import digest

_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid"),
    "test": ("test", "testing"),
}
"""What folders and lists of a split are called, in small letters."""

PREFIX = "folder:"
"""In front of the path of somebody's own images, where datasets are named."""

BELOW, LOOSE, BROKEN = "in folders below a class", "outside of a class's folder", "behind broken links or in pipes"


class Labelled(NamedTuple):
    """An image: its path from the layout's root, with ``/``, and its class."""

    name: str
    label: str


@dataclass(frozen=True)
class ImageLayout:
    """Images by split.

    Attributes:
        root: where their names start.
        splits: of ``train``, ``test`` and, if there is one, ``val``: its images, by class and name.
        sources: what serves as each split, as it is called on the disk: ``{"test": "val/"}``.
        unread: what lies beside the images and is not read: of each source, how many files, by the reason.
        empty: folders that hold no image that is read, and so are no classes; by source.
        from_tables: labels stand in tables and are not the names of folders.
        drawn: the test split is a share of each class, drawn by a seed.
        val_is_test: the test split is what is called a validation split, since no other is there.
    """

    root: Path
    splits: Mapping[str, Sequence[Labelled]]
    sources: Mapping[str, str]
    unread: Mapping[str, Counter[str]] = field(default_factory=dict)
    empty: Mapping[str, Sequence[str]] = field(default_factory=dict)
    from_tables: bool = False
    drawn: bool = False
    val_is_test: bool = False

    @property
    def classes(self) -> list[str]:
        """Their names, sorted as texts."""
        return sorted(self.counts("train"))

    @property
    def hashed(self) -> list[tuple[str, str]]:
        """The files that it means, by their names from the root, each with what is said of it elsewhere."""
        return [
            (f"{split}\0{image.label}\0" if self.from_tables else "", image.name)
            for split, images in self.splits.items()
            for image in images
        ]

    @property
    def stated(self) -> dict[str, int]:
        """What is said of the folder beside its files and the options, and means something."""
        return {}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {split: len(images) for split, images in self.splits.items()}

    @property
    def files(self) -> dict[str, list[tuple[Path, str]]]:
        """The images of each split, by class and name: where each lies, and its class."""
        return {
            split: [(self.root / image.name, image.label) for image in images] for split, images in self.splits.items()
        }

    def counts(self, split: str) -> Counter[str]:
        """The number of images of each class in a split."""
        return Counter(image.label for image in self.splits[split])


def find_layout(path: Path, options: FolderOptions, name: str) -> ImageLayout:
    """The images of a folder or of a table; no image is opened.

    Raises ``InputError``, which begins with ``name``: what is there is no layout, or contradicts itself; says what is
    expected, and what would be read if it were asked for.
    """
    expected = f"expected {path}/train/CLASS/IMAGE and {path}/test/CLASS/IMAGE (docs/images.md has other layouts)"
    try:
        if path.is_dir():
            layout = _of_folder(path, options, name, expected)
        elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
            layout = _by_tables({"": path}, options, name)
        else:
            suffixes = ", ".join(TABLE_SUFFIXES)
            raise InputError(f"{name}: there is no such folder or table ({suffixes}); {expected}")
    except OSError as error:
        raise InputError(f"{name}: {error.filename} cannot be read: {error.strerror}") from None
    for split, source in layout.sources.items():
        if unknown := sorted(layout.counts(split).keys() - layout.counts("train").keys()):
            words = (split, "train") if layout.from_tables else (source[:-1], layout.sources["train"][:-1])
            raise InputError(f"{name}: '{words[0]}' has classes that '{words[1]}' lacks: {unknown[:5]}")
    return layout


def undivided(path: Path, name: str, skips: bool = False) -> ImageLayout:
    """The images of ``PATH/CLASS/*``, all of them for testing; ``skips`` leaves broken links out.

    Raises ``InputError``, which begins with ``name``: there is no such folder, or no image in it.
    """
    if not path.is_dir():
        raise InputError(f"{name}: there is no folder {path}; expected {path}/CLASS/IMAGE")
    try:
        seen = _classes_of(path, path, name, skips)
    except OSError as error:
        raise InputError(f"{name}: {error.filename} cannot be read: {error.strerror}") from None
    if not seen.images:
        raise InputError(f"{name}: {path} holds no image inside a folder of its class; expected {path}/CLASS/IMAGE")
    return _layout(path, {"test": seen.images}, {"test": ""}, {"": seen})


def divided(path: Path, name: str) -> bool:
    """Whether a folder is divided into splits: it has one for training, and another."""
    folders = split_folders(path, name) if path.is_dir() else {}
    return "train" in folders and len(folders) > 1


def drawn_count(count: int, share: float) -> int:
    """How many of a class's images a drawn test split has: the share, in percent, rounded; at least one of several."""
    rounded = int(Fraction(str(share)) * count / 100 + Fraction(1, 2))
    return min(max(rounded, 1), count - 1)


def _of_folder(path: Path, options: FolderOptions, name: str, expected: str) -> ImageLayout:
    folders = split_folders(path, name)
    if options.split is not None:
        if divided(path, name):
            listed = ", ".join(f"{folder.name}/" for folder in folders.values())
            raise InputError(f"{name}: it is divided already ({listed}); leave split={options.split:g} away")
        seen = _classes_of(path, path, name, options.skip_damaged)
        if not seen.images:
            raise InputError(f"{name}: it holds no image inside a folder of its class{_meant(path, name)}")
        return drawn_split(path, seen.images, options, {"": seen})
    if divided(path, name):
        return _by_folders(path, folders, name, expected, options.skip_damaged)
    lists = _split_tables(path, name)
    if "train" in lists and len(lists) > 1:
        return _by_tables(lists, options, name)
    lacking = "test" if "train" in folders else "train"
    raise InputError(f"{name}: it has no folder '{lacking}'; {expected}{_meant(path, name)}")


def split_folders(path: Path, name: str) -> dict[str, Path]:
    """The folders of splits, by split. Raises ``InputError`` where two are called as one."""
    return _parts({entry: entry.name for entry in sorted(path.iterdir()) if entry.is_dir()}, name)


def _split_tables(path: Path, name: str) -> dict[str, Path]:
    """The lists of splits, by split."""
    entries = [entry for entry in sorted(path.iterdir()) if entry.suffix.lower() in TABLE_SUFFIXES and entry.is_file()]
    return _parts({entry: entry.stem for entry in entries}, name)


def _parts(entries: Mapping[Path, str], name: str) -> dict[str, Path]:
    """What is called as a split, in any case. Raises ``InputError`` where two are called as one."""
    parts: dict[str, Path] = {}
    for split, names in _NAMES.items():
        called = [entry for entry, word in entries.items() if word.lower() in names]
        if len(called) > 1:
            both = " and ".join(f"'{entry.name}'" for entry in called)
            raise InputError(f"{name}: {both} could each be the {split} split; keep one of them")
        if called:
            parts[split] = called[0]
    return parts


class _Seen(NamedTuple):
    """What a folder of classes holds: its images, how many files are not read, and folders without images."""

    images: list[Labelled]
    unread: Counter[str]
    empty: list[str]


def _classes_of(folder: Path, root: Path, name: str, skips: bool) -> _Seen:
    """The images of ``FOLDER/CLASS/*``.

    What is called as an image and is no file, as a broken link, counts as unread where damaged images are left out;
    else raises ``InputError``.
    """
    seen = _Seen([], Counter(), [])
    broken: list[str] = []
    above = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    for entry in _entries(folder):
        if not entry.is_dir():
            seen.unread[why_unread(entry.name) or LOOSE] += 1
            continue
        first = len(seen.images)
        for file in _entries(entry.path):
            if file.is_dir():
                seen.unread[BELOW] += _files_below(file.path)
            elif reason := why_unread(file.name):
                seen.unread[reason] += 1
            elif file.is_file():
                seen.images.append(Labelled(f"{above}{entry.name}/{file.name}", entry.name))
            else:
                broken.append(file.path)
        if len(seen.images) == first:
            seen.empty.append(entry.name)
    if broken and not skips:
        more = f" (and {len(broken) - 1:,} more are none)" if len(broken) > 1 else ""
        remedy = "remove what is a broken link or a pipe, or --skip-damaged leaves it out"
        raise InputError(f"{name}: {broken[0]} is no image file that can be read{more}; {remedy}")
    if broken:
        seen.unread[BROKEN] += len(broken)
    return seen


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, but for what systems leave there."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not is_dropping(entry.name)), key=lambda entry: entry.name)


def _files_below(folder: str) -> int:
    """How many files lie anywhere in a folder; links to folders are not followed."""
    count = 0
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_dropping(name)]
        count += sum(not is_dropping(name) for name in files)
    return count


def _by_folders(path: Path, folders: Mapping[str, Path], name: str, expected: str, skips: bool) -> ImageLayout:
    """``train/CLASS/*``, ``test/CLASS/*`` and, if there is one, ``val/CLASS/*``."""
    # as timm, torchvision and MAE have it: where no folder is for testing, the one for validation is
    val_is_test = "test" not in folders
    served = {"train": folders["train"], "test": folders["val"]} if val_is_test else folders
    seen = {split: _classes_of(folder, path, name, skips) for split, folder in served.items()}
    for split, part in seen.items():
        if not part.images:
            inside = " inside a folder of its class" if part.unread[LOOSE] else ""
            remedy = "; remove it, if there is no validation split" if split == "val" else ""
            raise InputError(f"{name}: '{served[split].name}' holds no image{inside}{remedy}; {expected}")
    sources = {split: f"{folder.name}/" for split, folder in served.items()}
    splits = {split: part.images for split, part in seen.items()}
    layout = _layout(path, splits, sources, {sources[split]: part for split, part in seen.items()})
    return replace(layout, val_is_test=val_is_test)


def _layout(
    root: Path, splits: Mapping[str, Sequence[Labelled]], sources: Mapping[str, str], seen: Mapping[str, _Seen]
) -> ImageLayout:
    unread = {source: part.unread for source, part in seen.items() if part.unread}
    return ImageLayout(
        root, splits, sources, unread, {source: part.empty for source, part in seen.items() if part.empty}
    )


def drawn_split(
    root: Path, images: Iterable[Labelled], options: FolderOptions, seen: Mapping[str, _Seen]
) -> ImageLayout:
    """Of each class a share for testing, drawn by the seed.

    An image's place in the draw depends on the seed and its own name alone: classes and folders that come later move
    nothing that stays.
    """
    assert options.split is not None
    of_class: dict[str, list[Labelled]] = {}
    for image in images:
        of_class.setdefault(image.label, []).append(image)
    splits: dict[str, list[Labelled]] = {"train": [], "test": []}
    for _, alike in sorted(of_class.items()):
        shuffled = sorted(alike, key=lambda image: digest(["test split", options.seed, image.name]))
        count = drawn_count(len(shuffled), options.split)
        splits["test"] += sorted(shuffled[:count])
        splits["train"] += sorted(shuffled[count:])
    sources = {"train": f"{100 - options.split:g} %", "test": f"{options.split:g} % of each class, seed {options.seed}"}
    return replace(_layout(root, splits, sources, seen), drawn=True)


def _by_tables(tables: Mapping[str, Path], options: FolderOptions, name: str) -> ImageLayout:
    """Images that tables name: one table a split, or one for all, with a column for the split or divided by a draw."""
    root = next(iter(tables.values())).parent
    unread = Counter[str]()
    parts: dict[str, list[Labelled]] = {}
    for split, row in _rows(tables, root, unread, name):
        parts.setdefault(split, []).append(Labelled(row.path, row.label))
    seen = {"": _Seen([], unread, [])}
    if not parts:
        raise InputError(f"{name}: no image is named there that can be read")
    if "" in parts:
        if options.split is None:
            asked = _ask_for_draw(Counter(image.label for image in parts[""]), name)
            raise InputError(f"{name}: no column says the split (train, val, test); {asked}")
        return replace(drawn_split(root, parts[""], options, seen), from_tables=True)
    if options.split is not None:
        raise InputError(f"{name}: it is divided already ({', '.join(parts)}); leave split={options.split:g} away")
    sources = {split: tables[split].name if split in tables else f"'{split}' of the table" for split in parts}
    val_is_test = "test" not in parts and "val" in parts
    if val_is_test:
        parts["test"], sources["test"] = parts.pop("val"), sources.pop("val")
    if not {"train", "test"} <= parts.keys():
        raise InputError(f"{name}: there are images for {', '.join(parts)} alone; train and test are needed")
    splits = {split: sorted(parts[split], key=_by_class) for split in _NAMES if split in parts}
    return replace(_layout(root, splits, sources, seen), from_tables=True, val_is_test=val_is_test)


def _rows(tables: Mapping[str, Path], root: Path, unread: Counter[str], name: str) -> Iterator[tuple[str, LabelledRow]]:
    """The rows whose images can be read, each with its split; their paths are those from the root.

    Raises ``InputError`` where a file is not there, or is named twice.
    """
    places: dict[str, str] = {}
    missing = []
    for split, row in ((split, row) for split, table in tables.items() for row in read_table(table)):
        if reason := decoder_lacks(row.path):
            unread[reason] += 1
            continue
        path = row.path if (root / row.path).is_file() else row.path.replace("\\", "/")
        if not (root / path).is_file():
            missing.append(f"{row.place}: there is no image file {root / path}")
            continue
        inside = os.path.relpath(root / path, root).replace(os.sep, "/")
        if inside in places:
            raise InputError(f"{name}: {row.place}: {row.path} is named again (first at {places[inside]})")
        places[inside] = row.place
        yield split or row.split, row._replace(path=inside)
    if missing:
        more = f" (and {len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        raise InputError(f"{name}: {missing[0]}{more}; paths are relative to the table's folder")


def _by_class(image: Labelled) -> tuple[str, str]:
    return image.label, image.name


def _meant(path: Path, name: str) -> str:
    """What somebody may have meant by a folder that is no layout: one above or below it, or a draw."""
    names = {called for split in _NAMES.values() for called in split}
    above = f"; did you mean {PREFIX}{path.parent}?" if path.name.lower() in names else ""
    if above and _is_divided(path.parent):
        return above
    folders = [Path(entry.path) for entry in _entries(path) if entry.is_dir()]
    if len(divided := [folder for folder in folders if _is_divided(folder)]) == 1:
        return f"; did you mean {PREFIX}{divided[0]}?"
    for folder in (path, *(folder for folder in folders if folder.name.lower() in names)):
        if counts := _class_sizes(folder):
            asked = name if folder == path else f"{PREFIX}{folder}"
            return f"; {_ask_for_draw(counts, asked)}{above}"
    return above


def _is_divided(folder: Path) -> bool:
    with contextlib.suppress(OSError, InputError):
        return len(split_folders(folder, "")) > 1
    return False


def _class_sizes(folder: Path) -> Counter[str]:
    """How many images ``FOLDER/CLASS/*`` seem to be, at a glance: it may be anybody's home folder."""
    counts = Counter[str]()
    for entry in _entries(folder):
        with contextlib.suppress(OSError):
            counts[entry.name] = sum(not why_unread(file.name) for file in _entries(entry.path))
    return +counts


def _ask_for_draw(counts: Counter[str], name: str) -> str:
    """What to write so that images without splits are divided by a draw."""
    sizes = [f"{size:,}" for size in sorted({min(counts.values()), max(counts.values())})]
    how = f"write {name}@split=20" if name.startswith(PREFIX) else "let its options say 'split: 20'"
    classes = "1 class" if len(counts) == 1 else f"{len(counts):,} classes"
    seen = f"what is there looks like {classes} of {' to '.join(sizes)} images ({counts.total():,} in all)"
    return f"{seen}: {how} to test on 20 % of each, drawn by a seed (seed=0)"
