"""Embeddings: seeded, of drawn classes where there are many, refused where there is nothing to see."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.measure import CannotMeasure
from bench.measures.embedding import MEASURE, drawn_classes, pca, tsne, umap
from bench.measures.embedding import measure as embedding


def clusters(classes: int = 3, each: int = 12, dim: int = 64) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features of classes that lie far apart, and their labels."""
    draws = np.random.RandomState(0)
    labels = np.repeat(np.arange(classes), each)
    features = 10 * draws.normal(size=(classes, dim))[labels] + draws.normal(size=(len(labels), dim))
    return features.astype(np.float32), labels


def test_pca_is_the_plane_of_most_variance() -> None:
    draws = np.random.RandomState(1)
    wide = np.array([3.0, 2.0, 0.1]) * draws.normal(size=(200, 3))
    plane, share = pca(wide)
    centred = wide - wide.mean(0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    assert np.allclose(np.abs(plane), np.abs(centred @ axes[:2].T), atol=1e-5)
    assert np.allclose(share, lengths[:2] ** 2 / (lengths**2).sum())


def test_features_of_one_dimension_have_a_plane_too() -> None:
    plane, share = pca(np.arange(6.0)[:, None])
    assert plane.shape == (6, 2)
    assert share.tolist() == [1, 0]


def test_tsne_keeps_neighbours_and_is_the_same_each_time() -> None:
    features, labels = clusters()
    plane = tsne(features)
    assert np.array_equal(plane, tsne(features))
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1) + np.diag(np.full(len(plane), np.inf))
    assert (labels[distances.argmin(1)] == labels).all()


def test_of_many_classes_the_same_are_drawn_each_time() -> None:
    labels = np.repeat(np.arange(40), 2)
    chosen = drawn_classes(labels, 12)
    assert len(chosen) == 12
    assert chosen.tolist() == sorted(chosen)
    assert np.array_equal(chosen, drawn_classes(labels[::-1], 12))
    assert len(drawn_classes(labels, 0)) == 40


class _Features:
    """A subject whose features are its images."""

    def __init__(self, features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], **options: Any) -> None:
        self.split = SimpleNamespace(labels=labels)
        self.features_of, self.options = features, {**MEASURE.options, **options}


def test_what_has_no_meaning_is_refused() -> None:
    features, labels = clusters(each=1)
    subject: Any = _Features(features, labels)
    with pytest.raises(CannotMeasure, match="3 images are too few to be seen on a plane; it takes 5"):
        embedding(subject)
    subject = _Features(features, labels, also="isomap")
    with pytest.raises(CannotMeasure, match="umap or nothing, not isomap"):
        embedding(subject)


def test_umap_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(CannotMeasure, match="pip install umap-learn"):
        umap(clusters()[0])
