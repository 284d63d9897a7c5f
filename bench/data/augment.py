"""From images as stored to what a model is given: (B, C, S, S) in 0..1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.spec import derive

PHOTO = frozenset({"crop_flip", "randaugment"})
"""Augmentations for photographs, whose test view is a centre crop."""


def training_view(images: Tensor | list[Tensor], size: int, augmentation: str, seed: int) -> Tensor:
    """Augmented images.

    Args:
        images: uint8, as ``Images.take`` gives them.
        size: S, pixels a side.
        augmentation: one of the protocol's.
        seed: the augmentation depends on nothing else, so that a run can be taken up at any step.

    Returns:
        float32 (B, C, S, S) in 0..1.
    """
    if augmentation == "shift":
        return _shifted(resized(images, size), seed)
    if augmentation in PHOTO:
        transform = _photo_transform(size, augmentation)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _unit(torch.stack([transform(image) for image in images]))
    return _unit(resized(images, size))


def test_view(images: Tensor | list[Tensor], size: int, augmentation: str) -> Tensor:
    """Images for evaluation: float32 (B, C, S, S) in 0..1; photographs are resized to 8/7 S and cropped."""
    if augmentation not in PHOTO:
        return _unit(resized(images, size))
    from torchvision.transforms.v2 import functional as V

    larger = [V.resize(image, [round(size * 8 / 7)], V.InterpolationMode.BICUBIC, antialias=True) for image in images]
    return _unit(torch.stack([V.center_crop(image, [size, size]) for image in larger]))


def resized(images: Tensor | list[Tensor], size: int) -> Tensor:
    """uint8 (B, C, S, S): squeezed to a square, untouched where they have that size."""
    from torchvision.transforms.v2 import functional as V

    if isinstance(images, Tensor) and images.shape[-2:] == (size, size):
        return images
    bilinear = V.InterpolationMode.BILINEAR
    return torch.stack([V.resize(image, [size, size], bilinear, antialias=True) for image in images])


def _shifted(images: Tensor, seed: int) -> Tensor:
    """Each image moved by −1, 0 or 1 pixel along each side, zeros coming in."""
    count, _, height, width = images.shape
    offset = np.random.RandomState(derive("shift", seed)).randint(0, 3, (2, count))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    rows = torch.from_numpy(offset[0])[:, None, None] + torch.arange(height)[None, :, None]
    columns = torch.from_numpy(offset[1])[:, None, None] + torch.arange(width)[None, None, :]
    moved = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return _unit(moved.permute(0, 3, 1, 2))


def _photo_transform(size: int, augmentation: str) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop([size, size], interpolation=v2.InterpolationMode.BICUBIC, antialias=True)]
    steps += [v2.RandomHorizontalFlip()] + [v2.RandAugment()] * (augmentation == "randaugment")
    return v2.Compose(steps)  # type: ignore[no-any-return]


def _unit(images: Tensor) -> Tensor:
    return images.float().div_(255)
