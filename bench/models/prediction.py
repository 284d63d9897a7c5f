"""What a trained model says of images, and how often it is right."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bench.data.augment import test_view
from bench.device.precision import mixed_precision
from bench.device.transfer import images_at_once
from bench.errors import printable
from bench.images.raster import Undecodable
from bench.models.pictures import Pictures
from bench.models.scorer import Scorer, as_channels
from bench.records.kept import ModelFacts

UNREADABLE = (OSError, Undecodable)
"""What decoding a damaged image raises."""


@dataclass(frozen=True)
class Answer:
    """What a model says of an image.

    Attributes:
        label: the name of its class, as somebody says it; empty where nobody does.
        predicted: the name of the class that the model takes it for; empty where it cannot be told.
        confidence: the probability of that class.
        problem: why it cannot be read, or told.
    """

    name: str
    label: str
    predicted: str = ""
    confidence: float = 0.0
    problem: str = ""


@torch.inference_mode()
def answers(scorer: Scorer, facts: ModelFacts, pictures: Pictures, device: torch.device) -> list[Answer]:
    """What a model says of each image, in order; damaged ones are among them, with the reason."""
    scorer.to(device)
    result: list[Answer] = []
    at_once = images_at_once(device)
    batches = range(0, len(pictures.names), at_once)
    for start in tqdm(batches, desc="images", unit="batch", disable=None, leave=False):
        places = range(start, min(start + at_once, len(pictures.names)))
        read = {place: _decoded(pictures, place) for place in places}
        images = {place: image for place, image in read.items() if isinstance(image, Tensor)}
        scores = _scores(scorer, facts, list(images.values()), device) if images else {}
        rows = dict(zip(images, scores, strict=True))
        for place in places:
            name, label = pictures.names[place], pictures.classes[place]
            if place not in rows:
                result.append(Answer(name, label, problem=str(read[place])))
                continue
            best, confidence = rows[place]
            if not math.isfinite(confidence):
                result.append(Answer(name, label, problem="the model's logits of it are not finite"))
                continue
            result.append(Answer(name, label, facts.classes[best], confidence))
    return result


def _decoded(pictures: Pictures, place: int) -> Tensor | str:
    """An image, uint8 (C, H, W), or why it cannot be read."""
    try:
        return pictures.images.take(np.array([place]))[0]
    except UNREADABLE as error:
        return printable(error.reason if isinstance(error, Undecodable) else f"{type(error).__name__}: {error}")


def _scores(scorer: Scorer, facts: ModelFacts, images: list[Tensor], device: torch.device) -> list[tuple[int, float]]:
    """Of each image the class with the largest logit, and its probability."""
    view = as_channels(test_view(images, facts.image_size, facts.augmentation), facts.channels)
    with mixed_precision(facts.precision, device):
        logits = scorer(view.to(device))
    confidence = logits.double().softmax(1).amax(1)
    return list(zip(logits.argmax(1).tolist(), confidence.tolist(), strict=True))


@dataclass(frozen=True)
class Tally:
    """How often a model is right, over all and of each class that has images."""

    right: int
    images: int
    classes: dict[str, tuple[int, int]]


def tally(scored: list[Answer], facts: ModelFacts) -> Tally | None:
    """How often a model is right of the images that can be read; None where no image has a class.

    Raises ``KeyError`` with a class that the model does not know.
    """
    labelled = [answer for answer in scored if answer.label and not answer.problem]
    for answer in labelled:
        if answer.label not in facts.classes:
            raise KeyError(answer.label)
    images = Counter(answer.label for answer in labelled)
    right = Counter(answer.label for answer in labelled if answer.predicted == answer.label)
    classes = {name: (right[name], images[name]) for name in facts.classes if images[name]}
    return Tally(right.total(), images.total(), classes) if labelled else None
