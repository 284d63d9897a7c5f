"""Colour jitter and random grayscale, as contrastive learning uses them."""

from __future__ import annotations

import numpy as np

from bench.data.operations import Draw

JITTERED = ("brightness", "contrast", "saturation", "hue")


def draw_jitter(
    count: int,
    state: np.random.RandomState,
    strengths: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1),
) -> list[Draw]:
    """torchvision's ``ColorJitter`` inside ``RandomApply``; the order of the four is drawn for each image.

    As much is drawn for every image, jittered or not. The first three strengths are those of brightness, contrast and
    saturation, whose factors are uniform in 1 ± strength (0 at least); the last is that of hue, which is moved by up to
    ± strength of the circle.
    """
    left_out = state.uniform(size=count) >= 0.8
    order = np.argsort(state.uniform(size=(count, 4)), axis=1)
    unit = state.uniform(-1, 1, size=(count, 4))
    centre = np.array([1.0, 1.0, 1.0, 0.0])
    reach = np.array(strengths)
    low = np.maximum(centre - reach, [0, 0, 0, -1])
    values = low + (unit + 1) / 2 * (centre + reach - low)
    each = np.arange(count)
    return [
        (np.where(left_out, "identity", np.array(JITTERED)[order[:, place]]), values[each, order[:, place]])
        for place in range(4)
    ]


def draw_grayscale(count: int, state: np.random.RandomState) -> Draw:
    """Which images lose their colour."""
    return np.where(state.uniform(size=count) < 0.2, "grayscale", "identity"), np.zeros(count)
