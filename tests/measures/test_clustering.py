"""Silhouette, alignment and uniformity, against loops over pairs of images."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from bench.measures import silhouette, uniformity

RNG = np.random.default_rng(0)
LABELS = RNG.integers(4, size=60)
FEATURES = (RNG.normal(size=(4, 5))[LABELS] + RNG.normal(size=(60, 5))).astype(np.float32)


class TestSilhouette:
    def test_by_loops(self) -> None:
        values = []
        classes = {label: np.flatnonzero(np.equal(LABELS, label)) for label in range(4)}
        for at, label in enumerate(LABELS):
            distances = np.linalg.norm(FEATURES.astype(np.float64) - FEATURES[at], axis=1)
            inside = distances[classes[label]].sum() / (len(classes[label]) - 1)
            outside = min(distances[rows].mean() for other, rows in classes.items() if other != label)
            values.append((outside - inside) / max(outside, inside))
        assert silhouette.silhouette(FEATURES, LABELS) == pytest.approx(np.mean(values), abs=1e-6)

    def test_it_is_that_of_scikit_learn(self) -> None:
        assert silhouette.silhouette(FEATURES, LABELS) == pytest.approx(silhouette_score(FEATURES, LABELS), abs=1e-6)

    def test_distances_are_never_all_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(silhouette, "MEGABYTES", 1)
        features, labels = RNG.normal(size=(1500, 4)), np.arange(1500) % 3
        tracemalloc.start()
        silhouette.silhouette(features, labels)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 8e6 < 1500**2 * 8


class TestUniformity:
    def test_by_loops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        unit = FEATURES.astype(np.float64) / np.linalg.norm(FEATURES, axis=1, keepdims=True)
        near, all_pairs = [], []
        for i in range(len(unit)):
            for j in range(len(unit)):
                if i != j:
                    squared = ((unit[i] - unit[j]) ** 2).sum()
                    all_pairs.append(math.exp(-2 * squared))
                    near += [squared] if LABELS[i] == LABELS[j] else []
        expected = np.mean(near), math.log(np.mean(all_pairs))
        assert uniformity.alignment_uniformity(FEATURES, LABELS) == pytest.approx(expected)
        monkeypatch.setattr(uniformity, "ROWS", 7)
        assert uniformity.alignment_uniformity(FEATURES, LABELS) == pytest.approx(expected)

    def test_lengths_do_not_matter(self) -> None:
        longer = FEATURES * RNG.uniform(1, 9, size=(60, 1))
        assert uniformity.alignment_uniformity(longer, LABELS) == pytest.approx(
            uniformity.alignment_uniformity(FEATURES, LABELS), rel=1e-5
        )

    def test_the_extremes(self) -> None:
        same = np.ones((5, 3))
        assert uniformity.alignment_uniformity(same, np.zeros(5, np.int64)) == pytest.approx((0, 0))
        poles = np.array([[1.0, 0], [-1, 0]])
        assert uniformity.alignment_uniformity(poles, np.zeros(2, np.int64)) == pytest.approx((4, -8))

    def test_what_has_no_pair_has_no_number(self) -> None:
        alignment, of_all = uniformity.alignment_uniformity(np.eye(3), np.arange(3))
        assert math.isnan(alignment)
        assert of_all == pytest.approx(-4)
