"""The noise of a cell that has few runs: what other cells of its table may say of it, and what they may not.

With two degrees of freedom a 90 % interval is ± 2.92 standard deviations of the mean wide, with many ± 1.65. So a cell
with few runs borrows the deviation of all cells, unless its own is larger: a noisy cell never borrows calm. A cell
can look calm by chance all the same, so the fewer runs of its own speak for it, the fewer degrees of freedom it gets.
What they are was chosen by simulation (``benchmarks/verdicts.py``): with these, in the cell that is the noisiest of its
table, an interval is wrong on a side in at most 6 % of cases in place of 5, however much noisier it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.stats.samples import Floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

FEW = 2
"""Degrees of freedom up to which a cell borrows. From three on its own deviation tells as much by itself, and a cell
that is calmer than the others would only lose."""

MOST_BORROWED = (1.0, 2.5)
"""Degrees of freedom that a cell with none of its own, and one with a single one, may borrow at most. One is right up
to 3.8 times the others' noise, as nothing of the cell's own would show that it is noisier."""


@dataclass(frozen=True)
class Spread:
    """A standard deviation and its degrees of freedom; nan with 0 where nothing is known."""

    std: float = math.nan
    freedom: float = 0.0


UNKNOWN = Spread()


def pooled(stds: ArrayLike, freedom: ArrayLike) -> Spread:
    """The standard deviation of several samples taken together, each about its own mean.

    Args:
        stds: (k,), sample standard deviations; of no account where there is no degree of freedom, or nan.
        freedom: (k,), their degrees of freedom, n - 1 each.
    """
    import numpy as np

    deviations, weights = np.asarray(stds, dtype=np.float64), np.asarray(freedom, dtype=np.float64)
    counts = ~np.isnan(deviations) & (weights > 0)
    total = float(weights[counts].sum())
    if not total:
        return UNKNOWN
    # exactly summed, so that the order of the samples changes no bit
    return Spread(math.sqrt(math.fsum(weights[counts] * deviations[counts] ** 2) / total), total)


def guarded(
    own_std: ArrayLike, own_df: ArrayLike, pooled_std: ArrayLike, pooled_df: ArrayLike
) -> tuple[Floats, Floats]:
    """The standard deviation by which a cell is judged, with its degrees of freedom.

    That of all cells together where the cell has few runs, or runs that are all equal, unless its own is larger; else
    its own. Arguments may be arrays of one shape, for many cells at once.

    Args:
        own_std: of the cell's runs; of no account where ``own_df`` is 0.
        own_df: its degrees of freedom.
        pooled_std: of all cells of the table, this one among them (``pooled``).
        pooled_df: its degrees of freedom; 0 where there is none.

    Returns:
        Standard deviations, nan where nothing is known, and degrees of freedom.
    """
    import numpy as np

    own_std, own_df, pooled_std, pooled_df = (
        np.asarray(each, dtype=np.float64) for each in (own_std, own_df, pooled_std, pooled_df)
    )
    has_own, has_pooled = own_df > 0, pooled_df > 0
    is_calm = ~has_own | (own_std <= pooled_std * (1 + 1e-9))  # what rounding alone makes larger is not louder
    borrows = has_pooled & is_calm & ((own_df <= FEW) | (own_std == 0))
    most = np.select([own_df < 1, own_df < 2], MOST_BORROWED, default=math.inf)
    std = np.where(borrows, pooled_std, np.where(has_own, own_std, math.nan))
    return std, np.where(borrows, np.minimum(pooled_df, most), own_df)
