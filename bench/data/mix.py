"""Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019): each image of a batch mixed with one other, targets too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from bench.data.dataset import Indices


@dataclass(frozen=True)
class Mix:
    """How a batch is mixed: with itself in reverse order, as timm's ``Mixup`` does in its mode ``batch``.

    Attributes:
        share: λ, what an image keeps of itself and of its target; 1 where nothing is mixed.
        box: top, bottom, left, right of what CutMix pastes, in pixels; None for Mixup.
    """

    share: float = 1.0
    box: tuple[int, int, int, int] | None = None

    def images(self, images: Tensor) -> Tensor:
        """The mixed images, (..., B, C, H, W); those given stay as they are. All views are mixed alike."""
        if self.box is None and self.share == 1:
            return images
        partners = images.flip(-4)
        if self.box is None:
            return images * self.share + partners * (1 - self.share)
        top, bottom, left, right = self.box
        pasted = images.clone()
        pasted[..., top:bottom, left:right] = partners[..., top:bottom, left:right]
        return pasted

    def rows(self, ours: Indices, count: int) -> Indices:
        """Which rows of a batch of so many images are looked at to mix some of its rows, ascending both.

        Each comes with its partner, so that what is mixed with itself in reverse is these rows alone.
        """
        if self.box is None and self.share == 1:
            return ours
        return np.union1d(ours, count - 1 - ours)

    def targets(self, targets: Tensor) -> Tensor:
        """The mixed targets, (B, K)."""
        return targets if self.share == 1 else targets * self.share + targets.flip(0) * (1 - self.share)


def draw_mix(
    height: int,
    width: int,
    state: np.random.RandomState,
    mixup: float,
    cutmix: float,
    probability: float = 1.0,
    switch: float = 0.5,
) -> Mix:
    """How the batch of a step is mixed, of images so many pixels high and wide.

    ``mixup`` and ``cutmix`` are their α, for λ ~ Beta(α, α); 0: none. A batch is mixed at all with ``probability``, and
    where both are given, by CutMix with probability ``switch``.
    """
    applied, cuts = state.uniform() < probability, state.uniform() < switch
    if not applied or not (mixup or cutmix):
        return Mix()
    if not cutmix or (mixup and not cuts):
        return Mix(float(state.beta(mixup, mixup)))
    box = _box(height, width, float(state.beta(cutmix, cutmix)), state)
    top, bottom, left, right = box
    return Mix(1 - (bottom - top) * (right - left) / (height * width), box)


def _box(height: int, width: int, share: float, state: np.random.RandomState) -> tuple[int, int, int, int]:
    """A box of (1 − λ) of the image's area around a uniform centre, cut off at the borders."""
    side = math.sqrt(1 - share)
    bounds: list[int] = []
    for length in (height, width):
        cut, centre = int(length * side), int(state.randint(length))
        bounds += [max(0, centre - cut // 2), min(length, centre + (cut + 1) // 2)]
    return bounds[0], bounds[1], bounds[2], bounds[3]
