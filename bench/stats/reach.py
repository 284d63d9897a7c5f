"""What a test can say at all with so few values: its smallest possible p, and the refusal in words."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bench.errors import choose

MOST_SEEDS = 100_000
"""Seeds up to which as many are looked for as it takes."""


class OutOfReachError(ValueError):
    """A test cannot reach alpha, whatever the data say; the message has the arithmetic."""


@dataclass(frozen=True)
class _Test:
    """A test: its name in a sentence, what it counts, how many counts describe it (0: any), and its smallest p."""

    name: str
    unit: str
    counts: int
    smallest: Callable[..., float]


def _t(*sizes: int) -> float:
    return 0.0 if min(sizes) >= 2 else math.nan


def _strata(*sizes: int) -> float:
    """Exchanging all labels gives the same difference with the other sign, where every stratum is balanced."""
    pairs = list(zip(sizes[::2], sizes[1::2], strict=True))
    ways = math.prod(math.comb(n + m, n) for n, m in pairs)
    return min(1.0, (2 if all(n == m for n, m in pairs) else 1) / ways)


def _signs(count: int) -> float:
    return min(1.0, 2.0 ** (1 - count))


_TESTS = {
    "welch": _Test("Welch's t-test", "seeds", 2, _t),
    "paired_t": _Test("the paired t-test", "pairs of seeds", 1, _t),
    "permutation": _Test("the permutation test", "seeds", 2, _strata),
    "paired_permutation": _Test("the paired permutation test", "pairs of seeds", 1, _signs),
    "stratified_permutation": _Test("the stratified permutation test", "seeds", 0, _strata),
    "stratified_signs": _Test("the stratified paired permutation test", "pairs of seeds", 1, _signs),
    "wilcoxon": _Test("the Wilcoxon signed-rank test", "datasets", 1, _signs),
    "mcnemar": _Test("McNemar's test", "images on which the two disagree", 1, _signs),
    "kendall": _Test("the test of Kendall's tau", "methods", 1, lambda n: min(1.0, 2 / math.factorial(n))),
}


def smallest_p(test: str, *sizes: int) -> float:
    """The smallest two-sided p that a test can give, whatever the data.

    Args:
        test: the name of its function: ``welch``, ``paired_t``, ``permutation``, ``paired_permutation``,
            ``stratified_permutation``, ``stratified_signs``, ``wilcoxon``, ``mcnemar``, ``kendall``.
        sizes: n and m of two samples (``welch``, ``permutation``); n and m of each dataset, one after the other
            (``stratified_permutation``); pairs, those of all datasets together (``stratified_signs``), datasets, images
            that differ, or ranked methods (the others).

    Returns:
        p in [0, 1]: 0 for t-tests, whose p has no floor; nan where the test is not defined (a t-test of n = 1).

    Raises:
        ValueError: there is no such test, or the sizes are not what it takes.
    """
    return _test(test, sizes).smallest(*sizes)


def refusal(test: str, *sizes: int, alpha: float = 0.05, comparisons: int = 1) -> str:
    """Why a test cannot reach alpha, with the arithmetic and with what could; empty where it can.

    Args:
        test: as for ``smallest_p``, and so are its errors.
        sizes: as for ``smallest_p``.
        alpha: level of the test, in (0, 1).
        comparisons: how many tests Holm's correction is over: the smallest p of a family is multiplied by it.

    Returns:
        Such as "n = 3 and 3 seeds: the smallest possible p of the permutation test is 0.1, above alpha = 0.05; 4 and 4
        seeds can reach 0.0286".
    """
    kind = _test(test, sizes)
    smallest = kind.smallest(*sizes)
    if smallest * comparisons <= alpha:
        return ""
    unit = kind.unit if max(sizes) > 1 else kind.unit.removesuffix("s")
    if math.isnan(smallest):
        return f"n = {_listed(sizes)} {unit}: {kind.name} needs at least 2"
    enough = fewest(test, *sizes, alpha=alpha, comparisons=comparisons)
    smallest_holm = min(1.0, smallest * comparisons)
    corrected = f" and {smallest_holm:.3g} after Holm over {comparisons} comparisons" if comparisons > 1 else ""
    reached = kind.smallest(*enough) * comparisons
    return (
        f"n = {_listed(sizes)} {unit}: the smallest possible p of {kind.name} is {smallest:.3g}{corrected}, "
        f"above alpha = {alpha:g}; {_listed(enough)} {kind.unit} can reach {reached:.3g}"
    )


def fewest(test: str, *sizes: int, alpha: float = 0.05, comparisons: int = 1) -> tuple[int, ...]:
    """The sizes, each raised by the same number, with which a test can reach alpha; as they are where it can.

    Args:
        test: as for ``smallest_p``.
        sizes: as for ``smallest_p``; each at least 2 for t-tests, which are not defined below (``ValueError``).
        alpha: level of the test, in (0, 1).
        comparisons: as for ``refusal``.
    """
    kind, enough = _test(test, sizes), sizes
    if math.isnan(kind.smallest(*sizes)):
        raise ValueError(f"{kind.name} needs at least 2 {kind.unit}; there are {_listed(sizes)}")
    while kind.smallest(*enough) * comparisons > alpha:
        enough = tuple(size + 1 for size in enough)
    return enough


def fewest_seeds(enough: Callable[[int], bool], start: int = 2) -> int | None:
    """The least n, at least 2 and ``start``, that is enough; None beyond ``MOST_SEEDS``."""
    low, high = max(2, start) - 1, max(2, start)
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def require(test: str, *sizes: int, alpha: float = 0.05, comparisons: int = 1) -> None:
    """Raise ``OutOfReachError`` with the words of ``refusal`` where a test cannot reach alpha."""
    if reason := refusal(test, *sizes, alpha=alpha, comparisons=comparisons):
        raise OutOfReachError(reason)


def _test(test: str, sizes: tuple[int, ...]) -> _Test:
    if test not in _TESTS:
        raise ValueError(choose(test, _TESTS, "test"))
    kind = _TESTS[test]
    fits = len(sizes) == kind.counts if kind.counts else sizes and len(sizes) % 2 == 0
    if not fits or min(sizes) < 0:
        raise ValueError(f"{kind.name} does not take the sizes {_listed(sizes) or 'none'}")
    return kind


def _listed(sizes: tuple[int, ...]) -> str:
    if len(set(sizes)) == 1 and len(sizes) > 2:
        return f"{len(sizes)} times {sizes[0]}"
    return ", ".join(map(str, sizes[:-1])) + " and " * (len(sizes) > 1) + "".join(map(str, sizes[-1:]))
