"""What a model for segmentation takes the pixels of some images for, beside their masks: arrays alone, for figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.measure import Measure, Measured

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure("predicted_masks", gives=(), images=4, task="segmentation", source="our choice")


def measure(subject: Subject) -> Measured:
    """Arrays ``pictures`` uint8 (n, S, S, C), ``truth`` and ``predicted`` uint8 (n, S, S), and ``classes``, names (K,).

    S is the size of what the model is given; images are squeezed to a square, after their pixels were told.
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    from bench.data.augment import resized
    from bench.data.dataset import MaskedSplit
    from bench.training.pixel_answers import pixel_labels

    split, size = subject.split, subject.facts.image_size
    assert isinstance(split, MaskedSplit)
    both = []
    for number, pair in enumerate(pixel_labels(subject.model, split, subject.spec.protocol, size, subject.device)):
        both.append(resize(torch.stack(pair), [size, size], InterpolationMode.NEAREST_EXACT))
        subject.progress(number + 1, len(split))
    predicted, truth = torch.stack(both, 1).numpy()
    pictures = resized(split.images.take(np.arange(len(split))), size).permute(0, 2, 3, 1).numpy()
    names = np.asarray(subject.facts.classes, dtype=np.str_)
    return Measured({}, {"pictures": pictures, "truth": truth, "predicted": predicted, "classes": names})
