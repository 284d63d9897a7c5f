"""From images as stored to what a model is given: (B, C, S, S) in 0..1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bench.data.autoaugment import draw_autoaugment
from bench.data.crop import cropped, draw_crops, draw_flips
from bench.data.jitter import draw_grayscale, draw_jitter
from bench.data.operations import Draw, operate
from bench.data.randaugment import TIMM_FILL, draw_randaugment, draw_timm_randaugment
from bench.spec import derive

CPU = torch.device("cpu")

Policy = Callable[[int, int, np.random.RandomState], list[Draw]]

POLICIES: dict[str, Policy] = {
    "randaugment_batched": draw_randaugment,
    "rand_m9": draw_timm_randaugment,
    "deit": draw_timm_randaugment,
    "autoaugment": lambda count, size, state: draw_autoaugment(count, size, state, "imagenet"),
    "autoaugment_cifar": lambda count, size, state: draw_autoaugment(count, size, state, "cifar10"),
    "contrastive": lambda count, size, state: [*draw_jitter(count, state), draw_grayscale(count, state)],
}
"""What follows crop and flip, for a whole batch on its device: the operations of ``count`` images of a size.

``contrastive`` is that of supervised contrastive learning (Khosla et al., 2020), whose crops keep at least 0.2 of an
image; ``deit`` is ``rand_m9`` whose batches are mixed as well (``Protocol.mixing``).
"""

PHOTO = frozenset({"crop_flip", "randaugment", *POLICIES})
"""Augmentations for photographs, whose test view is a centre crop."""

_TIMM = frozenset({"rand_m9", "deit"})


def training_view(
    images: Tensor | list[Tensor], size: int, augmentation: str, seed: int, device: torch.device = CPU
) -> Tensor:
    """Augmented images.

    Args:
        images: uint8, as ``Images.take`` gives them.
        size: S, pixels a side.
        augmentation: one of the protocol's.
        seed: the augmentation depends on nothing else, so that a run can be taken up at any step.
        device: where the result is. Images are cropped on the CPU, where their sizes differ, and cross over as uint8;
            the operations of a policy of ``POLICIES`` run here.

    Returns:
        float32 (B, C, S, S) in 0..1.
    """
    return _unit(_training_pixels(images, size, augmentation, seed, device))


def test_view(images: Tensor | list[Tensor], size: int, augmentation: str) -> Tensor:
    """Images for evaluation: float32 (B, C, S, S) in 0..1; photographs are resized to 8/7 S and cropped."""
    if augmentation not in PHOTO:
        return _unit(resized(images, size))
    from torchvision.transforms.v2 import functional as V

    return _unit(torch.stack([V.center_crop(shrunk(image, size), [size, size]) for image in images]))


def resized(images: Tensor | list[Tensor], size: int) -> Tensor:
    """uint8 (B, C, S, S): squeezed to a square, untouched where they have that size."""
    from torchvision.transforms.v2 import functional as V

    if isinstance(images, Tensor) and images.shape[-2:] == (size, size):
        return images
    bilinear = V.InterpolationMode.BILINEAR
    return torch.stack([V.resize(image, [size, size], bilinear, antialias=True) for image in images])


def shrunk(image: Tensor, size: int) -> Tensor:
    """uint8 (C, H, W) scaled to a shorter side of 8/7 S, of which the test view of photographs is the centre."""
    from torchvision.transforms.v2 import functional as V

    bicubic = V.InterpolationMode.BICUBIC
    return V.resize(image, [round(size * 8 / 7)], bicubic, antialias=True)  # type: ignore[no-any-return]


def _training_pixels(
    images: Tensor | list[Tensor], size: int, augmentation: str, seed: int, device: torch.device
) -> Tensor:
    """uint8 (B, C, S, S) on a device."""
    if augmentation in POLICIES:
        return _by_policy(images, size, augmentation, seed, device)
    if augmentation == "shift":
        return _shifted(resized(images, size), seed).to(device, non_blocking=True)
    if augmentation in PHOTO:
        transform = _photo_transform(size, augmentation)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return torch.stack([transform(image) for image in images]).to(device, non_blocking=True)
    return resized(images, size).to(device, non_blocking=True)


def _by_policy(images: Tensor | list[Tensor], size: int, augmentation: str, seed: int, device: torch.device) -> Tensor:
    state = np.random.RandomState(derive("photo", seed))
    sizes = np.array([image.shape[-2:] for image in images], dtype=np.int64)
    boxes = draw_crops(sizes, state, (0.2, 1.0) if augmentation == "contrastive" else (0.08, 1.0))
    views = cropped(images, boxes, draw_flips(len(images), state), size).to(device, non_blocking=True)
    draws = POLICIES[augmentation](len(images), size, state)
    timm = augmentation in _TIMM
    return operate(views, draws, bilinear=timm, fill=TIMM_FILL if timm else ())


def _shifted(images: Tensor, seed: int) -> Tensor:
    """Each image moved by −1, 0 or 1 pixel along each side, zeros coming in."""
    count, _, height, width = images.shape
    offset = np.random.RandomState(derive("shift", seed)).randint(0, 3, (2, count))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    rows = torch.from_numpy(offset[0])[:, None, None] + torch.arange(height)[None, :, None]
    columns = torch.from_numpy(offset[1])[:, None, None] + torch.arange(width)[None, None, :]
    moved = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return moved.permute(0, 3, 1, 2)


def _photo_transform(size: int, augmentation: str) -> Callable[[Tensor], Tensor]:
    from torchvision.transforms import v2

    steps = [v2.RandomResizedCrop([size, size], interpolation=v2.InterpolationMode.BICUBIC, antialias=True)]
    steps += [v2.RandomHorizontalFlip()] + [v2.RandAugment()] * (augmentation == "randaugment")
    return v2.Compose(steps)  # type: ignore[no-any-return]


def _unit(images: Tensor) -> Tensor:
    # divided by a tensor on the device: by a plain number, a GPU would multiply by its rounded inverse
    return images.float().div_(torch.full((), 255.0, device=images.device))
