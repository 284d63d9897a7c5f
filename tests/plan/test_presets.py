"""Protocols by name: every value has its source, what stands beside a name wins, and a run is what it resolves to."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import main
from bench.errors import InputError
from bench.papers.preset import read_preset
from bench.papers.sources import KINDS, kind_of
from bench.plan.overrides import Overrides
from bench.plan.paper import plan_paper
from bench.protocol import OF_ONE_KIND, Protocol, Recipe, declared, read_protocol
from bench.registry import Registry
from bench.spec import RunSpec
from tests.plan.test_grid import planned
from tests.plan.test_paper import mini

PRESETS = ("deit", "dinov2-linear", "mae", "tllib", "vtab1k-petl")
EITHER = ({"steps", "epochs"}, {"warmup", "warmup_epochs"})
MEASURING = {"validation", "evaluations", "precision", "compile"}
"""How a run is scored and on which hardware is no part of how its authors trained."""
ELSEWHERE = {"inference", "decoder", "auxiliary", "schedule_share"}
"""Settings of masks, and of a schedule that is cut short."""


def run(folder: Path, protocol: object, typed: tuple[str, ...] = (), **changed: Any) -> RunSpec:
    """The one run of plain fine-tuning under a protocol."""
    keys = {"methods": ["ce"], "datasets": ["digits"], "rates": [15], "seeds": 1, "baseline": None, **changed}
    plan = planned(folder, Overrides(settings=typed), protocol=protocol, **keys)
    (spec,) = plan.unique.values()
    return spec


def written(name: str) -> dict[str, object]:
    """The values of a preset, as somebody would write them out."""
    return {key: stated.value for key, stated in read_preset(name, Registry()).settings.items()}


def plugin(folder: Path, text: str, name: str = "house") -> Registry:
    (folder / "presets").mkdir(exist_ok=True)
    (folder / "presets" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Registry([folder])


# ---- what is shipped


def test_these_are_shipped() -> None:
    assert tuple(Registry().preset_files) == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_says_who_states_it(name: str) -> None:
    preset = read_preset(name, Registry())
    assert preset.title
    for key, stated in preset.settings.items():
        assert kind_of(stated.source) in KINDS, key
        assert not stated.is_ours or stated.source.startswith("our choice: "), key


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_whatever_decides_a_training(name: str) -> None:
    given = written(name)
    for either in EITHER:
        assert len(either & given.keys()) == 1
    usual = {"beta2"} if given["optimizer"] == "sgd" else {"nesterov"}  # what the optimiser does not ask for
    usual |= {setting for setting, of, choice in OF_ONE_KIND if given[of] != choice}
    if name != "dinov2-linear":
        usual |= {"features"}  # of stages that train the head alone
    if not (given["mixup"] or given["cutmix"]):
        usual |= {"mix_probability", "mix_switch"}
    needed = {*declared(Recipe), *declared(Protocol)} - MEASURING - ELSEWHERE - usual - EITHER[0] - EITHER[1]
    assert needed - given.keys() == set()
    assert given.keys() & (MEASURING | ELSEWHERE) == set()


def test_published_values(tmp_path: Path) -> None:
    """By hand, from the released code: parsers and scripts."""
    mae = run(tmp_path, "mae").protocol
    assert (mae.recipe.lr, mae.batch_size) == (5e-4 * 1024 / 256, 1024)
    assert (mae.recipe.epochs, mae.recipe.warmup_epochs, mae.recipe.layer_decay, mae.drop_path) == (100, 5, 0.65, 0.1)
    assert (mae.mixup, mae.cutmix, mae.erasing, mae.label_smoothing) == (0.8, 1.0, 0.25, 0.1)
    deit = run(tmp_path, "deit").protocol
    assert (deit.recipe.optimizer, deit.recipe.lr, deit.recipe.weight_decay) == ("sgd", 0.01, 1e-4)
    assert (deit.batch_size, deit.recipe.epochs, deit.erasing, deit.drop_path) == (768, 1000, 0, 0)
    probe = run(tmp_path, "dinov2-linear").protocol
    assert (probe.recipe.steps, probe.recipe.weight_decay, probe.recipe.momentum) == (10 * 1250, 0, 0.9)
    rates = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]
    assert any(math.isclose(probe.recipe.lr, rate * probe.batch_size / 256) for rate in rates)
    few = run(tmp_path, "vtab1k-petl").protocol
    assert (few.batch_size, few.recipe.epochs, few.recipe.warmup_epochs) == (64, 100, 10)
    assert (few.recipe.weight_decay, few.augmentation, few.image_size) == (1e-4, "none", 224)
    library = run(tmp_path, "tllib").protocol.recipe
    assert (library.steps, library.nesterov, library.weight_decay) == (20 * 500, True, 5e-4)
    assert (library.lr, library.lr * library.head_lr) == (0.1 * 0.01, 0.01)


# ---- where a name may stand


@pytest.mark.parametrize("name", PRESETS)
def test_a_name_is_the_run_of_its_values_written_out(tmp_path: Path, name: str) -> None:
    spec = run(tmp_path, written(name))
    assert run(tmp_path, name).id == spec.id
    assert run(tmp_path, {"preset": name}).id == spec.id
    assert run(tmp_path, {"steps": 20, "warmup": 2}, (f"preset={name}",)).id == spec.id
    assert spec.protocol == read_protocol([(key, value, "") for key, value in written(name).items()], "")


def test_what_stands_beside_a_name_is_in_the_place_of_its_value(tmp_path: Path) -> None:
    spec = run(tmp_path, {"lr": 1e-3, "preset": "tllib", "mixup": 0.2})
    assert (spec.protocol.recipe.lr, spec.protocol.mixup, spec.protocol.recipe.head_lr) == (1e-3, 0.2, 10)
    assert spec.id == run(tmp_path, {**written("tllib"), "lr": 1e-3, "mixup": 0.2}).id
    typed = run(tmp_path, {"steps": 20, "lr": 1.0}, ("lr=0.5", "preset=tllib"))
    assert (typed.protocol.recipe.lr, typed.protocol.recipe.steps) == (0.5, 10_000)
    assert run(tmp_path, {"preset": "tllib", "epochs": 3}).protocol.recipe.steps == 0


def test_steps_in_the_place_of_epochs_leave_the_warm_up_its_share(tmp_path: Path) -> None:
    recipe = run(tmp_path, {"preset": "mae", "steps": 100}).protocol.recipe
    assert (recipe.steps, recipe.epochs, recipe.warmup, recipe.warmup_epochs) == (100, 0, 5, 0)
    assert run(tmp_path, "mae", ("steps=40",)).protocol.recipe.warmup == 2
    assert run(tmp_path, {"preset": "mae", "steps": 100, "warmup": 0}).protocol.recipe.warmup == 0
    assert run(tmp_path, {"preset": "mae", "epochs": 10}).protocol.recipe.warmup_epochs == 5
    with pytest.raises(InputError, match="a protocol of steps has its warm-up in steps"):
        run(tmp_path, {"preset": "mae", "steps": 100, "warmup_epochs": 2})


def test_a_measuring_setting_is_the_experiments(tmp_path: Path) -> None:
    protocol = {"steps": 20, "evaluations": 7, "validation": 0.2}
    typed = run(tmp_path, protocol, ("preset=mae",)).protocol
    assert (typed.evaluations, typed.validation) == (7, 0.2)


def test_a_row_may_have_one_of_its_own_and_presets_are_swept_as_values(tmp_path: Path) -> None:
    row = {"Recipe": {"ce": {}, "settings": {"preset": ["mae", "deit"], "steps": 10}}}
    plan = planned(tmp_path, methods=row, baseline=None, datasets=["digits"], rates=[15], seeds=1)
    (cell,) = (cell for _, cell in plan.tables[0].places())
    assert [each.label for each in cell.candidates] == ["Recipe (preset=mae)", "Recipe (preset=deit)"]
    assert [each.runs[0].protocol.recipe.optimizer for each in cell.candidates] == ["adamw", "sgd"]
    assert {each.runs[0].protocol.recipe.steps for each in cell.candidates} == {10}


def test_a_typed_preset_leaves_what_is_swept_for_a_row(tmp_path: Path) -> None:
    """It stands for the protocol that all share; rates of a row's own are what suits the row."""
    row = {"Probe": {"linear": {}, "settings": {"lr": [0.1, 0.2]}}}
    keys: dict[str, Any] = {"methods": row, "baseline": None, "datasets": ["digits"], "rates": [15], "seeds": 1}
    plan = planned(tmp_path, Overrides(settings=("preset=dinov2-linear",)), **keys)
    assert {spec.protocol.recipe.lr for spec in plan.unique.values()} == {0.1, 0.2}
    assert {spec.protocol.recipe.steps for spec in plan.unique.values()} == {12_500}


def test_a_papers_table_takes_a_typed_one_and_says_that_it_is_another_protocol(tmp_path: Path) -> None:
    registry = mini(tmp_path)
    plan = plan_paper("mini", registry, Overrides(settings=("preset=tllib", "steps=7")))
    specs = list(plan.unique.values())
    assert {spec.protocol.recipe.steps for spec in specs} == {7}
    assert {spec.protocol.recipe.optimizer for spec in specs} == {"sgd"}
    assert {spec.protocol.recipe.lr for spec in specs if spec.dataset.name == "cluttered_digits"} == {1e-3}
    cells = [cell for _, cell in plan.tables[0].places() if cell.candidates]
    assert all("steps=7" in cell.ground.differs for cell in cells)


# ---- one of one's own


def test_a_file_in_a_plug_in_is_one(tmp_path: Path) -> None:
    text = "title: ours\nsettings: {steps: {value: 9, source: 'our choice: quick'}, lr: {value: 0.5, source: mail}}\n"
    registry = plugin(tmp_path, text, "our-house")
    assert "our-house" in registry.preset_files
    spec = planned(tmp_path, None, tmp_path, protocol={"preset": "our-house", "batch_size": 8}).unique
    assert {
        (each.protocol.recipe.steps, each.protocol.recipe.lr, each.protocol.batch_size) for each in spec.values()
    } == {(9, 0.5, 8)}


@pytest.mark.parametrize(
    ("protocol", "problem"),
    [
        ("mea", "no preset is called 'mea'; did you mean 'mae'?"),
        ({"preset": "mea"}, "no preset is called 'mea'; did you mean 'mae'?"),
        ({"preset": 3, "steps": 4}, "no preset is called '3'"),
        ({"preset": "mae", "stepz": 4}, "no protocol setting is called 'stepz'"),
    ],
)
def test_a_wrong_name_is_told_with_its_place(tmp_path: Path, protocol: object, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path, protocol)
    assert problem in str(caught.value)
    assert "mine.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title: x\nsettings: {steps: 9}\n", "'steps' must be {value: ..., source: 'paper ...'}"),
        ("title: x\nsettings: {steps: {value: many, source: mail}}\n", "house.yaml:2: protocol: steps"),
        (
            "title: x\nsettings: {step: {value: 9, source: mail}}\n",
            "house.yaml:2: no protocol setting is called 'step'",
        ),
        ("title: x\nsettings: [1]\n", "'settings' must be a mapping, not [1]"),
        ("title: x\nsetting: {}\n", "no key of a preset is called 'setting'; did you mean 'settings'?"),
        ("settings: {steps: {value: 9, source: mail}}\n", "'title' is missing or is not a text"),
    ],
)
def test_a_malformed_file_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    plugin(tmp_path, text)
    with pytest.raises(InputError) as caught:
        planned(tmp_path, None, tmp_path, protocol="house")
    assert problem in str(caught.value)
    assert "house.yaml" in str(caught.value)
    assert all("\n" not in each for each in caught.value.problems)


def test_an_experiment_may_be_a_file_with_a_name_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {"methods": ["ce"], "backbones": ["micro_vit"], "datasets": ["digits"], "rates": [15], "protocol": "mae"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
    assert main(["plan", str(tmp_path / "mine.yaml"), "--set", "steps=3"]) == 0
    assert "3 different runs" in capsys.readouterr().out


# ---- they are listed


def test_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "mae", "--format", "json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["kind"], card["name"]) == ("preset", "mae")
    assert {each["name"]: each["value"] for each in card["values"]} == written("mae")
    assert all(each["source"] and each["kind"] in KINDS for each in card["values"])
    assert main(["show", "tllib"]) == 0
    out = capsys.readouterr().out
    assert "head_lr = 10  (released code: --finetune in erm.sh)" in out
    assert "constant for 12 of its 20 epochs" in out
    assert "--set preset=tllib" in out
