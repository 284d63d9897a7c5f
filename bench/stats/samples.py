"""One sample: its mean, its spread, and how well the mean is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = "NDArray[np.float64]"


@dataclass(frozen=True)
class Summary:
    """What a paper prints of a sample: mean, sample standard deviation (n - 1; nan where unknown), and how many."""

    mean: float
    std: float = math.nan
    n: int = 1

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean) or self.std < 0 or math.isinf(self.std) or self.n < 1:
            raise ValueError(f"a summary has a finite mean, no negative deviation and n of at least 1; got {self}")


def summary(values: ArrayLike) -> Summary:
    """The summary of a sample (n,), n >= 1, finite; else ``ValueError``."""
    import numpy as np

    mean, std = mean_std(values)
    return Summary(mean, std, int(np.size(values)))


def mean_std(values: ArrayLike) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1), which is nan for n = 1.

    The order of the values changes no bit of the result, and equal values have exactly zero deviation.

    Args:
        values: (n,), n >= 1, finite.

    Raises:
        ValueError: ``values`` is empty, not 1-d, or not finite.
    """
    import numpy as np

    ordered = np.sort(checked(values))
    if not ordered.size:
        raise ValueError("the mean of no values is not defined")
    shifted = ordered - ordered[0]  # without the shift, the rounding of the mean would give equal values a deviation
    std = float(shifted.std(ddof=1)) if ordered.size > 1 else float("nan")
    return float(ordered[0] + shifted.mean()), std


def t_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's confidence interval of the mean: mean ± t(n - 1) · std / √n; both ends nan for n = 1.

    With three seeds it is ± 2.48 standard deviations wide, with five ± 1.24: far wider than the ± of a table.

    Args:
        values: (n,), n >= 1, finite.
        level: how often such an interval covers the true mean, in (0, 1).

    Raises:
        ValueError: ``values`` is empty, not 1-d or not finite, or ``level`` is outside (0, 1).
    """
    import numpy as np

    check_share(level, "level")
    mean, std = mean_std(values)
    n = np.size(values)
    if n < 2:
        return float("nan"), float("nan")
    from scipy.special import stdtrit  # imported when it is needed: it takes half of a command's start

    half = float(stdtrit(n - 1, (1 + level) / 2)) * std / n**0.5
    return mean - half, mean + half


def checked(values: ArrayLike) -> Floats:
    """A sample as a float array. Raises ``ValueError`` where it is not 1-d or not finite."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"values must be a 1-d array of finite numbers; got {array.tolist()}")
    return array


def check_share(value: float, name: str) -> None:
    """Raise ``ValueError`` where a level or an alpha is not within (0, 1)."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be within (0, 1); got {value}")
