"""A small paper's table with finished runs, for tests of what is made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.plan.table import PlannedCell, TablePlan
from bench.records.scores import Scores
from bench.records.store import Finished
from bench.registry import Registry
from bench.sheets.sheet import BEST, CLOSE, SECOND, Sheet, Shown
from bench.sheets.view import Look, sheet_of
from bench.tables.compare import Table, fill_table
from bench.tables.results import Results

PROTOCOL = """\
title: a protocol for a test
settings: {steps: {value: 40, source: our choice}}
seeds: {value: 3, source: our choice}
selection: {value: last, source: our choice}
sweep: {value: best-val, source: our choice}
"""

TABLE = """\
title: "Table 1: a small one"
paper: mini
kind: results
metric: top1
metric_as_printed: top-1 (%)
note: as it was printed
rank: {within: [Dataset]}
runs:
  axes: {backbone: micro_vit}
  baseline: Fine-tune
  note: how ours are trained
  labels:
    Digits: {dataset: digits}
    Clutter: {dataset: cluttered_digits}
    "15%": {rate: 15}
    "100%": {rate: 100}
    Avg.: {average: true}
    Fine-tune: {method: ce}
    BSS: {method: bss}
    GTA: {method: {gta: {weight: [0.1, 1]}}}
    Quoted: {not_run: quoted from another paper}
stub: [Dataset, Method]
columns: [["15%"], ["100%"], ["Avg."]]
rows:
  - {label: [Digits, Fine-tune], cells: ["90.0 ± 1.0", "95.25", "92.6"]}
  - {label: [Digits, BSS], cells: ["90.5", "95.30", "92.9"]}
  - {label: [Digits, GTA], cells: ["91.0 (+1.0)", "96.00", "93.5"]}
  - {label: [Digits, Quoted], cells: ["80.0", "N/A", "80.0"]}
  - {label: [Clutter, Fine-tune], cells: ["50.0", "60.00", "55.0"]}
  - {label: [Clutter, BSS], cells: ["51.0", "", "55.5"]}
"""

VAL = [[60.0, 60.0, 60.0], [50.0, 50.0, 50.0]]
"""Of the two candidates of a sweep, on the validation split: the first is better."""

ROWS = {"ce": 0, "bss": 1, "gta": 2, "quoted": 3, "clutter ce": 4, "clutter bss": 5}

SIGNS = {BEST: "●", CLOSE: "○", SECOND: "◇"}


def planned(
    folder: Path, *changes: tuple[str, str], overrides: Overrides | None = None, text: str = TABLE
) -> TablePlan:
    """The plan of the table, some texts of which are changed."""
    place = folder / "paper_tables" / "mini"
    place.mkdir(parents=True, exist_ok=True)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (place / "table1.yaml").write_text(text, encoding="utf-8")
    (place / "protocol.yaml").write_text(PROTOCOL, encoding="utf-8")
    (found,) = plan_paper("mini", Registry([folder]), overrides).tables
    return found


def run(run_id: str, *curve: tuple[float, float]) -> Finished:
    """A finished run whose curve has these (validation, test) accuracies."""
    return Finished(run_id, f"runs/{run_id}", [(step, *point) for step, point in enumerate(curve, 1)], 1.0)


def results(cell: PlannedCell, *tests: Sequence[float], val: Sequence[Sequence[float]] = ()) -> dict[str, Finished]:
    """Finished runs of a cell: for each candidate the test accuracy of its first seeds, and the validation's."""
    found = {}
    for number, (candidate, values) in enumerate(zip(cell.candidates, tests, strict=True)):
        held_out = val[number] if val else [math.nan] * len(values)
        for spec, test, validation in zip(candidate.runs, values, held_out, strict=False):
            found[spec.id] = run(spec.id, (validation, test))
    return found


def everything(plan: TablePlan) -> dict[str, Finished]:
    """Three seeds of every cell."""
    cells = plan.cells
    return {
        **results(cells[0][0], [80.0, 81.0, 82.0]),
        **results(cells[0][1], [90.0, 90.5, 91.0]),
        **results(cells[1][0], [80.0, 82.0, 84.0]),
        **results(cells[1][1], [90.0, 90.0, 90.0]),
        **results(cells[2][0], [85.0, 86.0, 87.0], [70.0, 70.0, 70.0], val=[[9.0] * 3, [8.0] * 3]),
        **results(cells[2][1], [60.0, 60.0, 60.0], [95.0, 95.0, 95.0], val=[[8.0] * 3, [9.0] * 3]),
        **results(cells[4][0], [40.0, 41.0, 45.0]),
        **results(cells[4][1], [50.0, 50.0, 50.0]),
        **results(cells[5][0], [40.0, 40.0, 40.0]),
    }


def known(finished: Mapping[str, Finished], failed: Mapping[str, str] | None = None) -> Results:
    """What is known of runs that no folder holds: top-1 is all that can be asked of them."""
    return Results(finished, Scores(Path("nowhere")), failed or {})


def filled(plan: TablePlan, finished: Mapping[str, Finished], failed: Mapping[str, str] | None = None) -> Table:
    return fill_table(plan, known(finished, failed))


def ours(plan: TablePlan, finished: Mapping[str, Finished], failed: Mapping[str, str] | None = None) -> Sheet:
    return sheet_of(filled(plan, finished, failed), Look("ours"))


def shown(sheet: Sheet, row: str, column: int) -> Shown:
    return sheet.cells[ROWS[row]][column]


def facts(sheet: Sheet, row: str, column: str) -> Mapping[str, object]:
    """The record of a cell, by its labels: ``Digits / GTA``, ``15%``."""
    (found,) = [each for each in sheet.records if (each["row"], each["column"]) == (row, column)]
    return found


def plain(cell: Shown) -> str:
    """A cell as one text."""
    std = f" ± {cell.std}" if cell.std else ""
    return " ".join(filter(None, (cell.value + std, cell.delta, cell.mark, cell.count, cell.sign)))


def said(sheet: Sheet) -> tuple[str, ...]:
    """The sentences below a table."""
    return sheet.sentences(SIGNS)
