"""AutoAugment (Cubuk et al., 2019): the policies that were found on ImageNet and CIFAR-10."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.data.operations import Draw
from bench.data.randaugment import by_name, draw_signs, torchvision_strengths

BINS = 10
"""Magnitudes there are."""

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

    Args:
        count: B, images.
        size: pixels a side; translations are relative to it.
        state: drawn from, as much for every image.
        policy: ``imagenet`` or ``cifar10``.
    """
    names, probabilities, magnitudes = _policies(policy)
    chosen = state.randint(len(names), size=count)
    drawn = []
    for place in (0, 1):
        applied = state.uniform(size=count) < probabilities[chosen, place]
        signs = draw_signs(count, state)
        operations = np.where(applied, names[chosen, place], "identity")
        values = by_name(operations, magnitudes[chosen, place], signs, size, torchvision_strengths)
        drawn.append((operations, values))
    return drawn


@cache
def _policies(policy: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operations, probabilities and magnitudes in 0..1 of the pairs, (25, 2) each, from torchvision's table."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    pairs = AutoAugment(AutoAugmentPolicy(policy)).policies
    names = np.array([[_NAMES[name] for name, _, _ in pair] for pair in pairs])
    probabilities = np.array([[probability for _, probability, _ in pair] for pair in pairs])
    magnitudes = np.array([[(magnitude or 0) / (BINS - 1) for _, _, magnitude in pair] for pair in pairs])
    return names, probabilities, magnitudes
