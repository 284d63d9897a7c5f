"""The verdict on each published number of a table: what it rests on, what is said of it, and how columns rank."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.document import read_document
from bench.errors import InputError
from bench.papers.comparisons import Values, alike, comparison_groups, told_column
from bench.papers.labels import assigned
from bench.papers.protocol import PaperProtocol, read_paper_protocol
from bench.papers.published import PublishedTable
from bench.papers.sample import UNSTATED, Samples
from bench.plan.paper import PlannedCell, TablePlan
from bench.registry import Registry
from bench.spec import RunSpec
from bench.stats.verdict import (
    DIFFERS,
    NOT_COMPARABLE,
    NOT_RUN,
    REPRODUCED,
    TEST_NOISE,
    Agreement,
    Claimed,
    Verdict,
    judge,
    rank_agreement,
    summary,
)
from bench.tables.notation import fixed

SIGNS = {REPRODUCED: "=", TEST_NOISE: "≈", DIFFERS: "≠", NOT_COMPARABLE: "?", NOT_RUN: ""}
"""What stands behind our number; where nothing has run, no number stands there either."""

ALPHA = 0.05
"""The level of the tables of papers; an experiment declares its own."""

_SELECTED = "scored at {} in place of {}"
_SWEPT = "weights chosen by {} in place of {}"

Verdicts = Sequence[Sequence["Verdict | None"]]


@dataclass(frozen=True)
class Ground:
    """What a verdict on a cell rests on, beside our values.

    Attributes:
        runs: of how many the published number is the mean; 1 where nobody says.
        images: of the official test split; None where that is not known.
        differs: how what is run differs from the paper's protocol; empty where nothing is known to.
    """

    runs: int = 1
    images: int | None = None
    differs: str = ""


Grounds = Sequence[Sequence[Ground]]


def grounds_of(plan: TablePlan, declared: TablePlan, registry: Registry) -> list[list[Ground]]:
    """What the verdict on each cell rests on, by row and column.

    Args:
        plan: the table's plan, as the command line may have changed it.
        declared: the same plan without changed settings and selection rule.
        registry: finds the paper's protocol and the cards of its datasets and backbones.
    """
    path = registry.protocol_files.get(plan.table.paper)
    protocol = read_paper_protocol(read_document(path)) if path else None
    samples, found = Samples(registry), list[list[Ground]]()
    for row, (label, cells, as_declared) in enumerate(zip(plan.table.rows, plan.cells, declared.cells, strict=True)):
        line: list[Ground] = []
        for at, (cell, before) in enumerate(zip(cells, as_declared, strict=True)):
            runs = samples.of(plan.table, label, plan.table.columns[at]).runs or 1
            ground = Ground(runs)
            if cell.candidates:
                spec = cell.candidates[0].runs[0]
                differs = _differs(plan, declared, (row, at), (cell, before), protocol, registry)
                ground = Ground(runs, _images(spec, registry), "; ".join(differs))
            line.append(ground)
        found.append(line)
    return found


def verdicts(
    plan: TablePlan,
    values: Values,
    seeds: Sequence[Sequence[tuple[int, ...]]],
    reasons: Sequence[Sequence[str]],
    grounds: Grounds,
) -> list[list[Verdict | None]]:
    """The verdict on each cell, by row and column; None where no number is printed, or the table has no runs.

    An average is judged by the averages of each seed that all of its columns have. Its test-set noise is at most that
    of one accuracy as high as the average on as many images as the smallest of the test sets has, however the averaged
    columns hang together.

    Args:
        plan: the table's plan.
        values: our accuracies in percent, one a seed; of an average, nothing that counts.
        seeds: the seed of each value.
        reasons: why nothing is run for a cell; empty where something is.
        grounds: from ``grounds_of``.
    """
    found: list[list[Verdict | None]] = [[None] * len(row) for row in plan.cells]
    if not any(cell.candidates for row in plan.cells for cell in row):
        return found
    for row, at, cell in _cells(plan):
        printed = plan.table.cells[row][at]
        if math.isnan(printed.number):
            continue
        ground, own = grounds[row][at], values[row][at]
        if cell.average:
            averaged = alike(plan.table, at)
            ground = _averaged([grounds[row][other] for other in averaged])
            own = _seed_averages([dict(zip(seeds[row][other], values[row][other], strict=True)) for other in averaged])
        claimed = Claimed(printed.number, float(printed.std or "nan"), ground.runs, printed.decimals)
        found[row][at] = judge(
            own, claimed, test_images=ground.images, incomparable=ground.differs, not_run=reasons[row][at]
        )
    return found


def facts(verdict: Verdict) -> tuple[tuple[str, str | float | None], ...]:
    """A verdict for machines, by the names of columns."""
    numbers = {"gap": verdict.gap, "low": verdict.low, "high": verdict.high}
    known = {name: None if math.isnan(value) else value for name, value in numbers.items()}
    return (("verdict", verdict.word), ("reason", verdict.reason), *known.items())


def verdict_notes(table: PublishedTable, found: Verdicts, means: Sequence[Sequence[float]]) -> list[str]:
    """What a reader has to know of the verdicts: the signs, how many of each, why not comparable, and the ranks."""
    given = [verdict for row in found for verdict in row if verdict is not None]
    words = {verdict.word for verdict in given}
    if not words - {NOT_RUN}:
        return []
    signs = ", ".join(f"{sign} {word}" for word, sign in SIGNS.items() if sign and word in words)
    why = Counter(_why(verdict) for verdict in given if verdict.word == NOT_COMPARABLE)
    told = [f"{reason} ({count} cell{'s' * (count > 1)})" for reason, count in why.items()]
    return [
        f"The sign behind ours is the verdict on the published number: {signs}.",
        f"Verdicts: {summary(given)}.",
        *([f"Not comparable: {'; '.join(told)}."] if told else []),
        *_agreement(table, means),
    ]


def _agreement(table: PublishedTable, means: Sequence[Sequence[float]]) -> Iterator[str]:
    """Kendall's tau between print and ours, for each column of rows that the paper compares."""
    found = dict[str, list[tuple[str, Agreement]]]()
    for group, rows in comparison_groups(table).items():
        for at in range(len(table.columns)):
            own = rank_agreement([table.cells[row][at].number for row in rows], [means[row][at] for row in rows])
            if not math.isnan(own.tau):
                found.setdefault(" / ".join(group), []).append((" / ".join(told_column(table, at)), own))
    every = [own for columns in found.values() for _, own in columns]
    ranked = [own for own in every if own.methods > 2]
    counts = {own.methods for own in ranked}
    told = []
    for name, columns in found.items():
        taus = [
            f"{column} {fixed(own.tau, 2).replace('-', '−')}{'*' * (own.p <= ALPHA)}".lstrip()
            + (f" (of {own.methods})" if len(counts) > 1 else "")
            for column, own in columns
            if own.methods > 2
        ]
        told += [f"{name}: {', '.join(taus)}" if name else ", ".join(taus)] if taus else []
    if told:
        rows_of = f", {counts.pop()} rows a column" if len(counts) == 1 else ", with the number of rows"
        star = f"; * p ≤ {ALPHA}" if any(own.p <= ALPHA for own in ranked) else ""
        yield f"Rank agreement with print (Kendall's τ{rows_of}{star}): {'; '.join(told)}."
    for note in dict.fromkeys(own.note for own in ranked if own.note):
        yield f"Of the ranks, {note}."
    if pairs := [own for own in every if own.methods == 2]:
        kept = sum(own.tau > 0 for own in pairs)
        verb = "has" if kept == 1 else "have"
        yield f"Of {len(pairs)} columns of two rows, {kept} {verb} them in the order of print."


def _why(verdict: Verdict) -> str:
    """The reason without the numbers that differ from cell to cell."""
    return verdict.reason.partition("; ")[2] if verdict.reason.startswith("off by") else verdict.reason


def _cells(plan: TablePlan) -> Iterator[tuple[int, int, PlannedCell]]:
    for row, line in enumerate(plan.cells):
        for at, cell in enumerate(line):
            yield row, at, cell


def _averaged(grounds: Sequence[Ground]) -> Ground:
    known = [ground.images for ground in grounds if ground.images is not None]
    differs = dict.fromkeys(ground.differs for ground in grounds if ground.differs)
    runs = min((ground.runs for ground in grounds), default=1)
    return Ground(runs, min(known) if len(known) == len(grounds) and known else None, "; ".join(differs))


def _seed_averages(columns: Sequence[Mapping[int, float]]) -> tuple[float, ...]:
    """The mean over columns, whose values are by seed, for each seed that all of them have."""
    shared = sorted(set[int]().union(*columns).intersection(*columns))
    return tuple(float(np.mean([column[seed] for column in columns])) for seed in shared)


def _images(spec: RunSpec, registry: Registry) -> int | None:
    """The size of the official test split."""
    try:
        images = (registry.dataset(spec.dataset.name).facts.get("splits") or {}).get("test")
    except InputError:
        return None
    return images if isinstance(images, int) and images > 0 else None


def _differs(
    plan: TablePlan,
    declared: TablePlan,
    place: tuple[int, int],
    cells: tuple[PlannedCell, PlannedCell],
    protocol: PaperProtocol | None,
    registry: Registry,
) -> Iterator[str]:
    """How the runs of a cell differ from what the paper did; what only we chose is no difference to it."""
    (cell, before), (row, at) = cells, place
    spec, axes = cell.candidates[0].runs[0], assigned(plan.table, plan.table.rows[row], plan.table.columns[at])
    if before.candidates:
        unstated = {key for key, value in (protocol.settings if protocol else {}).items() if _ours(value.source)}
        yield from _settings(spec, before.candidates[0].runs[0], unstated - {*axes["settings"]})
    yield from _weights(spec, str(axes["backbone"]), registry)
    yield from _data(spec, plan.table.paper, registry)
    if protocol and plan.selection != declared.selection and not _ours(protocol.selection.source):
        yield _SELECTED.format(plan.selection, declared.selection)
    if protocol and len(cell.candidates) > 1 and plan.sweep != declared.sweep and not _ours(protocol.sweep.source):
        yield _SWEPT.format(plan.sweep, declared.sweep)


def _settings(spec: RunSpec, before: RunSpec, unstated: Iterable[str]) -> Iterator[str]:
    ours, theirs = _flat(spec), _flat(before)
    changed = [key for key in ours if ours[key] != theirs[key] and key not in {*unstated}]
    if changed:
        yield f"{_written(ours, changed)} in place of {_written(theirs, changed)}"


def _written(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Of epochs and steps only the one that is given."""
    return ", ".join(f"{key}={settings[key]}" for key in keys if settings[key] or key not in ("epochs", "steps"))


def _weights(spec: RunSpec, name: str, registry: Registry) -> Iterator[str]:
    if spec.backbone.name == name:
        return
    try:
        same = registry.backbone(name).named.means == spec.backbone.means
    except InputError:
        same = False  # the published weights are not here, so nobody can say that these are the same
    if not same:
        yield f"weights of {spec.backbone.name} in place of {name}'s"


def _data(spec: RunSpec, paper: str, registry: Registry) -> Iterator[str]:
    try:
        card = registry.dataset(spec.dataset.name)
    except InputError:
        return
    if ((card.facts.get("papers") or {}).get(paper) or {}).get("as") == "other":
        yield f"the paper took another split of {card.title}"


def _flat(spec: RunSpec) -> dict[str, Any]:
    """The settings of a protocol and its recipe by name."""
    found = dataclasses.asdict(spec.protocol)
    return {**found.pop("recipe"), **found}


def _ours(source: str) -> bool:
    return source.startswith(UNSTATED)
