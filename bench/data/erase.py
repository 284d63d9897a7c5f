"""Random erasing (Zhong et al., 2020): a rectangle of some images becomes noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Indices

TRIES = 10
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
    """The rectangle erased in each image, as timm's ``RandomErasing`` draws it.

    Args:
        count: B, images.
        height: of the images, in pixels.
        width: of the images, in pixels.
        state: drawn from, as much for every image.
        probability: of an image being erased.
        area: least and largest share of the image.
        least_ratio: least height / width; the largest is its inverse, and its logarithm is uniform.

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


def erased(images: Tensor, boxes: Indices, state: np.random.RandomState) -> Tensor:
    """Images whose rectangles are normal noise in each pixel and channel (timm's mode ``pixel``).

    Args:
        images: float (B, C, H, W) in 0..1; not changed.
        boxes: (B, 4), as ``draw_erased`` gives them.
        state: the noise is drawn from; on the CPU, so that it is the same on every device.

    Returns:
        (B, C, H, W). The noise has ImageNet's mean and standard deviation; it is not clipped and may leave 0..1.
    """
    found = images.clone()
    channels = images.shape[1]
    mean, std = (np.array(values if channels == 3 else [np.mean(values)] * channels) for values in (MEAN, STD))
    for image, (top, left, height, width) in zip(found, boxes.tolist(), strict=True):
        if height and width:
            noise = state.standard_normal((channels, height, width)) * std[:, None, None] + mean[:, None, None]
            image[:, top : top + height, left : left + width] = torch.from_numpy(noise).to(image, non_blocking=True)
    return found
