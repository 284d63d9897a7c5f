"""A dataset in memory or on disk: images as they are, labels, and the splits that never mix."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Indices = npt.NDArray[np.int64]

IGNORED = 255
"""The level of a mask's pixels that are of no class and count for nothing."""

MOST_PIXELS = 160_000_000
"""Of an image: the largest sensors of cameras have 151 million. What claims more in few bytes would fill memory."""


class Images(Protocol):
    """Images as stored, without any resizing."""

    def __len__(self) -> int: ...

    def take(self, indices: Indices) -> Tensor | list[Tensor]:
        """uint8 images: one tensor (B, C, H, W) where all have one size, else a list of (C, H, W)."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images of one size in memory. ``pixels`` is uint8 (N, H, W, C)."""

    pixels: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, indices: Indices) -> Tensor:
        """uint8 (B, C, H, W)."""
        return torch.from_numpy(np.ascontiguousarray(self.pixels[indices].transpose(0, 3, 1, 2)))


@dataclass(frozen=True)
class FileImages:
    """Image files, decoded to RGB when they are taken, as they are stored: a rotation in their EXIF is not applied."""

    paths: tuple[str | Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Indices) -> list[Tensor]:
        """uint8 (3, H, W) each."""
        return [_decoded(self.paths[index]) for index in indices]


@dataclass(frozen=True)
class Split:
    """Images with their labels, int64 (N,)."""

    images: Images
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """The splits of a dataset; ``val`` is None where the dataset has none of its own."""

    classes: Sequence[str]
    train: Split
    val: Split | None
    test: Split


@dataclass(frozen=True)
class MaskFiles:
    """Files that say for each pixel of an image what it shows.

    Attributes:
        paths: one a mask.
        first: the stored level of class 0; lower levels, and 255, are no class and become ``IGNORED``.
    """

    paths: tuple[str | Path, ...]
    first: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Indices) -> list[Tensor]:
        """uint8 (H, W) each: class indices, or ``IGNORED``."""
        masks = []
        for path in (self.paths[index] for index in indices):
            with _opened(path) as image:
                stored = np.array(image)
            if stored.ndim != 2 or stored.dtype != np.uint8:
                raise ValueError(f"{path} is no mask: a mask has one channel of 8 bits")
            counted = (stored >= self.first) & (stored != IGNORED)
            masks.append(torch.from_numpy(np.where(counted, stored - np.uint8(self.first), np.uint8(IGNORED))))
        return masks


@dataclass(frozen=True)
class MaskedSplit:
    """Images, each with a mask of its size."""

    images: FileImages
    masks: MaskFiles

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True)
class SegmentationDataset:
    """The splits of a dataset for segmentation; ``val`` is None where the dataset has none of its own."""

    classes: Sequence[str]
    train: MaskedSplit
    val: MaskedSplit | None
    test: MaskedSplit


def _decoded(path: str | Path) -> Tensor:
    """uint8 (3, H, W); transparency is dropped, 16-bit grey is scaled to 8 bits (Pillow alone would clip it)."""
    with _opened(path) as image:
        if image.mode.startswith("I;16"):
            grey = np.rint(np.asarray(image) / 257).astype(np.uint8)
            return torch.from_numpy(grey).expand(3, *grey.shape)
        opaque = image.convert("RGBA") if image.has_transparency_data else image
        return torch.from_numpy(np.array(opaque.convert("RGB"))).permute(2, 0, 1)


def _opened(path: str | Path) -> Image.Image:
    """An image file. Raises ``ValueError`` where it claims more than ``MOST_PIXELS``."""
    with contextlib.suppress(Image.DecompressionBombError):  # Pillow's limit, which may lie below ours one day
        image = Image.open(path)
        if image.width * image.height <= MOST_PIXELS:
            return image
        image.close()
    raise ValueError(f"{path}: it claims more than {MOST_PIXELS:,} pixels, as no photograph has")
