"""RandAugment (Cubuk et al., 2020), in torchvision's form and in timm's: which operations, at which strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

_SHEARS, _TRANSLATIONS = ("shear_x", "shear_y"), ("translate_x", "translate_y")
_FACTORS = ("brightness", "saturation", "contrast", "sharpness")

TORCHVISION_STRENGTHS: dict[str, Strength] = {
    **dict.fromkeys(_SHEARS, lambda share, sign, size: 0.3 * share * sign),
    **dict.fromkeys(_TRANSLATIONS, lambda share, sign, size: np.trunc(150 / 331 * size * share * sign)),
    "rotate": lambda share, sign, size: 30 * share * sign,
    **dict.fromkeys(_FACTORS, lambda share, sign, size: 1 + 0.9 * share * sign),
    "posterize": lambda share, sign, size: np.rint(8 - 4 * share),
    "solarize": lambda share, sign, size: 255 * (1 - share),
}
"""Of magnitudes 0..1, as in torchvision's ``RandAugment`` and ``AutoAugment``."""

TIMM_STRENGTHS: dict[str, Strength] = {
    **dict.fromkeys(_SHEARS, lambda level, sign, size: 0.3 * (level / 10) * sign),
    **dict.fromkeys(_TRANSLATIONS, lambda level, sign, size: level / 10 * 0.45 * size * sign),
    "rotate": lambda level, sign, size: 30 * (level / 10) * sign,
    **dict.fromkeys(_FACTORS, lambda level, sign, size: np.maximum(0.1, 1 + level / 10 * 0.9 * sign)),
    "posterize": lambda level, sign, size: 4 - np.floor(level / 10 * 4),
    "solarize": lambda level, sign, size: 256 - np.minimum(256, np.floor(level / 10 * 256)),
    "solarize_add": lambda level, sign, size: np.minimum(128, np.floor(level / 10 * 110)),
}
"""Of magnitudes 0..10, as in timm's increasing list."""


def draw_randaugment(
    count: int, size: int, state: np.random.RandomState, operations: int = 2, magnitude: int = 9
) -> list[Draw]:
    """torchvision's ``RandAugment``: operations with equal chance, all at one magnitude (0 to 30), signs at random.

    Translations are relative to the size, in pixels a side. As much is drawn for each of so many images.
    """
    drawn = []
    for _ in range(operations):
        names = np.array(LISTED)[state.randint(len(LISTED), size=count)]
        drawn.append((names, draw_values(names, np.full(count, magnitude / 30), size, state, TORCHVISION_STRENGTHS)))
    return drawn


def draw_timm_randaugment(count: int, size: int, state: np.random.RandomState) -> list[Draw]:
    """timm's ``rand-m9-mstd0.5-inc1``: two operations with equal chance, each left out with one half.

    Magnitudes, of 10, are normal around 9 with a standard deviation of 0.5.
    """
    drawn = []
    for _ in range(2):
        names = np.array(INCREASING)[state.randint(len(INCREASING), size=count)]
        left_out = state.uniform(size=count) >= 0.5
        magnitudes = np.clip(state.normal(9, 0.5, count), 0, 10)
        names = np.where(left_out, "identity", names)
        drawn.append((names, draw_values(names, magnitudes, size, state, TIMM_STRENGTHS)))
    return drawn


def draw_values(
    names: Names, magnitudes: Values, size: int, state: np.random.RandomState, strengths: Mapping[str, Strength]
) -> Values:
    """The value of each image's operation (B,), its sign with equal chance; 0 for operations that take none."""
    signs, values = np.where(state.uniform(size=len(names)) < 0.5, -1.0, 1.0), np.zeros(len(names))
    for name in set(names.tolist()) & set(strengths):
        rows = names == name
        values[rows] = strengths[name](magnitudes[rows], signs[rows], size)
    return values
