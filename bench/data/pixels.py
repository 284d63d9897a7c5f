"""Official datasets whose images lie in a few files of pixels: CIFAR and SVHN."""

from __future__ import annotations

from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from bench.cards.dataset import DatasetCard
from bench.data.dataset import ArrayImages, Split
from bench.data.official import Official


def read_cifar10(card: DatasetCard) -> Official[Split]:
    """CIFAR-10 (Krizhevsky, 2009): ``cifar-10-batches-py/``; 32 × 32, colour."""
    return _cifar(card, CIFAR10)


def read_cifar100(card: DatasetCard) -> Official[Split]:
    """CIFAR-100 (Krizhevsky, 2009) with its fine labels: ``cifar-100-python/``; 32 × 32, colour."""
    return _cifar(card, CIFAR100)


def read_svhn(card: DatasetCard) -> Official[Split]:
    """Street View House Numbers, cropped (Netzer et al., 2011): ``*_32x32.mat``; the label 10 means the digit 0."""
    lists = {}
    for name in card.lists:
        data = SVHN(card.path, split=name)
        lists[name] = _split(data.data.transpose(0, 2, 3, 1), data.labels)
    return Official([str(digit) for digit in range(10)], lists)


def _cifar(card: DatasetCard, kind: Any) -> Official[Split]:
    both = {name: kind(card.path, train=name == "train") for name in card.lists}
    lists = {name: _split(data.data, data.targets) for name, data in both.items()}
    return Official(list(next(iter(both.values())).classes), lists)


def _split(pixels: Any, labels: Any) -> Split:
    images = ArrayImages(np.ascontiguousarray(pixels, dtype=np.uint8))
    return Split(images, np.array(labels, dtype=np.int64).reshape(-1))
