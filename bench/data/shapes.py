"""Drawn shapes: small pictures with masks, made of random numbers alone, in fixed splits.

All that is random is drawn from a ``np.random.RandomState``, whose stream NumPy promises never to change (NEP 19), and
places and edges are whole numbers: so the bits are the same everywhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.metrics.segmentation import IGNORED

MaskedArrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Images (N, H, W, 3) and their masks (N, H, W)."""

Inside = npt.NDArray[np.bool_]
"""(H, W): which pixels of a picture a shape covers."""

SPLITS = {"train": 512, "val": 128, "test": 256}  # images
SEED = 0

SIDE, FIELD = 48, 8  # pixels a side, of a picture and of a field of its background
KINDS = ("disc", "ring", "cross")
CLASSES = ("background", *KINDS)
MOST_SHAPES = 3
RADII = (8, 14)  # pixels from the middle of a shape to its edge
BACKGROUND = (32, 96)  # grey levels
CONTRAST = (64, 128)  # grey levels by which every channel of a shape is brighter than the background
FIELDS, NOISE = 16, 24  # grey levels by which fields and pixels vary, at most


def read_drawn_shapes() -> dict[str, MaskedArrays]:
    """Pictures by split: images (N, 48, 48, 3), and masks (N, 48, 48) of 0 (background), 1.. (``KINDS``) and 255.

    Each has one to three shapes of any kind, colour, size, place and turn; later ones cover others. The pixels around a
    shape are ``IGNORED``.
    """
    state = np.random.RandomState(SEED)
    drawn = [draw_picture(state) for _ in range(sum(SPLITS.values()))]
    images, masks = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    ends = np.cumsum(list(SPLITS.values()))[:-1]
    pieces = zip(np.split(images, ends), np.split(masks, ends), strict=True)
    return dict(zip(SPLITS, pieces, strict=True))


def draw_picture(state: np.random.RandomState) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """An image (48, 48, 3) and its mask (48, 48)."""
    base = _levels(state, *BACKGROUND, 3)
    fields = _levels(state, -FIELDS, FIELDS + 1, (SIDE // FIELD, SIDE // FIELD, 3))
    image = base + fields.repeat(FIELD, 0).repeat(FIELD, 1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(int(_levels(state, 1, MOST_SHAPES + 1))):
        kind, is_turned = int(_levels(state, 0, len(KINDS))), bool(_levels(state, 0, 2))
        radius = int(_levels(state, RADII[0], RADII[1] + 1))
        row, column = _levels(state, radius // 2, SIDE - radius // 2, 2).tolist()
        covered = shape(KINDS[kind], radius, row, column, is_turned)
        image[covered] = base + _levels(state, *CONTRAST, 3)
        mask[widened(covered)] = IGNORED
        mask[covered] = kind + 1
    noise = _levels(state, -NOISE, NOISE + 1, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), mask


def shape(kind: str, radius: int, row: int, column: int, is_turned: bool) -> Inside:
    """The pixels of one of ``KINDS`` around a place, of which some may lie outside; a cross that is turned is an x."""
    down, right = np.mgrid[:SIDE, :SIDE]
    down, right = down - row, right - column
    if kind == "disc":
        return _disc(down, right, radius)
    if kind == "ring":
        return _disc(down, right, radius) & ~_disc(down, right, radius // 2)
    if is_turned:  # by 45 degrees; lengths grow by the root of 2
        down, right, radius = down + right, down - right, radius * 7 // 5
    low, high = np.minimum(np.abs(down), np.abs(right)), np.maximum(np.abs(down), np.abs(right))
    cross: Inside = (high <= radius) & (4 * low <= radius)
    return cross


def widened(covered: Inside) -> Inside:
    """The pixels and their eight neighbours."""
    edged = np.pad(covered, 1)
    rows = edged[:-2] | edged[1:-1] | edged[2:]
    wider: Inside = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return wider


def _disc(down: npt.NDArray[np.int64], right: npt.NDArray[np.int64], radius: int) -> Inside:
    inside: Inside = down**2 + right**2 <= radius**2
    return inside


def _levels(
    state: np.random.RandomState, low: int, high: int, size: int | tuple[int, ...] | None = None
) -> npt.NDArray[np.int64]:
    """Whole numbers from ``low`` to below ``high``, of as many bits on every system."""
    return np.asarray(state.randint(low, high, size, dtype=np.int64))
