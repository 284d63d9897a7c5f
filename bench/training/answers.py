"""What a classifier says of the images of a split, as predictions keep it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import Split, TrainingImages
from bench.data.ahead import ahead, feeders
from bench.data.as_tested import AsTested
from bench.device.precision import mixed_precision
from bench.metrics import Predictions
from bench.metrics.predictions import compact


@torch.inference_mode()
def predict(
    model: Model,
    split: Split,
    data: TrainingImages,
    batch_size: int = 64,
    progress: Callable[[int], None] = lambda images: None,
) -> Predictions:
    """What a model says of every image of a split, in order. Leaves the model in eval mode.

    Where the split has some of the classes alone (``Split.among``), an answer is one of them: the others have no
    probability. ``progress`` is told after each batch how many images are through.
    """
    model.eval()
    parts, among = [], split.among

    views = AsTested(split.images, data.size, data.protocol.augmentation)
    batches = [np.arange(begin, min(begin + batch_size, len(split))) for begin in range(0, len(split), batch_size)]
    labels = torch.from_numpy(np.asarray(split.labels, np.int64))
    with closing(ahead(views.part, batches, feeders(data.device), batch_size)) as feed:
        for indices, part in feed:
            with mixed_precision(data.protocol.precision, data.device):
                logits = model(views.batch(indices, part, data.device)).logits
            if among is not None:
                logits = some_classes(logits, torch.from_numpy(among).to(logits.device))
            parts.append(_of_images(logits, labels[torch.from_numpy(indices)].to(data.device)).cpu())
            progress(int(indices[-1]) + 1)
    predicted, *exact = torch.cat(parts, 1).numpy()
    classes = predicted.astype(np.uint16 if data.classes < 2**16 else np.int64)
    return Predictions(classes, split.labels.astype(classes.dtype), compact(*exact))


def some_classes(logits: Tensor, among: Tensor) -> Tensor:
    """Logits (B, K) restricted to groups of classes (G, M): a group's first class has the largest of the group.

    Those of all other classes are -inf, so that softmax is over the groups alone.
    """
    restricted = torch.full_like(logits, -math.inf)
    return restricted.index_copy(1, among[:, 0], logits[:, among].amax(2))


def _of_images(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each image, computed in double precision: predicted class and what ``compact`` takes, (5, images).

    Of equal logits the first class comes first, in the prediction as in the rank.
    """
    logs = logits.double().log_softmax(1)
    probabilities, true = logs.exp(), labels[:, None]
    ordered = logits.nan_to_num(nan=math.inf)  # as argmax has it
    true_logit = ordered.gather(1, true)
    earlier = torch.arange(logits.shape[1], device=logits.device) < true
    above = (ordered > true_logit) | ((ordered == true_logit) & earlier)
    rows = (
        logits.argmax(1),
        probabilities.amax(1),
        logs.gather(1, true)[:, 0],
        1 + above.sum(1),
        probabilities.square().sum(1),
    )
    return torch.stack([row.double() for row in rows])
