"""The tests that a table may compare two cells by: what each is called, and what it can say with so few seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.spec import RunSpec
from bench.stats.reach import refusal, smallest_p
from bench.stats.two import paired_t, permutation, welch
from bench.tables.cells import Cell

DRAWS = {"subset": "the subset of images", "init": "the initial head", "order": "the order of batches"}
"""What runs of one seed share, by the name that ``vary`` has for the draw."""

TEST_NAMES = {"welch": "Welch t-test", "paired": "paired t-test", "permutation": "exact permutation test"}
"""What captions call each test."""


def p_value(test: str, a: Cell, b: Cell) -> float:
    """Two-sided p that two cells have the same mean; nan where the test takes more seeds than there are.

    Raises:
        ValueError: there are too many values for the exact test.
    """
    if test == "paired":
        return paired_t(*paired_values(a, b))
    if min(len(a.values), len(b.values)) < 2:
        return math.nan
    return permutation(a.values, b.values) if test == "permutation" else welch(a.values, b.values)


def sizes(test: str, a: Cell, b: Cell) -> tuple[int, ...]:
    """What describes a comparison to ``bench.stats.reach``: pairs of seeds, or the seeds of each side."""
    return (len(paired_values(a, b)[0]),) if test == "paired" else (len(a.values), len(b.values))


def out_of_reach(test: str, compared: Sequence[tuple[int, ...]], alpha: float) -> str:
    """Why no comparison of a family can reach alpha, with the arithmetic; empty where one can, or there is none.

    Holm's correction multiplies the smallest p of a family by the number of its comparisons, so of the compared
    ``sizes`` those decide that can reach furthest.
    """
    if not compared:
        return ""
    reach = {"paired": "paired_t"}.get(test, test)
    furthest = min(compared, key=lambda counts: smallest_p(reach, *counts))
    return refusal(reach, *furthest, alpha=alpha, comparisons=len(compared))


def are_pairs(a: Cell, b: Cell) -> bool:
    """Whether runs of one seed are pairs, since they share a draw; of somebody's own numbers they are."""
    if not a.seeds or not b.seeds:
        return False
    return not a.runs or not b.runs or bool(shared_draws(a.runs, b.runs))


def paired_values(a: Cell, b: Cell) -> tuple[list[float], list[float]]:
    """The values of the seeds that both have, in the order of the seeds; none where those are no pairs."""
    if not are_pairs(a, b):
        return [], []
    first, second = a.by_seed, b.by_seed
    common = sorted(first.keys() & second.keys())
    return [first[seed] for seed in common], [second[seed] for seed in common]


def shared_draws(runs: Sequence[RunSpec], base_runs: Sequence[RunSpec]) -> list[str]:
    """The draws that the runs of every seed share which both sides have, and that change with the seed."""
    seeds_of = {spec.seed: spec.seeds for spec in base_runs}
    pairs = [(spec.seeds, seeds_of[spec.seed]) for spec in runs if spec.seed in seeds_of]
    shared = []
    for draw in DRAWS:
        drawn = [(getattr(seeds, draw), getattr(base_seeds, draw)) for seeds, base_seeds in pairs]
        is_shared = all(first == second for first, second in drawn)
        if drawn and is_shared and (len(drawn) == 1 or len({*drawn}) > 1):
            shared.append(draw)
    return shared
