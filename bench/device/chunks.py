"""A forward pass in chunks of the images, where memory is short; a loss still sees the outputs of the whole batch.

The activations of a chunk are not kept: the way back computes them again (torch's checkpointing, with the same random
draws), so a step takes about a third longer and memory holds one chunk's. As the batch stays whole behind the model, a
contrastive loss has the contrast set it was given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_COUNT = ContextVar("chunks", default=1)


@contextmanager
def chunked(count: int) -> Iterator[None]:
    """Inside, models compute a pass in so many chunks; at most one an image, or a group of images."""
    token = _COUNT.set(count)
    try:
        yield
    finally:
        _COUNT.reset(token)


def in_chunks(run: Callable[[Tensor], Sequence[Tensor]], images: Tensor, unit: int = 1) -> Sequence[Tensor]:
    """What a pass gives for images (B, ...), each output (B, ...), computed in as many chunks as ``chunked`` says.

    ``run`` gives the outputs of some images. It is called again on the way back, and must compute the same. Every
    ``unit`` consecutive images are in one chunk.
    """
    if _COUNT.get() == 1:
        return run(images)
    units = math.ceil(len(images) / unit)
    outputs = [
        checkpoint(run, chunk, use_reentrant=False) if torch.is_grad_enabled() else run(chunk)
        for chunk in torch.split(images, unit * math.ceil(units / _COUNT.get()))
    ]
    return [torch.cat(chunks) for chunks in zip(*outputs, strict=True)]
