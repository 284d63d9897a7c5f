"""How many seeds each comparison of a table needs, given its gap, its spread and the family of contrasts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench.plan.table import Contest
from bench.rules import PAIRED
from bench.stats.difference import ENOUGH, MeanDifference
from bench.stats.family import holm
from bench.stats.power import pairs_needed, permutation_needed, seeds_needed, unrejected_level
from bench.stats.reach import fewest
from bench.stats.samples import mean_std
from bench.stats.two import MOST_EXACT
from bench.tables.cells import Cell
from bench.tables.compare import Table
from bench.tables.testing import are_pairs, paired_values

ONE_SEED = "one seed has no spread: look again with two"
NO_COUNT = "of how many runs the ± is, is not known"
NO_SPREAD = "no seed differs: there is no spread to go by"
TOO_SMALL = "the gap is too small for any number of seeds"


@dataclass(frozen=True)
class Contrast:
    """A method's finished seeds beside the baseline's, with the family that Holm's correction is over.

    ``family`` is equal for contrasts that are corrected together, ``where`` are the labels that both have in common;
    ``decimals`` are those of the gap as it is shown; ``p`` and ``estimate`` are what the table's ``test`` says.
    """

    family: tuple[str, ...]
    where: str
    method: str
    baseline: str
    cell: Cell
    base: Cell
    decimals: int = 2
    test: str = "welch"
    p: float = math.nan
    estimate: MeanDifference | None = None

    @property
    def pairs(self) -> int:
        """How many seeds both have, where these are pairs."""
        return len(paired_values(self.cell, self.base)[0])


@dataclass(frozen=True)
class Need:
    """What a comparison needs; ``seeds`` is None where it needs none or nobody can say, and ``note`` says which."""

    contrast: Contrast
    gap: float
    p: float
    p_holm: float
    level: float
    seeds: int | None
    note: str = ""


def contrasts_of(tables: Iterable[Table]) -> Iterator[Contrast]:
    """Each cell against its baseline, where both have finished runs; averages are left out."""
    for table in tables:
        for contest, entry, base in table.pairs():
            if not entry.is_average and not base.is_average:
                yield Contrast(
                    family=(table.plan.name, *(contest.where if table.plan.rules.family == "column" else ())),
                    where=where_of(table, contest),
                    method=entry.planned.name,
                    baseline=base.planned.name,
                    cell=entry.cell,
                    base=base.cell,
                    decimals=table.plan.gap_decimals,
                    test=table.plan.rules.test,
                    p=math.nan if entry.p is None else entry.p,
                    estimate=entry.estimate,
                )


def where_of(table: Table, contest: Contest) -> str:
    """Where cells are compared, in words; of a paper, with the table's name."""
    if table.plan.is_published:
        return " / ".join((table.plan.name, *contest.where))
    return " / ".join(contest.where or table.plan.common)


def weigh(contrasts: Sequence[Contrast], alpha: float, power: float) -> list[Need]:
    """What each comparison needs to be found, given the other ones of its family.

    Args:
        contrasts: of any families; the needs of paired tests are pairs.
        alpha: level of each family, in (0, 1).
        power: how often a gap as large as the measured one should be found, in (alpha, 1).
    """
    needs: dict[int, Need] = {}
    for family in dict.fromkeys(contrast.family for contrast in contrasts):
        places = [place for place, contrast in enumerate(contrasts) if contrast.family == family]
        p_of_family = [contrasts[place].p for place in places]
        level = unrejected_level(p_of_family, alpha)
        for place, p_holm in zip(places, holm(p_of_family), strict=True):
            contrast = contrasts[place]
            find = _pairs if contrast.test in PAIRED else _seeds
            seeds, note = (None, "significant") if p_holm <= alpha else find(contrast, level, power)
            needs[place] = Need(contrast, _gap(contrast), contrast.p, float(p_holm), level, seeds, note)
    return [needs[place] for place in sorted(needs)]


def _gap(contrast: Contrast) -> float:
    """The gap that a test is about: over the pairs there are, or between the means."""
    if contrast.test in PAIRED and contrast.estimate:
        return contrast.estimate.gap
    return contrast.cell.mean - contrast.base.mean


def _seeds(contrast: Contrast, level: float, power: float) -> tuple[int | None, str]:
    """The seeds that Welch's t or the exact permutation test needs, and what is to be said of them."""
    side, base = contrast.cell.summary, contrast.base.summary
    if not (contrast.cell.has_n and contrast.base.has_n):
        return None, NO_COUNT
    if side is None or base is None or min(side.n, base.n) < 2:
        return 2, ONE_SEED
    if math.isnan(side.std + base.std):
        return None, NO_SPREAD
    gap, exact = side.mean - base.mean, contrast.test == "permutation"
    if side.std == 0 == base.std and not (exact and gap):
        return None, NO_SPREAD
    needed = permutation_needed if exact else seeds_needed
    seeds = needed(gap, side.std, base.std, level, power, max(side.n, base.n) + 1)
    if seeds is None:
        return None, TOO_SMALL
    if not exact:
        return seeds, ""
    (least, _), most = fewest("permutation", 2, 2, alpha=level), MOST_EXACT // 2
    if seeds > most:
        return None, f"{seeds}, and the exact test takes at most {most} on each side"
    return seeds, f"with fewer no p can be {level:.3g}" if seeds == least else ""


def _pairs(contrast: Contrast, level: float, power: float) -> tuple[int | None, str]:
    """The pairs that a paired t-test needs: by the spread of the test as it is, and from ``ENOUGH`` on by its own."""
    if not are_pairs(contrast.cell, contrast.base):
        return None, "runs of one seed share nothing: there are no pairs"
    differences = np.subtract(*paired_values(contrast.cell, contrast.base))
    pairs, estimate = differences.size, contrast.estimate
    if pairs < 2 or estimate is None:
        return 2, "one pair has no spread: look again with two" if pairs else "no seed has both: look with two"
    std = mean_std(differences)[1]
    if max(std, estimate.error) <= 1e-9:  # percent; what is less is rounding
        return None, "no pair differs from another: there is no spread to go by"
    for_one = estimate.freedom / (pairs - 1)
    needed = pairs_needed(estimate.gap, estimate.error * pairs**0.5, level, power, pairs + 1, for_one)
    if needed is None or needed >= ENOUGH:
        needed = pairs_needed(estimate.gap, max(std, 1e-9), level, power, max(pairs + 1, ENOUGH))
    return needed, TOO_SMALL if needed is None else ""
