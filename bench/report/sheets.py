"""Tables as a page shows them: the cells of a sheet, what is known of each, the bytes that ``bench table`` prints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.notation import counted
from bench.plan.table import PlannedCell, TablePlan
from bench.rate import budget_in
from bench.report.contents import PageCandidate, PageCell, PageRanks, PageSheet
from bench.report.runs import COSTS
from bench.rules import AUTO
from bench.sheets.facts import wanted
from bench.sheets.formats import render_sheet
from bench.sheets.sheet import Sheet, Shown
from bench.sheets.tried import candidates_sheet
from bench.sheets.view import BOTH, PUBLISHED
from bench.stats.across import cliques, critical_difference, mean_ranks
from bench.stats.reach import refusal
from bench.stats.samples import t_interval
from bench.tables.across import by_dataset, complete
from bench.tables.compare import Entry, Table
from bench.tables.results import Results

COPIED = ("latex", "markdown", "csv")
"""The formats that a page holds of each sheet."""

SIGNS = {"b": Sheet.is_bold, "u": Sheet.is_underlined}
"""The elements that a page shows a look by."""


def page_sheet(
    sheet: Sheet, table: Table, source: str, results: Results | None, costs: Mapping[str, Mapping[str, float]]
) -> PageSheet:
    """A sheet with all that a page says of its cells.

    Args:
        sheet: what ``bench table`` shows of the table.
        table: the same, with its statistics.
        source: whose numbers the sheet shows.
        results: what is known of the runs; None of somebody's own numbers.
        costs: of each finished run by its id, by the names of ``COSTS``.
    """
    entries = wanted(table)
    names = dict.fromkeys(name for record in sheet.records for name in record)
    axes = {"row", "column", *(axis for _, entry in entries for axis in entry.planned.axes)}
    return PageSheet(
        title=sheet.title,
        stub=sheet.stub,
        columns=sheet.columns,
        rows=sheet.rows,
        cells=[[_cell(cell) for cell in line] for line in sheet.cells],
        numbers={PUBLISHED: ("published",), BOTH: ("published", "mean")}.get(source, ("mean",)),
        notes=sheet.sentences(sheet.emphasis()),
        emphasis={look: _signs(sheet, look) for look, _ in sheet.legend},
        places=[place for place, _ in entries],
        facts={name: [record.get(name) for record in sheet.records] for name in names if name not in axes},
        seeds=[entry.cell.by_seed for _, entry in entries],
        intervals=[_interval(entry) for _, entry in entries],
        costs={name: [_cost(entry, name, costs) for _, entry in entries] for name in COSTS},
        copies={format: render_sheet(sheet, format) for format in COPIED},
        provenance=provenance_of(table),
        signatures=sheet.signatures,
        ranks=[*_ranks(table)] if source != PUBLISHED else [],
        sweeps=[*_sweeps(table, results)] if results else [],
    )


def _cell(cell: Shown) -> list[Any]:
    """The fields of a shown cell in their order, without the empty ones at its end."""
    fields: list[Any] = [*vars(cell).values()]
    while fields and not fields[-1]:
        fields.pop()
    return fields


def _signs(sheet: Sheet, look: str) -> str:
    return "".join(sign for sign, is_so in SIGNS.items() if is_so(sheet, Shown("", look=look)))


def _interval(entry: Entry) -> tuple[float, float] | None:
    """The 95 % interval of the mean over runs; None of fewer than two."""
    return t_interval(entry.cell.values) if len(entry.cell.values) > 1 else None


def _cost(entry: Entry, name: str, costs: Mapping[str, Mapping[str, float]]) -> float | None:
    """The mean of a cost over the runs of a cell; None where it is of none known."""
    values = [costs[spec.id][name] for spec in entry.cell.runs if name in costs.get(spec.id, {})]
    return float(f"{math.fsum(values) / len(values):.6g}") if values else None


def provenance_of(table: Table) -> str:
    """What was compared and how, in one line."""
    rules, plan = table.plan.rules, table.plan
    counts = sorted({entry.n for entry in table.finished})
    seeds = [f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"] if counts else []
    test = []
    if rules.test != AUTO and any(True for _ in table.pairs()):
        family = "each column" if rules.family == "column" else "the whole table"
        test = [
            f"{table.test_name} against {plan.baseline or 'the baseline'}",
            f"Holm over {family}, α = {rules.alpha:g}",
        ]
    is_run = any(cell.candidates for _, cell in plan.places())
    scored = [f"{rules.split} split", f"selection {rules.selection}"] if is_run else []
    words = (plan.name, plan.measured, *scored, *seeds, *test)
    return "; ".join(filter(None, words))


def _ranks(table: Table) -> Iterator[PageRanks]:
    """A diagram for each backbone and rate whose datasets are enough for a claim about datasets like these."""
    signs = {entry.planned.metric.sign for entry in table.finished}
    if len(signs) != 1:
        return
    alpha = table.plan.rules.alpha
    means = [[(entry.cell.mean,) if entry.n else () for entry in line] for line in table.entries]
    for where, group in by_dataset(table.plan, means).items():
        methods, datasets, scores = complete(group)
        if len(methods) < 2 or refusal("wilcoxon", len(datasets), alpha=alpha):
            continue
        ranks = mean_ranks(scores * signs.copy().pop())
        difference = critical_difference(len(methods), len(datasets), alpha)
        groups = [list(group) for group in cliques(ranks, difference)]
        place = f"{' / '.join(where)}: " if where else ""
        title = (
            f"{place}mean rank over {counted(len(datasets), 'dataset')}; joined: not separated (Nemenyi, α = {alpha:g})"
        )
        yield PageRanks(title, methods, ranks.tolist(), difference, groups)


def _sweeps(table: Table, results: Results) -> Iterator[PageCandidate]:
    if not any(len(cell.candidates) > 1 for _, cell in table.plan.places()):
        return
    for record in candidates_sheet(table, results).records:
        fields = {name: record[name] for name in ("cell", "split", "mean", "std", "n", "chosen")}
        yield PageCandidate(label=str(record["candidate"]), **fields)  # type: ignore[arg-type]


def page_cells(plan: TablePlan, parts: Mapping[tuple[int, int], str]) -> tuple[list[PageCell], str]:
    """The cells of a table, each with the part that has its runs; and what their rates are numbers of."""
    along = _along([cell.axes["rate"] for _, cell in plan.places() if "rate" in cell.axes])
    cells = [
        PageCell(place, plan.cell_name(place), _axes(cell), _number(cell) if along else None, parts.get(place, ""))
        for place, cell in plan.places()
        if cell.axes
    ]
    return cells, along


def _axes(cell: PlannedCell) -> dict[str, str]:
    """What a cell is of; the method as its table calls it."""
    axes = {**cell.axes}
    if "method" in axes and cell.name:
        axes["method"] = cell.name
    return axes if not cell.names_metric else {**axes, "metric": cell.metric.heading}


def _along(labels: Sequence[str]) -> str:
    """What rates are numbers of; empty where they are not of one kind, or no numbers."""
    budgets = [budget_in(label) for label in labels]
    kinds = {budget.per_class if budget else None for budget in budgets}
    if len(kinds) != 1 or not all(re.search(r"\d", label) for label in labels):
        return ""
    if budgets[0]:
        return "training images of each class" if budgets[0].per_class else "training images"
    return "sampling rate (%)" if all("%" in label for label in labels) else "sampling rate"


def _number(cell: PlannedCell) -> float | None:
    match = re.search(r"\d+(\.\d+)?", cell.axes.get("rate", ""))
    return float(match[0]) if match else None
