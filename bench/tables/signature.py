"""What a table's numbers are, in one line for a paper: ``bench:demo:top1:on-test:at-last:...:9f3c2a71b0de``."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace

import bench
from bench.errors import InputError
from bench.tables.compare import Table

SCHEME = "bench"
DIGITS = 12
"""Hexadecimal digits of the digest."""

FORM = "bench:TABLE:METRIC:on-SPLIT:at-POINT[:swept-SPLIT]:TEST-holm-FAMILY-ALPHA or untested:nSEEDS:vVERSION:DIGEST"
_PATTERN = re.compile(
    rf"{SCHEME}:(?P<table>[^:\s]+):(?P<metric>[^:\s]+):on-(?P<split>\w+):at-(?P<selection>[\w-]+)"
    r"(:swept-(?P<sweep>[\w-]+))?:(untested|(?P<test>\w+)-holm-(?P<family>\w+)-(?P<alpha>[\d.e-]+))"
    rf":n(?P<seeds>\d+(-\d+)?):v(?P<version>[^:\s]+):(?P<digest>[0-9a-f]{{{DIGITS}}})"
)


@dataclass(frozen=True)
class Signature:
    """What was compared, how, and a digest of the runs with their scores; ``str`` writes it in one line.

    Attributes:
        table: its name.
        metric: what is shown, several joined by ``+``.
        selection: by which rule the point of a run's curve is picked.
        sweep: on which split values were chosen; empty where none were swept.
        test: by which cells are compared, corrected by Holm within ``family``; empty where nothing is tested.
        seeds: how many values a cell has, ``5`` or ``3-5``.
        version: of the suite that made the table.
        digest: of the cells' labels, and of the id and the score of each run in them.
    """

    table: str
    metric: str
    split: str
    selection: str
    sweep: str
    test: str
    family: str
    alpha: str
    seeds: str
    version: str
    digest: str

    def __str__(self) -> str:
        swept = [f"swept-{self.sweep}"] if self.sweep else []
        tested = f"{self.test}-holm-{self.family}-{self.alpha}" if self.test else "untested"
        parts = [SCHEME, self.table, self.metric, f"on-{self.split}", f"at-{self.selection}", *swept, tested]
        return ":".join([*parts, f"n{self.seeds}", f"v{self.version}", self.digest])


def signature_of(table: Table) -> Signature | None:
    """The signature of a table; None where it has no values of runs."""
    entries = [entry for entry in table.finished if entry.cell.values]
    if not entries:
        return None
    rules, counts = table.plan.rules, {entry.n for entry in entries}
    tested = any(entry.p is not None for entry in entries)
    swept = any(len(entry.planned.candidates) > 1 for entry in entries)
    return Signature(
        table=_word(table.plan.name),
        metric=_word("+".join(dict.fromkeys(entry.planned.metric.name for entry in entries))),
        split=rules.split,
        selection=rules.selection,
        sweep=rules.sweep if swept else "",
        test=rules.test if tested else "",
        family=rules.family if tested else "",
        alpha=f"{rules.alpha:g}" if tested else "",
        seeds="-".join(map(str, sorted({min(counts), max(counts)}))),
        version=_word(bench.__version__),
        digest=_digest(table),
    )


def read_signature(text: str) -> Signature:
    """The signature that a text is, which may have been broken into lines, or be Markdown. Raises ``InputError``."""
    match = _PATTERN.fullmatch("".join(text.replace("\\", "").split()))
    if match is None:
        raise InputError(f"'{text}' is no whole signature of a table, which has the form {FORM}")
    return Signature(**{name: value or "" for name, value in match.groupdict().items()})


def differences(first: Signature, second: Signature) -> list[str]:
    """In which of their parts two signatures differ, as they are called; the version is none of them."""
    alike = replace(second, version=first.version)
    return [name for name, value in vars(first).items() if value != getattr(alike, name)]


def _digest(table: Table) -> str:
    """Of what stands in the table, whatever the order of its rows and columns."""
    cells = []
    for (row, column), entry in table.places():
        if entry.cell.values and not entry.is_average:
            labels = [*table.plan.rows[row], *table.plan.columns[column]]
            cells.append(
                [labels, [run.id for run in entry.cell.runs], [float(value).hex() for value in entry.cell.values]]
            )
    return hashlib.sha256(json.dumps(sorted(cells)).encode()).hexdigest()[:DIGITS]


def _word(name: str) -> str:
    """A name as a part of a signature: without what ends a part, and what a shell would read."""
    return re.sub(r"[^\w.@+/-]", "_", name)
