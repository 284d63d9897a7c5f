"""What the records say of each planned cell: values by seed, which candidate was chosen, what failed and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.plan.table import Place, PlannedCell, TablePlan, TableRules
from bench.spec import RunSpec
from bench.stats.samples import Summary, summary
from bench.tables.candidates import choose
from bench.tables.results import Results


@dataclass(frozen=True)
class Cell:
    """Runs that differ in seed alone.

    Attributes:
        values: the metric of each finished seed, in seed order.
        seeds: which seed each value is of; empty where that is not known.
        planned: seeds asked for.
        failed: seeds that ran and failed.
        failures: how many of its runs failed, and of what; empty where none did.
        runs: the run that each value is of; none of an average or of somebody's own numbers.
        chosen: which candidate it is, where there were several.
        left_out: the label of each candidate that could not be chosen, and why.
        tried: what each of the others scored on the split by which one was chosen, by its label.
        reason: why nothing is run for it; empty where something is.
        lacking: why a run that has finished has no value; empty where all have one.
        stated: mean, deviation and n where somebody gives no more than these; there are no values then.

    Raises:
        ValueError: a value is not finite, the counts contradict each other, or a cell that is left out has values.
    """

    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    planned: int = 0
    failed: int = 0
    failures: str = ""
    runs: tuple[RunSpec, ...] = ()
    chosen: str = ""
    left_out: tuple[tuple[str, str], ...] = ()
    tried: tuple[tuple[str, float], ...] = ()
    reason: str = ""
    lacking: str = ""
    stated: Summary | None = None

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.values)):
            raise ValueError(f"values must be finite; got {self.values}")
        if self.failed < 0 or len(self.values) + self.failed > self.planned:
            counts = f"{len(self.values)} finished, {self.failed} failed, {self.planned} planned"
            raise ValueError(f"the counts of seeds contradict each other ({counts})")
        if self.stated and self.values:
            raise ValueError("a cell is known by its values or by their summary, not by both")
        if self.reason and self.values:
            raise ValueError(f"a cell is left out ({self.reason}) and yet has values")
        if self.seeds and (len(self.seeds) != len(self.values) or len({*self.seeds}) < len(self.seeds)):
            raise ValueError(f"every value is of a seed of its own; the seeds are {self.seeds}")

    @cached_property
    def summary(self) -> Summary | None:
        """Mean, deviation and n, from the values or as somebody gives them; None without either."""
        return summary(self.values) if self.values else self.stated

    @property
    def n(self) -> int:
        """Of how many values the mean is."""
        return len(self.values) if self.stated is None else self.stated.n

    @property
    def has_n(self) -> bool:
        """Whether it is known of how many values the mean is; somebody may state a deviation and not say."""
        return self.stated is None or self.stated.n > 1 or math.isnan(self.stated.std)

    @property
    def mean(self) -> float:
        """Their mean; nan without any."""
        return math.nan if self.summary is None else self.summary.mean

    @property
    def why_empty(self) -> str:
        """Why there is no value; empty where there is one, or where none is wanted."""
        if self.n or not (self.planned or self.reason):
            return ""
        return self.reason or self.lacking or self.failures or "no run has finished"

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """The values by seed."""
        return dict(zip(self.seeds, self.values, strict=True))


Cells = Sequence[Sequence[Cell]]
"""By row, then by column."""


def cells_of(table: TablePlan, results: Results) -> list[list[Cell]]:
    """What is known of each cell, by row and column."""
    cells = [[_cell(planned, table.rules, results) for planned in line] for line in table.cells]
    for (row, column), planned in table.places():
        if planned.averages:
            cells[row][column] = average(cells, planned.averages)
    return cells


def average(cells: Cells, places: Sequence[Place]) -> Cell:
    """The mean over some cells, for each seed that all of them have."""
    averaged = [cells[row][column] for row, column in places]
    planned = max(cell.planned for cell in averaged) or 1
    if not all(cell.values for cell in averaged):
        return Cell(planned=planned, lacking=next(filter(None, (cell.why_empty for cell in averaged)), ""))
    columns = [cell.by_seed for cell in averaged]
    seeds = tuple(seed for seed in columns[0] if all(seed in column for column in columns))
    if not seeds:
        return Cell(planned=planned, lacking="no seed has finished in all that it is the mean of")
    values = tuple(math.fsum(column[seed] for column in columns) / len(columns) for seed in seeds)
    return Cell(values, seeds, planned)


def _cell(planned: PlannedCell, rules: TableRules, results: Results) -> Cell:
    if planned.counted:
        return Cell(stated=Summary(planned.counted.value, math.nan, 1))
    if planned.lack or not planned.candidates:
        return Cell(reason=planned.lack or planned.reason)
    every = [spec for candidate in planned.candidates for spec in candidate.runs]
    if not any(spec.id in results.finished or spec.id in results.failed for spec in every):
        return Cell(planned=planned.seeds)
    choice = choose(planned, rules, results)
    if choice.chosen is None:
        return Cell(planned=planned.seeds, left_out=choice.left_out, lacking=choice.lacking)
    runs, metric = choice.chosen.runs, planned.metric
    finished = [spec for spec in runs if spec.id in results.finished]
    scores = results.scores_of(finished, planned, rules.selection, rules.split)
    scored = [(spec, score) for spec, score in zip(finished, scores, strict=True) if not math.isnan(score)]
    unscored = [spec for spec, score in zip(finished, scores, strict=True) if math.isnan(score)]
    return Cell(
        values=tuple(score for _, score in scored),
        seeds=tuple(spec.seed for spec, _ in scored),
        planned=len(runs),
        failed=sum(map(results.has_failed, runs)),
        failures=results.failures_among(runs),
        runs=tuple(spec for spec, _ in scored),
        chosen=choice.chosen.label if len(planned.candidates) > 1 else "",
        left_out=choice.left_out,
        tried=choice.means,
        lacking=results.why_not(unscored[:1], metric, rules, rules.split, "to be scored on") if unscored else "",
    )
