"""What a dense model says of every pixel of the images of a split, as predictions keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.data.ahead import Preparation, ahead, feeders
from bench.data.augment import unit
from bench.data.dataset import MaskedSplit
from bench.data.dense import Box, labelled, shown_in, sliding_view, stitched, whole_view, windows
from bench.device.precision import mixed_precision
from bench.metrics.segmentation import MaskPredictions, counts_of
from bench.protocol import Protocol

VIEWS = 16
"""Views, whole images or windows, that a model is given at a time."""

IMAGES = 8
"""Images of which whole views or windows are taken together."""

Shown = tuple[Tensor, list[Box], tuple[int, int]]
"""Views of an image, uint8 (N, C, S, S); where they lie in it; its height and width."""


def predict_pixels(
    model: Model, split: MaskedSplit, data: TrainingImages, progress: Callable[[int], None] = lambda images: None
) -> MaskPredictions:
    """The pixels of each image of a split, in order, counted by class. Leaves the model in eval mode.

    Labels have the size of the mask that comes with an image. ``progress`` is told how many images are through.
    """
    counts = []
    for number, (labels, mask) in enumerate(pixel_labels(model, split, data.protocol, data.size, data.device)):
        counts.append(counts_of(labels.numpy(), mask.numpy(), data.classes))
        if (number + 1) % IMAGES == 0 or number + 1 == len(split):
            progress(number + 1)
    return MaskPredictions.of_images(counts)


@torch.inference_mode()
def pixel_labels(
    model: Model, split: MaskedSplit, protocol: Protocol, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each image of a split, in order: the predicted class of each pixel of its mask, and the mask, uint8 (H, W).

    The model is on the device, and given views of so many pixels a side. It is left in eval mode.
    """
    model.eval()
    slides, precision = protocol.inference == "slide", protocol.precision

    def views(begin: int) -> Preparation[tuple[list[Shown], list[Tensor]]]:
        indices = np.arange(begin, min(begin + IMAGES, len(split)))
        images, masks = split.pairs(indices)
        return Preparation(0, lambda a, b: (), ([views_of(image, size, slides) for image in images], masks))

    with closing(ahead(views, range(0, len(split), IMAGES), feeders(device))) as feed:
        for _, prepared in feed:
            images, masks = prepared.beside
            for logits, mask in zip(_logits(model, images, precision, device), masks, strict=True):
                yield labelled(logits, *mask.shape).cpu(), mask


def views_of(image: Tensor, size: int, slides: bool) -> Shown:
    """What a model is given of an image, uint8 (C, H, W): windows of it, or the whole of it as one square."""
    if not slides:
        return whole_view(image, size), [(0, 0, size, size)], (size, size)
    image = sliding_view(image, size)
    height, width = image.shape[-2:]
    boxes = windows(height, width, size)
    return shown_in(image, boxes, size), boxes, (height, width)


def _logits(model: Model, images: list[Shown], precision: str, device: torch.device) -> Iterator[Tensor]:
    """Of each image its logits (K, H, W): views of several images are computed together."""
    pending = [view for views, _, _ in images for view in views]
    computed: list[Tensor] = []
    for views, boxes, (height, width) in images:
        while len(computed) < len(views):
            batch, pending = pending[:VIEWS], pending[VIEWS:]
            with mixed_precision(precision, device):
                computed += model(unit(torch.stack(batch).to(device))).logits
        mine, computed = computed[: len(views)], computed[len(views) :]
        yield mine[0] if len(boxes) == 1 else stitched(torch.stack(mine), boxes, height, width)
