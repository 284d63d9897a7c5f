"""Whether the processes of a run stop: asked together, after the same step, and seldom enough to cost nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.distributed as dist

from bench.device.distributed import ranks

APART = 0.5
"""Seconds between two votes, about: a stop waits as long, which is short beside the grace of any batch system."""

MOST = 1000
"""Steps between two votes at most."""


class Vote:
    """Asks after a step whether any process says yes; every process has to ask after the same steps.

    How many steps pass until the processes talk again is agreed in each vote, by the slowest of them. Where one process
    has the run for itself, its own word counts at once.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.asked, self.since, self.wait = 0, clock(), 1

    def __call__(self, flag: bool) -> bool:
        """Whether any process says yes, as far as was asked; the same in all of them."""
        if ranks() == 1:
            return flag
        self.asked += 1
        if self.asked < self.wait:
            return False
        now = self.clock()
        votes = torch.tensor([float(flag), (now - self.since) / self.asked], dtype=torch.float64)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        yes, slowest = votes.tolist()
        self.asked, self.since = 0, now
        self.wait = max(1, min(MOST, int(APART / max(slowest, APART / MOST))))
        return bool(yes)
