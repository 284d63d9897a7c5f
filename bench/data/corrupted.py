"""Corrupted copies of images as further tests: the same bits for ever, from a fixed seed.

Kinds and levels are those of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), and not its images. They are computed
with NumPy alone, whose legacy stream of random numbers never changes (NEP 19), so that a card can state the checksum of
what they give. The measure ``corruption`` has fifteen kinds, of a kept model and of images as they are given to it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.data.dataset import Images, Indices
from bench.spec import derive

Unit = npt.NDArray[np.float64]

SIDE = 224
"""Pixels a side of the images for which lengths are stated; they grow by the square root of the side."""


def noise(image: Unit, level: float, draws: np.random.RandomState) -> Unit:
    """Normal noise of that deviation on every value."""
    return image + level * draws.standard_normal(image.shape)


def contrast(image: Unit, factor: float, draws: np.random.RandomState) -> Unit:
    """Every channel (C, H, W) drawn towards its mean."""
    mean: Unit = image.mean((1, 2), keepdims=True)
    return mean + factor * (image - mean)


def blur(image: Unit, sigma: float, draws: np.random.RandomState) -> Unit:
    """A Gaussian of so many pixels of an image of ``SIDE``, at least 0.4 of this one; borders are repeated."""
    sigma = max(0.4, sigma * math.sqrt(image.shape[-1] / SIDE))
    reach = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        width = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, width, mode="edge"), len(weights), axis)
        image = windows @ weights
    return image


KINDS: Mapping[str, tuple[Callable[[Unit, float, np.random.RandomState], Unit], tuple[float, ...]]] = {
    "noise": (noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "blur": (blur, (1, 2, 3, 4, 6)),
    "contrast": (contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
}
"""Each with its level by severity, 1 to 5."""


@dataclass(frozen=True)
class CorruptedImages:
    """Others' images, corrupted when they are taken: each by its pixels, kind and severity, and by nothing else."""

    images: Images
    kind: str
    severity: int

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Indices) -> Tensor | list[Tensor]:
        """As ``Images.take``."""
        taken = self.images.take(indices)
        changed = [corrupted(image, self.kind, self.severity) for image in taken]
        return torch.stack(changed) if isinstance(taken, Tensor) else changed


def corrupted(image: Tensor, kind: str, severity: int) -> Tensor:
    """An image, uint8 (C, H, W), corrupted by one of ``KINDS`` at a severity of 1 to 5, as it would be stored."""
    change, levels = KINDS[kind]
    pixels = image.contiguous().numpy()
    draws = np.random.RandomState(derive("further test", kind, zlib.crc32(pixels.tobytes())))
    changed = 255 * change(pixels / 255, levels[severity - 1], draws)
    return torch.from_numpy(np.rint(changed.clip(0, 255)).astype(np.uint8))
