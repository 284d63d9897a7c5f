"""Sampling rates: which training images a run may see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from bench.data.dataset import Indices
from bench.rate import Rate, budget_of, held_out, rate_label, shortfall
from bench.spec import derive


def sample(labels: Indices, rate: Rate, seed: int) -> Indices:
    """The indices that a sampling rate keeps: so many of each class, the first in an order drawn for the class.

    They are sorted, and index the labels (N,). In percent, 0 < rate ≤ 100, they are ceil(rate · n_c) of each class c;
    ``16-shot`` 16 of each class; ``1000-images`` those that a growing rate in percent would keep first, until there are
    so many. Where several come in at the same rate and there is no room for all, their classes go in an order that is
    drawn too. (These counts are Adams's apportionment, which gives no class less where there is more to give; largest
    remainders may.) So with one seed, which is that of all orders, what keeps less of no class keeps all that another
    keeps.

    Raises:
        ValueError: there are not so many images, or not in each class, or fewer are wanted than there are classes.
    """
    names, sizes = np.unique(labels, return_counts=True)
    if problem := shortfall(rate, dict(zip(map(str, names), map(int, sizes), strict=True))):
        raise ValueError(f"{rate_label(rate)}: {problem}")
    budget = budget_of(rate)
    if budget is None:
        share = Fraction(str(rate)) / 100  # a fraction, since 0.07 * 100 is 7.000000000000001 in floating point
        counts = [math.ceil(share * int(size)) for size in sizes]
    elif budget.per_class:
        counts = [budget.images] * len(sizes)
    else:
        counts = _apportioned(budget.images, sizes, derive("classes", seed))
    return _divided(labels, counts, seed)[0]


def _apportioned(images: int, sizes: Indices, seed: int) -> list[int]:
    """How many of so many images are of each class, from the classes' sizes.

    The image at place j of a class of n comes in where a rate is above j / n.
    """
    whose = np.repeat(np.arange(len(sizes)), sizes)
    places = np.concatenate([np.arange(size) for size in sizes])
    # the quotients of two integers below 2^26 are equal in floating point where they are equal
    enters = places / sizes[whose]
    turn = np.random.RandomState(seed).permutation(len(sizes))
    first = np.lexsort((turn[whose], enters))[:images]
    return [int(count) for count in np.bincount(whose[first], minlength=len(sizes))]


def hold_out(labels: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Split indices in two, per class, as ``sample``: (kept, held out).

    The share held out, 0 ≤ share < 1 of each class, is rounded down: at least one is kept.
    """
    _, sizes = np.unique(labels, return_counts=True)
    out, kept = _divided(labels, [held_out(share, int(size)) for size in sizes], seed)
    return kept, out


def take_each(labels: Indices, count: int, seed: int) -> tuple[Indices, Indices]:
    """Split indices in two: ``count`` of each class, at random, and the rest; for datasets without an official split.

    Raises:
        ValueError: a class has not more than ``count`` images, so that none would be left.
    """
    names, sizes = np.unique(labels, return_counts=True)
    for label, size in zip(names, sizes, strict=True):
        if size <= count:
            raise ValueError(f"class {label} has {size} images; {count} are taken and some must be left")
    return _divided(labels, [count] * len(sizes), seed)


def _divided(labels: Indices, counts: Sequence[int], seed: int) -> tuple[Indices, Indices]:
    """Sorted indices: so many of each class that there is, the first in its order; and the rest."""
    taken, rest = [], []
    for label, first in zip(np.unique(labels), counts, strict=True):
        # RandomState's stream is frozen for ever; that of numpy's newer generators is not
        state = np.random.RandomState(derive("class", seed, int(label)))
        shuffled = state.permutation(np.flatnonzero(labels == label)).astype(np.int64)
        taken.append(shuffled[:first])
        rest.append(shuffled[first:])
    return np.sort(np.concatenate(taken)), np.sort(np.concatenate(rest))
