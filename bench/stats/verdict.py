"""What the difference between a published number and ours means: the same, different, or more than can be told.

The question is one of equivalence: is the gap between the two procedures smaller than a margin that is set before? An
interval around the gap that is seen answers it. It is the same where the 90 % interval lies within the margin (two
one-sided tests at 5 % each; Schuirmann, 1987), and differs where the 95 % interval lies wholly beyond it, which it may
on either side. So few runs and loud ones make for ``cannot tell``, never for ``same``, and each of the other two words
is wrong in at most 5 % of cells.

Three things move a number although nothing is wrong: the seeds, the rounding of what is printed, and the test images.

**Seeds.** The gap of their mean of m runs and ours of n has the variance s² (1/n + 1/m), where s pools our deviation
with the printed one, if there is one, with n - 1 (+ m - 1) degrees of freedom, and is guarded by that of the other
cells of the table (``bench.stats.pooling``).

**Rounding.** A number printed in steps of u lies anywhere in one step: variance u² / 12.

The two variances add. Only that of the seeds is estimated, with f degrees of freedom; those of the sum are
f · (sum / seeds). Satterthwaite's square of that ratio makes them grow too fast for so few seeds. For f = 1 the root
of the ratio is taken.

**Test images.** Two runs on the same test set share its luck, so it is no part of the interval: a number that differs
does so on this test set. Of two procedures that are equally good in the population of images, the accuracies on N
images differ with variance 2 p (1 - p) (1 - ρ) / N, where ρ is the correlation of their outcomes over images. Nobody
prints ρ; with ρ = 0 this is as large as it gets. Where our runs' predictions are there, ``bench.stats.items.likeness``
measures ρ between seeds. On different test sets nothing cancels: the variance is p (1 - p) (1/N + 1/N'). What
differs is said to be, or not to be, beyond what that could make up.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.rules import MOST_SEEDS
from bench.stats.pooling import FEW, UNKNOWN, Spread, guarded, pooled
from bench.stats.samples import Floats, Summary, check_share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

SAME = "same"
DIFFERS = "differs"
CANNOT_TELL = "cannot tell"
NOT_COMPARABLE = "not comparable"
NOT_RUN = "not run"
WORDS = (SAME, DIFFERS, CANNOT_TELL, NOT_COMPARABLE, NOT_RUN)

LEVEL = 0.9
"""Coverage of the interval of a gap: two one-sided tests at 5 % each."""

_KNOWN = 1e9
"""Degrees of freedom of a variance that is known; as a number of runs, without end."""


@dataclass(frozen=True)
class Claimed:
    """A published number.

    Attributes:
        mean: as printed, in percent; nan where no number is printed.
        std: the sample standard deviation (n - 1) over its runs; nan where none is printed.
        runs: of how many runs it is the mean; 1 where nobody says, which makes for the widest interval.
        decimals: digits printed after the point.
    """

    mean: float
    std: float = math.nan
    runs: int = 1
    decimals: int = 2

    def __post_init__(self) -> None:
        if self.runs < 1 or self.decimals < 0 or self.std < 0:
            raise ValueError(f"a published number has at least one run and no negative ± or decimals; got {self}")

    @property
    def unit(self) -> float:
        """The step in which it is printed."""
        return 10.0**-self.decimals


@dataclass(frozen=True)
class Verdict:
    """What a difference to a published number means.

    Attributes:
        word: one of ``WORDS``.
        reason: why, in a clause that has the arithmetic.
        gap: ours less the published one, in points; nan where one is missing.
        low: lower end, as ``high`` is the upper one, of the interval of the gap; nan where nothing says how much seeds
            differ, or nothing is judged.
        margin: what is no difference, in points; nan where nothing is judged.
        half_width: half of the interval's width.
        seeds_to_decide: how many seeds of ours would decide if the gap stayed as it is seen, where it cannot be told;
            None where no number of them would.
    """

    word: str
    reason: str
    gap: float = math.nan
    low: float = math.nan
    high: float = math.nan
    margin: float = math.nan
    half_width: float = math.nan
    seeds_to_decide: int | None = None


@dataclass(frozen=True)
class ImageSets:
    """The test images of a comparison.

    Attributes:
        count: of our test set; None where the metric is no share of images.
        others: of theirs, where it is another set than ours; None for the same set.
        likeness: ρ, how the outcomes of two runs correlate over images (``bench.stats.items.likeness``); 0 bounds it.
    """

    count: int | None = None
    others: int | None = None
    likeness: float = 0.0

    def __post_init__(self) -> None:
        if min(self.count or 1, self.others or 1) < 1 or 0 in (self.count, self.others) or abs(self.likeness) > 1:
            raise ValueError(f"a test set has at least one image, and likeness is within [-1, 1]; got {self}")


NO_SETS = ImageSets()


def judge(
    ours: Summary | None,
    claimed: Claimed,
    margin: float,
    *,
    table: Spread = UNKNOWN,
    images: ImageSets = NO_SETS,
    level: float = LEVEL,
    incomparable: str = "",
    not_run: str = "",
) -> Verdict:
    """The verdict on one published number.

    Args:
        ours: our runs; None where nothing has finished.
        claimed: the published number.
        margin: the gap, in points, up to which two procedures are the same; above 0.
        table: the deviation of all cells of the table together (``of_runs`` of each, ``pooled``), this one among them.
        images: of which the numbers are shares.
        level: coverage of the interval, in (0, 1).
        incomparable: how the protocols differ, where they do so that the numbers do not mean the same.
        not_run: why nothing is run, where that is known.

    Raises:
        ValueError: an argument is out of range, or means are not 0 to 100 where images are counted.
    """
    check_share(level, "level")
    if not margin > 0:
        raise ValueError(f"a margin is above 0; got {margin}")
    if ours is None:
        return Verdict(NOT_RUN, not_run or "no run has finished")
    if math.isnan(claimed.mean):
        return Verdict(NOT_COMPARABLE, "no number is printed")
    gap = ours.mean - claimed.mean
    if incomparable:
        return Verdict(NOT_COMPARABLE, incomparable, gap)
    variance = _test_variance((ours.mean + claimed.mean) / 2, images)
    runs = of_runs(ours, claimed)
    std, freedom = guarded(runs.std, runs.freedom, table.std, table.freedom)
    spread = Spread(float(std), float(freedom))
    half = float(half_width(spread.std, spread.freedom, ours.n, claimed.runs, unit=claimed.unit, level=level))
    if math.isnan(half):
        unknown = "one seed here and no ± printed, here or in another cell: how much seeds differ is not known"
        return Verdict(CANNOT_TELL, f"off by {abs(gap):.{claimed.decimals + 1}f}; {unknown}", gap, margin=margin)
    wider = float(half_width(spread.std, spread.freedom, ours.n, claimed.runs, unit=claimed.unit, level=_wider(level)))
    word, seeds, clause = str(words(gap, half, wider, margin)), None, ""
    if word == DIFFERS:
        clause = _images_clause(gap, margin, spread, ours.n, claimed, images, variance, level)
    elif word == CANNOT_TELL:
        seeds = seeds_to_decide(gap, margin, spread, ours.n, claimed, level)
        clause = _remedy(seeds, spread, claimed, level)
    reason = _told(word, gap, half, margin, claimed) + clause + _basis(spread, ours.n, claimed, level)
    return Verdict(word, reason, gap, gap - half, gap + half, margin, half, seeds)


def of_runs(ours: Summary, claimed: Claimed) -> Spread:
    """The deviation within our runs and theirs, as far as it is known."""
    return pooled([ours.std, claimed.std], [ours.n - 1, claimed.runs - 1])


def words(gap: ArrayLike, half: ArrayLike, wider: ArrayLike, margin: ArrayLike) -> NDArray[np.str_]:
    """``SAME``, ``DIFFERS`` or ``CANNOT_TELL`` of gaps; all may be arrays.

    Args:
        gap: ours less the published number.
        half: half-widths of the intervals by which it is the same; nan is one that nobody knows.
        wider: likewise of those by which it differs.
        margin: what is no difference.
    """
    import numpy as np

    gap, half, wider, margin = (np.asarray(each, dtype=np.float64) for each in (gap, half, wider, margin))
    return np.select([np.abs(gap) + half <= margin, np.abs(gap) - wider > margin], [SAME, DIFFERS], CANNOT_TELL)


def _wider(level: float) -> float:
    """The level of the interval by which a gap differs: it may lie beyond the margin on either side."""
    return (1 + level) / 2


def half_width(
    std: ArrayLike,
    freedom: ArrayLike,
    n: ArrayLike,
    m: ArrayLike,
    *,
    unit: ArrayLike = 0.0,
    test_variance: ArrayLike = 0.0,
    level: float = LEVEL,
) -> Floats:
    """Half the width of the interval of the gap between our mean and a published one (see the top of this file).

    All arguments may be arrays of one shape, for many cells at once.

    Args:
        std: the standard deviation of one run.
        freedom: its degrees of freedom.
        n: our runs.
        m: their runs.
        unit: the step of the printed number; 0 for one that is not rounded.
        test_variance: of the gap, from the choice of test images, in squared points; nan gives nan.
        level: coverage, in (0, 1).

    Returns:
        In points; nan where no deviation is known.
    """
    import numpy as np
    from scipy.special import stdtrit

    arguments = (std, freedom, n, m, unit, test_variance)
    std, freedom, n, m, unit, test_variance = (np.asarray(each, dtype=np.float64) for each in arguments)
    seeds = std**2 * (1 / n + 1 / m)
    total = seeds + unit**2 / 12 + test_variance
    with np.errstate(invalid="ignore", divide="ignore"):
        growth = (total / seeds) ** np.where(freedom > 1, 1.0, 0.5)
        total_freedom = np.where(seeds == 0, _KNOWN, freedom * growth)
    return np.asarray(stdtrit(np.minimum(total_freedom, _KNOWN), (1 + level) / 2) * np.sqrt(total))


def seeds_to_decide(
    gap: float, margin: float, spread: Spread, n: int, claimed: Claimed, level: float = LEVEL
) -> int | None:
    """The least number of seeds of ours at which a gap that stays as it is seen can be told; None where none can.

    Args:
        gap: as it is seen.
        margin: what is no difference.
        spread: by which it was judged; its deviation is taken as true, and the degrees of freedom are those that a cell
            of so many seeds is judged by.
        n: the seeds that there are.
        claimed: the published number, of which there will be no further runs.
        level: coverage of the interval.
    """

    def is_told(seeds: int) -> bool:
        alone = seeds - 1 + (0 if math.isnan(claimed.std) else claimed.runs - 1)
        freedom = alone if alone > FEW else spread.freedom
        half, wider = (
            half_width(spread.std, freedom, seeds, claimed.runs, unit=claimed.unit, level=each)
            for each in (level, _wider(level))
        )
        return bool(words(gap, half, wider, margin) != CANNOT_TELL)

    more = range(n + 1, MOST_SEEDS + 1)
    place = bisect_left(more, True, key=is_told)
    return more[place] if place < len(more) else None


def summary(verdicts: Iterable[Verdict]) -> str:
    """How many cells have which verdict."""
    counts = Counter(verdict.word for verdict in verdicts)
    return ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word]) or "no cells"


def _told(word: str, gap: float, half: float, margin: float, claimed: Claimed) -> str:
    digits = claimed.decimals + 1
    side = {SAME: "within", DIFFERS: "beyond", CANNOT_TELL: "neither within nor beyond"}[word]
    return f"off by {abs(gap):.{digits}f} ± {half:.{digits}f}, {side} ± {margin:.{digits}f}"


def _basis(spread: Spread, n: int, claimed: Claimed, level: float) -> str:
    noise = f"s = {spread.std:.{claimed.decimals + 1}f} with {spread.freedom:g} df"
    return f" ({100 * level:g} %: our {n} against {claimed.runs} there, {noise})"


def _images_clause(
    gap: float,
    margin: float,
    spread: Spread,
    n: int,
    claimed: Claimed,
    images: ImageSets,
    variance: float,
    level: float,
) -> str:
    """Whether other test images could have made up what differs; empty where the numbers are no shares of images."""
    if math.isnan(variance):
        return ""
    widest = half_width(
        spread.std, spread.freedom, n, claimed.runs, unit=claimed.unit, test_variance=variance, level=_wider(level)
    )
    alone = float(half_width(0.0, _KNOWN, _KNOWN, _KNOWN, test_variance=variance, level=level))
    which = f"another {images.count} test images"
    if images.others is not None:
        which = f"the choice of {images.count} test images here and {images.others} there"
    if words(gap, widest, widest, margin) == DIFFERS:
        return f", and is beyond what {which} could make up (± {alone:.{claimed.decimals + 1}f})"
    return f"; {which} could make up ± {alone:.{claimed.decimals + 1}f} of it"


def _remedy(seeds: int | None, spread: Spread, claimed: Claimed, level: float) -> str:
    """How many seeds would decide, or why none would."""
    if seeds is not None:
        return f"; {seeds} seeds of ours would decide if the gap stayed"
    alone = float(half_width(spread.std, _KNOWN, _KNOWN, claimed.runs, unit=claimed.unit, level=level))
    runs = f"{claimed.runs} run{'s' * (claimed.runs > 1)}"
    return (
        f"; no number of seeds would decide at that gap, as the published number is taken for one of {runs}, which "
        f"alone leaves ± {alone:.{claimed.decimals + 1}f}"
    )


def _test_variance(mean: float, images: ImageSets) -> float:
    """Variance of the difference of two accuracies from the choice of test images, in squared points; nan unknown."""
    if images.count is None:
        return math.nan
    if not 0 <= mean <= 100:
        raise ValueError(f"a share of test images is 0 to 100 %; got {mean}")
    if images.others is None:
        return mean * (100 - mean) * 2 * (1 - images.likeness) / images.count
    return mean * (100 - mean) * (1 / images.count + 1 / images.others)
