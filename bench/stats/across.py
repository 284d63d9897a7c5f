"""Over several datasets, where two claims differ: "better on these datasets" and "better on datasets like these".

The first asks whether the seeds could have come out so by chance on the very datasets that were run; the second takes
the datasets for a sample of others (Demšar, 2006), for which the number of datasets counts and the number of seeds does
not. A method that is better on half of the datasets and worse on the others differs on these and not on the like.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.family import holm
from bench.stats.reach import refusal, require
from bench.stats.samples import Floats, check_share, checked
from bench.stats.two import MOST_EXACT, pairs_beyond, signed_sums, slack, subset_sums

THESE = "on these datasets"
LIKE_THESE = "on datasets like these"

MOST_SUMS = 1_000_000
"""Sums of one half of the datasets up to which the stratified test is counted out."""

MOST_LISTED = 2**16
"""Ways to deal the values of some datasets up to which they are listed, to be drawn from."""

SIGNS_LISTED = 12
"""Pairs whose choices of signs are listed, to be drawn from."""

BLOCK = 20
"""Values of one dataset whose subsets are listed, to be drawn from, where all of its are too many."""

Places = NDArray[np.intp]


@dataclass(frozen=True)
class OverDatasets:
    """What ``over_datasets`` found, about datasets like these.

    Attributes:
        ranks: (methods,), mean rank over the datasets; 1 is best.
        friedman: p that all methods rank alike; nan for fewer than three methods.
        pairs: the compared methods, by their place.
        p: (pairs,), two-sided Wilcoxon p of each.
        p_holm: (pairs,), after Holm's correction over all of them.
        note: why no pair can be significant, with the arithmetic; empty where one can.
    """

    ranks: Floats
    friedman: float
    pairs: tuple[tuple[int, int], ...]
    p: Floats
    p_holm: Floats
    note: str = ""


def stratified_permutation(
    a: Sequence[ArrayLike], b: Sequence[ArrayLike], *, seed: int = 0, draws: int = 99_999
) -> float:
    """Two-sided p, in (0, 1], that two methods do not differ on these datasets; labels are exchanged within each.

    The statistic is the mean over datasets of the difference of means. Counted out exactly where there are not too
    many ways, by meeting in the middle: two halves of the datasets of at most ``MOST_SUMS`` ways each. Otherwise drawn,
    with one added to both counts, so that the test keeps its level. The order of the datasets changes nothing.

    Args:
        a: the first method's values on each dataset, each (n_d,) with n_d >= 1, finite.
        b: the second's, on the same datasets; each (m_d,).
        seed: of the draws, where it comes to them.
        draws: how many.

    Raises:
        ValueError: there are no datasets, or not as many of both, or a sample is empty, not 1-d or not finite.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"both methods need values on the same datasets; there are {len(a)} and {len(b)}")
    samples = [(np.sort(checked(x)), np.sort(checked(y))) for x, y in zip(a, b, strict=True)]
    samples.sort(key=lambda pair: (pair[0].size, pair[1].size, pair[0].tolist(), pair[1].tolist()))
    if any(not x.size or not y.size for x, y in samples):
        raise ValueError("every dataset needs a value of both methods")
    observed = abs(sum(float(x.mean() - y.mean()) for x, y in samples))
    bound = observed - sum(slack(x, y) for x, y in samples)
    ways = [math.comb(x.size + y.size, x.size) for x, y in samples]
    halves = _halves(ways)
    if all(math.prod(ways[i] for i in half) <= MOST_SUMS for half in halves):
        left, right = (_sums([samples[i] for i in half]) for half in halves)
        return pairs_beyond(left, right, bound) / math.prod(ways)
    drawn = _drawn(samples, np.random.default_rng(seed), draws)
    return (1 + int((np.abs(drawn) >= bound).sum())) / (1 + draws)


def stratified_signs(a: Sequence[ArrayLike], b: Sequence[ArrayLike], *, seed: int = 0, draws: int = 99_999) -> float:
    """As ``stratified_permutation`` for pairs, in (0, 1]: each pair's difference may have either sign.

    For runs that share something on purpose, as ``bench.stats.two.paired_t`` is. The statistic is the mean over
    datasets of the mean difference. Counted out exactly up to ``MOST_EXACT`` pairs of all datasets together, drawn
    beyond. Neither the order of the datasets nor which method is the first changes anything.

    Args:
        a: the first method's values on each dataset, each (n_d,) with n_d >= 1, finite.
        b: the second's; ``b[d][i]`` shares its seed with ``a[d][i]``.
        seed: of the draws, where it comes to them.
        draws: how many.

    Raises:
        ValueError: there are no datasets, or not as many of both, or a sample is empty, not 1-d or not finite, or the
            lengths of two differ.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"both methods need values on the same datasets; there are {len(a)} and {len(b)}")
    samples = [(checked(x), checked(y)) for x, y in zip(a, b, strict=True)]
    if any(not x.size or x.size != y.size for x, y in samples):
        counts = ", ".join(f"{x.size} and {y.size}" for x, y in samples)
        raise ValueError(f"every dataset needs pairs, as many values of both methods; there are {counts}")
    shares = np.concatenate([(x - y) / x.size for x, y in samples])
    bound = abs(math.fsum(shares)) - math.fsum(slack(x, y) / x.size for x, y in samples)
    ordered = np.sort(np.abs(shares))
    if ordered.size <= MOST_EXACT:
        # turning all signs turns the sum's, so the largest share may keep its own
        left, right = signed_sums(ordered[:-1:2]) + ordered[-1], signed_sums(ordered[1:-1:2])
        return float(pairs_beyond(left, right, bound) / 2.0 ** (ordered.size - 1))
    generator = np.random.default_rng(seed)
    drawn = np.zeros(draws)
    for start in range(0, ordered.size, SIGNS_LISTED):
        drawn += generator.choice(signed_sums(ordered[start : start + SIGNS_LISTED]), draws)
    return (1 + int((np.abs(drawn) >= bound).sum())) / (1 + draws)


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided p of the exact Wilcoxon signed-rank test, in (0, 1]; 1 where all differences are zero.

    Ties share their mean rank and the distribution is counted out for just these ranks, so it is exact with ties too.
    Differences of exactly zero are left out, as Wilcoxon (1945) did.

    Args:
        differences: of means, (datasets,), finite, at least one; else ``ValueError``.
    """
    values = checked(differences)
    if not values.size:
        raise ValueError("the signed-rank test needs at least one difference")
    if not values.any():
        return 1.0
    # what rounding made differ is a tie, and what it kept from being zero is left out: 12 digits of the largest count
    rounded = np.round(values / np.abs(values).max(), 12)
    rounded = rounded[rounded != 0]
    doubled = np.rint(2 * _ranks(np.abs(rounded)[None])[0]).astype(int)
    ways = np.ones(1)
    for rank in doubled:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    positive, total = int(doubled[rounded > 0].sum()), int(doubled.sum())
    shares = ways / ways.sum()
    return min(1.0, 2 * float(shares[: min(positive, total - positive) + 1].sum()))


def friedman(scores: ArrayLike) -> float:
    """p of Friedman's test that all methods rank alike, from its chi-squared approximation (Friedman, 1937).

    Args:
        scores: (datasets, methods), at least 2 and 3, finite; else ``ValueError``.

    Returns:
        p in [0, 1], corrected for ties; 1 where all methods tie on every dataset.
    """
    from scipy.special import chdtrc  # scipy.stats would take two seconds to import

    table = _table(scores, 2, 3)
    datasets, methods = table.shape
    ranks = _ranks(table)
    # the sum of squared ranks is the largest one less what ties take away; without any it is k (k + 1) (2 k + 1) / 6
    spread = float((ranks**2).sum()) - datasets * methods * (methods + 1) ** 2 / 4
    if spread <= 0:
        return 1.0
    between = float(((ranks.sum(0) - datasets * (methods + 1) / 2) ** 2).sum()) / datasets
    return float(chdtrc(methods - 1, (methods - 1) * between * datasets / spread))


def mean_ranks(scores: ArrayLike) -> Floats:
    """The mean rank of each method over datasets, (methods,): 1 is the highest score, ties share their mean rank.

    Args:
        scores: (datasets, methods), at least 1 and 2, finite; else ``ValueError``. Higher is better.
    """
    table = _table(scores, 1, 2)
    return np.asarray((table.shape[1] + 1 - _ranks(table)).mean(0))


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """By how much two mean ranks must differ, of all pairs of methods (Nemenyi; Demšar, 2006, section 3.2.2).

    q · √(k (k + 1) / (6 N)), with q the quantile of the studentized range over √2.

    Args:
        methods: how many are ranked, at least 2.
        datasets: over how many, at least 2.
        alpha: level of the family of all pairs, in (0, 1).

    Raises:
        ValueError: an argument is out of range.
    """
    from scipy.stats import studentized_range

    check_share(alpha, "alpha")
    if methods < 2 or datasets < 2:
        raise ValueError(f"ranks are compared for 2 methods and 2 datasets or more; got {methods} and {datasets}")
    q = float(studentized_range.ppf(1 - alpha, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def cliques(ranks: ArrayLike, difference: float) -> tuple[tuple[int, ...], ...]:
    """The largest groups of methods whose mean ranks lie within a critical difference: the bars of a diagram.

    Args:
        ranks: (methods,), finite; else ``ValueError``.
        difference: from ``critical_difference``; mean ranks that differ by less belong together.

    Returns:
        Groups of two or more methods by their place, best rank first, none within another.
    """
    values = checked(ranks)
    order = np.argsort(values, kind="stable")
    groups: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        stop = start + int((values[order[start:]] - values[order[start]] < difference).sum())
        if stop > max(reached, start + 1):
            groups.append(tuple(order[start:stop].tolist()))
            reached = stop
    return tuple(groups)


def over_datasets(scores: ArrayLike, baseline: int | None = None, alpha: float = 0.05) -> OverDatasets:
    """Friedman's test, and Wilcoxon's for each pair with Holm's correction: claims about datasets like these.

    Args:
        scores: (datasets, methods), the mean over seeds, finite; higher is better.
        baseline: the method that the others are compared with, by its place; None for all pairs.
        alpha: the level that the claim is made at.

    Raises:
        OutOfReachError: there are so few datasets that not even a single comparison can reach ``alpha`` (fewer than 6
            for 0.05); the message has the arithmetic.
        ValueError: ``scores`` has another shape or is not finite, or there is no such baseline.
    """
    check_share(alpha, "alpha")
    table = _table(scores, 1, 2)
    datasets, methods = table.shape
    require("wilcoxon", datasets, alpha=alpha)
    if baseline is not None and not 0 <= baseline < methods:
        raise ValueError(f"baseline is the place of a method, 0 to {methods - 1}; got {baseline}")
    pairs = tuple((i, j) for i, j in combinations(range(methods), 2) if baseline in (None, i, j))
    p = np.array([wilcoxon(table[:, i] - table[:, j]) for i, j in pairs])
    note = refusal("wilcoxon", datasets, alpha=alpha, comparisons=len(pairs))
    omnibus = friedman(table) if methods > 2 else math.nan
    return OverDatasets(mean_ranks(table), omnibus, pairs, p, holm(p), note)


def _table(scores: ArrayLike, datasets: int, methods: int) -> Floats:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < datasets or table.shape[1] < methods:
        wanted = f"at least {datasets} datasets and {methods} methods"
        raise ValueError(f"scores are (datasets, methods), {wanted}; the shape is {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite: a method that did not finish on a dataset has no rank there")
    return table


def _ranks(table: Floats) -> Floats:
    """Ranks within each row, 1 for the lowest, ties sharing their mean rank."""
    gaps = table[:, :, None] - table[:, None, :]
    return np.asarray((gaps > 0).sum(2) + ((gaps == 0).sum(2) + 1) / 2)


def _halves(ways: Sequence[int]) -> tuple[list[int], list[int]]:
    """Places in two halves whose products of ways are about equal."""
    halves: tuple[list[int], list[int]] = ([], [])
    products = [1, 1]
    for place in sorted(range(len(ways)), key=lambda i: -ways[i]):
        side = int(products[1] < products[0])
        halves[side].append(place)
        products[side] *= ways[place]
    return halves


def _sums(samples: Sequence[tuple[Floats, Floats]]) -> Floats:
    """The sums over datasets of the differences of means, for every way to deal the values."""
    sums = np.zeros(1)
    for x, y in samples:
        sums = np.add.outer(sums, _gaps(x, y)).ravel()
    return sums


def _gaps(x: Floats, y: Floats) -> Floats:
    """The differences of means of one dataset, for every way to deal its values."""
    values = np.concatenate([x, y])
    first = values[_subsets(values.size, x.size)].sum(1)
    return np.asarray(first / x.size - (values.sum() - first) / y.size)


@lru_cache(maxsize=4)
def _subsets(count: int, size: int) -> Places:
    """All choices of ``size`` places of ``count``: (choices, size)."""
    return np.array(list(combinations(range(count), size)), dtype=np.intp)


def _drawn(samples: Sequence[tuple[Floats, Floats]], generator: np.random.Generator, draws: int) -> Floats:
    """Sums over datasets of the differences of means, the values of each dealt at random: (draws,).

    A way to deal several small datasets at once is drawn from the list of all.
    """
    drawn, listed = np.zeros(draws), np.zeros(1)
    for x, y in samples:
        ways = math.comb(x.size + y.size, x.size)
        if ways > MOST_LISTED:
            drawn += _dealt(x, y, generator, draws)
            continue
        if listed.size * ways > MOST_LISTED:
            drawn += generator.choice(listed, draws)
            listed = np.zeros(1)
        listed = np.add.outer(listed, _gaps(x, y)).ravel()
    return np.asarray(drawn + generator.choice(listed, draws))


def _dealt(x: Floats, y: Floats, generator: np.random.Generator, draws: int) -> Floats:
    """Differences of means of one dataset with too many ways to list them: (draws,).

    Of each block of the values it is drawn how many the first sample has of them, and then which.
    """
    values, first = np.concatenate([x, y]), np.zeros(draws)
    rest, wanted = values.size, np.full(draws, x.size)
    for block in np.array_split(values, math.ceil(values.size / BLOCK)):
        rest -= block.size
        taken = _taken(block.size, rest, wanted, generator)
        sums = subset_sums(block)
        sizes = np.array([subsets.size for subsets in sums])
        starts = np.cumsum(sizes) - sizes
        places = starts[taken] + (generator.random(draws) * sizes[taken]).astype(np.intp)
        first += np.concatenate(sums)[places]
        wanted = wanted - taken
    return np.asarray(first / x.size - (values.sum() - first) / y.size)


def _taken(size: int, rest: int, wanted: Places, generator: np.random.Generator) -> Places:
    """How many of the ``wanted`` values lie among the next ``size`` and not among the ``rest`` behind them."""
    if not rest:
        return wanted
    if wanted.min() < wanted.max():
        return generator.hypergeometric(size, rest, wanted)
    # of the same number by its distribution, which is faster
    all_wanted = int(wanted[0])
    ways = [math.comb(size, k) * math.comb(rest, all_wanted - k) if k <= all_wanted else 0 for k in range(size + 1)]
    return generator.choice(size + 1, wanted.size, p=np.array(ways) / sum(ways))
