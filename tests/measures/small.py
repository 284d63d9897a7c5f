"""A small trained model with a few images, as a measure is given it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch

from bench.backbones import build_model
from bench.data.dataset import ArrayImages, Split
from bench.measure import Option
from bench.models.subject import Subject
from bench.records.kept import ModelFacts
from bench.registry import Registry

SIDE, CLASSES = 12, 5


class SmallFacts:
    """Of a model, what a measure reads."""

    image_size, augmentation, precision = SIDE, "none", "fp32"


def drawn_images(images: int, channels: int = 1, seed: int = 0) -> Split:
    """Images of drawn levels, each with a class."""
    state = np.random.RandomState(seed)
    pixels = state.randint(0, 256, (images, SIDE, SIDE, channels)).astype(np.uint8)
    return Split(ArrayImages(pixels), np.arange(images) % CLASSES)


def subject_of(
    backbone: str, measure: str, options: Mapping[str, Option] | None = None, images: int = 20, channels: int = 1
) -> Subject:
    """A backbone of the suite with a head of drawn weights, and images; the measure's options, but for some."""
    torch.manual_seed(0)
    registry = Registry()
    model = build_model(registry.backbone(backbone), CLASSES, SIDE, 0.0).eval().requires_grad_(False)
    model.head.weight.normal_()
    return Subject(
        model,
        cast(ModelFacts, SmallFacts),
        cast(Any, None),
        drawn_images(images, channels),
        images,
        torch.device("cpu"),
        options={**registry.measure(measure).options, **(options or {})},
        load_training=lambda: drawn_images(30, channels, seed=1),
    )
