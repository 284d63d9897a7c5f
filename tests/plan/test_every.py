"""``all`` among the methods of an experiment: every method found, also one that is dropped in; what does not apply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.commands.progress import swept_values
from bench.errors import InputError
from bench.plan.experiment import read_experiment
from bench.plan.grid import expand
from bench.plan.overrides import Overrides
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.view import sheet_of
from bench.tables.compare import fill
from bench.tables.frame import run_rows

METHOD = """\
from dataclasses import dataclass

from bench.method import Method
from bench.hyper import hyper


@dataclass(frozen=True)
class Mine(Method):
    \"\"\"Cross-entropy under another name.\"\"\"

    paper = "none"
    strength: float = hyper(1.0, low=0, source="our choice")
"""


def mine(folder: Path, methods: Any, *plugins: Path, **overrides: Any) -> Plan:
    keys = {"methods": methods, "backbones": ["micro_vit"], "datasets": ["digits"], "rates": [100], "seeds": 1}
    keys["protocol"] = {"steps": 10}
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    return expand(read_experiment(str(file), Registry(plugins), Overrides(**overrides)))


def rows(plan: Plan) -> dict[str, list[str]]:
    """The labels of the rows, with those of their candidates."""
    (table,) = plan.tables
    return {cell.name: [each.label for each in cell.candidates] for _, cell in table.places()}


def reasons(plan: Plan) -> dict[str, str]:
    (table,) = plan.tables
    return {cell.name: cell.reason for _, cell in table.places() if cell.reason}


def test_all_is_every_method_and_each_policy_on_plain_fine_tuning(tmp_path: Path) -> None:
    registry = Registry()
    policies = {name for name in registry.method_files if registry.method(name).policy}
    assert policies
    expected = {f"ce+{name}" if name in policies else name for name in registry.method_files}
    assert {*rows(mine(tmp_path, "all"))} == expected


def test_a_method_that_is_dropped_in_is_compared_without_a_change_to_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "mine.py").write_text(METHOD, encoding="utf-8")
    for experiment in ("all", None):
        if experiment:
            plan = read_plan(experiment, Registry([tmp_path]), Overrides(backbones="micro_vit", datasets="digits"))
        else:
            plan = mine(tmp_path, "all", tmp_path)
        assert "mine" in rows(plan)


def test_settings_of_all_are_those_of_every_row_and_other_rows_have_their_own(tmp_path: Path) -> None:
    swept = {"settings": {"lr": [1e-3, 1e-2]}}
    planned = rows(mine(tmp_path, {"Plain": {"ce": {}, "settings": {"lr": 1e-4}}, "all": swept, "Guide": "gta"}))
    assert planned["Plain"] == ["Plain"]
    assert planned["l2sp"] == ["l2sp (lr=0.001)", "l2sp (lr=0.01)"]
    assert planned["ce+transmix"] == ["ce+transmix (lr=0.001)", "ce+transmix (lr=0.01)"]
    assert next(iter(planned)) == "Plain"
    assert [*planned][-1] == "Guide"
    assert not {"ce", "gta"} & {*planned}


def test_a_method_called_all_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "all.py").write_text(METHOD, encoding="utf-8")
    with pytest.raises(InputError, match=r"'all' is every method, and .*all\.py is called so, too"):
        mine(tmp_path, "all", tmp_path)
    assert [*rows(mine(tmp_path, ["all", "ce"], tmp_path))] == ["all", "ce"]


def test_a_typed_setting_takes_the_place_of_what_rows_sweep(tmp_path: Path) -> None:
    methods = {"Plain": {"ce": {}, "settings": {"lr": [1e-3, 1e-2], "weight_decay": [0, 0.1]}}}
    planned = mine(tmp_path, methods, settings=("lr=0.5",))
    assert rows(planned) == {"Plain": ["Plain (weight_decay=0)", "Plain (weight_decay=0.1)"]}
    assert {spec.protocol.recipe.lr for spec in planned.unique.values()} == {0.5}


@pytest.mark.parametrize("backbone", ["micro_vit", "micro_resnet@none", "timm:vit_small_patch16_224.dino"])
def test_the_experiment_all_leaves_out_with_its_reason_what_a_backbone_cannot_serve(backbone: str) -> None:
    plan = read_plan("all", Registry(), Overrides(backbones=backbone, datasets="digits"))
    (table,) = plan.tables
    left_out = reasons(plan)
    assert all("needs" in reason and f", which {backbone} lacks" in reason for reason in left_out.values())
    assert ("gta" in left_out) == (backbone == "micro_resnet@none")
    assert ("stochnorm" in left_out) == (backbone != "micro_resnet@none")
    tried = {cell.name: len(cell.candidates) for _, cell in table.places() if not cell.reason}
    assert tried.pop("k-NN") == 1  # it has no learning rate
    assert tried.pop("Linear sweep", 1) == 1  # it has its own
    assert set(tried.values()) == {3}


def test_the_experiment_all_chooses_nothing_by_the_test_split() -> None:
    plan = read_plan("all", Registry(), Overrides(backbones="micro_vit", datasets="digits"))
    (table,) = plan.tables
    assert (table.rules.selection, table.rules.sweep, table.rules.split) == ("best-val", "best-val", "test")
    assert {spec.protocol.validation for spec in plan.unique.values()} == {0.2}
    assert table.baseline == "Fine-tune (baseline)"


def test_the_runs_of_a_sweep_are_told_apart_and_counted(tmp_path: Path) -> None:
    overrides = Overrides(datasets="digits", backbones="micro_vit", methods="ce,l2,rifle", seeds="1")
    plan = read_plan("all", Registry(), overrides)
    rates = {"lr=1e-05": 1e-5, "lr=0.0001": 1e-4, "lr=0.001": 1e-3}
    values = swept_values(plan)
    assert {run: rates[values[run]] for run in plan.unique} == {
        run: spec.protocol.recipe.lr for run, spec in plan.unique.items()
    }
    rows = run_rows(plan, Store(tmp_path))
    assert [row["protocol.lr"] for row in rows] == [*rates.values()] * 3, "also where it is the default"
    (table,) = fill(plan, Store(tmp_path))
    assert any("candidates tried: 3 in each row." in note for note in sheet_of(table).notes)


def test_a_plan_of_all_without_images_says_what_to_type() -> None:
    with pytest.raises(InputError, match="or give --datasets, such as --datasets folder:PATH"):
        read_plan("all", Registry())


@pytest.mark.parametrize(
    ("typed", "meant"), [("lora", "LoRA"), ("OFT", "peft(kind=oft)"), ("greedy", "soup(kind=greedy)")]
)
def test_a_kind_that_is_typed_as_a_method_is_asked_about(typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"no method is called '{typed}'; did you mean '{meant}'?")):
        read_experiment("peft", Registry(), Overrides(methods=typed))
