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
from bench.data.ahead import Preparation, fed
from bench.data.as_tested import AsTested
from bench.data.dataset import Indices
from bench.device.precision import mixed_precision
from bench.device.transfer import Collected, images_at_once
from bench.metrics import Predictions
from bench.metrics.predictions import compact


@torch.inference_mode()
def predict(
    model: Model,
    split: Split,
    data: TrainingImages,
    batch_size: int = 0,
    progress: Callable[[int], None] = lambda images: None,
) -> Predictions:
    """What a model says of every image of a split, in order. Leaves the model in eval mode.

    Where the split has some of the classes alone (``Split.among``), an answer is one of them: the others have no
    probability. A batch has as many images as the device takes at a time, or ``batch_size``. ``progress`` is told after
    each one how many images are through.
    """
    model.eval()
    at_once = batch_size or images_at_once(data.device)
    answers, among = Collected(dim=1), None if split.among is None else torch.from_numpy(split.among).to(data.device)
    views = AsTested(split.images, data.size, data.protocol.augmentation)
    batches = [np.arange(begin, min(begin + at_once, len(split))) for begin in range(0, len(split), at_once)]
    labels = torch.from_numpy(np.asarray(split.labels, np.int64))

    def prepare(indices: Indices) -> Preparation[Tensor]:
        return views.preparation(indices, labels[torch.from_numpy(indices)])

    with closing(fed(prepare, batches, data.device, at_once)) as feed:
        for indices, prepared in feed:
            with mixed_precision(data.protocol.precision, data.device):
                logits = model(views.batch(indices, prepared.images[0])).logits
            if among is not None:
                logits = some_classes(logits, among)
            answers.add(_of_images(logits, prepared.beside))
            progress(int(indices[-1]) + 1)
    predicted, *exact = answers.whole().numpy()
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
