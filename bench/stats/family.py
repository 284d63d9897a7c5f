"""Many comparisons at once: correction within a family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.stats.samples import Floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def holm(p: ArrayLike) -> Floats:
    """Holm's step-down adjustment, which bounds the chance of any false positive in the family (Holm, 1979).

    Args:
        p: (k,), the p of one family; nan are no part of it.

    Returns:
        (k,), adjusted p in the order given, to be compared with alpha; nan where ``p`` is nan.

    Raises:
        ValueError: ``p`` is not 1-d or a p is outside [0, 1].
    """
    import numpy as np

    p = np.asarray(p, dtype=np.float64)
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise ValueError(f"p must be 1-d and within [0, 1]; got {p.tolist()}")
    adjusted = np.full(p.shape, np.nan)
    family = np.flatnonzero(~np.isnan(p))
    ascending = family[np.argsort(p[family], kind="stable")]
    steps = np.arange(len(family), 0, -1) * p[ascending]
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
