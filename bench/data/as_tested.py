"""Images as they are tested, of which each process that shares a run computes its part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from bench.data.ahead import Preparation
from bench.data.augment import tested, unit
from bench.data.dataset import FeatureImages, Images, Indices
from bench.device.divided import DividedImages
from bench.device.division import Division, divided

S = TypeVar("S")


@dataclass(frozen=True)
class AsTested:
    """Batches of images as they are tested, float32 (B, C, S, S) in 0..1; or features (B, D) that stand for them.

    Attributes:
        size: pixels a side.
        augmentation: of the training images, which says how the others are looked at.
    """

    images: Images
    size: int
    augmentation: str

    def preparation(self, indices: Indices, beside: S) -> Preparation[S]:
        """How this process prepares its part of the images of these indices: all, where nobody shares the run."""
        division = self._division(indices)
        ours = indices if division is None else indices[division.ours]
        return Preparation(len(ours), lambda start, stop: [self._view(ours[start:stop])], beside)

    def batch(self, indices: Indices, part: Tensor) -> Tensor:
        """The images of these indices on the device, on which this process's part lies as it was prepared."""
        images, division = unit(part), self._division(indices)
        if division is None:
            return images
        return DividedImages(images, division, lambda: unit(self._view(indices).to(part.device)))

    def _view(self, indices: Indices) -> Tensor:
        """uint8 still."""
        return tested(self.images.take(indices), self.size, self.augmentation)

    def _division(self, indices: Indices) -> Division | None:
        return None if isinstance(self.images, FeatureImages) else divided(len(indices))
