"""The passes of a step over its batch, all of which begin alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.device.distributed import random_state, set_random_state
from bench.method import Stage, Terms, one_pass


class Passes:
    """Computes the gradients of one batch, as often as a step asks for them.

    A further pass is at other weights and else the same: it draws what the first one drew (dropout, stochastic depth,
    what a loss draws), and begins with its buffers (running statistics, queues) and ``state`` (momentum encoders).
    What these are in the end is what the first pass made of them.

    Args:
        stage: of which these are.
        run: computes the gradients of the weights as they are, and gives the terms of the loss.
    """

    def __init__(self, stage: Stage, run: Callable[[], Terms]) -> None:
        self.stage, self.run = stage, run
        self.start: tuple[Any, list[Tensor]] | None = None

    def __call__(self) -> Terms:
        if self.stage.step is one_pass:
            return self.run()
        if self.start is None:
            self.start = self._now()
            return self.run()
        first = self._now()
        self._bring(self.start)
        terms = self.run()
        self._bring(first)
        return terms

    def _now(self) -> tuple[Any, list[Tensor]]:
        return random_state(), [tensor.detach().clone() for tensor in _changed(self.stage)]

    def _bring(self, kept: tuple[Any, list[Tensor]]) -> None:
        random, values = kept
        set_random_state(random)
        with torch.no_grad():
            for tensor, value in zip(_changed(self.stage), values, strict=True):
                tensor.copy_(value)


def _changed(stage: Stage) -> list[Tensor]:
    """What a loss may change: buffers of all that a stage has, and the weights of what it keeps beside it."""
    modules = [item for item in (stage.model, *stage.items, *stage.state) if isinstance(item, nn.Module)]
    buffers = [buffer for module in modules for buffer in module.buffers()]
    return [*buffers, *(weight for module in stage.state for weight in module.parameters())]
