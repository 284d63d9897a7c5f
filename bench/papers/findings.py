"""What the checks of published tables say: a cell in its table, a finding, and all of an audit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.papers.published import Key, Printed, PublishedTable

FINDING, EXPLAINED, NOT_CHECKED = "finding", "explained", "not checked"


@dataclass(frozen=True, eq=False)
class At:
    """A cell in its table."""

    table: PublishedTable
    row: int
    column: int

    @property
    def cell(self) -> Printed:
        return self.table.cells[self.row][self.column]

    @property
    def labels(self) -> tuple[Key, Key]:
        return self.table.rows[self.row], self.table.columns[self.column]


@dataclass(frozen=True)
class Finding:
    """What one check says of one cell, or of a row (its column is empty) or a column (its row is).

    Attributes:
        computed: what follows from the other numbers.
        kind: ``finding``; ``explained`` by rounding; or ``not checked``, with the reason as its verdict.
    """

    table: str
    row: Key
    column: Key
    check: str
    printed: str
    computed: str
    verdict: str
    kind: str


@dataclass
class Audit:
    """What the checks of some tables found.

    Attributes:
        findings: all of them, what rounding explains, and what was not checked.
        checked: how many cells each check looked at.
        sample_only: deviations that can be a sample one and not a population one.
        population_only: the reverse.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    sample_only: int = 0
    population_only: int = 0

    def of(self, kind: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind == kind]

    def note(self, at: At, check: str, printed: str, computed: str, verdict: str, explained: bool = False) -> None:
        kind = EXPLAINED if explained else FINDING
        self.findings.append(Finding(at.table.name, *at.labels, check, printed, computed, verdict, kind))

    def pass_over(self, at: At, check: str, printed: str, reason: str) -> None:
        self.findings.append(Finding(at.table.name, *at.labels, check, printed, "", reason, NOT_CHECKED))


def cells_of(table: PublishedTable) -> Iterator[At]:
    """The cells of a table in which a number is printed, row by row."""
    for row, line in enumerate(table.cells):
        for column, cell in enumerate(line):
            if not math.isnan(cell.number):
                yield At(table, row, column)
