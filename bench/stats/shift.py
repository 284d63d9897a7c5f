"""How much of what is lost on another test set is lost by everybody: effective robustness.

Taori, Dave, Shankar, Carlini, Recht and Schmidt, "Measuring Robustness to Natural Distribution Shifts in Image
Classification", NeurIPS 2020, section 3: ρ(f) = acc₂(f) − β(acc₁(f)), where β is a line that is fitted to models
without interventions after the logit of both accuracies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """β: what accuracy on another test set an accuracy on the first one leads to, in percent both.

    Attributes:
        slope, intercept: of the line in logits.
        points: how many it was fitted to.
    """

    slope: float
    intercept: float
    points: int

    def at(self, first: npt.ArrayLike) -> Floats:
        """The accuracies, in percent, that these lead to; nan for what is not between 0 and 100 %."""
        line = self.slope * logit(first) + self.intercept
        return 100 / (1 + np.exp(-line))


def logit(percent: npt.ArrayLike) -> Floats:
    """log(p / (100 − p)); nan for 0 and 100 % and beyond, where there is none."""
    share = np.asarray(percent, dtype=np.float64)
    inside = (share > 0) & (share < 100)
    safe = np.where(inside, share, 50.0)
    return np.where(inside, np.log(safe / (100 - safe)), np.nan)


def trend(first: npt.ArrayLike, second: npt.ArrayLike) -> Trend:
    """The line of least squares through the logits of accuracies (N,) on two test sets, in percent.

    Points of which one is 0 or 100 % have no logit and count for nothing. Raises ``ValueError`` where no two of the
    others differ on the first set.
    """
    x, y = logit(first), logit(second)
    kept = np.isfinite(x) & np.isfinite(y)
    x, y = x[kept], y[kept]
    if len(x) < 2 or np.ptp(x) == 0:
        raise ValueError("a line needs two runs that differ in accuracy, both between 0 and 100 %")
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return Trend(slope, float(y.mean() - slope * x.mean()), len(x))


def effective_robustness(first: npt.ArrayLike, second: npt.ArrayLike, line: Trend) -> Floats:
    """Percentage points (N,) that accuracies on the second test set lie above what those on the first lead to."""
    return np.asarray(second, dtype=np.float64) - line.at(first)
