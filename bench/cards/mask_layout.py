"""How somebody's own images with masks lie on the disk: folders ``images`` and ``masks``, with splits or without.

How many classes there are is said and not guessed: in ``classes.txt``, or as an option. The highest level of all masks
would be another number as soon as a rare class is in none of them, and every mask would have to be decoded to plan.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cards.folder_options import MOST_CLASSES, FolderOptions
from bench.cards.image_files import is_dropping, is_image, why_unread
from bench.cards.layout import PREFIX, ImageLayout, Labelled, drawn_split, find_layout, split_folders
from bench.errors import InputError, printable
from bench.reading.document import decoded
from bench.reading.ordinary import read_ordinary

IMAGES, MASKS, CLASSES = "images", "masks", "classes.txt"

_WHOLE = "all"


@dataclass(frozen=True)
class MaskLayout(ImageLayout):
    """Images with masks by split; the label of an image is empty.

    Attributes:
        masks: of each split, the mask of each image in its order, by its path from the root.
        names: of the classes, by the level of a mask.
    """

    masks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Sequence[str] = ()

    @property
    def classes(self) -> list[str]:
        """Their names, by the level of a mask."""
        return list(self.names)

    @property
    def mask_files(self) -> dict[str, list[Path]]:
        """The masks of each split, in the order of ``files``."""
        return {split: [self.root / name for name in names] for split, names in self.masks.items()}

    @property
    def hashed(self) -> list[tuple[str, str]]:
        """As of ``ImageLayout``; an image and its mask in turn, since a mask is of the image of its name."""
        pairs = []
        for split, images in self.splits.items():
            for image, mask in zip(images, self.masks[split], strict=True):
                pairs += [("", image.name), ("mask\0", mask)]
        return pairs

    @property
    def stated(self) -> dict[str, int]:
        """What is said of the folder beside its files."""
        return {"classes": len(self.names)}


def folder_layout(path: Path, options: FolderOptions, name: str) -> ImageLayout:
    """The images of a folder or of a table, with masks or in classes; no image is opened.

    Raises ``InputError`` as ``find_layout``; or an image has no mask, or nothing says of how many classes masks are.
    """
    try:
        parts = _masked_parts(path, name) if path.is_dir() else {}
        if parts:
            return _of_masks(path, parts, options, name)
    except OSError as error:
        raise InputError(f"{name}: {error.filename} cannot be read: {error.strerror}") from None
    if options.classes is not None:
        raise InputError(
            f"{name}: classes={options.classes} is for masks, and {path} has no {IMAGES}/ with {MASKS}/ beside it"
        )
    return find_layout(path, options, name)


def paired(images: Path, masks: Path, name: str = "") -> tuple[list[str], list[str]]:
    """The images of a folder, by name, and of each its mask ``NAME.png`` in another one; names without folders.

    Raises ``InputError``, which begins with ``name``: there is no image, an image has no mask, or two share one.
    """
    start = f"{name}: " if name else ""
    files = sorted(file for file in os.listdir(images) if is_image(file) and not (images / file).is_dir())
    drawn = {file for file in os.listdir(masks) if file.endswith(".png") and not is_dropping(file)}
    if not files:
        raise InputError(f"{start}{images}: it holds no image that is read here")
    stems = [Path(file).stem for file in files]
    if lacking := [stem for stem in stems if f"{stem}.png" not in drawn]:
        counted = f"{len(lacking)} of {len(files)} images have no mask"
        place = masks.relative_to(images.parent) if masks.parent == images.parent else masks
        raise InputError(f"{start}{images.parent}: {counted}, the first lacks {place}/{lacking[0]}.png")
    if len({*stems}) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(f"{start}{images.parent}: two images are called {twice}, so its mask is of neither")
    return files, [f"{stem}.png" for stem in stems]


def _masked_parts(path: Path, name: str) -> dict[str, tuple[Path, Path]]:
    """The folders of images and of masks of each split, or of all images; none where there are no masks."""
    images, masks = path / IMAGES, path / MASKS
    if images.is_dir() and masks.is_dir():
        of_images, of_masks = split_folders(images, name), split_folders(masks, name)
        if not of_images:
            return {_WHOLE: (images, masks)}
        if lacking := of_images.keys() - of_masks.keys():
            split = of_images[min(lacking)].name
            raise InputError(f"{name}: there is {images}/{split}, and no {masks}/{split}")
        return {split: (folder, of_masks[split]) for split, folder in of_images.items()}
    splits = split_folders(path, name)
    whole = {split: folder for split, folder in splits.items() if all(map(Path.is_dir, _both(folder)))}
    if whole and len(whole) < len(splits):
        lacking_name = next(folder.name for split, folder in splits.items() if split not in whole)
        raise InputError(f"{name}: {lacking_name}/ has no {IMAGES}/ with {MASKS}/ beside it, as the other splits have")
    return {split: _both(folder) for split, folder in whole.items()}


def _both(folder: Path) -> tuple[Path, Path]:
    return folder / IMAGES, folder / MASKS


def _of_masks(path: Path, parts: Mapping[str, tuple[Path, Path]], options: FolderOptions, name: str) -> MaskLayout:
    if options.skip_damaged:
        raise InputError(f"{name}: skip-damaged is for folders of classes; of images with masks, remove damaged ones")
    mask_of: dict[str, str] = {}
    splits: dict[str, Sequence[Labelled]] = {}
    for split, (images, masks) in parts.items():
        within = _within(path, images, masks, name)
        mask_of |= within
        splits[split] = [Labelled(image, "") for image in within]
    sources = {split: _below(path, images) for split, (images, _) in parts.items()}
    if _WHOLE in parts:
        drawn = drawn_split(path, splits[_WHOLE], _divided(path, options, len(mask_of), name), {})
        splits = dict(drawn.splits)
        sources = {**drawn.sources, "test": f"{options.split:g} % of the images, seed {options.seed}"}
    elif options.split is not None:
        raise InputError(f"{name}: it is divided already ({', '.join(parts)}); leave split={options.split:g} away")
    val_is_test = "test" not in splits and "val" in splits
    if val_is_test:
        splits["test"], sources["test"] = splits.pop("val"), sources.pop("val")
    if not {"train", "test"} <= splits.keys() or not splits["test"]:
        raise InputError(f"{name}: there are images for {', '.join(splits)} alone; train and test are needed")
    unread = {_below(path, images): _unread(images) for images, _ in parts.values()}
    return MaskLayout(
        root=path,
        splits=splits,
        sources=sources,
        unread={source: reasons for source, reasons in unread.items() if reasons},
        drawn=_WHOLE in parts,
        val_is_test=val_is_test,
        masks={split: [mask_of[image.name] for image in images] for split, images in splits.items()},
        names=_names(path, options, name),
    )


def _within(path: Path, images: Path, masks: Path, name: str) -> dict[str, str]:
    """Of each image its mask, by their paths from the root, in the order of the images' names."""
    files, of_files = paired(images, masks, name)
    above, above_masks = _below(path, images), _below(path, masks)
    return {f"{above}{file}": f"{above_masks}{mask}" for file, mask in zip(files, of_files, strict=True)}


def _below(path: Path, folder: Path) -> str:
    return f"{folder.relative_to(path).as_posix()}/"


def _divided(path: Path, options: FolderOptions, count: int, name: str) -> FolderOptions:
    """The options, if they say how images without splits are divided; else raises ``InputError``."""
    if options.split is None:
        classes = "" if (path / CLASSES).is_file() else f",classes={options.classes or 'N'}"
        how = f"write {name}@split=20{classes}" if name.startswith(PREFIX) else "let its options say 'split: 20'"
        draw = f"{how} to test on 20 % of them, drawn by a seed (seed=0)"
        raise InputError(f"{name}: {count:,} images with masks are not divided: {draw}")
    return options


def _unread(images: Path) -> Counter[str]:
    """How many files of a folder are not read, by the reason."""
    reasons = Counter(why_unread(file) for file in os.listdir(images) if not is_dropping(file))
    del reasons[""]
    return reasons


def _names(path: Path, options: FolderOptions, name: str) -> list[str]:
    """The names of the classes; their levels, where only their number is said."""
    file = path / CLASSES
    if not file.is_file():
        if options.classes is None:
            raise InputError(
                f"{name}: nothing says of how many classes its masks are: write @classes=N (levels 0 to N - 1; 255 is "
                f"left out), or their names into {file}, one a line"
            )
        return [str(level) for level in range(options.classes)]
    lines = [line.strip() for line in decoded(read_ordinary(file), f"{file}: the list of classes").splitlines()]
    names = [line for line in lines if line]
    if not 2 <= len(names) <= MOST_CLASSES:
        raise InputError(f"{file}: it names {len(names)} classes; masks have 2 to {MOST_CLASSES}, one name a line")
    if odd := next((line for line in names if not line.isprintable()), None):
        raise InputError(f"{file}: it has a line that is no name: {printable(odd[:80])}")
    if len({*names}) < len(names):
        twice = next(line for line in names if names.count(line) > 1)
        raise InputError(f"{file}: two classes are called '{twice}'")
    if options.classes not in (None, len(names)):
        raise InputError(f"{name}: classes={options.classes}, and {file} names {len(names)}")
    return names
