"""Two methods image by image, from stored predictions: does the difference outlast another draw of test images?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.samples import check_share

AT_ONCE = 1 << 22
"""Counts that are drawn at once, of 8 bytes each."""


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies over the same images, in percentage points, with an interval.

    ``p`` is two-sided, that there is no difference in the population of images.
    """

    gap: float
    low: float
    high: float
    p: float


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """Two-sided p, in (0, 1], of McNemar's exact test that two single runs are right equally often (McNemar, 1947).

    Only images on which one is right and the other wrong count; 1 where there are none. It speaks of these two trained
    networks and of images like these; it knows nothing of how another seed would come out.

    Args:
        right_a: (images,), whether the first run is right on each image.
        right_b: (images,), the same of the second, for the same images in the same order.

    Raises:
        ValueError: the arrays are not 1-d, differ in length, are empty, or hold anything but true and false.
    """
    a, b = _right(right_a), _right(right_b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"McNemar's test compares two runs on the same images; shapes are {a.shape} and {b.shape}")
    only_a, only_b = int((a > b).sum()), int((a < b).sum())
    from scipy.special import bdtr  # see bench.stats.two

    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))) if only_a + only_b else 1.0


def paired_bootstrap(
    right_a: ArrayLike, right_b: ArrayLike, *, seed: int = 0, draws: int = 10_000, level: float = 0.95
) -> Difference:
    """The difference of two mean accuracies, with images drawn anew and each image's pair of outcomes kept together.

    The interval is the percentile interval over images. It is fit for hundreds of images; seeds are averaged and not
    drawn, so it too speaks of these trained networks. The order of images changes no bit of the result.

    Args:
        right_a: (images,) or (seeds, images), whether the first method is right.
        right_b: the same of the second; it may have another number of seeds.
        seed: of the draws; the same seed gives the same bits.
        draws: how many test sets are drawn.
        level: coverage of the interval, in (0, 1).

    Returns:
        Its p is the share of draws which, centred on no difference, are at least as large, with one added to both
        counts: at least 1 / (draws + 1).

    Raises:
        ValueError: the images differ in number, there are none, an array holds anything but true and false, or
            ``level`` or ``draws`` is out of range.
    """
    a, b = _columns(_right(right_a), _right(right_b))
    # whole numbers, so that images that differ alike are one group whatever the rounding
    scaled = b.shape[0] * a.sum(0, dtype=np.int64) - a.shape[0] * b.sum(0, dtype=np.int64)
    values, counts = np.unique(scaled, return_counts=True)
    return _bootstrapped(100 * values / (a.shape[0] * b.shape[0]), counts, seed, draws, level)


def score_bootstrap(
    scores_a: ArrayLike, scores_b: ArrayLike, *, seed: int = 0, draws: int = 10_000, level: float = 0.95
) -> Difference:
    """As ``paired_bootstrap``, of a score that each image has, in points: its overlap with a mask, for instance.

    Args:
        scores_a: (images,) or (seeds, images), of the first method.
        scores_b: the same of the second; it may have another number of seeds.
        seed: of the draws.
        draws: how many test sets are drawn.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: as of ``paired_bootstrap``, or a score is no finite number.
    """
    a, b = _columns(_finite(scores_a), _finite(scores_b))
    # images that differ alike but for rounding are one group
    values, counts = np.unique(np.round(a.mean(0) - b.mean(0), 9), return_counts=True)
    return _bootstrapped(values, counts, seed, draws, level)


def wilcoxon(scores_a: ArrayLike, scores_b: ArrayLike) -> float:
    """Two-sided p, in (0, 1], of Wilcoxon's signed-rank test that two single runs score alike (Wilcoxon, 1945).

    Images on which both score the same are left out; 1 where there are no others.

    Args:
        scores_a: (images,), of the first run.
        scores_b: the same of the second, for the same images in the same order.

    Raises:
        ValueError: the arrays are not 1-d, differ in length, are empty, or a score is no finite number.
    """
    a, b = _finite(scores_a), _finite(scores_b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"Wilcoxon's test compares two runs on the same images; shapes are {a.shape} and {b.shape}")
    from scipy.stats import wilcoxon as signed_rank

    return float(signed_rank(a, b).pvalue) if (a != b).any() else 1.0


def _columns(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as (seeds, images)."""
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"both need the same images, one a column; shapes are {a.shape} and {b.shape}")
    return a, b


def _bootstrapped(
    points: NDArray[np.float64], counts: NDArray[np.int64], seed: int, draws: int, level: float
) -> Difference:
    """Of differences in points, each of so many images."""
    check_share(level, "level")
    if draws < 1:
        raise ValueError(f"draws must be at least 1; got {draws}")
    images, state = int(counts.sum()), np.random.default_rng(seed)
    gap = float(counts @ points / images)
    at_once = max(1, AT_ONCE // len(points))
    sizes = [min(at_once, draws - first) for first in range(0, draws, at_once)]
    drawn = np.concatenate([state.multinomial(images, counts / images, size=size) @ points for size in sizes]) / images
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    beyond = int((np.abs(drawn - gap) >= abs(gap) - 1e-9).sum())
    return Difference(gap, float(low), float(high), (1 + beyond) / (1 + draws))


def _finite(scores: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(scores, dtype=np.float64)
    if not array.size:
        raise ValueError("there are no images")
    if not np.isfinite(array).all():
        raise ValueError("a score of an image is no finite number")
    return array


def _right(values: ArrayLike) -> NDArray[np.bool_]:
    array = np.asarray(values)
    if not array.size:
        raise ValueError("there are no images")
    if not np.isin(array, (0, 1)).all():
        raise ValueError("whether a run is right is true or false for each image")
    return array.astype(bool)


def likeness(right: ArrayLike) -> float:
    """How alike runs err: the mean correlation over images between the outcomes of two of them (phi), in [-1, 1].

    Args:
        right: (runs, images), at least two runs, whether each is right.

    Returns:
        1 where all err on the same images; nan where a run is always right or always wrong.

    Raises:
        ValueError: there are fewer than two runs, no images, or anything but true and false.
    """
    array = _right(right)
    if array.ndim != 2 or len(array) < 2:
        raise ValueError(f"at least two runs on the same images are needed; the shape is {array.shape}")
    if (array.all(1) | ~array.any(1)).any():
        return math.nan
    correlations = np.asarray(np.corrcoef(array))
    return float(correlations[np.triu_indices(len(array), 1)].mean())
