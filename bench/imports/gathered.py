"""What a file of results says, cell by cell, and how somebody says that it is to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.imports.directions import NOTHING, Directions
from bench.imports.numbers import Number
from bench.imports.rows import Rows

AXES = ("dataset", "backbone", "rate", "method")
"""What tells cells apart, in the order of a table's labels."""

DUPLICATES = ("mean", "first", "last")
"""What may be done with several values of one run."""

Seed = tuple[str, ...]
"""The texts that tell a run of a cell from the others: of its seed, of its fold, or of both; none where none are."""


@dataclass(frozen=True)
class Reading:
    """How somebody says that a file is to be read; what is empty is found out.

    Attributes:
        columns: the names of the columns of each role (``bench.imports.columns.read_roles``).
        separator: the character between columns.
        n: of how many runs a mean with ± is, where no column says it.
        duplicates: one of ``DUPLICATES``.
        folds: of the cross-validation that the seeds are the folds of.
        directions: which way metrics go.
    """

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    separator: str = ""
    n: int | None = None
    duplicates: str = ""
    folds: int = 0
    directions: Directions = NOTHING


@dataclass
class Mean:
    """A mean as somebody states it, the runs it is of (None where nobody says), and the row of the file."""

    number: Number
    n: int | None
    row: int


@dataclass
class Gathered:
    """What a file says of one cell of a metric.

    Attributes:
        seeds: of each value; a run without a value is in ``missing`` or ``failed`` instead.
        rows: the row of the file of each value.
        stated: the mean with its ±, where there are no values; its runs are of this file.
        quoted: the same of somebody else: a published number.
    """

    metric: str
    axes: Mapping[str, str]
    is_average: bool = False
    seeds: list[Seed] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    missing: list[Seed] = field(default_factory=list)
    failed: list[Seed] = field(default_factory=list)
    stated: Mean | None = None
    quoted: Mean | None = None


@dataclass(frozen=True)
class Imported:
    """A file of results, read.

    Attributes:
        has_seeds: whether the file says which run each value is of, so that runs of one seed are pairs.
        folds: of the cross-validation that the seeds are the folds of; 0 where they are seeds.
        is_percent: the metrics of which a value has a % behind it.
        lower: what the header says of metrics: whether less is better.
        remarks: what has to be known of how the file was read, a sentence each.
        number: the number that each run of a cell has.
    """

    rows: Rows
    cells: tuple[Gathered, ...]
    has_seeds: bool
    folds: int
    is_percent: frozenset[str]
    lower: Mapping[str, bool]
    remarks: tuple[str, ...]
    number: Mapping[Seed, int]

    @property
    def path(self) -> Path:
        return self.rows.path

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics, in the order of the file."""
        return list(dict.fromkeys(cell.metric for cell in self.cells))
