"""StochNorm: batch norms that choose, channel by channel, between the batch's and the running statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


def chosen_branches(by_running: Tensor, by_batch: Tensor, s: Tensor) -> Tensor:
    """Each channel from one of two branches: ẑ = (1 − s) ẑ_0 + s ẑ_1 with s from 0 and 1 (StochNorm, section 3).

    Both branches are given after the affine map γ ẑ + β that they share, which changes nothing: s is 0 or 1.

    Args:
        by_running: ẑ_0 (B, C, H, W), normalised by the running mean and variance.
        by_batch: ẑ_1 (B, C, H, W), normalised by the mean and variance of the batch.
        s: (C,), true where a channel takes ẑ_1.

    Returns:
        (B, C, H, W), in the dtype of the branches.

    Raises:
        ValueError: the shapes are not those above.
    """
    if by_batch.ndim != 4 or by_running.shape != by_batch.shape or s.shape != by_batch.shape[1:2]:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (by_running, by_batch, s))
        raise ValueError(f"the branches and s have shapes {shapes}; they must be (B, C, H, W) twice and (C,)")
    return torch.where(s.bool()[:, None, None], by_batch, by_running)


class StochNorm2d(nn.BatchNorm2d):
    """A batch norm of which each channel, at each step of training, uses the batch's statistics with probability p.

    The other channels use the running statistics as they were before the step, without a gradient through them. Running
    statistics are updated as ever, for all channels; in eval mode nothing differs from ``nn.BatchNorm2d``, and p = 1 is
    ``nn.BatchNorm2d`` in training too.

    Args:
        norm: the batch norm whose place is taken; its parameters and buffers are shared, not copied.
        p: probability of the batch's statistics, drawn for each channel from torch's generator of the input's device.
    """

    def __init__(self, norm: nn.BatchNorm2d, p: float) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(norm, name))
        self.p = p
        self.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) normalised."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        # copies: the backward pass of this branch must not see the statistics after their update
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        by_running = F.batch_norm(input, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        s = torch.rand(self.num_features, device=input.device) < self.p
        return chosen_branches(by_running, super().forward(input), s)


@dataclass(frozen=True)
class StochNorm(Method):
    """Plain fine-tuning of a backbone whose batch norms are replaced by ``StochNorm2d``.

    p is the probability of the batch's statistics, as in the released code: 1 is plain fine-tuning, and at 0 all
    channels keep to the running statistics. For evaluation the model is the same network as before.

    Its gradient is not that of any published run. The authors' code and TLlib's normalise both branches with the same
    buffers, which the second branch updates before the backward pass, so the gradient of the running branch is taken at
    statistics that its output was not made with: some per cent off. Here it is the gradient of the formula.

    The authors' code and TLlib train the head at ten times the learning rate of the backbone, TLlib in its baseline
    too: here ``head_lr`` of the protocol.
    """

    paper = "Kou, You, Long and Wang, 'Stochastic Normalization', NeurIPS 2020, section 3"
    needs = {"batch_norm"}

    p: float = hyper(0.5, low=0, high=1, source="released code; probability of the batch's statistics")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage, after every batch norm of the backbone has been replaced in its place."""
        norms = set(model.part("batch_norm"))
        for parent in list(model.backbone.modules()):
            for name, child in list(parent.named_children()):
                if child in norms and isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, StochNorm2d(child, self.p))
        yield Stage(model, self.loss, recipe)
