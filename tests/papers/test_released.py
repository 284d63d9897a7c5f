"""Tables of the released recipes: the numbers of the paper's own, runs of the code, and none of them unasked."""

from __future__ import annotations

import pytest

from bench.papers.published import published_table
from bench.plan.paper import plan_paper
from bench.plan.table import TablePlan
from bench.registry import Registry
from bench.spec import RunSpec
from tests.plan.test_paper import PAPERS, Supplied, hyper_of, whole

OF = {"coin": "table1", "drloc": "table4", "fd": "table1", "lacvit": "table1"}
"""Whose numbers they have."""


def released(paper: str) -> TablePlan:
    (table,) = plan_paper(f"{paper}/released", Supplied()).tables
    return table


def run(paper: str, *labels: str) -> RunSpec:
    """The one run of the first cell whose row has these labels."""
    table = released(paper)
    row = next(at for at, key in enumerate(table.rows) if {*labels} <= {*key})
    (candidate,) = table.cells[row][0].candidates
    (spec,) = candidate.runs
    return spec


@pytest.mark.parametrize("paper", OF)
def test_its_numbers_are_those_of_the_papers_table(paper: str) -> None:
    table, original = (published_table(f"{paper}/{name}", Registry()) for name in ("released", OF[paper]))
    printed = {
        (row, column[-1], column[0]): cell
        for row, cells in zip(original.rows, original.cells, strict=True)
        for column, cell in zip(original.columns, cells, strict=True)
    }
    by_last = {(row, last): cell for (row, last, _), cell in printed.items()}
    for row, cells in zip(table.rows, table.cells, strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            assert cell == printed.get((row, column[-1], column[0]), by_last.get((row, column[-1])))


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_is_planned_without_them(paper: str) -> None:
    assert not [table.name for table in whole(paper).tables if table.name.endswith("/released")]
    assert (f"{paper}/released" in Registry().table_files) == (paper in OF)


@pytest.mark.parametrize("paper", OF)
def test_every_cell_of_them_is_planned_and_no_run_is_one_of_the_papers_text(paper: str) -> None:
    table = released(paper)
    assert all(cell.candidates for _, cell in table.places())
    ours = {spec.id for spec in table.runs()}
    shared = ours & whole(paper).unique.keys()
    same = {"coin": {run("coin", "CE-Tuning").id}}  # without a contrast the two do the same
    assert shared == same.get(paper, set())


def test_lacvit_is_trained_as_its_readme_says() -> None:
    spec = run("lacvit", "LaCViT-MAE")
    recipe, hyper = spec.protocol.recipe, hyper_of(spec)
    assert (recipe.epochs, recipe.optimizer, recipe.lr, recipe.head_lr, recipe.weight_decay) == (
        *(600, "sgd", 1e-3, 100, 1e-4),
    )
    assert round(hyper["share"] * recipe.epochs) == 500
    assert (hyper["variant"], hyper["contrast_batch"], hyper["contrast_set"]) == ("released", 4096, 128)
    assert spec.backbone.name == "mae_vit_base_in1k"
    assert (run("lacvit", "CE").protocol.recipe.epochs, run("lacvit", "CE").protocol.recipe.lr) == (100, 0.01)


def test_coin_has_the_released_loss_within_sets_of_64() -> None:
    spec = run("coin", "COIN (ours)")
    assert {"variant": "released", "contrast_set": 64, "alpha": 0.7}.items() <= hyper_of(spec).items()
    assert spec.protocol.batch_size == 256


def test_drloc_has_101_epochs_of_a_schedule_of_300() -> None:
    spec = run("drloc", "Swin-T+L_drloc")
    resolved = spec.protocol.recipe.resolved(1024, 1024)
    assert (resolved.last, resolved.steps, resolved.warmup) == (101, 300, 20)
    assert {"variant": "released", "schedule": "ramp", "target": "raw"}.items() <= hyper_of(spec).items()
    assert run("drloc", "Swin-T").protocol == spec.protocol


def test_feature_distillation_has_one_drop_path_a_model_and_its_own_floor() -> None:
    rows = {"FD-DINO": (0.3, 1e-6, 2048), "FD-EsViT": (0.3, 5e-7, 1024), "FD-DeiT": (0.3, 1e-6, 2048)}
    for row, values in rows.items():
        spec = run("fd", row)
        protocol = spec.protocol
        assert (hyper_of(spec)["student_drop_path"], protocol.recipe.min_lr, protocol.batch_size) == values
