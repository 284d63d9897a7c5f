"""k nearest neighbours: DINO's votes in float64, what a run is scored with, and what is kept of it."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from bench.data import Split
from bench.data.augment import test_view as at_test
from bench.models.kept import load_model
from bench.records.kept import kept_models, read_facts
from bench.registry import Registry
from bench.task import find_task
from bench.training.trial import run_trial
from tests.models.trained import CPU, confidences, planned, recorded, train

knn: Any = importlib.import_module("bench.methods.knn")

Rows = list[list[float]]


def votes(query: Tensor, bank: Tensor, labels: list[int], classes: int, k: int, temperature: float) -> Rows:
    """DINO's eval_knn.py in double precision, image by image: shares of the votes of the k most similar."""
    units = bank.double() / bank.double().norm(dim=1, keepdim=True)
    shares = []
    for row in query.double():
        similar = sorted(((float(unit @ (row / row.norm())), label) for unit, label in zip(units, labels, strict=True)))
        nearest = similar[-k:]
        total = [sum(math.exp(s / temperature) for s, label in nearest if label == c) for c in range(classes)]
        shares.append([vote / sum(total) for vote in total])
    return shares


@pytest.mark.parametrize("temperature", [0.07, 1.0])
@pytest.mark.parametrize("k", [1, 3, 20, 500])
def test_votes_are_those_of_dino(k: int, temperature: float) -> None:
    torch.manual_seed(k)
    bank, query, labels = torch.randn(60, 8), 3 * torch.randn(17, 8), torch.randint(0, 5, (60,))
    logits = knn.NearestNeighbours(bank, labels, 5, k, temperature)(query)
    expected = np.array(votes(query, bank, labels.tolist(), 5, k, temperature))
    found = logits.double().exp()
    voted = expected > 0
    np.testing.assert_allclose(
        (found / (found * torch.from_numpy(voted)).sum(1, keepdim=True)).numpy()[voted], expected[voted], rtol=2e-4
    )
    assert np.array_equal(logits.argmax(1).numpy(), expected.argmax(1))
    # a class without a vote is behind all that have one, and finite
    assert torch.isfinite(logits).all()
    np.testing.assert_allclose(logits.numpy()[~voted], -1 / temperature, rtol=1e-6)


def test_it_is_sklearns_classifier_with_these_weights() -> None:
    torch.manual_seed(0)
    bank, query, labels = torch.randn(80, 6), torch.randn(30, 6), torch.randint(0, 4, (80,))
    theirs = KNeighborsClassifier(
        n_neighbors=20, metric="cosine", algorithm="brute", weights=lambda distances: np.exp((1 - distances) / 0.07)
    ).fit(bank.double().numpy(), labels.numpy())
    head = knn.NearestNeighbours(bank, labels, 4, 20, 0.07)
    assert np.array_equal(head(query).argmax(1).numpy(), theirs.predict(query.double().numpy()))


def test_the_length_of_features_and_a_small_temperature_change_nothing_they_should_not() -> None:
    torch.manual_seed(0)
    bank, query, labels = torch.randn(40, 6), torch.randn(9, 6), torch.randint(0, 4, (40,))
    head = knn.NearestNeighbours(bank, labels, 4, 5, 0.07)
    torch.testing.assert_close(head(100 * query), head(query))
    nearest = knn.NearestNeighbours(bank, labels, 4, 5, 0.001)(query)
    assert torch.isfinite(nearest).all()
    closest = torch.nn.functional.cosine_similarity(query[:, None], bank[None], dim=2).argmax(1)
    assert torch.equal(nearest.argmax(1), labels[closest])


def test_under_autocast_it_is_the_same() -> None:
    torch.manual_seed(0)
    head = knn.NearestNeighbours(torch.randn(40, 6), torch.randint(0, 4, (40,)), 4, 5, 0.07)
    query = torch.randn(9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(query), head(query.float()))
        inside = head(query)
    assert torch.equal(inside, head(query))


@pytest.mark.slow
def test_a_run_is_scored_by_the_votes_of_its_training_images_and_trains_nothing() -> None:
    spec = planned("knn(k=7)", "augmentation=shift")
    done = run_trial(spec, Registry(), CPU)
    registry, name = Registry(), spec.backbone.name
    task, dataset = find_task("classification"), find_task("classification").read(registry.dataset("digits"))
    model = task.build(registry.backbone(name), 10, spec.protocol).eval()
    chosen = done.predictions["training_indices"]

    def features(split: Split, indices: Any) -> Tensor:
        with torch.no_grad():
            return model.pooled(at_test(split.images.take(indices), 12, "none"))

    bank, labels = features(dataset.train, chosen), dataset.train.labels[chosen].tolist()
    query = features(dataset.test, np.arange(40))
    expected = np.array(votes(query, bank, labels, 10, 7, 0.07))
    assert np.array_equal(done.predictions["test"][0][:40], expected.argmax(1))
    sure = done.predictions["test_confidence"][0][:40] / 65535
    np.testing.assert_allclose(sure, expected.max(1), atol=1e-3)
    assert [point.step for point in done.record.curve] == [0]
    assert done.record.stages == []


@pytest.mark.slow
def test_a_kept_model_is_loaded_and_says_the_same(tmp_path: Path) -> None:
    spec = planned("knn")
    _, folder = train(spec, tmp_path)
    (step,) = kept_models(folder)
    scored = recorded(folder)
    classes, confidence = confidences(folder, step, spec)
    assert np.array_equal(classes, scored["test"][0])
    np.testing.assert_allclose(confidence, scored["test_confidence"][0], atol=2e-5)
    path = kept_models(folder)[step]
    assert isinstance(load_model(path, read_facts(path), Registry()).head, knn.NearestNeighbours)
