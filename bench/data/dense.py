"""Images with masks: both moved alike for training, and shown in windows that are put together again for a test.

The steps and numbers are those of mmsegmentation's recipe for ADE20K, which the UPerNet of BEiT, MAE and feature
distillation use: ``Resize(img_scale=(2048, 512), ratio_range=(0.5, 2.0))``, ``RandomCrop(cat_max_ratio=0.75)``,
``RandomFlip``, ``PhotoMetricDistortion``, ``Pad``, and a test in sliding windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from bench.data.augment import resized
from bench.data.dataset import IGNORED, Indices
from bench.errors import InputError
from bench.protocol import MASK_AUGMENTATIONS
from bench.spec import derive

Values = npt.NDArray[np.float64]

Box = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""

RATIOS = (0.5, 2.0)
"""Least and most by which images are scaled beyond the size at which they are tested."""

LONGEST = 4
"""The longer side of a scaled image, in shorter sides of the usual one, is at most this."""

TRIES = 10
"""Crops that are drawn for an image until no class fills too much of one; then the next is taken as it is."""

MOST = 0.75
"""The share of a crop's pixels of any class that one class must stay below."""

CHUNK = 16
"""Classes whose logits are scaled to an image's size at once."""


@dataclass(frozen=True)
class Distortion:
    """Changes of an image's colours; those of the defaults change nothing.

    Attributes:
        brightness: grey levels that are added.
        contrast: what levels are multiplied by.
        contrast_first: whether that precedes saturation and hue, or follows them.
        saturation: what the saturation is multiplied by.
        hue: the share of the circle by which hue is moved.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = True
    saturation: float = 1.0
    hue: float = 0.0


# ---- draws


def draw_ratios(count: int, state: np.random.RandomState) -> Values:
    """(count,): by what each image is scaled beyond its usual size, uniform in ``RATIOS``."""
    return state.uniform(*RATIOS, count)


def draw_places(count: int, state: np.random.RandomState) -> Values:
    """(count, TRIES + 1, 2) in [0, 1): where crops of each image lie, from top to bottom and from left to right."""
    return state.uniform(size=(count, TRIES + 1, 2))


def draw_distortions(count: int, state: np.random.RandomState) -> list[Distortion]:
    """mmsegmentation's ``PhotoMetricDistortion`` for each image: every change is made half of the time.

    Brightness is moved by up to 32 levels, contrast and saturation are multiplied by 0.5 to 1.5, hue is moved by whole
    steps of 1/180 of the circle, from −18 to 17. As much is drawn for every image, changed or not.
    """
    changed = state.uniform(size=(count, 4)) < 0.5
    first = state.uniform(size=count) < 0.5
    added = state.uniform(-32, 32, count)
    factors = state.uniform(0.5, 1.5, (count, 2))
    steps = state.randint(-18, 18, count)
    drawn = np.stack([added, factors[:, 0], factors[:, 1], steps / 180], axis=1)
    values = np.where(changed, drawn, [0.0, 1.0, 1.0, 0.0])
    return [
        Distortion(brightness, contrast, contrast_first, saturation, hue)
        for (brightness, contrast, saturation, hue), contrast_first in zip(values.tolist(), first.tolist(), strict=True)
    ]


# ---- what is drawn, applied


def scaled_size(height: int, width: int, size: int, ratio: float = 1.0) -> tuple[int, int]:
    """Height and width of an image scaled to a shorter side of ``size`` or, if less, a longer one of ``LONGEST`` sizes.

    Both bounds are multiplied by the ratio.
    """
    scale = ratio * min(size / min(height, width), LONGEST * size / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def varied_box(mask: Tensor, places: Values, size: int) -> Box:
    """The first of the drawn crops in which no class has ``MOST`` of the pixels of any class, else the last.

    Where the mask is smaller than the crop, the box ends with it.

    Args:
        mask: uint8 (H, W).
        places: (tries, 2) in [0, 1), of one image, as ``draw_places`` gives them.
        size: of the crop's sides.
    """
    levels = mask.numpy()
    height, width = min(size, levels.shape[0]), min(size, levels.shape[1])
    free = np.array([levels.shape[0] - height, levels.shape[1] - width])
    corners = np.floor(places * (free + 1)).astype(np.int64).tolist()
    for top, left in corners[:-1]:
        pixels = np.bincount(levels[top : top + height, left : left + width].ravel(), minlength=256)
        pixels[IGNORED] = 0
        if pixels.max() < MOST * pixels.sum():
            return top, left, height, width
    top, left = corners[-1]
    return top, left, height, width


def distorted(image: Tensor, by: Distortion) -> Tensor:
    """The image with its colours changed, uint8 (C, H, W) both; an image without colour has no saturation and hue."""
    if by.brightness != 0:
        image = image.float().add_(by.brightness).clamp_(0, 255).to(torch.uint8)
    if by.contrast_first:
        image = _multiplied(image, by.contrast)
    if by.saturation != 1:
        image = _saturated(image, by.saturation)
    if by.hue != 0:
        image = V.adjust_hue(image, by.hue)
    return image if by.contrast_first else _multiplied(image, by.contrast)


@dataclass(frozen=True)
class Pairs:
    """All that is drawn for some images with masks.

    Attributes:
        size: of the square's sides, in pixels.
        ratios: (B,), as ``draw_ratios`` gives them; None: pairs are squeezed to a square.
        places: as ``draw_places`` gives them.
        flips: (B,): which pairs are mirrored.
        distortions: of each image.
    """

    size: int
    ratios: Values | None = None
    places: Values | None = None
    flips: npt.NDArray[np.bool_] | None = None
    distortions: Sequence[Distortion] = ()

    def cut(self, images: Tensor | Sequence[Tensor], masks: Sequence[Tensor], rows: Indices) -> tuple[Tensor, Tensor]:
        """Those with these numbers (n,), as a model is trained on them.

        Args and what is given: as of ``training_pairs``. Raises ``InputError``: a mask has not the size of its image.
        """
        for image, mask in zip(images, masks, strict=True):
            _check_sizes(image, mask)
        if self.ratios is None or self.places is None or self.flips is None:
            sides = [self.size, self.size]
            squares = [V.resize(mask[None], sides, V.InterpolationMode.NEAREST_EXACT)[0] for mask in masks]
            return resized(images if isinstance(images, Tensor) else list(images), self.size), torch.stack(squares)
        views = torch.zeros(len(masks), images[0].shape[0], self.size, self.size, dtype=torch.uint8)
        levels = torch.full((len(masks), self.size, self.size), IGNORED, dtype=torch.uint8)
        for place, (number, image, mask) in enumerate(zip(rows.tolist(), images, masks, strict=True)):
            shape = scaled_size(mask.shape[0], mask.shape[1], self.size, self.ratios[number])
            mask = V.resize(mask[None], shape, V.InterpolationMode.NEAREST_EXACT)[0]
            image = V.resize(image, shape, V.InterpolationMode.BILINEAR, antialias=False)
            top, left, height, width = varied_box(mask, self.places[number], self.size)
            image = image[:, top : top + height, left : left + width]
            mask = mask[top : top + height, left : left + width]
            if self.flips[number]:
                image, mask = image.flip(-1), mask.flip(-1)
            views[place, :, :height, :width] = distorted(image, self.distortions[number])
            levels[place, :height, :width] = mask
        return views, levels


def draw_pairs(count: int, size: int, augmentation: str, seed: int) -> Pairs:
    """What is drawn for so many pairs, as ``training_pairs`` says. Raises ``ValueError``: no such augmentation."""
    if augmentation not in MASK_AUGMENTATIONS:
        raise ValueError(
            f"images with masks have no augmentation '{augmentation}', only {', '.join(MASK_AUGMENTATIONS)}"
        )
    if augmentation == "none":
        return Pairs(size)
    state = np.random.RandomState(derive("dense", seed))
    ratios, places, flips = draw_ratios(count, state), draw_places(count, state), state.uniform(size=count) < 0.5
    distortions = draw_distortions(count, state) if augmentation == "mmseg" else [Distortion()] * count
    return Pairs(size, ratios, places, flips, distortions)


def training_pairs(
    images: Tensor | Sequence[Tensor], masks: Sequence[Tensor], size: int, augmentation: str, seed: int
) -> tuple[Tensor, Tensor]:
    """Images and masks as a model is trained on them, which went the same way.

    The augmentation depends on the seed alone, so that a run can be taken up at any step; threads may do it at the same
    time. Images are scaled by bilinear interpolation, masks take the level of the nearest pixel. As in
    mmsegmentation, nothing is smoothed where an image gets smaller, but for ``none``.

    Args:
        images: uint8 (C, H, W) each.
        masks: uint8 (H, W) each: class indices, or ``IGNORED``.
        size: of the square's sides.
        augmentation: one of ``MASK_AUGMENTATIONS``.
        seed: of what is drawn.

    Returns:
        uint8 (B, C, S, S), 0 outside of an image; and uint8 (B, S, S), ``IGNORED`` there.

    Raises:
        InputError: a mask has not the size of its image.
        ValueError: there is no such augmentation.
    """
    return draw_pairs(len(masks), size, augmentation, seed).cut(images, masks, np.arange(len(masks)))


# ---- test


def whole_view(image: Tensor, size: int) -> Tensor:
    """An image squeezed to a square, whose logits are those of one window: uint8 (C, H, W) to (1, C, S, S)."""
    return resized([image], size)


def sliding_view(image: Tensor, size: int) -> Tensor:
    """An image of which windows are shown, scaled as ``scaled_size`` says: uint8 (C, H, W) both."""
    shape = scaled_size(image.shape[1], image.shape[2], size)
    return V.resize(image, shape, V.InterpolationMode.BILINEAR, antialias=False)  # type: ignore[no-any-return]


def windows(height: int, width: int, size: int, stride: int | None = None) -> list[Box]:
    """Boxes of a size that cover an image, row by row; a last one that would stick out is moved back to the border.

    Where an image is smaller than a window, so is the box. The stride is two thirds of the size if none is given.

    Raises:
        ValueError: the stride is not from 1 to the size, so that pixels would be left out.
    """
    stride = max(1, size * 2 // 3) if stride is None else stride
    if not 1 <= stride <= size:
        raise ValueError(f"windows of {size} pixels have a stride from 1 to {size}, not {stride}")
    tops, lefts = _starts(height, size, stride), _starts(width, size, stride)
    return [(top, left, min(size, height), min(size, width)) for top in tops for left in lefts]


def shown_in(image: Tensor, boxes: Sequence[Box], size: int) -> Tensor:
    """The windows of an image (C, H, W): uint8 (N, C, S, S), 0 to the right and below where a box is smaller."""
    views = torch.zeros(len(boxes), image.shape[0], size, size, dtype=torch.uint8)
    for view, (top, left, height, width) in zip(views, boxes, strict=True):
        view[:, :height, :width] = image[:, top : top + height, left : left + width]
    return views


def stitched(logits: Tensor, boxes: Sequence[Box], height: int, width: int) -> Tensor:
    """The logits of an image from those of its windows: their mean where windows overlap.

    Args:
        logits: (N, K, S, S), of each window pixel by pixel; what lies outside of a smaller box counts for nothing.
        boxes: of the windows, which cover the image.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        float32 (K, H, W), on the device of the logits.
    """
    total = torch.zeros(logits.shape[1], height, width, device=logits.device)
    count = torch.zeros(height, width, device=logits.device)
    for window, (top, left, h, w) in zip(logits, boxes, strict=True):
        total[:, top : top + h, left : left + w] += window[:, :h, :w]
        count[top : top + h, left : left + w] += 1
    return total.div_(count)


def labelled(logits: Tensor, height: int, width: int) -> Tensor:
    """The class of each pixel of a mask: that of the highest logit, the first of equals.

    Logits are (K, h, w), at most 255 classes, and scaled to the mask's size by bilinear interpolation, some classes at
    once, since an image has many pixels. Given is uint8 (H, W).
    """
    highest = torch.full((height, width), -torch.inf, device=logits.device)
    classes = torch.zeros(height, width, dtype=torch.uint8, device=logits.device)
    for begin in range(0, len(logits), CHUNK):
        part = logits[None, begin : begin + CHUNK].float()
        value, index = F.interpolate(part, (height, width), mode="bilinear", align_corners=False)[0].max(0)
        higher = value > highest
        highest = torch.where(higher, value, highest)
        classes = torch.where(higher, (index + begin).to(torch.uint8), classes)
    return classes


def _check_sizes(image: Tensor, mask: Tensor) -> None:
    if image.shape[-2:] != mask.shape:
        (high, wide), (height, width) = image.shape[-2:], mask.shape
        raise InputError(f"an image of {wide} × {high} pixels has a mask of {width} × {height}: both have one size")


def _multiplied(image: Tensor, factor: float) -> Tensor:
    return image if factor == 1 else image.float().mul_(factor).clamp_(0, 255).to(torch.uint8)


def _saturated(image: Tensor, factor: float) -> Tensor:
    """Hue and value kept: the highest channel stays, and the distance of others from it grows, to at most that."""
    levels = image.float()
    low, high = torch.aminmax(levels, dim=0)
    grown = torch.minimum(torch.full_like(high, factor), high / (high - low))
    grown = torch.where(high > low, grown, 1.0)
    return (high - (high - levels) * grown).round_().clamp_(0, 255).to(torch.uint8)


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, stride), last]
