"""The validation split of a run, for methods that choose by it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

import numpy as np

from bench.backbones import Model
from bench.data import Split, TrainingImages, Validation
from bench.metrics import score_of, scores
from bench.task import Task

AnyImages = TypeVar("AnyImages", bound=TrainingImages)


def with_validation(data: AnyImages, split: Split | None, task: Task) -> AnyImages:
    """Training images of a run whose method may choose by its validation split, where it has one."""
    if split is None or not len(split):
        return data
    images = replace(data, split=split, indices=np.arange(len(split)))

    def scorer(model: Model) -> float:
        metric, predictions = score_of(task.name), task.predict(model, split, images)
        score = scores(predictions)[metric.name]
        if not math.isfinite(score):
            return -math.inf
        return metric.sign * score

    return replace(data, held_out=Validation(images, scorer))
