"""Sampling rates: which training images a run may see."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from bench.data.dataset import Indices
from bench.spec import derive


def sample(labels: Indices, rate: float, seed: int) -> Indices:
    """The indices that a sampling rate keeps: ceil(rate · n_c) of each class c, at random.

    With one seed a smaller rate is a part of a larger one.

    Args:
        labels: (N,) class indices.
        rate: percent, 0 < rate ≤ 100.
        seed: of the permutation within each class.

    Returns:
        Sorted indices into ``labels``.
    """
    kept = [_shuffled(labels, label, seed)[: _ceil_share(rate, labels, label)] for label in np.unique(labels)]
    return np.sort(np.concatenate(kept))


def hold_out(labels: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Split indices in two, per class: (kept, held out); the share held out is rounded down, at least one is kept.

    Args:
        labels: (N,) class indices.
        share: of each class that is held out, 0 ≤ share < 1.
        seed: of the permutation within each class.
    """
    kept, out = [], []
    for label in np.unique(labels):
        shuffled = _shuffled(labels, label, seed)
        count = math.floor(Fraction(str(share)) * len(shuffled))
        out.append(shuffled[:count])
        kept.append(shuffled[count:])
    return np.sort(np.concatenate(kept)), np.sort(np.concatenate(out))


def take_each(labels: Indices, count: int, seed: int) -> tuple[Indices, Indices]:
    """Split indices in two: ``count`` of each class, at random, and the rest; for datasets without an official split.

    Args:
        labels: (N,) class indices.
        count: images of each class.
        seed: of the permutation within each class.

    Returns:
        Sorted indices of the images taken, and of the rest.

    Raises:
        ValueError: a class has not more than ``count`` images, so that none would be left.
    """
    taken, rest = [], []
    for label in np.unique(labels):
        shuffled = _shuffled(labels, label, seed)
        if len(shuffled) <= count:
            raise ValueError(f"class {label} has {len(shuffled)} images; {count} are taken and some must be left")
        taken.append(shuffled[:count])
        rest.append(shuffled[count:])
    return np.sort(np.concatenate(taken)), np.sort(np.concatenate(rest))


def _shuffled(labels: Indices, label: np.int64, seed: int) -> Indices:
    # RandomState's stream is frozen for ever; that of numpy's newer generators is not
    state = np.random.RandomState(derive("class", seed, int(label)))
    return state.permutation(np.flatnonzero(labels == label)).astype(np.int64)


def _ceil_share(rate: float, labels: Indices, label: np.int64) -> int:
    # a fraction, since 0.07 * 100 is 7.000000000000001 in floating point
    return math.ceil(Fraction(str(rate)) / 100 * int((labels == label).sum()))
