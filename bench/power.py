"""How many seeds each comparison of a table needs, given its gap, its spread and the family of comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import InputError
from bench.grid import Plan
from bench.papers.plan import PaperPlan
from bench.papers.published import PublishedTable
from bench.papers.table import compared_rows, measured
from bench.report import fill
from bench.stats import holm, mean_std, seeds_needed, unrejected_level, welch
from bench.store import Finished, Store
from bench.tables.cells import METHOD


@dataclass(frozen=True)
class Comparison:
    """A method's finished seeds beside the baseline's, with the family that Holm's correction is over."""

    family: tuple[str, ...]
    where: str
    method: str
    baseline: str
    values: tuple[float, ...]
    reference: tuple[float, ...]


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
            yield Comparison(family, where, method, baseline, entry.cell.values, elsewhere[where].cell.values)


def comparisons_of_paper(plan: PaperPlan, finished: Mapping[str, Finished]) -> Iterator[Comparison]:
    """Each row against its baseline in each column of a paper's tables, where both have finished runs."""
    for table_plan in plan.tables:
        table, found = table_plan.table, measured(table_plan, finished)
        for number, pairs in enumerate(compared_rows(table_plan)):
            for at, column in enumerate(table.columns):
                where = " / ".join(filter(None, (table.name, *column)))
                for row, base in pairs:
                    values, reference = found[row][at].values, found[base][at].values
                    if values and reference and not table_plan.cells[row][at].average:
                        family = (table.name, str(number), str(at))
                        yield Comparison(family, where, _name(table, row), _name(table, base), values, reference)


def weigh(comparisons: Sequence[Comparison], alpha: float, power: float) -> list[Need]:
    """What each comparison needs to be found, given the other ones of its family.

    Args:
        comparisons: of any families.
        alpha: level of each family, in (0, 1).
        power: how often a gap as large as the measured one should be found, in (alpha, 1).
    """
    p = [welch(comparison.values, comparison.reference) for comparison in comparisons]
    found: list[Need | None] = [None] * len(comparisons)
    for family in dict.fromkeys(comparison.family for comparison in comparisons):
        places = [place for place, comparison in enumerate(comparisons) if comparison.family == family]
        own = [p[place] for place in places]
        level = unrejected_level(own, alpha)
        for place, corrected in zip(places, holm(own), strict=True):
            found[place] = _need(comparisons[place], p[place], float(corrected), (alpha, level, power))
    return [need for need in found if need is not None]


def _name(table: PublishedTable, row: int) -> str:
    return " / ".join(filter(None, table.rows[row]))


def _where(axes: Mapping[str, str]) -> str:
    return " / ".join(label for axis, label in axes.items() if axis != METHOD)


def _need(comparison: Comparison, p: float, p_holm: float, levels: tuple[float, float, float]) -> Need:
    alpha, level, power = levels
    (mean, std), (base, base_std) = mean_std(comparison.values), mean_std(comparison.reference)
    counts = len(comparison.values), len(comparison.reference)
    seeds, note = None, ""
    if p_holm <= alpha:
        note = "significant"
    elif min(counts) < 2:
        seeds, note = 2, "one seed has no spread: look again with two"
    elif std == 0 == base_std:
        note = "no seed differs: there is no spread to go by"
    elif (seeds := seeds_needed(mean - base, std, base_std, level, power, max(counts) + 1)) is None:
        note = "the gap is too small for any number of seeds"
    return Need(comparison, mean - base, p, p_holm, level, seeds, note)
