"""One run, from its spec to what its record keeps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.backbones import Model, build_model
from bench.backbones.build import build_source_head, input_size
from bench.cards import BackboneCard, DatasetCard
from bench.cards.method import takes_source_head
from bench.data import Dataset, Split, TrainingImages, hold_out, read_data, sample
from bench.data.cache import cached
from bench.data.dataset import Indices
from bench.errors import InputError
from bench.fit import Progress, fit, predict, trained
from bench.method import Method
from bench.registry import Registry
from bench.shared import train_or_take
from bench.shelf import Shelf
from bench.spec import MethodSpec, Named, RunSpec, derive, digest


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind.

    Attributes:
        record: plain data: curve, stages, subset, timing.
        predictions: class indices (points, images) for ``test`` and, where there is one, ``val``; with ``test_labels``
            and the ``training_indices`` that were sampled.
    """

    record: dict[str, Any]
    predictions: dict[str, npt.NDArray[np.int64]]


def run_trial(spec: RunSpec, registry: Registry, device: torch.device, keep: Path | None = None) -> Outcome:
    """Train and evaluate one run.

    Args:
        spec: the run.
        registry: finds its method, backbone and dataset.
        device: where it is trained.
        keep: the folder where what runs share is kept: trained stages and decoded images; without it a run does
            everything itself.

    Raises:
        InputError: something is no longer what the spec was planned with.
        Diverged: the loss is not finite.
    """
    started = time.perf_counter()
    card = registry.backbone(spec.backbone.name)
    data_card = registry.dataset(spec.dataset.name)
    _unchanged(spec.backbone, card)
    _unchanged(spec.dataset, data_card)
    method = build_method(spec, registry)
    dataset = _opened(data_card)
    torch.manual_seed(spec.seeds.init)
    model = build_model(card, len(dataset.classes), spec.protocol.image_size, spec.protocol.drop_path)
    if takes_source_head([registry.method(part.name) for part in (spec.method, *spec.method.policies)], card):
        model.source_head = build_source_head(card)
    model.to(device)
    size = input_size(model)
    if keep:
        dataset = cached(dataset, data_card.means, keep / "cache", size, spec.protocol.augmentation)
    train, val, test = splits(dataset, spec)
    data = TrainingImages(
        split=dataset.train,
        indices=train,
        classes=model.classes,
        protocol=spec.protocol,
        size=size,
        seed=spec.seeds.order,
        device=device,
    )
    run = _Run(spec, data, val, test, Shelf(keep / "shared") if keep else None)
    run.train(method, model)
    seconds = time.perf_counter() - started
    record = {
        "status": "done",
        "curve": run.curve,
        "stages": run.stages,
        "subset": {"images": len(train), "of": len(data.split), "digest": digest(train.tolist())},
        "validation_images": len(val) if val else 0,
        "test_images": len(test),
        "timing": {"seconds": round(seconds, 3), "evaluation_seconds": round(run.evaluation_seconds, 3)},
    }
    return Outcome(record, {**run.stacked_predictions(), "training_indices": train})


def build_method(spec: RunSpec, registry: Registry) -> Method:
    """The spec's method with its policies, as a value. Raises ``InputError`` where a file changed since the plan."""
    method = _built(spec.method, registry)
    for policy in spec.method.policies:
        method = _built(policy, registry, inner=method)
    return method


def _built(spec: MethodSpec, registry: Registry, **inner: Method) -> Method:
    card = registry.method(spec.name)
    if card.means != spec.means:
        raise InputError(f"{card.path}: the method changed since the run was planned; plan again")
    method = registry.load_method(card)(**dict(spec.hyper), **inner)
    assert isinstance(method, Method)
    return method


def splits(dataset: Dataset, spec: RunSpec) -> tuple[Indices, Split | None, Split]:
    """The sampled training indices, the validation split and the test split of a run.

    Where the dataset has no validation split, a share of each class of the training split is held out first, by a
    seed that depends on the dataset alone.
    """
    pool, val = np.arange(len(dataset.train)), dataset.val
    if val is None and spec.protocol.validation:
        pool, out = hold_out(dataset.train.labels, spec.protocol.validation, derive("hold out", spec.dataset.means))
        val = Split(_Part(dataset.train, out), dataset.train.labels[out])
    kept = sample(dataset.train.labels[pool], spec.rate, spec.seeds.subset)
    return pool[kept], val if val is not None and len(val) else None, dataset.test


class _Run:
    """The curve of a run while it is being made."""

    def __init__(
        self, spec: RunSpec, data: TrainingImages, val: Split | None, test: Split, shelf: Shelf | None = None
    ) -> None:
        self.spec, self.data, self.splits, self.shelf = spec, data, {"val": val, "test": test}, shelf
        self.curve: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []
        self.predictions: dict[str, list[npt.NDArray[np.int64]]] = {"val": [], "test": []}
        self.evaluation_seconds = 0.0

    def train(self, method: Method, model: Model) -> None:
        recipe = self.spec.protocol.recipe.resolved(len(self.data), self.spec.protocol.batch_size)
        budget, points = recipe.steps, self.spec.protocol.evaluations
        stops = {max(1, round(budget * (number + 1) / points)) for number in range(points)}
        done, optimizer, last = 0, None, Progress(0, 0.0, {})

        def at_stop(progress: Progress) -> None:
            # the last point waits for the end of the generator: what a method does after its last stage counts
            nonlocal last
            last = progress
            if progress.step < budget:
                self.evaluate(stage.model, progress)

        for stage in method.stages(model, recipe, self.data):
            steps = stage.recipe.last - stage.recipe.first
            weights = sum(parameter.numel() for _, parameter in trained(stage))
            told: dict[str, Any] = {"steps": steps, "trained_weights": weights}
            counted = 0 if stage.shared and stage.shared.extra else steps
            if done + counted > budget:
                raise InputError(f"{self.spec.method.name}: its stages take {done + counted} steps of {budget}")
            if stage.shared:
                told["shared"], optimizer = train_or_take(stage, self.spec, self.data, self.shelf), None
            else:
                at = stops.__contains__
                optimizer = fit(stage, self.data, start=done, stops=at, at_stop=at_stop, previous=optimizer)
            self.stages.append(told)
            done, model = done + counted, stage.model
        self.forget(done)
        self.evaluate(model, last if last.step == done else Progress(done, 0.0, {}))

    def forget(self, step: int) -> None:
        """Take back the point at a step, if there is one: it was measured before the method had ended."""
        if self.curve and self.curve[-1]["step"] == step:
            self.curve.pop()
            for predictions in self.predictions.values():
                del predictions[-1:]

    def evaluate(self, model: Model, progress: Progress) -> None:
        """Add a point to the curve."""
        started = time.perf_counter()
        point: dict[str, Any] = {"step": progress.step, "learning_rate": progress.learning_rate, "loss": progress.terms}
        for name, split in self.splits.items():
            point[name] = None
            if split is not None:
                predicted = predict(model, split, self.data)
                self.predictions[name].append(predicted)
                point[name] = scores(predicted, split.labels)
        self.curve.append(point)
        self.evaluation_seconds += time.perf_counter() - started

    def stacked_predictions(self) -> dict[str, npt.NDArray[np.int64]]:
        """The predictions of every point of the curve, and what was to be predicted."""
        small = np.uint16 if self.data.classes < 2**16 else np.int64
        stacked: dict[str, Any] = {}
        for name, split in self.splits.items():
            if split is not None:
                stacked[name] = np.stack(self.predictions[name]).astype(small)
                stacked[f"{name}_labels"] = split.labels.astype(small)
        return stacked


def scores(predicted: Indices, labels: Indices) -> dict[str, Any]:
    """Top-1 and mean per-class accuracy in percent, and the number of images predicted right."""
    right = predicted == labels
    present = np.unique(labels)
    per_class = [float(right[labels == label].mean()) for label in present]
    return {
        "top1": 100 * float(right.mean()),
        "mean_per_class": 100 * float(np.mean(per_class)),
        "right": int(right.sum()),
    }


@dataclass(frozen=True)
class _Part:
    """Some of a split's images."""

    split: Split
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Indices) -> Any:
        return self.split.images.take(self.indices[indices])


def _unchanged(planned: Named, card: BackboneCard | DatasetCard) -> None:
    if planned.means != card.means:
        raise InputError(f"{planned.name}: it changed since the run was planned; plan again")


_OPEN: dict[str, Dataset] = {}


def _opened(card: DatasetCard) -> Dataset:
    """The dataset, kept open between the runs of a process."""
    if card.means not in _OPEN:
        _OPEN.clear()
        _OPEN[card.means] = read_data(card)
    return _OPEN[card.means]
