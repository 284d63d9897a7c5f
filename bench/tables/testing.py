"""The tests that a table may compare two cells by: what each is called, and what it can say with so few seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.notation import listed
from bench.spec import RunSpec
from bench.stats.reach import refusal, smallest_p
from bench.stats.two import paired_t, permutation, welch

DRAWS = {"subset": "the subset of images", "init": "the initial head", "order": "the order of batches"}
"""What runs of one seed share, by the name that ``vary`` has for the draw."""


class Seeded(Protocol):
    """Values, each with the seed it is of; ``seeds`` is empty where that is not known."""

    @property
    def values(self) -> tuple[float, ...]: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Test:
    """A test by its name in captions, and by the one that ``bench.stats.reach`` knows it by."""

    name: str
    reach: str

    __test__ = False


_TESTS = {
    "welch": Test("Welch t-test", "welch"),
    "paired": Test("paired t-test", "paired_t"),
    "permutation": Test("exact permutation test", "permutation"),
}


def test_name(test: str) -> str:
    """What captions call a test: ``Welch t-test``."""
    return _TESTS[test].name


def p_value(test: str, a: Seeded, b: Seeded) -> float:
    """Two-sided p that two cells have the same mean; nan where the test takes more seeds than there are.

    Args:
        test: ``welch``, ``paired`` (over the seeds that both have) or ``permutation``.
        a: the first cell.
        b: the second.

    Raises:
        ValueError: there are too many values for the exact test.
    """
    if test == "paired":
        return paired_t(*paired_values(a, b))
    if min(len(a.values), len(b.values)) < 2:
        return math.nan
    return permutation(a.values, b.values) if test == "permutation" else welch(a.values, b.values)


def sizes(test: str, a: Seeded, b: Seeded) -> tuple[int, ...]:
    """What describes a comparison to ``bench.stats.reach``: pairs of seeds, or the seeds of each side."""
    return (len(paired_values(a, b)[0]),) if test == "paired" else (len(a.values), len(b.values))


def out_of_reach(test: str, compared: Sequence[tuple[int, ...]], alpha: float) -> str:
    """Why no comparison of a family can reach alpha, with the arithmetic; empty where one can, or there is none.

    Holm's correction multiplies the smallest p of a family by the number of its comparisons, so the comparison that
    can reach furthest decides.

    Args:
        test: as for ``p_value``.
        compared: the ``sizes`` of each comparison of the family.
        alpha: level of the family.
    """
    if not compared:
        return ""
    reach = _TESTS[test].reach
    best = min(compared, key=lambda own: smallest_p(reach, *own))
    return refusal(reach, *best, alpha=alpha, comparisons=len(compared))


def pairing(shared: Iterable[str]) -> str:
    """The sentence of a caption that says what makes runs of one seed pairs."""
    told = tuple(DRAWS.get(draw, draw) for draw in shared)
    return f"Pairs are runs of one seed, which share {listed(told)}." if told else "Pairs are runs of one seed."


def paired_values(a: Seeded, b: Seeded) -> tuple[list[float], list[float]]:
    """The values of the seeds that both have, in the order of the seeds."""
    first, second = dict(zip(a.seeds, a.values, strict=False)), dict(zip(b.seeds, b.values, strict=False))
    both = sorted(first.keys() & second.keys())
    return [first[seed] for seed in both], [second[seed] for seed in both]


def shared_draws(runs: Sequence[RunSpec], others: Sequence[RunSpec]) -> list[str]:
    """The draws that the runs of every seed share which both sides have, and that change with the seed."""
    theirs = {spec.seed: spec.seeds for spec in others}
    pairs = [(spec.seeds, theirs[spec.seed]) for spec in runs if spec.seed in theirs]
    shared = []
    for draw in DRAWS:
        drawn = [(getattr(mine, draw), getattr(other, draw)) for mine, other in pairs]
        if drawn and all(mine == other for mine, other in drawn) and (len(drawn) == 1 or len({*drawn}) > 1):
            shared.append(draw)
    return shared
