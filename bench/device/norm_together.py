"""Batch norms that see a batch whole though processes have a part of it each.

Each process sends the count, mean and sum of squared deviations of its images, and all put them together (Chan, Golub
and LeVeque, 1979), as torch's ``SyncBatchNorm`` does; that one is for GPUs alone. The gradient is that of the whole
batch, too: what stands for its means in the formula is added up over the processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from bench.device.distributed import gathered


@contextmanager
def norms_together(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms of a module that look at several images have the statistics of those of all processes."""
    norms = (each for each in module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm))
    if any(norm.training or norm.running_mean is None for norm in norms):
        with _OfAll():
            yield
    else:
        yield


class _OfAll(TorchFunctionMode):
    """Whatever kind of module calls torch's batch norm with statistics of the batch is given that of all processes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return _batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)


def _batch_norm(
    images: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As ``F.batch_norm``, of this process's images (b, D, ...)."""
    if not training:
        return F.batch_norm(images, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, variance, count = _statistics(images.detach())
    if images.numel() <= images.shape[1] and int(count) == 1:  # not read where it cannot be: that waits for a GPU
        raise ValueError("Expected more than 1 value per channel when training, in all processes")  # torch's words
    with torch.no_grad():
        for running, seen in ((running_mean, mean), (running_var, variance * (count / (count - 1)))):
            if running is not None:
                running.mul_(1 - momentum).add_(seen.to(running.dtype), alpha=momentum)
    normed: Tensor = _Normalised.apply(images, mean, (variance + eps).rsqrt(), count)
    if weight is not None:
        normed = normed * _along(weight, images)
    if bias is not None:
        normed = normed + _along(bias, images)
    return normed.to(images.dtype)


@torch.no_grad()
def _statistics(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (D,) of each channel of all processes' images, and how many values () they are of."""
    dims, images = _but_channels(images), _at_least_float32(images)
    mean, count = images.mean(dims), images.numel() // images.shape[1]
    squares = (images - _along(mean, images)).square().sum(dims)
    rows = gathered(torch.cat([mean, squares, mean.new_tensor([count])])[None])
    means, sums, counts = rows[:, : len(mean)], rows[:, len(mean) : -1], rows[:, -1:]
    total = counts.sum()
    mean = (means * counts).sum(0) / total
    return mean, (sums + counts * (means - mean).square()).sum(0) / total, total


class _Normalised(torch.autograd.Function):
    """(x − mean) · scale, with the gradient through mean and scale, which are those of all processes' images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, mean: Tensor, scale: Tensor, count: Tensor) -> Tensor:
        ctx.save_for_backward(images, mean, scale, count)
        return (_at_least_float32(images) - _along(mean, images)) * _along(scale, images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, mean, scale, count = ctx.saved_tensors
        normed = (_at_least_float32(images) - _along(mean, images)) * _along(scale, images)
        dims = _but_channels(images)
        sums = torch.stack([gradient.sum(dims), (gradient * normed).sum(dims)])
        dist.all_reduce(sums)
        of_mean, of_scale = (_along(each, images) for each in sums / count)
        return ((gradient - of_mean - normed * of_scale) * _along(scale, images)).to(images.dtype), None, None, None


def _along(values: Tensor, images: Tensor) -> Tensor:
    """(D,) as it is broadcast over (b, D, ...)."""
    return values.view(1, -1, *[1] * (images.ndim - 2))


def _but_channels(images: Tensor) -> list[int]:
    return [dim for dim in range(images.ndim) if dim != 1]


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
