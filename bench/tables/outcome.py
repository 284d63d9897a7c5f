"""What the tests of a table say of cells against their baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.rules import PAIRED
from bench.stats.difference import MeanDifference, paired_estimate, pooled_estimates, welch_estimate
from bench.stats.samples import checked
from bench.stats.two import permutation, rounding_of, superiority
from bench.tables.cells import Cell
from bench.tables.testing import are_pairs, paired_values, shared_by


@dataclass(frozen=True)
class Outcome:
    """What a test says of a cell against its baseline.

    Attributes:
        p: two-sided; nan where the test takes more seeds than there are.
        estimate: the difference as the interval has it (of an exact test, Welch's); None where there is none.
        superiority: the share of runs that beat the baseline's, as ``bench.stats.two.superiority`` counts; else nan.
    """

    p: float = math.nan
    estimate: MeanDifference | None = None
    superiority: float = math.nan


def compare_with(test: str, cells: Sequence[Cell], base: Cell, sign: int, folds: int = 0) -> list[Outcome]:
    """Cells of one contest against their common baseline.

    Args:
        test: one of ``bench.tables.testing.TEST_NAMES``.
        cells: of the methods.
        base: of the baseline.
        sign: 1 where more is better, -1 where less is.
        folds: of the cross-validation that the seeds are the folds of; the test is one of pairs then, and corrected
            for the training images that they share.

    Raises:
        ValueError: there are too many values for the exact test.
    """
    if folds or test in PAIRED:
        return _paired("paired" if folds else test, cells, base, sign, folds)
    return [_unpaired(test, cell, base, sign) for cell in cells]


def _paired(test: str, cells: Sequence[Cell], base: Cell, sign: int, folds: int) -> list[Outcome]:
    pairs = [paired_values(cell, base) for cell in cells]
    roundings = [rounding_of(checked(ours), checked(theirs)) if ours else 0.0 for ours, theirs in pairs]
    if test == "pooled":
        estimates = pooled_estimates(_by_seed(cells, base), max(roundings, default=0.0))
    else:
        estimates = [
            paired_estimate(np.subtract(ours, theirs), rounding, shared_by(folds))
            for (ours, theirs), rounding in zip(pairs, roundings, strict=True)
        ]
    results = list[Outcome]()
    for estimate, (ours, theirs) in zip(estimates, pairs, strict=True):
        chance = superiority(ours, theirs, paired=True, sign=sign) if ours else math.nan
        results.append(Outcome(math.nan if estimate is None else estimate.p, estimate, chance))
    return results


def _by_seed(cells: Sequence[Cell], base: Cell) -> list[list[float]]:
    """The differences to the baseline, (cells, seeds of the baseline); nan where there is no pair."""
    seeds, lines = sorted(base.by_seed), list[list[float]]()
    for cell in cells:
        values = cell.by_seed if are_pairs(cell, base) else {}
        lines.append([values.get(seed, math.nan) - base.by_seed[seed] for seed in seeds])
    return lines


def _unpaired(test: str, cell: Cell, base: Cell, sign: int) -> Outcome:
    if cell.summary is None or base.summary is None:
        return Outcome()
    chance, rounding = math.nan, 0.0
    if cell.values and base.values:
        chance = superiority(cell.values, base.values, sign=sign)
        rounding = rounding_of(checked(cell.values), checked(base.values))
    estimate = welch_estimate(cell.summary, base.summary, rounding)
    p = math.nan if estimate is None else estimate.p
    if test == "permutation":
        enough = min(len(cell.values), len(base.values)) >= 2
        p = permutation(cell.values, base.values) if enough else math.nan
    return Outcome(p, estimate, chance)
