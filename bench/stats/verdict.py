"""What the difference between a published number and ours means: a verdict, and whether the ranks agree.

Three things move a number although nothing is wrong: the seeds, the test images, and the rounding of what is printed.

**Seeds.** If ours is the published procedure, their mean of m runs and our n runs come from one distribution. So the
next mean of m runs lies within mean ± t · s · √(1/n + 1/m), where s pools our deviation with the printed one, if there
is one, and t has n - 1 (+ m - 1) degrees of freedom. For m = 1 this is the textbook prediction interval.

**Test images.** Two runs of one procedure on the same test set share its luck: hard images are hard for both, and the
error that comes from the choice of images cancels in their difference. So for the same test set it is no part of the
interval above, and a number outside it differs on this test set. It may still be a difference that another test set of
the same size would not show: of two procedures that are equally good in the population of images, the accuracies on N
images differ with variance 2 p (1 - p) (1 - ρ) / N, where ρ is the correlation of their outcomes over images. Nobody
prints ρ; with ρ = 0 this is as large as it gets, so that ``differs`` holds whatever ρ is. Where our runs' predictions
are there, ``bench.stats.items.likeness`` measures ρ between seeds. On different test sets nothing cancels: the variance
is p (1 - p) (1/N + 1/N').

**Rounding.** A number printed in steps of u lies anywhere in one step: variance u² / 12.

The variances add; a wider interval contains the second part. Only the seeds' variance is estimated, with f degrees of
freedom; those of the sum are f · (sum / seeds). Satterthwaite's square of that ratio makes them grow too fast for so
few seeds: up to 8 % of true cells were missed with three seeds, in place of 5, and 13 % with two. With the first power
it is 3.6 to 5.7 % from three seeds on, whatever the ratio. For f = 1 the square root is taken: 1.6 to 6.2 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.reach import refusal
from bench.stats.samples import Floats, check_share, checked, mean_std

REPRODUCED = "reproduced"
TEST_NOISE = "within test-set noise"
DIFFERS = "differs"
NOT_COMPARABLE = "not comparable"
NOT_RUN = "not run"
WORDS = (REPRODUCED, TEST_NOISE, DIFFERS, NOT_COMPARABLE, NOT_RUN)

MOST_EXACT = 33
"""Methods up to which Kendall's p is counted out."""

_KNOWN = 1e9
"""Degrees of freedom of a variance that is known."""


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


@dataclass(frozen=True)
class Verdict:
    """What a difference to a published number means.

    Attributes:
        word: one of ``WORDS``.
        reason: why, in a clause that has the arithmetic.
        gap: ours less the published one, in points; nan where one is missing.
        low: lower end, as ``high`` is the upper one, of where the published number should lie by the seeds alone.
        widest: half the width of the interval that has the test images too; nan where their number is not known.
    """

    word: str
    reason: str
    gap: float = math.nan
    low: float = math.nan
    high: float = math.nan
    widest: float = math.nan


@dataclass(frozen=True)
class Agreement:
    """Whether two columns rank their methods alike.

    Attributes:
        tau: Kendall's tau-b, in [-1, 1]; nan where it is not defined.
        p: two-sided, that the ranks have nothing to do with each other; nan with ``tau``.
        methods: how many have both numbers.
        note: why the p cannot be small, or why there is no tau; empty otherwise.
    """

    tau: float
    p: float
    methods: int
    note: str = ""


def judge(
    values: ArrayLike,
    claimed: Claimed,
    *,
    test_images: int | None = None,
    other_images: int | None = None,
    likeness: float = 0.0,
    level: float = 0.95,
    incomparable: str = "",
    not_run: str = "",
) -> Verdict:
    """The verdict on one published number.

    Args:
        values: (n,), our accuracies in percent, one a seed; empty where nothing has finished.
        claimed: the published number.
        test_images: size of our test set; None for a metric that is no share of images, which then has no test noise.
        other_images: size of theirs, where it is another set than ours; None for the same set.
        likeness: ρ, how the outcomes of two runs correlate over images (``bench.stats.items.likeness``); 0 bounds it.
        level: coverage of the intervals, in (0, 1).
        incomparable: how the protocols differ, where they do so that the numbers do not mean the same.
        not_run: why nothing is run, where that is known.

    Raises:
        ValueError: a value is not finite or not 0 to 100 where images are counted, or an argument is out of range.
    """
    check_share(level, "level")
    ours = checked(values)
    if not ours.size:
        return Verdict(NOT_RUN, not_run or "no run has finished")
    if math.isnan(claimed.mean):
        return Verdict(NOT_COMPARABLE, "no number is printed")
    mean, std = mean_std(ours)
    gap = mean - claimed.mean
    if incomparable:
        return Verdict(NOT_COMPARABLE, incomparable, gap)
    images = _test_variance((mean + claimed.mean) / 2, test_images, other_images, likeness)
    unit = 10.0**-claimed.decimals
    if ours.size < 2 and (claimed.runs < 2 or math.isnan(claimed.std)):
        return _without_spread(gap, unit, images, level)
    spread = (std, ours.size, claimed.std, claimed.runs)
    half = float(half_width(*spread, unit=unit, level=level))
    widest = float(half_width(*spread, unit=unit, test_variance=images, level=level))
    word = REPRODUCED if abs(gap) <= half else DIFFERS
    if half < abs(gap) <= widest:
        word = TEST_NOISE
    reason = _reason(word, abs(gap), half, widest, claimed, test_images)
    reason += f" ({100 * level:g} %: our {ours.size} against {claimed.runs} there)"
    return Verdict(word, reason, gap, mean - half, mean + half, widest)


def half_width(
    std: ArrayLike,
    n: ArrayLike,
    their_std: ArrayLike = math.nan,
    m: ArrayLike = 1,
    *,
    unit: ArrayLike = 0.0,
    test_variance: ArrayLike = 0.0,
    level: float = 0.95,
) -> Floats:
    """Half the width of the interval around our mean in which a published mean lies (see the top of this file).

    All arguments may be arrays of one shape, for many cells at once.

    Args:
        std: our sample standard deviation; of no account where n is 1.
        n: our runs.
        their_std: the printed one; nan where there is none.
        m: their runs.
        unit: the step of the printed number; 0 for one that is not rounded.
        test_variance: of the difference, from the choice of test images, in squared points; nan gives nan.
        level: coverage, in (0, 1).

    Returns:
        In points; nan where no deviation is known.
    """
    from scipy.special import stdtrit

    arguments = (std, n, their_std, m, unit, test_variance)
    std, n, their_std, m, unit, test_variance = (np.asarray(each, dtype=np.float64) for each in arguments)
    ours = np.where(n > 1, std, 0.0)
    has_theirs = ~np.isnan(their_std) & (m > 1)
    theirs, more = np.where(has_theirs, their_std, 0.0), np.where(has_theirs, m - 1, 0.0)
    freedom = n - 1 + more
    with np.errstate(invalid="ignore", divide="ignore"):
        pooled = ((n - 1) * ours**2 + more * theirs**2) / freedom
        seeds = pooled * (1 / n + 1 / m)
        total = seeds + unit**2 / 12 + test_variance
        growth = (total / seeds) ** np.where(freedom > 1, 1.0, 0.5)
        total_freedom = np.where(seeds > 0, freedom * growth, _KNOWN)
    return np.asarray(stdtrit(np.minimum(total_freedom, _KNOWN), (1 + level) / 2) * np.sqrt(total))


def summary(verdicts: Iterable[Verdict], level: float = 0.95) -> str:
    """How many cells have which verdict, and how many would fall outside though all is well.

    A cell of one seed without a printed ± has no seeds' interval to miss, so it is not among those.
    """
    counts, judged = Counter[str](), 0
    for verdict in verdicts:
        counts[verdict.word] += 1
        judged += not math.isnan(verdict.low)
    words = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
    if not judged:
        return words or "no cells"
    return f"{words}; of {judged} that were judged, {judged * (1 - level):.1f} would miss the seeds' interval by chance"


def rank_agreement(published: ArrayLike, ours: ArrayLike, alpha: float = 0.05) -> Agreement:
    """Kendall's tau-b between the published and our values of one column (Kendall, 1945).

    Its p is exact for up to ``MOST_EXACT`` methods without ties, and from the normal approximation else.

    Args:
        published: (methods,), nan where nothing is printed.
        ours: (methods,), the means, nan where nothing has finished.
        alpha: the level at which the note says whether the p can be small at all.

    Raises:
        ValueError: the columns differ in length, are not 1-d, or hold an infinite number.
    """
    a, b = np.asarray(published, dtype=np.float64), np.asarray(ours, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape or np.isinf(a).any() or np.isinf(b).any():
        raise ValueError(f"two columns of as many finite numbers are needed; shapes are {a.shape} and {b.shape}")
    with_both = ~np.isnan(a + b)
    a, b = a[with_both], b[with_both]
    undefined = ""
    if a.size < 2:
        undefined = "fewer than two methods have both numbers"
    elif np.ptp(a) == 0 or np.ptp(b) == 0:
        undefined = "all methods of a column tie"
    if undefined:
        return Agreement(math.nan, math.nan, a.size, undefined)
    tau, p = _kendall(a, b)
    return Agreement(tau, p, a.size, refusal("kendall", a.size, alpha=alpha))


def _kendall(a: Floats, b: Floats) -> tuple[float, float]:
    """Tau-b and its two-sided p; neither column ties as a whole. scipy.stats would take two seconds to import."""
    upper = np.triu_indices(a.size, 1)
    signs = [np.sign(np.subtract.outer(x, x))[upper] for x in (a, b)]
    score, pairs = float(signs[0] @ signs[1]), len(upper[0])
    untied = [float(np.abs(sign).sum()) for sign in signs]
    tau = score / math.sqrt(untied[0]) / math.sqrt(untied[1])
    tau = max(-1.0, min(1.0, tau))
    if min(untied) == pairs and a.size <= MOST_EXACT:
        return tau, _kendall_exact(a.size, (pairs - abs(score)) / 2)
    return tau, math.erfc(abs(score) / math.sqrt(2 * _kendall_variance(a, b)))


def _kendall_exact(count: int, discordant: float) -> float:
    """The share of the orders of ``count`` things with as few pairs in the wrong order, or as many in it."""
    ways = np.ones(1)
    for size in range(2, count + 1):
        ways = np.convolve(ways, np.ones(size) / size)
    return min(1.0, 2 * float(ways[: round(discordant) + 1].sum()))


def _kendall_variance(a: Floats, b: Floats) -> float:
    """Of concordant less discordant pairs where ranks have nothing to do with each other, ties considered."""
    ties = [np.unique(x, return_counts=True)[1].astype(np.float64) for x in (a, b)]
    n = float(a.size)
    whole = n * (n - 1) * (2 * n + 5) - sum(float((t * (t - 1) * (2 * t + 5)).sum()) for t in ties)
    twos = math.prod(float((t * (t - 1)).sum()) for t in ties)
    threes = math.prod(float((t * (t - 1) * (t - 2)).sum()) for t in ties)
    return whole / 18 + twos / (2 * n * (n - 1)) + (threes / (9 * n * (n - 1) * (n - 2)) if n > 2 else 0.0)


def _test_variance(mean: float, images: int | None, others: int | None, likeness: float) -> float:
    """Variance of the difference of two accuracies from the choice of test images, in squared points; nan unknown."""
    if images is None:
        return math.nan
    if images < 1 or (others is not None and others < 1) or not -1 <= likeness <= 1 or not 0 <= mean <= 100:
        raise ValueError(
            "a share of test images is 0 to 100 % of at least one image, and likeness within [-1, 1]; "
            f"got {mean} % of {images}, {others} and {likeness}"
        )
    if others is None:
        return mean * (100 - mean) * 2 * (1 - likeness) / images
    return mean * (100 - mean) * (1 / images + 1 / others)


def _reason(word: str, gap: float, half: float, widest: float, claimed: Claimed, images: int | None) -> str:
    digits = claimed.decimals + 1
    side = "within" if word == REPRODUCED else "beyond"
    reason = f"off by {gap:.{digits}f}, {side} the ± {half:.{digits}f} that seeds allow"
    if word == REPRODUCED or math.isnan(widest):
        return reason
    side = "within" if word == TEST_NOISE else "and beyond"
    return f"{reason}, {side} ± {widest:.{digits}f} with the sampling error of {images} test images"


def _without_spread(gap: float, unit: float, images: float, level: float) -> Verdict:
    """One run of ours and no printed deviation: only the test images' part is known."""
    widest = float(half_width(0.0, 2, unit=unit, test_variance=images, level=level))
    unknown = "one seed here and no ± printed: how much seeds differ is not known"
    if abs(gap) <= widest:
        reason = f"off by {abs(gap):.2f}, within the {widest:.2f} of the test images alone ({unknown})"
        return Verdict(TEST_NOISE, reason, gap, widest=widest)
    return Verdict(NOT_COMPARABLE, f"off by {abs(gap):.2f}; {unknown}", gap, widest=widest)
