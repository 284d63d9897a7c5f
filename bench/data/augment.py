"""From images as stored to what a model is given: (B, C, S, S) in 0..1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from bench.data.autoaugment import draw_autoaugment
from bench.data.crop import Crops, cropped, draw_crops, draw_flips
from bench.data.dataset import Indices
from bench.data.generator import generator
from bench.data.jitter import draw_grayscale, draw_jitter
from bench.data.operations import Draw, Operations
from bench.data.randaugment import TIMM_FILL, draw_randaugment, draw_timm_randaugment
from bench.spec import derive

Policy = Callable[[int, int, np.random.RandomState], list[Draw]]

POLICIES: dict[str, Policy] = {
    "randaugment": draw_randaugment,
    "randaugment_batched": draw_randaugment,
    "rand_m9": draw_timm_randaugment,
    "deit": draw_timm_randaugment,
    "autoaugment": lambda count, size, state: draw_autoaugment(count, size, state, "imagenet"),
    "autoaugment_cifar": lambda count, size, state: draw_autoaugment(count, size, state, "cifar10"),
    "contrastive": lambda count, size, state: [*draw_jitter(count, state), draw_grayscale(count, state)],
}
"""What follows crop and flip, for a whole batch on its device: the operations of ``count`` images of a size.

``contrastive`` is that of supervised contrastive learning (Khosla et al., 2020), whose crops keep at least 0.2 of an
image; ``deit`` is ``rand_m9`` whose batches are mixed as well (``Protocol.mixing``). ``randaugment_batched`` is another
name of ``randaugment``, which once was torchvision's own transform.
"""

PHOTO = frozenset({"crop_flip", *POLICIES})
"""Augmentations for photographs, whose test view is a centre crop."""

_TIMM = frozenset({"rand_m9", "deit"})


@dataclass(frozen=True)
class View:
    """A view of a batch: all that is drawn for its images.

    Attributes:
        size: pixels a side.
        crops: of photographs; None: images are squeezed to a square.
        flips: (B,): which are mirrored.
        offsets: (2, B): where images that are shifted begin, from 0 to 2 in the middle of which they are not.
        draws: the operations of a policy, which are applied on the device.
        timm: whether these are timm's.
    """

    size: int
    crops: Crops | None = None
    flips: npt.NDArray[np.bool_] | None = None
    offsets: Indices | None = None
    draws: Sequence[Draw] = ()
    timm: bool = False

    def cut(self, images: Tensor | list[Tensor], rows: Indices) -> Tensor:
        """The part of an augmentation that is computed on the CPU, where images have different sizes.

        Images are uint8, as ``Images.take`` gives them, those of the batch with these numbers (n,). Threads may do it
        at the same time. Given is uint8 (n, C, S, S).
        """
        if self.crops is not None and self.flips is not None:
            return cropped(images, self.crops.boxes(_sizes(images), rows), self.flips[rows], self.size)
        pixels = resized(images, self.size)
        return pixels if self.offsets is None else _shifted(pixels, self.offsets[:, rows])

    def operations(self, rows: Indices) -> Operations | None:
        """What is still to be done to the images with these numbers, in their order; None where that is nothing."""
        if not self.draws:
            return None
        draws = [(names[rows], values[rows]) for names, values in self.draws]
        return Operations.of(draws, self.size, self.size, self.timm, TIMM_FILL if self.timm else ())


def draw_view(count: int, size: int, augmentation: str, seed: int) -> View:
    """A view of so many images. It depends on the seed alone, so that a run can be taken up at any step."""
    if augmentation in PHOTO:
        state = generator(derive("photo", seed))
        crops = draw_crops(count, state, (0.2, 1.0) if augmentation == "contrastive" else (0.08, 1.0))
        flips = draw_flips(count, state)
        draws = POLICIES[augmentation](count, size, state) if augmentation in POLICIES else []
        return View(size, crops, flips, draws=draws, timm=augmentation in _TIMM)
    if augmentation == "shift":
        return View(size, offsets=generator(derive("shift", seed)).randint(0, 3, (2, count)))
    return View(size)


def finished(pixels: Tensor, operations: Operations | None = None) -> Tensor:
    """What a model is given: float32 (B, C, S, S) in 0..1 of images as they were cut, after a policy's operations."""
    return unit(pixels if operations is None else operations.applied(pixels))


def training_view(images: Tensor | list[Tensor], size: int, augmentation: str, seed: int) -> Tensor:
    """Augmented images, all on the CPU: float32 (B, C, S, S) in 0..1; see ``draw_view``."""
    view, rows = draw_view(len(images), size, augmentation, seed), np.arange(len(images))
    return finished(view.cut(images, rows), view.operations(rows))


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
    """uint8 (B, C, S, S): squeezed to a square, untouched where they have that size; features (B, D) as they are.

    Channel after channel in memory: a convolution may round otherwise where they lie together.
    """
    if isinstance(images, Tensor) and (are_features(images) or images.shape[-2:] == (size, size)):
        return images.contiguous()
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


def _shifted(images: Tensor, offsets: Indices) -> Tensor:
    """Each image moved by −1, 0 or 1 pixel along each side, zeros coming in."""
    count, _, height, width = images.shape
    first, second = torch.from_numpy(offsets)[:, :, None, None]
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    rows = first + torch.arange(height)[None, :, None]
    columns = second + torch.arange(width)[None, None, :]
    moved = padded[torch.arange(count)[:, None, None], :, rows, columns]
    return moved.permute(0, 3, 1, 2)


def unit(images: Tensor) -> Tensor:
    """uint8 images as float32 in 0..1, the same bits on every device; features (B, D) as they are."""
    if are_features(images):
        return images
    # divided by a tensor on the device: by a plain number, a GPU would multiply by its rounded inverse
    return images.float().div_(torch.full((), 255.0, device=images.device))
