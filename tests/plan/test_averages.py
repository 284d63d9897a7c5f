"""Averages that an experiment declares: over datasets and over averages, by seed, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.commands.planned import axes_of
from bench.metrics import METRICS
from bench.plan.overrides import Overrides
from bench.plan.table import TablePlan
from bench.plan.target import read_plan
from bench.records.store import Finished
from bench.registry import Registry
from bench.sheets.view import render
from bench.tables.compare import Entry, Table
from tests.plan.test_grid import planned, problems
from tests.tables.small import filled, results

AVERAGES: dict[str, Any] = {"Both": ["digits", "Cluttered digits"], "Twice": ["Both", "digits"], "Mean": "all"}
BY_COLUMN: dict[str, Any] = {"rows": ["backbone", "method"], "columns": ["rate", "dataset"]}
VALUES = {
    ("Plain", "Digits"): [80.0, 82.0, 84.0],
    ("Plain", "Cluttered digits"): [40.0, 44.0, 42.0],
    ("GTA", "Digits"): [90.0, 91.0, 92.0],
    ("GTA", "Cluttered digits"): [50.0, 50.0, 50.0],
}


def plan_of(folder: Path, overrides: Overrides | None = None, **changed: Any) -> TablePlan:
    table = {"rows": ["backbone", "rate", "method"], "columns": ["dataset"], "averages": AVERAGES}
    (found,) = planned(folder, overrides, **{"rates": [15], "table": table, **changed}).tables
    return found


def table_of(plan: TablePlan, seeds: int = 3) -> Table:
    finished: dict[str, Finished] = {}
    for _, cell in plan.places():
        if cell.candidates:
            finished |= results(cell, VALUES[cell.name, cell.axes["dataset"]][:seeds])
    return filled(plan, finished)


def line(table: Table, row: int) -> dict[str, Entry]:
    return {column[-1]: entry for column, entry in zip(table.plan.columns, table.entries[row], strict=True)}


def test_an_average_is_of_each_seed_over_datasets_and_over_averages_before_it(tmp_path: Path) -> None:
    table = table_of(plan_of(tmp_path))
    assert [key[-1] for key in table.plan.columns] == ["Digits", "Cluttered digits", "Both", "Twice", "Mean"]
    plain, gta = line(table, 0), line(table, 1)
    assert plain["Both"].cell.values == plain["Mean"].cell.values == (60.0, 63.0, 63.0)
    assert plain["Twice"].cell.values == (70.0, 72.5, 73.5)
    assert gta["Both"].cell.values == (70.0, 70.5, 71.0)
    assert gta["Both"].delta == 8.5
    assert gta["Both"].rank == 1
    assert plain["Both"].std == pytest.approx(3**0.5)  # deviations -2, 1 and 1


def test_an_average_is_of_no_dataset_and_needs_no_run(tmp_path: Path) -> None:
    with_them, without = plan_of(tmp_path), plan_of(tmp_path, table=None)
    means = [cell for _, cell in with_them.places() if cell.averages]
    assert len(means) == 6
    assert not [cell for cell in means if cell.candidates or cell.reason or "dataset" in cell.axes]
    assert {spec.id for spec in with_them.runs()} == {spec.id for spec in without.runs()}
    plan = planned(tmp_path, table={"averages": AVERAGES})
    assert axes_of(plan)["dataset"] == ["Digits", "Cluttered digits"]


def test_an_average_stands_for_each_rate_and_in_rows_too(tmp_path: Path) -> None:
    by_column = plan_of(tmp_path, rates=[15, 100], table={**BY_COLUMN, "averages": {"Mean": "all"}})
    assert by_column.columns == tuple(
        (rate, name) for rate in ("15 %", "100 %") for name in ("Digits", "Cluttered digits", "Mean")
    )
    in_rows = plan_of(tmp_path, table={"averages": {"Mean": "all"}})
    assert in_rows.rows[-2:] == (("Mean", "Plain"), ("Mean", "GTA"))
    assert table_of(in_rows).entries[-1][0].mean == 70.5


def test_the_seeds_are_those_that_every_dataset_has_and_none_is_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    cells = plan.cells[0]
    finished = {**results(cells[0], [80.0, 82.0]), **results(cells[1], [40.0])}
    assert line(filled(plan, finished), 0)["Both"].cell.values == (60.0,)
    empty = line(filled(plan, results(cells[0], [80.0])), 0)["Both"]
    assert empty.mean is None
    assert empty.cell.why_empty == "no run has finished"


def test_a_table_says_what_its_averages_are_over(tmp_path: Path) -> None:
    text = " ".join(render(table_of(plan_of(tmp_path)), "text", width=200).split())
    assert "Both: for each seed the mean over Digits, Cluttered digits." in text
    assert "Twice: for each seed the mean over Both, Digits." in text
    assert "Left out" not in text


def test_datasets_that_are_typed_leave_out_averages_over_others(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, Overrides(datasets="digits"))
    assert not [cell for _, cell in plan.places() if cell.averages]
    assert plan.notes == ("Left out, since not all of what they are over is here: Both, Twice, Mean.",)


def test_a_variant_that_is_typed_stands_for_its_dataset() -> None:
    names = ("vtab_patch_camelyon", "vtab_eurosat", "vtab_resisc45", "vtab_diabetic_retinopathy")
    typed = Overrides(datasets=",".join(f"{name}@full" for name in names), methods="SSF")
    (table,) = read_plan("vtab1k", Registry(), typed).tables
    assert [key[-1] for key in table.columns][4:] == ["Specialized", "Mean of tasks"]
    assert table.notes[-1].endswith("is here: Natural, Structured, Mean of groups.")


@pytest.mark.parametrize(
    ("averages", "says"),
    [
        ({"Both": ["digits", "clutered_digits"]}, "did you mean 'cluttered_digits'?"),
        ({"Twice": ["Both", "digits"], "Both": "all"}, "dataset or average before it"),
        ({"One": ["digits"]}, "'One' must be over two or more, each once"),
        ({"One": ["digits", "digits"]}, "'One' must be over two or more, each once"),
        ({"Digits": ["digits", "cluttered_digits"]}, "an average is a label that no dataset has"),
        ({"Both": "digits"}, "an average is a label that no dataset has, with a list"),
    ],
)
def test_an_average_that_cannot_be(averages: Any, says: str, tmp_path: Path) -> None:
    found = problems(tmp_path, table={"averages": averages})
    assert any(says in problem and problem.startswith("mine.yaml:") for problem in found)


def test_an_average_is_over_one_metric(tmp_path: Path) -> None:
    changed: dict[str, Any] = {"datasets": ["cub200", "caltech101"], "table": {"averages": {"Mean": "all"}}}
    assert METRICS[Registry().dataset("caltech101").metric].name == "mean_per_class"
    (problem,) = problems(tmp_path, **changed)
    assert "'Mean' is over several metrics, top1, mean_per_class" in problem
    assert plan_of(tmp_path, Overrides(metric="top1"), **changed).columns


# ---- what is shipped


def test_vtab1k_averages_each_group_of_its_tasks_the_groups_and_all_tasks() -> None:
    registry = Registry()
    (table,) = read_plan("vtab1k", registry, Overrides()).tables
    tasks = [registry.dataset(name) for name in registry.dataset_files if name.startswith("vtab_")]
    found = {
        key[-1]: {table.columns[at][-1] for _, at in cell.averages}
        for key, cell in zip(table.columns, table.cells[0], strict=True)
        if cell.averages
    }
    for group in ("natural", "specialized", "structured"):
        assert found[group.capitalize()] == {card.title for card in tasks if card.facts["group"] == group}
    assert found["Mean of groups"] == {"Natural", "Specialized", "Structured"}
    assert found["Mean of tasks"] == {card.title for card in tasks}
    assert {spec.protocol.validation for spec in table.runs()} == {0}  # val200 is what is chosen by


def test_fgvc_holds_a_tenth_out_of_what_has_no_official_validation_list() -> None:
    (table,) = read_plan("fgvc", Registry(), Overrides()).tables
    titles = ["CUB-200-2011", "NABirds", "Oxford Flowers-102 (train)", "Stanford Dogs", "Stanford Cars", "Mean"]
    assert [key[-1] for key in table.columns] == titles
    assert {spec.protocol.validation for spec in table.runs()} == {0.1}
