"""A dataset in memory or on disk: images as they are, labels, and the splits that never mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.errors import InputError
from bench.images.masks import read_mask
from bench.images.raster import Levels, decoded
from bench.method import Batch, soft_targets

Indices = npt.NDArray[np.int64]

AnySplit = TypeVar("AnySplit", bound="Split")

IGNORED = 255
"""The level of a mask's pixels that are of no class and count for nothing."""


class Images(Protocol):
    """Images as stored, without any resizing."""

    def __len__(self) -> int: ...

    def take(self, indices: Indices) -> Tensor | list[Tensor]:
        """uint8 images: one tensor (B, C, H, W) where all have one size, else a list of (C, H, W)."""
        ...


def sizes_of(images: Images, indices: Indices) -> Indices:
    """Height and width of each of some images (B, 2), in pixels; they are taken where that alone tells it."""
    sizes: Callable[[Indices], Indices] | None = getattr(images, "sizes", None)
    if sizes is not None:
        return sizes(indices)
    return np.array([image.shape[-2:] for image in images.take(indices)], np.int64)


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size in memory. ``pixels`` is uint8 (N, H, W, C)."""

    pixels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, indices: Indices) -> Tensor:
        """uint8 (B, C, H, W)."""
        return torch.from_numpy(np.ascontiguousarray(self.pixels[indices].transpose(0, 3, 1, 2)))

    def sizes(self, indices: Indices) -> Indices:
        """As ``sizes_of``."""
        return np.tile(np.array(self.pixels.shape[1:3], np.int64), (len(indices), 1))


@dataclass(frozen=True)
class FileImages:
    """Image files, decoded to RGB when they are taken, as they are stored: a rotation in their EXIF is not applied.

    Attributes:
        levels: black and white of grey levels of more than 8 bits, where they are declared.
        border: pixels at each edge that are no part of the image.
    """

    paths: tuple[str | Path, ...]
    levels: Levels | None = None
    border: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Indices) -> list[Tensor]:
        """uint8 (3, H, W) each. Raises as ``bench.images.raster.decoded``."""
        images = [_decoded(self.paths[index], self.levels) for index in indices]
        inside = slice(self.border, -self.border or None)
        return [image[:, inside, inside] for image in images]


@dataclass(frozen=True)
class SomeImages:
    """Some of others' images, in the order of their indices."""

    images: Images
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Indices) -> Tensor | list[Tensor]:
        """As ``Images.take``."""
        return self.images.take(self.indices[indices])

    def sizes(self, indices: Indices) -> Indices:
        """As ``sizes_of``."""
        return sizes_of(self.images, self.indices[indices])


@dataclass(frozen=True)
class FeatureImages:
    """What a frozen backbone gives for some images, in their place: a model that is given it computes its head alone.

    Attributes:
        features: (N, D), on the CPU.
    """

    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def take(self, indices: Indices) -> Tensor:
        """(B, D)."""
        return self.features[torch.from_numpy(indices)]


@dataclass(frozen=True)
class Split:
    """Images with their labels, int64 (N,).

    A task whose images have more to be said of them derives from it: a field more is an array (N, ...), or ``chosen``
    and ``joined`` are overridden. Where images have no label (``unlabelled``), 0 stands for each, so that all count as
    one class where some of them are sampled or held out.
    """

    batch_type: ClassVar[type[Batch]] = Batch
    """What a batch of its images is, whose ``cross_entropy`` is the loss of its task."""

    images: Images
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def among(self) -> Indices | None:
        """Groups of classes (G, M), one of which an answer is, by its first class; None where it may be any class.

        A group with fewer classes than others repeats its first.
        """
        return None

    def labels_of(self, indices: Indices, device: torch.device) -> Tensor:
        """(B,) on the device, of the images of these indices; None where images have no label."""
        return torch.from_numpy(self.labels[indices]).to(device)

    @classmethod
    def unlabelled(cls: type[AnySplit], images: Images, **more: Any) -> AnySplit:
        """Images without labels, and what is said of them instead."""
        return cls(images, np.zeros(len(images), dtype=np.int64), **more)

    def targets(self, indices: Indices, classes: int, smoothing: float, device: torch.device) -> Tensor:
        """(B, K) on the device: what cross-entropy aims at for the images of these indices."""
        return soft_targets(torch.from_numpy(self.labels[indices]).to(device), classes, smoothing)

    def part(self: AnySplit, indices: Indices) -> AnySplit:
        """Some of its images, in the order of their indices."""
        return self.chosen(indices, SomeImages(self.images, indices))

    def chosen(self: AnySplit, indices: Indices, images: Images) -> AnySplit:
        """The images of these indices, which are given as they are kept, with what is said of them."""
        return replace(self, images=images, **{name: array[indices] for name, array in self._arrays.items()})

    def joined(self: AnySplit, others: Sequence[AnySplit], images: Images) -> AnySplit:
        """Its images and then those of others, which are given as they are kept, with what is said of them.

        Raises ``InputError`` where that cannot be joined.
        """
        both = {name: [array, *(split._arrays[name] for split in others)] for name, array in self._arrays.items()}
        return replace(self, images=images, **{name: np.concatenate(arrays) for name, arrays in both.items()})

    def odd(self, classes: int) -> str:
        """What is said of its images and of none of so many classes, in words; empty where nothing is."""
        if set(np.unique(self.labels)) <= set(range(classes)):
            return ""
        return f"labels outside of 0 to {classes - 1}"

    @property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What is said of the images, by name."""
        return {name: value for name, value in vars(self).items() if name != "images"}


@dataclass(frozen=True)
class Dataset:
    """The splits of a dataset; ``val`` is None where the dataset has none of its own.

    Attributes:
        left_out: images that were left out of each split since they are damaged.
    """

    classes: Sequence[str]
    train: Split
    val: Split | None
    test: Split
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, Split]:
        """Those that there are, by name."""
        splits = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}


class Masks(Protocol):
    """What each pixel of some images shows."""

    def __len__(self) -> int: ...

    def take(self, indices: Indices) -> list[Tensor]:
        """uint8 (H, W) each: class indices, or ``IGNORED``."""
        ...

    def some(self, indices: Indices) -> Masks:
        """Those of some images, in the order of their indices."""
        ...


@dataclass(frozen=True)
class MaskFiles:
    """Files that say for each pixel of an image what it shows.

    Attributes:
        paths: one a mask.
        first: the stored level of class 0; lower levels, and 255, are no class and become ``IGNORED``.
        meaning: the class of each stored level, where their order says nothing; other levels become ``IGNORED``.
        classes: how many there are; 0 where nobody says it, and then any level is one.
    """

    paths: tuple[str | Path, ...]
    first: int = 0
    meaning: Mapping[int, int] | None = None
    classes: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Indices) -> list[Tensor]:
        """uint8 (H, W) each: class indices, or ``IGNORED``.

        Raises ``InputError``: a file is no mask, or has a level that is no class.
        """
        masks = []
        for path in (self.paths[index] for index in indices):
            levels = self._classes[read_mask(path)]
            if self.classes and (odd := levels[(levels >= self.classes) & (levels != IGNORED)]).size:
                allowed = f"{self.classes} classes: levels are 0 to {self.classes - 1}, and {IGNORED} is left out"
                raise InputError(f"{path}: it has the level {odd.max()}, and there are {allowed}")
            masks.append(torch.from_numpy(levels))
        return masks

    def some(self, indices: Indices) -> MaskFiles:
        """Those of some images, in the order of their indices."""
        return replace(self, paths=tuple(self.paths[index] for index in indices))

    @property
    def _classes(self) -> npt.NDArray[np.uint8]:
        """(256,), the class of each stored level."""
        classes = np.full(256, IGNORED, np.uint8)
        if self.meaning is None:
            classes[self.first : IGNORED] = np.arange(IGNORED - self.first)
        for level, meant in (self.meaning or {}).items():
            classes[level] = meant
        return classes


@dataclass(frozen=True)
class MaskArrays:
    """Masks of one size in memory. ``levels`` is uint8 (N, H, W): class indices, or ``IGNORED``."""

    levels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.levels)

    def take(self, indices: Indices) -> list[Tensor]:
        """As ``Masks.take``."""
        return list(torch.from_numpy(self.levels[indices]))

    def some(self, indices: Indices) -> MaskArrays:
        """As ``Masks.some``."""
        return MaskArrays(self.levels[indices])


@dataclass(frozen=True)
class MaskedSplit(Split):
    """Images, each with a mask of its size; ``masked`` makes one. An image has no label: 0 stands for each."""

    masks: Masks

    def labels_of(self, indices: Indices, device: torch.device) -> Any:
        """None: an image has a mask."""

    def targets(self, indices: Indices, classes: int, smoothing: float, device: torch.device) -> Any:
        """None: a batch with masks has its own."""

    def pairs(self, indices: Indices) -> tuple[Tensor | list[Tensor], list[Tensor]]:
        """Images and their masks. Raises ``InputError``: a mask has not the size of its image, or is none."""
        images, masks = self.images.take(indices), self.masks.take(indices)
        for image, mask, index in zip(images, masks, indices, strict=True):
            if image.shape[-2:] != mask.shape:
                place = self.masks.paths[index] if isinstance(self.masks, MaskFiles) else f"image {index + 1}"
                sizes = [f"{width} × {height} pixels" for height, width in (mask.shape, image.shape[-2:])]
                raise InputError(f"{place}: a mask of {sizes[0]} for an image of {sizes[1]}")
        return images, masks

    def chosen(self, indices: Indices, images: Images) -> MaskedSplit:
        """As of ``Split``."""
        return masked(images, self.masks.some(indices))

    def joined(self, others: Sequence[MaskedSplit], images: Images) -> MaskedSplit:
        """As of ``Split``, where masks are files."""
        both = [split.masks for split in (self, *others)]
        files = [masks for masks in both if isinstance(masks, MaskFiles)]
        if len(files) < len(both):
            raise InputError("lists of images with masks can be joined where they are files")
        return masked(images, replace(files[0], paths=tuple(path for masks in files for path in masks.paths)))


@dataclass(frozen=True)
class MaskedDataset(Dataset):
    """The splits of a dataset of images with masks."""

    train: MaskedSplit
    val: MaskedSplit | None
    test: MaskedSplit


def masked(images: Images, masks: Masks) -> MaskedSplit:
    """Images with their masks."""
    return MaskedSplit.unlabelled(images, masks=masks)


def _decoded(path: str | Path, levels: Levels | None = None) -> Tensor:
    """uint8 (3, H, W)."""
    return torch.from_numpy(decoded(path, levels)).permute(2, 0, 1)
