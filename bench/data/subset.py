"""Sampling rates: which training images a run may see."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from bench.data.dataset import Indices
from bench.spec import derive


def sample(labels: Indices, rate: float, seed: int) -> Indices:
    """The indices that a sampling rate keeps: ceil(rate · n_c) of each class c, at random.

    They are sorted, and index the labels (N,). The rate is in percent, 0 < rate ≤ 100. The seed is that of the
    permutation within each class; with one seed a smaller rate is a part of a larger one.
    """
    share = Fraction(str(rate)) / 100  # a fraction, since 0.07 * 100 is 7.000000000000001 in floating point
    return _divided(labels, lambda count: math.ceil(share * count), seed)[0]


def hold_out(labels: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Split indices in two, per class, as ``sample``: (kept, held out).

    The share held out, 0 ≤ share < 1 of each class, is rounded down: at least one is kept.
    """
    out, kept = _divided(labels, lambda count: math.floor(Fraction(str(share)) * count), seed)
    return kept, out


def take_each(labels: Indices, count: int, seed: int) -> tuple[Indices, Indices]:
    """Split indices in two: ``count`` of each class, at random, and the rest; for datasets without an official split.

    Raises:
        ValueError: a class has not more than ``count`` images, so that none would be left.
    """
    for label, size in zip(*np.unique(labels, return_counts=True), strict=True):
        if size <= count:
            raise ValueError(f"class {label} has {size} images; {count} are taken and some must be left")
    return _divided(labels, lambda _: count, seed)


def _divided(labels: Indices, count: Callable[[int], int], seed: int) -> tuple[Indices, Indices]:
    """Sorted indices: of each class as many, at random, as ``count`` says of its size; and the rest."""
    taken, rest = [], []
    for label in np.unique(labels):
        # RandomState's stream is frozen for ever; that of numpy's newer generators is not
        state = np.random.RandomState(derive("class", seed, int(label)))
        shuffled = state.permutation(np.flatnonzero(labels == label)).astype(np.int64)
        first = count(len(shuffled))
        taken.append(shuffled[:first])
        rest.append(shuffled[first:])
    return np.sort(np.concatenate(taken)), np.sort(np.concatenate(rest))
