"""Random resized crops and flips: a part of each image, scaled to one size, mirrored half of the time."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V

from bench.data.dataset import Indices

TRIES = 10
"""Crops that are drawn for an image before its centre is taken."""


def draw_crops(
    sizes: Indices,
    state: np.random.RandomState,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Indices:
    """The box of a random resized crop of each image (Szegedy et al., 2015; torchvision's ``RandomResizedCrop``).

    Its share of the area is uniform in ``scale`` and the logarithm of its width / height in ``ratio``. Where none of
    ``TRIES`` draws fits into the image, the largest centre crop with a ratio in the range is taken. Sizes are (B, 2),
    height and width of each image; as much is drawn for every one.

    Returns:
        (B, 4): top, left, height, width in pixels.
    """
    count = len(sizes)
    shares = state.uniform(*scale, (TRIES, count))
    ratios = np.exp(state.uniform(math.log(ratio[0]), math.log(ratio[1]), (TRIES, count)))
    places = state.uniform(size=(2, count))
    area = sizes.prod(axis=1)
    width = np.rint(np.sqrt(area * shares * ratios)).astype(np.int64)
    height = np.rint(np.sqrt(area * shares / ratios)).astype(np.int64)
    fits = (width > 0) & (width <= sizes[:, 1]) & (height > 0) & (height <= sizes[:, 0])
    first, each = fits.argmax(0), np.arange(count)
    drawn = np.stack([height[first, each], width[first, each]], axis=1)
    corners = np.floor(places.T * (sizes - drawn + 1)).astype(np.int64)
    boxes = np.concatenate([corners, drawn], axis=1)
    for lacking in np.flatnonzero(~fits.any(0)):
        boxes[lacking] = _centre_box(int(sizes[lacking, 0]), int(sizes[lacking, 1]), ratio)
    return boxes


def draw_as_torchvision(sizes: Indices, seed: int) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Boxes and flips as torchvision's ``RandomResizedCrop`` and ``RandomHorizontalFlip`` draw them, image by image.

    They are those of its global generator after ``torch.manual_seed(seed)``, which is left alone: so that threads may
    draw at the same time. Sizes are (B, 2), height and width of each image.

    Returns:
        (B, 4): top, left, height, width in pixels; and (B,), which images are mirrored.
    """
    generator = torch.Generator().manual_seed(seed)
    ratio = (3 / 4, 4 / 3)
    least, most = torch.tensor(ratio).log().tolist()
    boxes, flips = np.empty((len(sizes), 4), dtype=np.int64), np.empty(len(sizes), dtype=np.bool_)
    for number, (height, width) in enumerate(sizes.tolist()):
        for _ in range(TRIES):
            area = height * width * torch.empty(1).uniform_(0.08, 1.0, generator=generator).item()
            aspect = torch.empty(1).uniform_(least, most, generator=generator).exp().item()
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = (int(torch.randint(0, n + 1, (1,), generator=generator)) for n in (height - h, width - w))
                boxes[number] = top, left, h, w
                break
        else:
            boxes[number] = _centre_box(height, width, ratio)
        flips[number] = bool(torch.rand(1, generator=generator) < 0.5)
    return boxes, flips


def draw_flips(count: int, state: np.random.RandomState) -> npt.NDArray[np.bool_]:
    """(count,): which images are mirrored."""
    return state.uniform(size=count) < 0.5


def cropped(images: Tensor | list[Tensor], boxes: Indices, flips: npt.NDArray[np.bool_], size: int) -> Tensor:
    """The boxes (B, 4) of the images, scaled to a square by bicubic interpolation with antialiasing, some mirrored.

    Both are uint8: one tensor or a list of (C, H, W), and what is given, (B, C, S, S).
    """
    views = torch.empty(len(images), images[0].shape[0], size, size, dtype=torch.uint8)
    for image, box, flip, view in zip(images, boxes.tolist(), flips.tolist(), views, strict=True):
        scaled = V.resized_crop(image, *box, [size, size], V.InterpolationMode.BICUBIC, antialias=True)
        view.copy_(scaled.flip(-1) if flip else scaled)
    return views


def _centre_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    if width < ratio[0] * height:
        box = (round(width / ratio[0]), width)
    elif width > ratio[1] * height:
        box = (height, round(height * ratio[1]))
    else:
        box = (height, width)
    return math.floor((height - box[0]) / 2), math.floor((width - box[1]) / 2), *box
