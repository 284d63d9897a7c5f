"""A dataset in memory or on disk: images as they are, labels, and the splits that never mix."""

from __future__ import annotations

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
    """Image files, decoded to RGB when they are taken."""

    paths: tuple[Path, ...]

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


def _decoded(path: Path) -> Tensor:
    """uint8 (3, H, W); transparency is dropped, 16-bit grey is scaled to 8 bits (Pillow alone would clip it)."""
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            grey = np.rint(np.asarray(image) / 257).astype(np.uint8)
            return torch.from_numpy(grey).expand(3, *grey.shape)
        opaque = image.convert("RGBA") if image.has_transparency_data else image
        return torch.from_numpy(np.array(opaque.convert("RGB"))).permute(2, 0, 1)
