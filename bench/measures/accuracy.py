"""Accuracy of a kept model on the images of a split: of those that it was trained on too, by ``--split train``.

A record has the accuracy on the validation and the test split; on the training images it takes a pass over them all. A
curve of it is made by keeping the model of each point: it is the accuracy of that model on the images as evaluation
views them, not the running mean over augmented batches that is often printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.measure import Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "accuracy",
    gives=(Metric("accuracy", "accuracy", "%", low=0, high=100, measure="accuracy"),),
    source="the share of images whose class has the highest logit",
)


def measure(subject: Subject) -> Measured:
    """In percent of the images."""
    import torch

    right = 0
    with torch.inference_mode():
        for images, labels in subject.batches():
            with subject.precision():
                logits = subject.model(images).logits
            right += int((logits.argmax(1) == labels).sum())
    return Measured({"accuracy": 100 * right / len(subject.split)})
