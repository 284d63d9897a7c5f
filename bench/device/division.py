"""How the processes that share a run divide a batch: which of its rows each of them has."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.device.distributed import gathered, rank, ranks

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Division:
    """Which rows of a batch each process has.

    Attributes:
        rows: of each process, ascending; every row is one process's.
        unit: so many consecutive rows, from a multiple of it on, are one process's.
    """

    rows: tuple[Rows, ...]
    unit: int = 1

    @property
    def ours(self) -> Rows:
        """The rows of this process."""
        return self.rows[rank()]

    @property
    def count(self) -> int:
        """Rows of the batch."""
        return sum(map(len, self.rows))

    def repeated(self, times: int) -> Division:
        """That of as many batches, one behind the other, each of them divided as this one."""
        starts = self.count * np.arange(times)[:, None]
        return Division(tuple((starts + rows).ravel() for rows in self.rows), self.unit)

    def of(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This process's part of a tensor whose rows lie along a dimension."""
        rows = self.ours
        if len(rows) == rows[-1] - rows[0] + 1:
            return whole.narrow(dim, int(rows[0]), len(rows))
        return whole.index_select(dim, torch.from_numpy(rows).to(whole.device))

    def gathered(self, part: Tensor) -> Tensor:
        """What all processes computed for their parts, (B, ...), in the order of the batch; with gradient."""
        most = max(map(len, self.rows))
        if len(part) < most:  # as processes send as much each
            part = torch.cat([part, part.new_zeros(most - len(part), *part.shape[1:])])
        whole = gathered(part)
        lengths, order = self._runs
        if order == [0]:
            return whole
        runs = torch.split(whole, lengths)
        return torch.cat([runs[number] for number in order])

    @cached_property
    def _runs(self) -> tuple[list[int], list[int]]:
        """The lengths of the runs of consecutive rows as they are gathered, and in which order they are the batch."""
        most = max(map(len, self.rows))
        lengths, starts = list[int](), dict[int, int]()
        for rows in self.rows:
            for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
                starts[len(lengths)] = int(run[0])
                lengths.append(len(run))
            if len(rows) < most:
                lengths.append(most - len(rows))
        order = sorted(starts, key=starts.__getitem__)
        in_order = order == list(range(len(lengths)))
        return (lengths, [0]) if in_order else (lengths, order)


def divided(count: int, unit: int = 1, mirrored: bool = False) -> Division | None:
    """How a batch of so many rows is divided; None where nobody shares it, or not everybody can have a part of it.

    Parts differ by a row, or two, at most. Of units of more than one row each process has as many, or there is no
    division.

    Args:
        count: rows of the batch.
        unit: so many consecutive rows stay together.
        mirrored: with a row a process has the one that lies as far from the other end, but for two of them at most:
            what a batch is mixed with that is mixed with itself in reverse.
    """
    return None if ranks() == 1 else _divided(count, ranks(), unit, mirrored)


@lru_cache(maxsize=64)
def _divided(count: int, parts: int, unit: int, mirrored: bool) -> Division | None:
    units = count // unit
    if units < parts or (unit > 1 and count % (unit * parts)):
        return None
    order, bounds = np.arange(units), [units * part // parts for part in range(parts + 1)]
    if mirrored and (units % (2 * parts) == 0 if unit > 1 else units >= 2 * parts):
        order = np.stack([order, order[::-1]], 1).ravel()[:units]  # the first, the last, the second, the last but one
        bounds = [2 * round(units * part / (2 * parts)) for part in range(parts)] + [units]
    each = [np.sort(order[start:stop]) for start, stop in itertools.pairwise(bounds)]
    rows = tuple((some[:, None] * unit + np.arange(unit)).ravel() for some in each)
    return Division(rows, unit)
