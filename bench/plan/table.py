"""What a table is to hold, whatever it was declared as: labels, cells with their runs, and which cells are compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.metrics import TOP1, Metric
from bench.papers.published import Key, Printed, telling_labels
from bench.records.kept import NOTHING, Keep
from bench.rules import AUTO
from bench.spec import RunSpec

REHEARSED = "rehearsal/"
"""What the name of a table begins with that is made small (``bench.plan.rehearsal``)."""

Place = tuple[int, int]
"""Row and column of a cell, counted from 0."""


@dataclass(frozen=True)
class Candidate:
    """The runs of one method with its hyper-parameters and settings, one a seed.

    Attributes:
        swept: its values, of those that are swept.
        chooses: each of its runs chooses on the validation split by itself, among what it trained.
    """

    label: str
    runs: tuple[RunSpec, ...]
    swept: tuple[tuple[str, Any], ...] = ()
    chooses: bool = False


@dataclass(frozen=True)
class Ground:
    """What a verdict on a published number rests on, beside our values.

    Attributes:
        runs: of how many the published number is the mean; 1 where nobody says.
        images: of the official test split; None where that is not known.
        differs: how what is run differs from the paper's protocol; empty where nothing is known to.
        other_metric: what is shown is not what is printed, so that not even the order of methods can be compared.
    """

    runs: int = 1
    images: int | None = None
    differs: str = ""
    other_metric: bool = False


@dataclass(frozen=True)
class Counted:
    """A number that needs no run, as cards have it; ``note`` is what they say of the paper's."""

    value: float
    note: str = ""


@dataclass(frozen=True)
class PlannedCell:
    """How a cell is obtained, and what it is called.

    Attributes:
        axes: what it is of: ``method``, ``backbone``, ``dataset``, ``rate`` as cells have them; none of an empty cell.
        where: the labels that a claim over datasets holds equal.
        candidates: one, or several of which the best one counts (values that are swept).
        averages: the cells that it is the mean of; none where it has runs of its own.
        counted: the number, where it needs no run.
        reason: why there is nothing to run; empty where there is.
        lack: what its runs need and is not on this machine, so that they can be planned and not trained; else empty.
        quoted: the published number is all there is, and stands in its place.
        unlike: another metric is measured than what is printed, so that their difference says nothing.
        usual: the usual metric of its dataset, which picks points and candidates where what is shown cannot.
        names_metric: whether anybody says what is measured; a paper may print what is no metric of ours.
    """

    axes: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    where: Key = ()
    candidates: tuple[Candidate, ...] = ()
    averages: tuple[Place, ...] = ()
    counted: Counted | None = None
    reason: str = ""
    lack: str = ""
    metric: Metric = TOP1
    usual: Metric = TOP1
    decimals: int = 1
    printed: Printed | None = None
    ground: Ground = Ground()
    quoted: bool = False
    unlike: bool = False
    names_metric: bool = True

    @property
    def published(self) -> float:
        """The published number; nan where there is none."""
        return self.printed.number if self.printed else math.nan

    @property
    def seeds(self) -> int:
        return len(self.candidates[0].runs) if self.candidates else 0


@dataclass(frozen=True)
class Contest:
    """Cells that are compared with each other: among them the best is marked.

    Attributes:
        where: the labels that they have in common, without those of the whole table.
        pairs: a cell and its baseline, of each comparison.
        lower: whether of what is published less is better; of what is measured the metric says it.
    """

    where: Key
    places: tuple[Place, ...]
    pairs: tuple[tuple[Place, Place], ...] = ()
    lower: bool = False


@dataclass(frozen=True)
class TableRules:
    """How a table is scored and tested, in the words of ``bench.rules``; ``across`` is empty where nothing is claimed.

    ``family`` is Holm's: the comparisons of each ``column`` (of each contest), or of the whole ``table``.

    Attributes:
        margin: what is no difference to a published number, in points; None for what follows from the printed gains.
        folds: of a cross-validation that the seeds are the folds of; 0 where they are seeds.
    """

    selection: str = "last"
    sweep: str = "best-val"
    split: str = "test"
    test: str = AUTO
    family: str = "column"
    alpha: float = 0.05
    across: str = ""
    margin: float | None = None
    folds: int = 0


@dataclass(frozen=True)
class TablePlan:
    """A table with how each of its cells is obtained.

    Attributes:
        measured: what the values are, behind the title: a metric with its unit.
        common: what else is the same for all cells: ``dataset CUB``, ``backbone ViT-S``.
        within: what the cells of a contest have in common, as captions say it: ``dataset``, ``rate``.
        baseline: what captions call what the others are compared with; empty where there is no baseline.
        published_note: what has to be known about the published numbers.
        published_measured: what they are, where that is not what is measured.
    """

    name: str
    title: str
    measured: str
    stub: Key
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    cells: tuple[tuple[PlannedCell, ...], ...]
    contests: tuple[Contest, ...] = ()
    within: Key = ()
    baseline: str = ""
    common: tuple[str, ...] = ()
    rules: TableRules = TableRules()
    notes: tuple[str, ...] = ()
    published_note: str = ""
    published_measured: str = ""

    @property
    def is_published(self) -> bool:
        return any(cell.printed for _, cell in self.places())

    def places(self) -> Iterator[tuple[Place, PlannedCell]]:
        for row, line in enumerate(self.cells):
            for column, cell in enumerate(line):
                yield (row, column), cell

    @property
    def gap_decimals(self) -> int:
        """Digits after the point of differences that are told in sentences and lists."""
        return max([2, *(cell.decimals for _, cell in self.places() if cell.candidates)])

    def runs(self, lacking: bool = True) -> Iterator[RunSpec]:
        """The runs, once for each cell that needs them; those that lack something here only where it is said."""
        for _, cell in self.places():
            if cell.lack and not lacking:
                continue
            for candidate in cell.candidates:
                yield from candidate.runs

    def cell_name(self, place: Place) -> str:
        """A cell by its labels, without those that all columns share: ``CUB / GTA / 15%``."""
        return " / ".join(filter(None, (*self.rows[place[0]], *telling_labels(self.columns, place[1]))))


@dataclass(frozen=True)
class Plan:
    """The tables that a command line names, with all their runs; what several cells need is trained once.

    Attributes:
        changes: a digest of what the command line changed, empty where it changed nothing.
        next: what to type after it.
        keep: which trained models lie beside the records; None where several targets say different things of it.
        parts: the plan of each target, where several are named.
    """

    name: str
    title: str
    tables: tuple[TablePlan, ...]
    changes: str = ""
    next: tuple[str, ...] = ()
    keep: Keep | None = NOTHING
    parts: tuple[Plan, ...] = ()

    @property
    def variant(self) -> str:
        """A name for files, apart from those of the target as declared: ``demo-1f3a5c``."""
        return f"{self.name}-{self.changes}" if self.changes else self.name

    @cached_property
    def unique(self) -> dict[str, RunSpec]:
        """All runs, by id, whether they can be trained here or not."""
        return {spec.id: spec for table in self.tables for spec in table.runs()}

    @cached_property
    def trainable(self) -> dict[str, RunSpec]:
        """The runs that lack nothing but data, by id."""
        return {spec.id: spec for table in self.tables for spec in table.runs(lacking=False)}

    @cached_property
    def lacks(self) -> dict[str, tuple[str, int]]:
        """The backbones whose weights are not here, each with what to do and how many runs need it."""
        counts = Counter(spec.backbone.name for run_id, spec in self.unique.items() if run_id not in self.trainable)
        what = {cell.axes["backbone"]: cell.lack for table in self.tables for _, cell in table.places() if cell.lack}
        return {name: (what[name], count) for name, count in counts.items()}

    @property
    def needed(self) -> int:
        """Runs counted once for each cell that needs them."""
        return sum(1 for table in self.tables for _ in table.runs())

    @property
    def reasons(self) -> Counter[str]:
        """Why cells are left out, with how many."""
        return Counter(cell.reason for table in self.tables for _, cell in table.places() if cell.reason)


def together(plans: Sequence[Plan]) -> Plan:
    """Several targets as one: what they share is trained once, and a table that two of them have stands there once."""
    if len(plans) == 1:
        return plans[0]
    tables = {table.name: table for plan in plans for table in plan.tables}
    keeps = {plan.keep for plan in plans}
    return Plan(
        name=" ".join(plan.name for plan in plans),
        title="",
        tables=tuple(tables.values()),
        changes=plans[0].changes,
        next=tuple(dict.fromkeys(line for plan in plans for line in plan.next)),
        keep=keeps.pop() if len(keeps) == 1 else None,
        parts=tuple(plans),
    )
