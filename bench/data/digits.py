"""Digits: scikit-learn's 1,797 handwritten digits, plain (8x8) or cluttered (12x12), in fixed splits."""

import numpy as np
import numpy.typing as npt

from bench.data.clutter import Levels, clutter_glyphs, cut_fragments, to_grey
from bench.data.letters import read_bank

Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]

SPLITS = {"train": 960, "val": 240, "test": 597}  # images
SPLIT_SEED, CLUTTER_SEED = 0, 1


def read_digits() -> dict[str, Arrays]:
    """The digits as they are, by split: images (N, 8, 8, 1), 0..255, and labels (N,), 0..9."""
    return _split(*_load_levels())


def read_cluttered_digits() -> dict[str, Arrays]:
    """As ``read_digits``, each (12, 12, 1) and among three fragments of letters; a digit is in the same split."""
    levels, labels = _load_levels()
    fragments = cut_fragments(read_bank())
    return _split(clutter_glyphs(levels, fragments, np.random.RandomState(CLUTTER_SEED)), labels)


def split_stratified(labels: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    """Ascending indices of each split, every class shared out in the proportions of ``SPLITS`` to within one image.

    Each class is shuffled and spread evenly over [0, 1); the splits are consecutive pieces of that interval.
    """
    rng = np.random.RandomState(SPLIT_SEED)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    pieces = np.split(np.argsort(place, kind="stable"), np.cumsum(list(SPLITS.values()))[:-1])
    return {name: np.sort(piece) for name, piece in zip(SPLITS, pieces, strict=True)}


def _load_levels() -> tuple[Levels, npt.NDArray[np.int64]]:
    """(1797, 8, 8) levels 0..16 and (1797,) labels, in scikit-learn's order."""
    from sklearn.datasets import load_digits  # slow to import: only when read

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.int64)


def _split(levels: Levels, labels: npt.NDArray[np.int64]) -> dict[str, Arrays]:
    images = to_grey(levels)[..., None]
    return {name: (images[rows], labels[rows]) for name, rows in split_stratified(labels).items()}
