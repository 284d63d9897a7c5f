"""Random erasing (Zhong et al., 2020): a rectangle of some images becomes noise."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Erasing:
    """What is erased of the images of a batch.

    Attributes:
        rows: int64 (R,): the images of which something is.
        boxes: int64 (R, 4): top, left, height, width in pixels.
        noises: int64 (R,): which of ``count`` noises each has.
        count: of the images of the whole batch of which something is erased.
        seed: of the noise.
    """

    rows: Tensor
    boxes: Tensor
    noises: Tensor
    count: int
    seed: int

    @classmethod
    def of(cls, boxes: Indices, seed: int, chosen: Indices | None = None) -> Erasing:
        """That of the rectangles (B, 4) of all images of a batch, of which those without height are none.

        Where ``chosen`` are the numbers of some images of the batch, it is theirs, in their order; as in the whole.
        """
        erased = boxes[:, 2] * boxes[:, 3] > 0
        noises = np.cumsum(erased) - 1
        numbers = np.arange(len(boxes)) if chosen is None else chosen
        rows = np.flatnonzero(erased[numbers])
        places, each = torch.from_numpy(boxes[numbers[rows]]), torch.from_numpy(noises[numbers[rows]])
        return cls(torch.from_numpy(rows), places, each, int(erased.sum()), seed)

    def applied(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in 0..1 whose rectangles become noise in each pixel and channel (timm's ``pixel``).

        It changes what it is given. The noise is normal with ImageNet's mean and standard deviation; it is not clipped
        and may leave 0..1. It is drawn where the images are, so its bits depend on the seed and on the kind of the
        device. These and the images are on one device, which is not waited for.
        """
        if not len(self.rows):
            return images
        batch = images.index_select(0, self.rows)
        erased = torch.where(self._inside(*batch.shape[-2:]), self._noise(batch), batch)
        return images.index_copy_(0, self.rows, erased)

    def _inside(self, height: int, width: int) -> Tensor:
        """(R, 1, H, W): which pixels lie in the rectangles."""
        top, left, high, wide = self.boxes[:, :, None].unbind(1)  # (R, 1) each
        rows, columns = (torch.arange(side, device=self.boxes.device) for side in (height, width))
        inside_rows, inside_columns = (rows >= top) & (rows < top + high), (columns >= left) & (columns < left + wide)
        return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]

    def _noise(self, images: Tensor) -> Tensor:
        """Noise of the shape of images, with the mean and standard deviation of ImageNet's pixels in each channel."""
        channels, generator = images.shape[1], generator_of(images.device, self.seed)
        noise = torch.randn((self.count, *images.shape[1:]), generator=generator, device=images.device)
        if self.count > len(images):
            noise = noise.index_select(0, self.noises)
        for channel in range(channels):  # with plain numbers, for which no device has to be waited
            mean, std = (values[channel] if channels == 3 else sum(values) / 3 for values in (MEAN, STD))
            noise[:, channel].mul_(std).add_(mean)
        return noise.to(images.dtype)


def generator_of(device: torch.device, seed: int) -> torch.Generator:
    """Random numbers of a seed on a device; those of all others are left alone."""
    return torch.Generator(device).manual_seed(seed)
