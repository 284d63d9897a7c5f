"""Batch norms that see a batch in groups of its images, as those of one GPU each do where several divide a batch.

The backbone computes one group of consecutive images after the other, so a batch norm in training mode normalises each
by its own mean and variance. Its running statistics move once a pass, by the mean over the groups of what it saw of
each. That is the same however the groups are divided, over chunks or over processes; and what is computed again on the
way back moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from bench.device.distributed import gathered
from bench.device.norm_together import norms_together
from bench.errors import InputError

_Norm = nn.modules.batchnorm._BatchNorm

Run = Callable[[Tensor], Sequence[Tensor]]
"""Gives the outputs (B, ...) of a pass for images (B, ...)."""


def _seen_together(backbone: nn.Module, run: Run, images: Tensor) -> Sequence[Tensor]:
    with norms_together(backbone):
        return run(images)


def has_batch_norm(module: nn.Module) -> bool:
    """Whether a module looks at a whole batch by itself."""
    return any(isinstance(each, _Norm) for each in module.modules())


@contextmanager
def no_lone_value() -> Iterator[None]:
    """Inside, a batch norm that is to take statistics of one value says what to do: raises ``InputError``."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):  # torch's, of any of its batch norms
            raise
        raise InputError(
            "a batch norm in training was given one value of each channel (one image, at one place), which has no "
            "variance: take 2 images or more (batch_size, and norm_batch where the protocol has one)"
        ) from error


class NormGroups:
    """One pass of a backbone in groups, and what its batch norms saw in it.

    Args:
        backbone: with its batch norms in the modes of this pass.
        size: images of a group; 0: no groups.

    Attributes:
        size: images of a group; 0 where nothing in the backbone looks at several images.
    """

    def __init__(self, backbone: nn.Module, size: int) -> None:
        norms = [each for each in backbone.modules() if isinstance(each, _Norm) and each.training] if size else []
        self.backbone, self.size = backbone, size if norms else 0
        self.norms = [norm for norm in norms if norm.running_mean is not None]
        both = [statistic for norm in self.norms for statistic in (norm.running_mean, norm.running_var)]
        starts = [statistic.detach() for statistic in both if statistic is not None]
        self.widths = [len(start) for start in starts]
        self.start = torch.cat(starts) if starts else torch.empty(0)
        self.seen: list[Tensor] = []
        self.called: set[nn.Module] = set()
        self.has_ended = False

    def by_group(self, run: Run, divided: bool = False) -> Run:
        """The same pass, one group after the other; the last one has what is left of the images.

        Without groups, norms see all of ``divided`` images, of which each process has a part.
        """
        if not self.size:
            return partial(_seen_together, self.backbone, run) if divided else run

        def by_group(images: Tensor) -> list[Tensor]:
            groups = torch.split(images, self.size)
            rows = self.start.repeat(len(groups), 1)
            outputs = []
            for group, row in zip(groups, rows, strict=True):
                with self._noted(row):
                    outputs.append(run(group))
            if not self.has_ended:
                self.seen.append(rows)
            return [torch.cat(parts) for parts in zip(*outputs, strict=True)]

        return by_group

    @contextmanager
    def _noted(self, row: Tensor) -> Iterator[None]:
        """Inside, batch norms write what they see into a row, which begins as their running statistics are."""
        kept = [(norm, norm.running_mean, norm.running_var, norm.num_batches_tracked) for norm in self.norms]
        momenta = [norm.momentum for norm in self.norms]
        hooks = [norm.register_forward_hook(lambda norm, *_: self.called.add(norm)) for norm in self.norms]
        places = iter(torch.split(row, self.widths) if self.norms else ())
        try:
            for norm in self.norms:
                norm.running_mean, norm.running_var, norm.num_batches_tracked = next(places), next(places), None
                norm.momentum = 1.0  # the statistics become those of the group
            yield
        finally:
            for (norm, mean, variance, count), momentum in zip(kept, momenta, strict=True):
                norm.running_mean, norm.running_var, norm.num_batches_tracked = mean, variance, count
                norm.momentum = momentum
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def end(self, divided: bool) -> None:
        """Move the running statistics by what was seen, here or, of ``divided`` images, in all processes."""
        self.has_ended = True
        if not self.norms:
            return
        rows = torch.cat(self.seen)
        self.seen = []
        means = iter(torch.split((gathered(rows) if divided else rows).mean(0), self.widths))
        for norm in self.norms:
            statistics = ((norm.running_mean, next(means)), (norm.running_var, next(means)))
            if norm not in self.called:  # a pass may end early
                continue
            factor = norm.momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
                factor = 1 / float(norm.num_batches_tracked) if factor is None else factor
            for running, seen in statistics:
                if running is not None and factor is not None:
                    running.mul_(1 - factor).add_(seen, alpha=factor)
