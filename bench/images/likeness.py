"""Images that look alike: a hash of what is seen, and the pairs whose hashes are near each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE, WAVES = 64, 16
"""Pixels a side that are looked at, and frequencies along each of them that are kept."""

NEAR = 32
"""Bits of 256 in which images that look alike may differ.

Of 600 photographs of four datasets at least 99 % stay within it when they are compressed to JPEG quality 30, halved,
doubled, made a fifth brighter, or lose 1 % at every edge; 6 % when they lose 3 %, and none when they are mirrored.
Random pairs differ in 128: of the 500 million pairs of CIFAR-10's training and test images 69 are within it, and all
show one picture."""

FLAT = 1.0
"""Standard deviation, in grey levels, below which an image shows nothing that could be compared."""

_BLOCK = 2048
"""Hashes that are compared at once with as many others."""

_ANGLES = np.pi * (2 * np.arange(SIDE) + 1) / (2 * SIDE)
_COSINES = np.cos(np.outer(np.arange(WAVES), _ANGLES))


def likeness(colours: npt.NDArray[np.uint8]) -> bytes:
    """A hash of 32 bytes that images have alike, but for some bits, if they look alike; empty for a flat one.

    The perceptual hash by the discrete cosine transform (Zauner, "Implementation and Benchmarking of Perceptual Image
    Hash Functions", 2010): which of the low frequencies of the shrunk grey image (uint8 (H, W, 3)) lie above their
    median. He keeps 8 x 8 frequencies; in photographs of things on plain ground these agree too often. Empty too where
    an image has fewer pixels a side than there are frequencies: many handwritten digits of 8 x 8 are alike.
    """
    if min(colours.shape[:2]) < WAVES:
        return b""
    shrunk = Image.fromarray(colours).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    grey = np.asarray(shrunk, dtype=np.float64)
    if grey.std() < FLAT:
        return b""
    waves = (_COSINES @ grey @ _COSINES.T).ravel()
    return np.packbits(waves > np.median(waves[1:])).tobytes()


def alike(left: Sequence[bytes], right: Sequence[bytes], within: int = NEAR) -> list[tuple[int, int]]:
    """The pairs of hashes (place on the left, place on the right) that differ in so many bits at most; in order.

    All are compared, in blocks: a matrix product counts equal bits. Flat images are like none.
    """
    rows, row_places = _signs(left)
    columns, column_places = _signs(right)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        for first in range(0, len(columns), _BLOCK):
            agreement = rows[start : start + _BLOCK] @ columns[first : first + _BLOCK].T
            for row, column in np.argwhere(agreement >= WAVES * WAVES - 2 * within).tolist():
                pairs.append((row_places[start + row], column_places[first + column]))
    return sorted(pairs)


def _signs(hashes: Sequence[bytes]) -> tuple[npt.NDArray[np.float32], list[int]]:
    """The bits of each hash that is not empty as 1 and -1, and its place."""
    places = [place for place, made in enumerate(hashes) if made]
    packed = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(places), WAVES * WAVES // 8)
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1, places
