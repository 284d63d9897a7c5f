"""How many seeds each comparison of a table needs, given its gap, its spread and the family of contrasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.plan.table import Contest
from bench.stats.family import holm
from bench.stats.power import pairs_needed, permutation_needed, seeds_needed, unrejected_level
from bench.stats.reach import fewest
from bench.stats.samples import mean_std
from bench.stats.two import MOST_EXACT
from bench.tables.compare import Table
from bench.tables.testing import p_value, paired_values, shared_draws

ONE_SEED = "one seed has no spread: look again with two"
NO_SPREAD = "no seed differs: there is no spread to go by"
TOO_SMALL = "the gap is too small for any number of seeds"


@dataclass(frozen=True)
class Contrast:
    """A method's finished seeds beside the baseline's, with the family that Holm's correction is over.

    Attributes:
        family: equal for contrasts that are corrected together.
        where: the labels that both have in common.
        method: its label.
        baseline: the baseline's.
        values: of the method, one a seed.
        reference: of the baseline.
        seeds: the seed of each value; empty where runs of one seed are no pairs, as they share nothing.
        reference_seeds: the same of the baseline.
    """

    family: tuple[str, ...]
    where: str
    method: str
    baseline: str
    values: tuple[float, ...]
    reference: tuple[float, ...]
    seeds: tuple[int, ...] = ()
    reference_seeds: tuple[int, ...] = ()

    @property
    def differences(self) -> tuple[float, ...]:
        """The method's value less the baseline's, for each seed that both have."""
        return tuple(own - base for own, base in zip(*paired_values(*_sides(self)), strict=True))


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


@dataclass(frozen=True)
class _Side:
    values: tuple[float, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class _Aim:
    """At what level a gap should be found, and how often."""

    level: float
    power: float


def contrasts_of(tables: Iterable[Table]) -> Iterator[Contrast]:
    """Each cell against its baseline, where both have finished runs; averages are left out.

    Runs that share no draw are no pairs: what is known of their seeds is then of no account.
    """
    for table in tables:
        for contest, entry, base in table.pairs():
            if entry.is_average or base.is_average:
                continue
            paired = not entry.cell.runs or bool(shared_draws(entry.cell.runs, base.cell.runs))
            yield Contrast(
                family=(table.plan.name, *(contest.where if table.plan.rules.family == "column" else ())),
                where=where_of(table, contest),
                method=entry.planned.name,
                baseline=base.planned.name,
                values=entry.cell.values,
                reference=base.cell.values,
                seeds=entry.cell.seeds if paired else (),
                reference_seeds=base.cell.seeds if paired else (),
            )


def where_of(table: Table, contest: Contest) -> str:
    """Where cells are compared, in words; of a paper, with the table's name."""
    if table.plan.is_published:
        return " / ".join((table.plan.name, *contest.where))
    return " / ".join(contest.where or table.plan.common)


def weigh(contrasts: Sequence[Contrast], alpha: float, power: float, test: str = "welch") -> list[Need]:
    """What each comparison needs to be found, given the other ones of its family.

    Args:
        contrasts: of any families.
        alpha: level of each family, in (0, 1).
        power: how often a gap as large as the measured one should be found, in (alpha, 1).
        test: ``welch``, ``paired`` (needs are pairs of runs of one seed) or ``permutation`` (see
            ``bench.stats.power.permutation_needed``).

    Raises:
        ValueError: there are too many values for the exact test.
    """
    p = [p_value(test, *_sides(contrast)) for contrast in contrasts]
    find = {"welch": _by_welch, "paired": _by_pairs, "permutation": _by_permutation}[test]
    found: list[Need | None] = [None] * len(contrasts)
    for family in dict.fromkeys(contrast.family for contrast in contrasts):
        places = [place for place, contrast in enumerate(contrasts) if contrast.family == family]
        own = [p[place] for place in places]
        aim = _Aim(unrejected_level(own, alpha), power)
        for place, corrected in zip(places, holm(own), strict=True):
            contrast = contrasts[place]
            seeds, note = (None, "significant") if corrected <= alpha else find(contrast, aim)
            gap = _gap(contrast, test)
            found[place] = Need(contrast, gap, p[place], float(corrected), aim.level, seeds, note)
    return [need for need in found if need is not None]


def _sides(contrast: Contrast) -> tuple[_Side, _Side]:
    own = _Side(contrast.values, contrast.seeds)
    return own, _Side(contrast.reference, contrast.reference_seeds)


def _gap(contrast: Contrast, test: str) -> float:
    """The gap that a test is about: over the pairs there are, or between the means."""
    if test == "paired" and contrast.differences:
        return mean_std(contrast.differences)[0]
    return mean_std(contrast.values)[0] - mean_std(contrast.reference)[0]


def _by_welch(contrast: Contrast, aim: _Aim) -> tuple[int | None, str]:
    """The seeds that Welch's t needs, and what is to be said of them."""
    std, base_std = mean_std(contrast.values)[1], mean_std(contrast.reference)[1]
    counts = len(contrast.values), len(contrast.reference)
    if min(counts) < 2:
        return 2, ONE_SEED
    if std == 0 == base_std:
        return None, NO_SPREAD
    gap = _gap(contrast, "welch")
    seeds = seeds_needed(gap, std, base_std, aim.level, aim.power, max(counts) + 1)
    return seeds, TOO_SMALL if seeds is None else ""


def _by_pairs(contrast: Contrast, aim: _Aim) -> tuple[int | None, str]:
    """The pairs that the paired t-test needs."""
    if not contrast.seeds or not contrast.reference_seeds:
        return None, "runs of one seed share nothing: there are no pairs"
    differences = contrast.differences
    if len(differences) < 2:
        return 2, "one pair has no spread: look again with two" if differences else "no seed has both: look with two"
    gap, std = mean_std(differences)
    if std <= 1e-9:  # percent; what is less is rounding
        return None, "no pair differs from another: there is no spread to go by"
    pairs = pairs_needed(gap, std, aim.level, aim.power, len(differences) + 1)
    return pairs, TOO_SMALL if pairs is None else ""


def _by_permutation(contrast: Contrast, aim: _Aim) -> tuple[int | None, str]:
    """The seeds that the exact permutation test needs, by Welch's power at the p that it can give."""
    std, base_std = mean_std(contrast.values)[1], mean_std(contrast.reference)[1]
    counts, gap = (len(contrast.values), len(contrast.reference)), _gap(contrast, "permutation")
    if min(counts) < 2:
        return 2, ONE_SEED
    if std == 0 == base_std and not gap:
        return None, NO_SPREAD
    seeds = permutation_needed(gap, std, base_std, aim.level, aim.power, max(counts) + 1)
    if seeds is None:
        return None, TOO_SMALL
    (least, _), most = fewest("permutation", 2, 2, alpha=aim.level), MOST_EXACT // 2
    if seeds > most:
        return None, f"{seeds}, and the exact test takes at most {most} on each side"
    return seeds, f"with fewer no p can be {aim.level:.3g}" if seeds == least else ""
