"""Images as they are tested, of which each process that shares a run computes its part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.data.augment import test_view
from bench.data.dataset import FeatureImages, Images, Indices
from bench.device.divided import DividedImages
from bench.device.division import Division, divided


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

    def part(self, indices: Indices) -> Tensor:
        """This process's part of the images of these indices, on the CPU: all of them, where nobody shares the run."""
        division = self._division(indices)
        return self._view(indices if division is None else indices[division.ours])

    def batch(self, indices: Indices, part: Tensor, device: torch.device) -> Tensor:
        """The images of these indices on the device, of which this process has its part."""
        division, part = self._division(indices), part.to(device)
        if division is None:
            return part
        return DividedImages(part, division, lambda: self._view(indices).to(device))

    def _view(self, indices: Indices) -> Tensor:
        return test_view(self.images.take(indices), self.size, self.augmentation)

    def _division(self, indices: Indices) -> Division | None:
        return None if isinstance(self.images, FeatureImages) else divided(len(indices))
