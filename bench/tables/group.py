"""The group of the best of a contest: what lies too near the best mean to be told from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.papers.published import Key
from bench.plan.table import Contest, Place, TableRules
from bench.rules import PAIRED
from bench.stats.best import blocked, least_difference, seeds_to_tell, within
from bench.stats.pooling import Spread
from bench.tables.cells import Cell
from bench.tables.testing import shared_by


@dataclass(frozen=True)
class BestGroup:
    """What is marked beside the best of a contest, and why.

    Attributes:
        places: of the cells that cannot be told from the best, the best among them.
        compared: how many cells there are to choose from.
        least: by how much a mean must lie below the best to be told from it: the smallest such distance and the
            largest, where the cells differ in their seeds.
        gap: of the best to the baseline, or where that is the best, or there is none, to the second.
        residual: the spread of one value.
        n: the fewest seeds of a cell.
        alpha: chance that whatever is best in truth is left out.
        folds: of the cross-validation that the seeds are the folds of; 0 where they are seeds.
    """

    where: Key
    places: frozenset[Place]
    compared: int
    least: tuple[float, float]
    gap: float
    residual: Spread
    n: int
    alpha: float
    folds: int = 0

    @cached_property
    def seeds(self) -> int | None:
        """How many seeds of each would tell the gap; None where no number does, or one cannot have more of them."""
        if self.n < 2 or self.folds:
            return None
        return seeds_to_tell(self.gap, self.residual, self.compared, self.n, self.alpha)

    @property
    def tells_nothing(self) -> bool:
        """Whether all that is compared is in the group."""
        return len(self.places) == self.compared


def group_of(contest: Contest, cells: Mapping[Place, Cell], sign: int, rules: TableRules) -> BestGroup | None:
    """The group of the best of a contest; None where fewer than two cells have a mean, or no spread is known.

    Args:
        contest: whose cells.
        cells: those that have a mean, by place.
        sign: 1 where more is better, -1 where less is.
        rules: of the table: where its test is one of pairs, seeds are blocks as far as all cells have the same; its
            alpha is the chance that whatever is best in truth is left out.
    """
    places = [place for place in contest.places if place in cells]
    if len(places) < 2:
        return None
    means = {place: sign * cells[place].mean for place in places}
    # of printed ties the one with most seeds, and then by its values, so that the order of the cells changes nothing
    best = max(places, key=lambda place: (means[place], cells[place].n, cells[place].values))
    rest = [cells[place] for place in places if place != best]
    residual = residual_of(cells[best], rest, rules.test in PAIRED)
    if math.isnan(residual.std):
        return None
    counts = {place: _worth(cells[place].n, rules.folds) for place in places}
    leasts = {
        place: least_difference(residual, len(places), counts[place], counts[best], rules.alpha)
        for place in places
        if place != best
    }
    near = [place for place, least in leasts.items() if means[best] - means[place] < least]
    # nothing that is left out lies above what is marked, whatever the seeds of each
    lowest = min((means[place] for place in near), default=means[best])
    marked = frozenset(place for place in places if means[place] >= lowest)
    rivals = {base for place, base in contest.pairs if place == best and base in means} or set(leasts)
    gap = means[best] - max(means[place] for place in rivals)
    n = min(cells[place].n for place in places)
    least = (min(leasts.values()), max(leasts.values()))
    return BestGroup(contest.where, marked, len(places), least, gap, residual, n, rules.alpha, rules.folds)


def _worth(n: int, folds: int) -> float:
    """Of how many independent values the mean of n is worth; folds share training images (Nadeau and Bengio, 2003)."""
    return 1 / (1 / n + shared_by(folds))


def residual_of(best: Cell, rest: Sequence[Cell], paired: bool) -> Spread:
    """The spread of one value; from the differences to the best where seeds are pairs and all have the same."""
    seeds = best.seeds
    if paired and len(seeds) > 1 and all(cell.seeds == seeds for cell in rest):
        return blocked(np.subtract([cell.values for cell in rest], best.values))
    return within([cell.summary for cell in (best, *rest) if cell.summary is not None])
