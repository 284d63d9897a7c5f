"""Random resized crops and flips: a part of each image, scaled to one size, mirrored half of the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.dataset import Indices

Values = npt.NDArray[np.float64]

TRIES = 10
"""Crops that are drawn for an image before its centre is taken."""


@dataclass(frozen=True)
class Crops:
    """What is drawn for the random resized crops of some images, whatever their sizes.

    Attributes:
        shares: (TRIES, B), of the image's area.
        ratios: (TRIES, B), width / height.
        places: (2, B) in [0, 1): where the crop lies, from top to bottom and from left to right.
        ratio: least and most width / height.
    """

    shares: Values
    ratios: Values
    places: Values
    ratio: tuple[float, float]

    def boxes(self, sizes: Indices, rows: Indices) -> Indices:
        """The boxes (n, 4) of some of the images, by their numbers (n,): top, left, height, width in pixels.

        Sizes are (n, 2), height and width of each of them. Where none of the ``TRIES`` draws fits into an image, its
        largest centre crop with a ratio in the range is taken.
        """
        each = np.arange(len(sizes))
        shares, ratios, places = (drawn[:, rows] for drawn in (self.shares, self.ratios, self.places))
        area = sizes.prod(axis=1)
        width = np.rint(np.sqrt(area * shares * ratios)).astype(np.int64)
        height = np.rint(np.sqrt(area * shares / ratios)).astype(np.int64)
        fits = (width > 0) & (width <= sizes[:, 1]) & (height > 0) & (height <= sizes[:, 0])
        first = fits.argmax(0)
        drawn = np.stack([height[first, each], width[first, each]], axis=1)
        corners = np.floor(places.T * (sizes - drawn + 1)).astype(np.int64)
        boxes = np.concatenate([corners, drawn], axis=1)
        for lacking in np.flatnonzero(~fits.any(0)):
            boxes[lacking] = _centre_box(int(sizes[lacking, 0]), int(sizes[lacking, 1]), self.ratio)
        return boxes


def draw_crops(
    count: int,
    state: np.random.RandomState,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Crops:
    """Random resized crops of so many images (Szegedy et al., 2015; torchvision's ``RandomResizedCrop``).

    The share of the area is uniform in ``scale`` and the logarithm of width / height in ``ratio``; as much is drawn for
    every image.
    """
    shares = state.uniform(*scale, (TRIES, count))
    ratios = np.exp(state.uniform(math.log(ratio[0]), math.log(ratio[1]), (TRIES, count)))
    return Crops(shares, ratios, state.uniform(size=(2, count)), ratio)


def draw_flips(count: int, state: np.random.RandomState) -> npt.NDArray[np.bool_]:
    """(count,): which images are mirrored."""
    return state.uniform(size=count) < 0.5


def cropped(images: Tensor | list[Tensor], boxes: Indices, flips: npt.NDArray[np.bool_], size: int) -> Tensor:
    """The boxes (B, 4) of the images, scaled to a square by bicubic interpolation with antialiasing, some mirrored.

    Both are uint8: one tensor or a list of (C, H, W), and what is given, (B, C, S, S).
    """
    views = torch.empty(len(images), images[0].shape[0], size, size, dtype=torch.uint8)
    for image, box, flip, view in zip(images, boxes.tolist(), flips.tolist(), views, strict=True):
        top, left, height, width = box
        part = image[None, :, top : top + height, left : left + width]
        if (height, width) != (size, size):
            # what torchvision's resized_crop calls, after much that no other thread can do meanwhile
            part = F.interpolate(part, (size, size), mode="bicubic", align_corners=False, antialias=True)
        view.copy_(part[0].flip(-1) if flip else part[0])
    return views


def _centre_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    if width < ratio[0] * height:
        box = (round(width / ratio[0]), width)
    elif width > ratio[1] * height:
        box = (height, round(height * ratio[1]))
    else:
        box = (height, width)
    return math.floor((height - box[0]) / 2), math.floor((width - box[1]) / 2), *box
