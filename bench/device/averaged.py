"""A loss whose gradients are averaged over the processes that share a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.device.distributed import ranks


class Averaged:
    """A module of a loss, of which each backward pass leaves the mean of all processes' gradients.

    torch's DistributedDataParallel computes it while the pass is still going on. It is to know which weights have no
    gradient before it begins, for which it goes through the whole pass and has all processes agree, at every step; so
    it is told that all have one, until some had none (``settle``), which are the same in all processes.

    Args:
        module: owns the weights.
        passes: backward passes by which the gradients of a step add up.
    """

    def __init__(self, module: nn.Module, passes: int = 1) -> None:
        self.module, self.weights = module, [each for each in module.parameters() if each.requires_grad]
        self.looks = passes > 1
        self.loss = module if ranks() == 1 else self._parallel()

    def __call__(self, batch: Any) -> dict[str, Tensor]:
        """The terms of the loss."""
        terms: dict[str, Tensor] = self.loss(batch)
        return terms

    def settle(self) -> None:
        """To be called after each backward pass: average what is not averaged since a weight had no gradient."""
        if ranks() == 1 or self.looks or all(weights.grad is not None for weights in self.weights):
            return
        # it still waits for the gradient of that weight, and until then leaves those of all others as they are here
        for weights in self.weights:
            if weights.grad is not None:
                dist.all_reduce(weights.grad)
                weights.grad.div_(ranks())
        self.looks = True
        self.loss = self._parallel()

    def _parallel(self) -> nn.Module:
        # each pass would begin with sending the first process's buffers: those that a model does not keep never change
        weights = {name for name, _ in self.module.named_parameters(remove_duplicate=False)}
        kept = self.module.state_dict().keys() - weights
        constant = [] if kept else [name for name, _ in self.module.named_buffers()]
        ignore: Callable[..., None] = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        ignore(self.module, constant)
        return DistributedDataParallel(self.module, find_unused_parameters=self.looks)
