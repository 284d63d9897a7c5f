"""A run's model and images with nothing in them: methods are gone through on them, and nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bench.backbones import Model
from bench.backbones.build import equip
from bench.cards.backbone import DRAWN
from bench.cards.method import beside
from bench.data import ArrayImages, Dataset, TrainingImages, Validation
from bench.registry import Registry
from bench.spec import RunSpec
from bench.task import find_task


def empty_model(spec: RunSpec, registry: Registry) -> Model:
    """The run's model without its weights, with what of its pre-training the method takes."""
    card, dataset = registry.backbone(spec.backbone.name), registry.dataset(spec.dataset.name)
    model = find_task(dataset.task).build(replace(card, weights="none"), _classes(spec, registry), spec.protocol)
    asked = beside([registry.method(each.name) for each in (spec.method, *spec.method.policies)], card)
    if "source_head" in asked:
        model.source_head = nn.Linear(model.dim, 1000)
    equip(model, replace(card, weights=DRAWN), asked - {"source_head"})
    return model


def empty_images(spec: RunSpec, registry: Registry, model: Model, count: int = 1) -> TrainingImages:
    """So many images for a run's model, each of one black pixel; a validation split of them scores 0."""
    task, classes = find_task(registry.dataset(spec.dataset.name).task), _classes(spec, registry)
    pixels = np.broadcast_to(np.zeros(1, np.uint8), (count, 1, 1, 1))
    nothing = task.noise(ArrayImages(pixels), classes, np.random.RandomState(0))
    data = Dataset([str(label) for label in range(classes)], nothing, None, nothing)
    images = task.images(spec, data, np.arange(count), model, torch.device("cpu"))
    return replace(images, held_out=Validation(images, lambda _: 0.0))


def _classes(spec: RunSpec, registry: Registry) -> int:
    return int(registry.dataset(spec.dataset.name).facts["classes"])


@contextmanager
def without_values() -> Iterator[None]:
    """Inside, large tensors keep whatever lies in their memory: what is drawn is not looked at, and takes long."""
    drawing = {"normal_", "uniform_", "erfinv_", "clamp_", "mul_", "add_"}

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            drawn = args[0] if args else (kwargs or {}).get("tensor")  # torch.nn.init names it
            if getattr(function, "__name__", "") in drawing and drawn is not None and drawn.numel() > 4096:
                return drawn
            return function(*args, **(kwargs or {}))

    with Undrawn():
        yield
