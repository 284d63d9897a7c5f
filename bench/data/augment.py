"""From images as stored to what a model is given: (B, C, S, S) in 0..1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as V

from bench.data.autoaugment import draw_autoaugment
from bench.data.crop import cropped, draw_as_torchvision, draw_crops, draw_flips
from bench.data.dataset import Indices
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


@dataclass(frozen=True)
class Cut:
    """Training images as they are cropped on the CPU, and what is still to be done to them on the device.

    Attributes:
        pixels: uint8 (B, C, S, S).
        draws: the operations of a policy, drawn for each image.
        rows: of the batch, which these are; None: all.
    """

    pixels: Tensor
    draws: list[Draw]
    augmentation: str
    rows: Indices | None = None


@dataclass(frozen=True)
class Some:
    """Images that are some of a batch.

    Attributes:
        rows: of the batch, ascending.
        sizes: (B, 2), height and width of all its images; of no meaning where an augmentation does not ask for them.
    """

    rows: Indices
    sizes: Indices


def cut(images: Tensor | list[Tensor], size: int, augmentation: str, seed: int, some: Some | None = None) -> Cut:
    """The part of an augmentation that is computed on the CPU, where images have different sizes.

    Images are uint8, as ``Images.take`` gives them. The augmentation depends on the seed alone, so that a run can be
    taken up at any step. Threads may do it at the same time, but for ``randaugment``, which draws from torch's global
    generator. Where the images are ``some`` of a batch they are augmented as they are in it, and so much is drawn as
    for all of it; ``randaugment`` wants all.
    """
    sizes = _sizes(images) if some is None else some.sizes
    rows, count = slice(None) if some is None else some.rows, len(sizes)
    draws: list[Draw] = []
    if augmentation in POLICIES:
        state = np.random.RandomState(derive("photo", seed))
        boxes = draw_crops(sizes, state, (0.2, 1.0) if augmentation == "contrastive" else (0.08, 1.0))
        pixels = cropped(images, boxes[rows], draw_flips(count, state)[rows], size)
        draws = [(names[rows], values[rows]) for names, values in POLICIES[augmentation](count, size, state)]
    elif augmentation == "crop_flip":
        boxes, flips = draw_as_torchvision(sizes, seed)
        pixels = cropped(images, boxes[rows], flips[rows], size)
    elif augmentation == "randaugment":
        transform = _torchvision_randaugment(size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pixels = torch.stack([transform(image) for image in images])
    else:
        pixels = resized(images, size)
        if augmentation == "shift":
            offsets = np.random.RandomState(derive("shift", seed)).randint(0, 3, (2, count))
            pixels = _shifted(pixels, offsets[:, rows])
    return Cut(pixels, draws, augmentation, None if some is None else some.rows)


def finished(cut: Cut, device: torch.device = CPU) -> Tensor:
    """What a model is given: float32 (B, C, S, S) in 0..1 on the device, where the operations of a policy run."""
    pixels = cut.pixels.to(device, non_blocking=True)
    if cut.draws:
        timm = cut.augmentation in _TIMM
        pixels = operate(pixels, cut.draws, bilinear=timm, fill=TIMM_FILL if timm else ())
    return unit(pixels)


def training_view(images: Tensor | list[Tensor], size: int, augmentation: str, seed: int) -> Tensor:
    """Augmented images, all on the CPU: float32 (B, C, S, S) in 0..1; see ``cut``."""
    return finished(cut(images, size, augmentation, seed))


def test_view(images: Tensor | list[Tensor], size: int, augmentation: str) -> Tensor:
    """Images for evaluation: float32 (B, C, S, S) in 0..1; photographs are resized to 8/7 S and cropped.

    Features that stand for images, (B, D), are given as they are.
    """
    return unit(tested(images, size, augmentation))


def tested(images: Tensor | list[Tensor], size: int, augmentation: str) -> Tensor:
    """As ``test_view``, uint8 still."""
    if augmentation not in PHOTO or are_features(images):
        return resized(images, size)
    return torch.stack([V.center_crop(shrunk(image, size), [size, size]) for image in images])


def test_mask(masks: list[Tensor], size: int, augmentation: str) -> Tensor:
    """Masks, uint8 (H, W) each, as ``test_view`` shows their images: uint8 (B, S, S), of the nearest pixel's level."""
    nearest, levels = V.InterpolationMode.NEAREST_EXACT, [mask[None] for mask in masks]
    if augmentation not in PHOTO:
        return torch.stack([V.resize(mask, [size, size], nearest)[0] for mask in levels])
    return torch.stack([V.center_crop(shrunk(mask, size, nearest), [size, size])[0] for mask in levels])


def resized(images: Tensor | list[Tensor], size: int) -> Tensor:
    """uint8 (B, C, S, S): squeezed to a square, untouched where they have that size; features (B, D) as they are."""
    if isinstance(images, Tensor) and (are_features(images) or images.shape[-2:] == (size, size)):
        return images
    bilinear = V.InterpolationMode.BILINEAR
    return torch.stack([V.resize(image, [size, size], bilinear, antialias=True) for image in images])


def shrunk(image: Tensor, size: int, by: V.InterpolationMode = V.InterpolationMode.BICUBIC) -> Tensor:
    """uint8 (C, H, W) scaled to a shorter side of 8/7 S, of which the test view of photographs is the centre."""
    return V.resize(image, [round(size * 8 / 7)], by)  # type: ignore[no-any-return]


def are_features(images: Tensor | list[Tensor]) -> bool:
    """Whether they are what a backbone gave for images (``bench.data.dataset.FeatureImages``); pixels are uint8."""
    return isinstance(images, Tensor) and images.is_floating_point()


def _sizes(images: Tensor | list[Tensor]) -> Indices:
    return np.array([image.shape[-2:] for image in images], dtype=np.int64)


def _shifted(images: Tensor, offset: Indices) -> Tensor:
    """Each image moved by one pixel less than its offset (2, B) along each side, zeros coming in."""
    count, _, height, width = images.shape
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    rows = torch.from_numpy(offset[0])[:, None, None] + torch.arange(height)[None, :, None]
    columns = torch.from_numpy(offset[1])[:, None, None] + torch.arange(width)[None, None, :]
    moved = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return moved.permute(0, 3, 1, 2)


def _torchvision_randaugment(size: int) -> Callable[[Tensor], Tensor]:
    crop = v2.RandomResizedCrop([size, size], interpolation=v2.InterpolationMode.BICUBIC, antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.RandAugment()])  # type: ignore[no-any-return]


def unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in 0..1, the same bits on every device; features (B, D) as they are."""
    if are_features(images):
        return images
    # divided by a tensor on the device: by a plain number, a GPU would multiply by its rounded inverse
    return images.float().div_(torch.full((), 255.0, device=images.device))
