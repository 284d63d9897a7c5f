"""What [cls] of the last block attends to, image by image, beside the image's mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from bench.backbones.vit import grid_size
from bench.measure import CannotMeasure
from bench.models.subject import Subject


@torch.inference_mode()
def attended(subject: Subject) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]]:
    """Each image's weights of [cls] over the patches, (H, h, w), and its mask, (S, S).

    The forward pass of a batch ends where they are known, and nothing of a batch is kept. Raises ``CannotMeasure``: the
    patches do not cover the images, so that pixels and patches cannot be matched.
    """
    grid, size = grid_size(subject.model.backbone), subject.facts.image_size
    if any(size % patches for patches in grid):
        raise CannotMeasure(f"images of {size} pixels are not cut into {grid[0]} × {grid[1]} whole patches")
    for images, masks in subject.masked_batches():
        with subject.precision():
            maps = subject.model.probe(images, "cls_attention_map")
        weights = maps.double().cpu().numpy()
        yield from zip(weights.reshape(*weights.shape[:2], *grid), masks.numpy(), strict=True)


def pooling_remark(subject: Subject) -> tuple[str, ...]:
    """What is to be told where the head of a model does not read [cls], so that no loss shapes its last attention."""
    if getattr(subject.model.backbone, "global_pool", "token") != "avg":
        return ()
    return ("the head pools the patches: no loss reaches what [cls] attends to in the last block",)
