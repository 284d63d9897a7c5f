"""The images of a rehearsal: a few of a dataset's, or drawn ones where it is not here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from bench.cards.rehearsal import SIDE, TOGETHER, WIDE
from bench.data.dataset import IGNORED, ArrayImages, Dataset, Indices, MaskArrays, MaskedDataset, Split, masked
from bench.data.official import some_of
from bench.spec import derive
from bench.task import Task

AnyDataset = TypeVar("AnyDataset", bound=Dataset)

COARSE = 6
"""Fields a side of the pattern by which a class of drawn images is told; from top to bottom of a drawn mask."""


def drawn(classes: int, sizes: Mapping[str, int], seed: int) -> Dataset:
    """Drawn images in memory, RGB, ``SIDE`` pixels a side: a coarse pattern for each class, under noise.

    Labels go round the classes, so that each has as many images as the next, or one more.
    """
    patterns = np.random.RandomState(derive("drawn classes", seed)).randint(64, 192, (classes, COARSE, COARSE, 3))
    wide = patterns.repeat(SIDE // COARSE, 1).repeat(SIDE // COARSE, 2)
    splits = {}
    for name, count in sizes.items():
        noise = np.random.RandomState(derive("drawn images", seed, name)).randint(-64, 64, (count, SIDE, SIDE, 3))
        labels = np.arange(count, dtype=np.int64) % classes
        splits[name] = Split(ArrayImages((wide[labels] + noise).astype(np.uint8)), labels)
    return Dataset([str(label) for label in range(classes)], splits["train"], splits.get("val"), splits["test"])


def drawn_masks(classes: int, sizes: Mapping[str, int], seed: int) -> MaskedDataset:
    """Drawn images with masks in memory: fields of classes in the colours that these have, under noise.

    Images are RGB, ``SIDE`` pixels high and ``WIDE`` wide. Fields go round the classes in a drawn order, so that each
    class is met if there are as many fields. The upper row of each mask is ``IGNORED``.
    """
    colours = np.random.RandomState(derive("drawn classes", seed)).randint(64, 192, (classes, 3))
    pixels = SIDE // COARSE
    splits = {}
    for name, count in sizes.items():
        state = np.random.RandomState(derive("drawn masks", seed, name))
        shape = (count, COARSE, WIDE // pixels)
        fields = state.permutation(math.prod(shape)).reshape(shape) % classes
        levels = fields.repeat(pixels, 1).repeat(pixels, 2)
        images = (colours[levels] + state.randint(-64, 64, (*levels.shape, 3))).astype(np.uint8)
        masks = levels.astype(np.uint8)
        masks[:, 0] = IGNORED
        splits[name] = masked(ArrayImages(images), MaskArrays(masks))
    names = [str(label) for label in range(classes)]
    return MaskedDataset(names, splits["train"], splits.get("val"), splits["test"])


def drawn_noise(task: Task, classes: int, sizes: Mapping[str, int], seed: int) -> Dataset:
    """Noise in memory, RGB, ``SIDE`` pixels a side, with what a task asks of it drawn too: nothing tells the one of the
    other.
    """
    splits = {}
    for name, count in sizes.items():
        state = np.random.RandomState(derive("drawn noise", seed, name))
        images = ArrayImages(state.randint(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8))
        splits[name] = task.noise(images, classes, state)
    return Dataset([str(label) for label in range(classes)], splits["train"], splits.get("val"), splits["test"])


def part_of(dataset: AnyDataset, sizes: Mapping[str, int], seed: int) -> AnyDataset:
    """Of each split of a dataset as many images as its size says, at random; its classes stay those of the dataset."""
    splits: dict[str, Any] = {}
    for name, split in dataset.splits.items():
        chosen = grouped(split.labels, derive("rehearsal", seed, name))[: sizes[name]]
        splits[name] = some_of(split, np.sort(chosen))
    return replace(dataset, **splits, left_out={})


def grouped(labels: Indices, seed: int) -> Indices:
    """All indices of labels (N,) in a drawn order in which ``TOGETHER`` images of a class stand beside each other.

    So the first of them are of few classes, with several images each, where there are many classes.
    """
    state = np.random.RandomState(seed)
    mixed = state.permutation(len(labels))
    place = np.empty(len(labels), dtype=np.int64)
    rank = np.empty(labels.max(initial=0) + 1, dtype=np.int64)
    rank[state.permutation(len(rank))] = np.arange(len(rank))
    for label in np.unique(labels):
        members = mixed[labels[mixed] == label]
        place[members] = np.arange(len(members)) // TOGETHER
    order = np.lexsort((mixed.argsort(), rank[labels], place))
    return order.astype(np.int64)
