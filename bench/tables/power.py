"""How many seeds each comparison of a table needs, given its gap, its spread and the family of comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import InputError
from bench.papers.comparisons import compared_rows
from bench.papers.measured import failures_of, measured
from bench.papers.published import PublishedTable
from bench.papers.table import shared_draws
from bench.plan.grid import Plan
from bench.plan.paper import PaperPlan
from bench.records.store import Store
from bench.stats import fewest, holm, mean_std, pairs_needed, permutation_needed, seeds_needed, unrejected_level
from bench.stats.two import MOST_EXACT
from bench.tables.cells import METHOD
from bench.tables.report import fill
from bench.tables.testing import p_value, paired_values

ONE_SEED = "one seed has no spread: look again with two"
NO_SPREAD = "no seed differs: there is no spread to go by"
TOO_SMALL = "the gap is too small for any number of seeds"


@dataclass(frozen=True)
class Comparison:
    """A method's finished seeds beside the baseline's, with the family that Holm's correction is over.

    Attributes:
        family: equal for comparisons that are corrected together.
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

    comparison: Comparison
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


def comparisons_of_experiment(plan: Plan, store: Store) -> Iterator[Comparison]:
    """Each method against the baseline of an experiment's table, where both have finished runs.

    Raises:
        InputError: the experiment has no baseline.
    """
    table = fill(plan, store)
    if (baseline := table.layout.baseline) is None:
        raise InputError(f"{plan.experiment.name}: it has no baseline, so nothing is compared; give it 'baseline'")
    elsewhere = {_where(entry.cell.axes): entry for entry in table.finished if entry.cell.axes[METHOD] == baseline}
    for entry in table.finished:
        method, where = entry.cell.axes[METHOD], _where(entry.cell.axes)
        if method != baseline and where in elsewhere:
            family = (where,) if table.layout.family == "column" else ()
            own, base = entry.cell, elsewhere[where].cell
            yield Comparison(family, where, method, baseline, own.values, base.values, own.seeds, base.seeds)


def comparisons_of_paper(plan: PaperPlan, store: Store) -> Iterator[Comparison]:
    """Each row against its baseline in each column of a paper's tables, where both have finished runs."""
    finished = store.finished()
    failed = failures_of(plan, store, finished)
    for table_plan in plan.tables:
        table, found = table_plan.table, measured(table_plan, finished, failed)
        for number, pairs in enumerate(compared_rows(table_plan)):
            for at, column in enumerate(table.columns):
                where = " / ".join(filter(None, (table.name, *column)))
                for row, base in pairs:
                    own, other = found[row][at], found[base][at]
                    if own.values and other.values and not table_plan.cells[row][at].average:
                        family, names = (table.name, str(number), str(at)), (_name(table, row), _name(table, base))
                        seeds = (own.seeds, other.seeds) if shared_draws(own, other) else ((), ())
                        yield Comparison(family, where, *names, own.values, other.values, *seeds)


def weigh(comparisons: Sequence[Comparison], alpha: float, power: float, test: str = "welch") -> list[Need]:
    """What each comparison needs to be found, given the other ones of its family.

    Args:
        comparisons: of any families.
        alpha: level of each family, in (0, 1).
        power: how often a gap as large as the measured one should be found, in (alpha, 1).
        test: ``welch``, ``paired`` (needs are pairs of runs of one seed) or ``permutation`` (see
            ``bench.stats.permutation_needed``).

    Raises:
        ValueError: there are too many values for the exact test.
    """
    p = [p_value(test, *_sides(comparison)) for comparison in comparisons]
    find = {"welch": _by_welch, "paired": _by_pairs, "permutation": _by_permutation}[test]
    found: list[Need | None] = [None] * len(comparisons)
    for family in dict.fromkeys(comparison.family for comparison in comparisons):
        places = [place for place, comparison in enumerate(comparisons) if comparison.family == family]
        own = [p[place] for place in places]
        aim = _Aim(unrejected_level(own, alpha), power)
        for place, corrected in zip(places, holm(own), strict=True):
            comparison = comparisons[place]
            seeds, note = (None, "significant") if corrected <= alpha else find(comparison, aim)
            gap = _gap(comparison, test)
            found[place] = Need(comparison, gap, p[place], float(corrected), aim.level, seeds, note)
    return [need for need in found if need is not None]


def _sides(comparison: Comparison) -> tuple[_Side, _Side]:
    own = _Side(comparison.values, comparison.seeds)
    return own, _Side(comparison.reference, comparison.reference_seeds)


def _name(table: PublishedTable, row: int) -> str:
    return " / ".join(filter(None, table.rows[row]))


def _where(axes: Mapping[str, str]) -> str:
    return " / ".join(label for axis, label in axes.items() if axis != METHOD)


def _gap(comparison: Comparison, test: str) -> float:
    """The gap that a test is about: over the pairs there are, or between the means."""
    if test == "paired" and comparison.differences:
        return mean_std(comparison.differences)[0]
    return mean_std(comparison.values)[0] - mean_std(comparison.reference)[0]


def _by_welch(comparison: Comparison, aim: _Aim) -> tuple[int | None, str]:
    """The seeds that Welch's t needs, and what is to be said of them."""
    std, base_std = mean_std(comparison.values)[1], mean_std(comparison.reference)[1]
    counts = len(comparison.values), len(comparison.reference)
    if min(counts) < 2:
        return 2, ONE_SEED
    if std == 0 == base_std:
        return None, NO_SPREAD
    gap = _gap(comparison, "welch")
    seeds = seeds_needed(gap, std, base_std, aim.level, aim.power, max(counts) + 1)
    return seeds, TOO_SMALL if seeds is None else ""


def _by_pairs(comparison: Comparison, aim: _Aim) -> tuple[int | None, str]:
    """The pairs that the paired t-test needs."""
    if not comparison.seeds or not comparison.reference_seeds:
        return None, "runs of one seed share nothing: there are no pairs"
    differences = comparison.differences
    if len(differences) < 2:
        return 2, "one pair has no spread: look again with two" if differences else "no seed has both: look with two"
    gap, std = mean_std(differences)
    if std <= 1e-9:  # percent; what is less is rounding
        return None, "no pair differs from another: there is no spread to go by"
    pairs = pairs_needed(gap, std, aim.level, aim.power, len(differences) + 1)
    return pairs, TOO_SMALL if pairs is None else ""


def _by_permutation(comparison: Comparison, aim: _Aim) -> tuple[int | None, str]:
    """The seeds that the exact permutation test needs, by Welch's power at the p that it can give."""
    std, base_std = mean_std(comparison.values)[1], mean_std(comparison.reference)[1]
    counts, gap = (len(comparison.values), len(comparison.reference)), _gap(comparison, "permutation")
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
