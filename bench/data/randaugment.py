"""RandAugment (Cubuk et al., 2020), in torchvision's form and in timm's: which operations, at which strength."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.data.operations import Draw, Names, Values

LISTED = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
"""torchvision's operations."""

INCREASING = (*LISTED[1:], "invert", "solarize_add")
"""timm's operations, of the kind whose effect grows with the magnitude (``inc1``)."""

TIMM_FILL = (124, 116, 104)
"""Grey levels that timm fills in: ImageNet's mean colour."""

Strength = Callable[[Values, Values, int], Values]
"""Values of an operation from magnitudes (n,), signs of ±1 (n,) and pixels a side."""


def draw_randaugment(
    count: int, size: int, state: np.random.RandomState, operations: int = 2, magnitude: int = 9, bins: int = 31
) -> list[Draw]:
    """torchvision's ``RandAugment``: operations with equal chance, all at one magnitude, their sign at random.

    Args:
        count: B, images.
        size: pixels a side; translations are relative to it.
        state: drawn from, as much for every image.
        operations: an image.
        magnitude: 0 to ``bins`` − 1.
        bins: magnitudes there are.
    """
    drawn = []
    for _ in range(operations):
        names = np.array(LISTED)[state.randint(len(LISTED), size=count)]
        signs = draw_signs(count, state)
        drawn.append(
            (names, by_name(names, np.full(count, magnitude / (bins - 1)), signs, size, torchvision_strengths))
        )
    return drawn


def draw_timm_randaugment(
    count: int,
    size: int,
    state: np.random.RandomState,
    operations: int = 2,
    magnitude: float = 9.0,
    std: float = 0.5,
    probability: float = 0.5,
) -> list[Draw]:
    """timm's ``rand-m9-mstd0.5-inc1``: operations with equal chance, each left out with one half, magnitudes normal.

    Args:
        count: B, images.
        size: pixels a side; translations are relative to it.
        state: drawn from, as much for every image.
        operations: an image.
        magnitude: their mean; of 10.
        std: their standard deviation; they are clipped to 0..10.
        probability: of applying an operation that was drawn.
    """
    drawn = []
    for _ in range(operations):
        names = np.array(INCREASING)[state.randint(len(INCREASING), size=count)]
        left_out = state.uniform(size=count) >= probability
        magnitudes = np.clip(state.normal(magnitude, std, count), 0, 10)
        signs = draw_signs(count, state)
        names = np.where(left_out, "identity", names)
        drawn.append((names, by_name(names, magnitudes, signs, size, timm_strengths)))
    return drawn


def draw_signs(count: int, state: np.random.RandomState) -> Values:
    """(count,): 1 or −1 with equal chance."""
    return np.where(state.uniform(size=count) < 0.5, -1.0, 1.0)


def by_name(names: Names, magnitudes: Values, signs: Values, size: int, strengths: dict[str, Strength]) -> Values:
    """The value of each image's operation (B,); 0 for operations that take none."""
    values = np.zeros(len(names))
    for name in set(names.tolist()) & set(strengths):
        rows = names == name
        values[rows] = strengths[name](magnitudes[rows], signs[rows], size)
    return values


def _shear(share: Values, sign: Values, size: int) -> Values:
    return 0.3 * share * sign


def _translation(share: Values, sign: Values, size: int) -> Values:
    return np.trunc(150 / 331 * size * share * sign)


def _rotation(share: Values, sign: Values, size: int) -> Values:
    return 30 * share * sign


def _factor(share: Values, sign: Values, size: int) -> Values:
    return 1 + 0.9 * share * sign


def _bits(share: Values, sign: Values, size: int) -> Values:
    return np.rint(8 - 4 * share)


def _threshold(share: Values, sign: Values, size: int) -> Values:
    return 255 * (1 - share)


torchvision_strengths: dict[str, Strength] = {
    **dict.fromkeys(("shear_x", "shear_y"), _shear),
    **dict.fromkeys(("translate_x", "translate_y"), _translation),
    "rotate": _rotation,
    **dict.fromkeys(("brightness", "saturation", "contrast", "sharpness"), _factor),
    "posterize": _bits,
    "solarize": _threshold,
}
"""Of magnitudes 0..1, as in torchvision's ``RandAugment`` and ``AutoAugment``."""


def _timm_translation(level: Values, sign: Values, size: int) -> Values:
    return level / 10 * 0.45 * size * sign


def _timm_factor(level: Values, sign: Values, size: int) -> Values:
    return np.maximum(0.1, 1 + level / 10 * 0.9 * sign)


def _timm_bits(level: Values, sign: Values, size: int) -> Values:
    return 4 - np.floor(level / 10 * 4)


def _timm_threshold(level: Values, sign: Values, size: int) -> Values:
    return 256 - np.minimum(256, np.floor(level / 10 * 256))


def _timm_added(level: Values, sign: Values, size: int) -> Values:
    return np.minimum(128, np.floor(level / 10 * 110))


timm_strengths: dict[str, Strength] = {
    **dict.fromkeys(("shear_x", "shear_y"), lambda level, sign, size: _shear(level / 10, sign, size)),
    **dict.fromkeys(("translate_x", "translate_y"), _timm_translation),
    "rotate": lambda level, sign, size: _rotation(level / 10, sign, size),
    **dict.fromkeys(("brightness", "saturation", "contrast", "sharpness"), _timm_factor),
    "posterize": _timm_bits,
    "solarize": _timm_threshold,
    "solarize_add": _timm_added,
}
"""Of magnitudes 0..10, as in timm's increasing list."""
