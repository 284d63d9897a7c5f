"""AutoAugment (Cubuk et al., 2019): the policies that were found on ImageNet and CIFAR-10."""

from __future__ import annotations

from functools import cache

import numpy as np
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from bench.data.operations import Draw
from bench.data.randaugment import TORCHVISION_STRENGTHS, draw_values

_NAMES = {
    "ShearX": "shear_x",
    "ShearY": "shear_y",
    "TranslateX": "translate_x",
    "TranslateY": "translate_y",
    "Rotate": "rotate",
    "Brightness": "brightness",
    "Color": "saturation",
    "Contrast": "contrast",
    "Sharpness": "sharpness",
    "Posterize": "posterize",
    "Solarize": "solarize",
    "AutoContrast": "autocontrast",
    "Equalize": "equalize",
    "Invert": "invert",
}


def draw_autoaugment(count: int, size: int, state: np.random.RandomState, policy: str) -> list[Draw]:
    """torchvision's ``AutoAugment``: one of 25 pairs of operations, each with its own probability and magnitude.

    The policy is ``imagenet`` or ``cifar10``; the rest is as in ``draw_randaugment``.
    """
    names, probabilities, magnitudes = _policies(policy)
    chosen = state.randint(len(names), size=count)
    drawn = []
    for place in (0, 1):
        applied = state.uniform(size=count) < probabilities[chosen, place]
        operations = np.where(applied, names[chosen, place], "identity")
        values = draw_values(operations, magnitudes[chosen, place], size, state, TORCHVISION_STRENGTHS)
        drawn.append((operations, values))
    return drawn


@cache
def _policies(policy: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operations, probabilities and magnitudes of the pairs in torchvision's table, (25, 2) each; its 0..9 as 0..1."""
    pairs = AutoAugment(AutoAugmentPolicy(policy)).policies
    names, probabilities, magnitudes = np.array(pairs, dtype=object).transpose(2, 0, 1)
    shares = np.vectorize(lambda magnitude: (magnitude or 0) / 9)(magnitudes)
    return np.vectorize(_NAMES.get)(names), probabilities.astype(np.float64), shares
