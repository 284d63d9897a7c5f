"""The tests that a table may compare cells by: which one its design asks for, and what each can say with few seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.plan.table import TablePlan, TableRules
from bench.rate import WHOLE
from bench.rules import AUTO, PAIRED
from bench.spec import RunSpec
from bench.stats.reach import refusal, smallest_p
from bench.tables.cells import Cell

DRAWS = {"subset": "the subset of images", "init": "the initial head", "order": "the order of batches"}
"""What runs of one seed share, by the name that ``vary`` has for the draw."""

TEST_NAMES = {
    "pooled": "paired t-test with a pooled spread",
    "paired": "paired t-test",
    "welch": "Welch t-test",
    "permutation": "exact permutation test",
}
"""What captions call each test."""


def settled(plan: TablePlan) -> TablePlan:
    """The plan with the test that its design asks for in the place of ``auto``.

    Runs of one seed that share a draw are pairs, and are tested as such; others by Welch's t. What the seeds of
    somebody's own numbers share nobody says, so they are taken to share nothing.
    """
    if plan.rules.test != AUTO:
        return plan
    shared = list[bool]()
    for contest in plan.contests:
        for place, base in contest.pairs:
            sides = [plan.cells[row][column].candidates for row, column in (place, base)]
            if all(sides):
                runs, base_runs = (candidates[0].runs for candidates in sides)
                draws = shared_draws(runs, base_runs)
                # with all images the subset is the same, whatever the seed
                shared.append(bool(draws) and not (draws == ["subset"] and all(spec.rate == WHOLE for spec in runs)))
    paired = bool(shared) and all(shared)
    return replace(plan, rules=replace(plan.rules, test="pooled" if paired else "welch"))


def shared_by(folds: int) -> float:
    """The test images for each training image of a cross-validation; 0 where there are no folds."""
    return 1 / (folds - 1) if folds else 0.0


def name_of(rules: TableRules, pairs: Iterable[int]) -> str:
    """What captions call the test of comparisons with so many pairs each: with enough of them nothing is pooled."""
    if rules.folds:
        return f"t-test over {rules.folds} folds with Nadeau and Bengio's correction (2003)"
    from bench.stats.difference import ENOUGH

    return TEST_NAMES["paired" if rules.test == "pooled" and min(pairs, default=0) >= ENOUGH else rules.test]


def sizes(test: str, a: Cell, b: Cell) -> tuple[int, ...]:
    """What describes a comparison to ``bench.stats.reach``: pairs of seeds, or the seeds of each side."""
    return (len(paired_values(a, b)[0]),) if test in PAIRED else (a.n, b.n)


def out_of_reach(test: str, compared: Sequence[tuple[int, ...]], alpha: float) -> str:
    """Why no comparison of a family can reach alpha, with the arithmetic; empty where one can, or there is none.

    Holm's correction multiplies the smallest p of a family by the number of its comparisons, so of the compared
    ``sizes`` those decide that can reach furthest.
    """
    if not compared:
        return ""
    reach = "paired_t" if test in PAIRED else test
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
