"""Random erasing (Zhong et al., 2020): a rectangle of some images becomes noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data.crop import TRIES
from bench.data.dataset import Indices

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's pixel statistics: timm erases after normalising by them, with noise of mean 0 and variance 1."""


def draw_erased(
    count: int,
    height: int,
    width: int,
    state: np.random.RandomState,
    probability: float,
    area: tuple[float, float] = (0.02, 1 / 3),
    least_ratio: float = 0.3,
) -> Indices:
    """The rectangle erased in each of so many images, or in none, as timm's ``RandomErasing`` draws it.

    As much is drawn for every image. The share of the area is uniform in ``area``; the logarithm of height / width is,
    from that of ``least_ratio`` to that of its inverse.

    Returns:
        (B, 4): top, left, height, width in pixels; 0 high and wide where nothing is erased.
    """
    erased = state.uniform(size=count) < probability
    target = state.uniform(*area, (TRIES, count)) * height * width
    ratio = np.exp(state.uniform(np.log(least_ratio), -np.log(least_ratio), (TRIES, count)))
    places = state.uniform(size=(count, 2))
    heights = np.rint(np.sqrt(target * ratio)).astype(np.int64)
    widths = np.rint(np.sqrt(target / ratio)).astype(np.int64)
    fits = (heights < height) & (widths < width)
    first, each = fits.argmax(0), np.arange(count)
    sides = np.stack([heights[first, each], widths[first, each]], 1)
    corners = np.floor(places * (np.array([height, width]) - sides + 1)).astype(np.int64)
    boxes = np.concatenate([corners, sides], 1)
    boxes[~(erased & fits.any(0))] = 0
    return boxes


def erased(images: Tensor, boxes: Indices, state: np.random.RandomState, rows: Indices | None = None) -> Tensor:
    """A copy of images (B, C, H, W) in 0..1 whose rectangles are noise in each pixel and channel (timm's ``pixel``).

    The noise is normal with ImageNet's mean and standard deviation; it is not clipped and may leave 0..1. It is drawn
    on the CPU, so that it is the same on every device. Where the images are some ``rows`` of a batch, the rectangles
    are those of all of it, and each image has the noise that it has there.
    """
    noisy = images.clone()
    place = dict(zip(range(len(boxes)) if rows is None else rows.tolist(), noisy, strict=True))
    channels = images.shape[1]
    mean, std = (np.array(values if channels == 3 else [np.mean(values)] * channels) for values in (MEAN, STD))
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        if height and width:
            drawn = state.standard_normal((channels, height, width))
            if (image := place.get(row)) is None:
                continue
            noise = drawn * std[:, None, None] + mean[:, None, None]
            image[:, top : top + height, left : left + width] = torch.from_numpy(noise).to(image, non_blocking=True)
    return noisy
