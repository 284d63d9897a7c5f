"""Plans made small: what of them is left, what is scaled by which rule, and that no run of the plan itself is meant."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bench.cards.backbone import DRAWN
from bench.cards.patches import unseen
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.rehearsal import RehearsalRegistry, Scale, rehearse, smaller_recipe, substitutes
from bench.plan.table import Plan, TablePlan
from bench.plan.target import read_plan, read_plans
from bench.protocol import Recipe
from bench.registry import Registry

PAPERS = ["coin", "drloc", "fd", "gta", "lacvit"]
ONE_SEED = Overrides(seeds="1")


@cache
def registry() -> RehearsalRegistry:
    return RehearsalRegistry([], small=False)


@cache
def planned(target: str) -> Plan:
    return read_plan(target, registry(), ONE_SEED)


@cache
def rehearsed(target: str, whole: bool = False) -> Plan:
    return rehearse(planned(target), registry(), Scale(whole=whole))


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dataset, no weights: as on a clean machine."""
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")


def trained(table: TablePlan) -> set[tuple[int, int]]:
    return {place for place, cell in table.places() if cell.candidates}


@pytest.mark.parametrize("paper", PAPERS)
class TestCover:
    """Few cells are enough, and whatever a table has is in one of them."""

    def test_every_row_is_trained_that_has_something_to_train(self, paper: str) -> None:
        for before, after in zip(planned(paper).tables, rehearsed(paper).tables, strict=True):
            assert {row for row, _ in trained(after)} == {row for row, _ in trained(before)}

    def test_every_label_of_a_column_is_trained_that_has_something_to_train(self, paper: str) -> None:
        def labels(table: TablePlan) -> set[tuple[int, str]]:
            columns = [table.columns[column] for _, column in trained(table)]
            return {(level, label) for column in columns for level, label in enumerate(column)}

        for before, after in zip(planned(paper).tables, rehearsed(paper).tables, strict=True):
            assert labels(after) == labels(before)

    def test_every_method_is_trained_on_every_backbone_that_it_has(self, paper: str) -> None:
        def pairs(plan: Plan) -> set[tuple[str, str]]:
            runs = plan.unique.values()
            return {(spec.method.full_name, spec.backbone.name.partition("@")[0]) for spec in runs}

        assert pairs(rehearsed(paper)) == pairs(planned(paper))

    def test_no_run_is_one_of_the_paper(self, paper: str) -> None:
        assert not rehearsed(paper).unique.keys() & planned(paper).unique.keys()
        assert not rehearsed(paper, whole=True).unique.keys() & planned(paper).unique.keys()

    def test_each_run_says_what_it_is(self, paper: str) -> None:
        for spec in rehearsed(paper).unique.values():
            assert spec.dataset.name.startswith("rehearsal:")
            assert "rehearsal of" in spec.label

    def test_each_run_is_small_and_sees_its_whole_image(self, paper: str) -> None:
        for spec in rehearsed(paper).unique.values():
            protocol = spec.protocol
            assert (protocol.recipe.steps, protocol.recipe.epochs) == (4, 0)
            assert protocol.batch_size <= 8
            assert protocol.recipe.warmup < 4
            assert 0 < protocol.image_size <= 64
            assert not unseen(registry().backbone(spec.backbone.name), protocol.image_size)

    def test_nothing_is_compared_and_nothing_published_is_left(self, paper: str) -> None:
        for table in rehearsed(paper).tables:
            assert not table.is_published
            assert not table.contests
            assert not table.baseline
            assert not table.rules.across
            assert table.name.startswith(f"rehearsal/{paper}/")
            assert table.title.startswith("REHEARSAL of ")

    def test_a_plan_is_made_small_in_the_same_way_every_time(self, paper: str) -> None:
        again = rehearse(planned(paper), RehearsalRegistry([], small=False), Scale())
        assert [*again.unique] == [*rehearsed(paper).unique]


def test_what_an_experiment_trains_is_made_small_as_well() -> None:
    plan = planned("demo")
    small = rehearse(plan, registry(), Scale())
    (table,) = small.tables
    assert {row for row, _ in trained(table)} == set(range(len(table.rows)))
    assert len(small.unique) < len(plan.unique)


def test_the_whole_plan_has_every_cell_and_every_candidate() -> None:
    (before,), (after,) = planned("gta/table2").tables, rehearsed("gta/table2", whole=True).tables
    assert trained(after) == trained(before)
    for place in trained(before):
        assert len(after.cells[place[0]][place[1]].candidates) == len(before.cells[place[0]][place[1]].candidates)


def test_of_a_sweep_the_two_ends_are_trained() -> None:
    sweeps = [
        [float(dict(candidate.runs[0].method.hyper)["weight"] or 0) for candidate in cell.candidates]
        for table in rehearsed("gta/table2").tables
        for _, cell in table.places()
        if cell.candidates and cell.candidates[0].runs[0].method.name == "gta"
    ]
    assert sweeps
    assert all(weights == sweeps[0] and len(weights) == 2 for weights in sweeps)
    assert sweeps[0] == [1, 100]


def test_a_contrast_set_of_its_own_is_scaled_with_the_batch_and_stays_the_larger_one() -> None:
    runs = [spec for spec in rehearsed("lacvit").unique.values() if spec.method.name == "lacvit"]
    assert {(spec.protocol.batch_size, dict(spec.method.hyper)["contrast_batch"]) for spec in runs} == {(8, 16)}


def test_what_counts_images_of_a_step_is_told_from_the_code_of_a_method(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from bench.method import Method, Stage, hyper\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Method):\n"
        '    """Mine."""\n\n'
        '    paper = "mine"\n'
        '    wide: int = hyper(512, low=1, source="our choice")\n'
        '    views: int = hyper(512, low=1, source="our choice")\n\n'
        "    def stages(self, model, recipe, data):\n"
        "        yield Stage(model, self.loss, recipe, data=data.fed(batch_size=self.wide))\n",
        encoding="utf-8",
    )
    assert Registry([path]).method("mine").batches == {"wide"}
    mine = RehearsalRegistry([path], small=False)
    plan = read_plan("demo", mine, Overrides(methods="mine", seeds="1"))
    hypers = {dict(spec.method.hyper)["wide"] for spec in rehearse(plan, mine, Scale()).unique.values()}
    assert hypers == {16}
    assert {dict(spec.method.hyper)["views"] for spec in rehearse(plan, mine, Scale()).unique.values()} == {512}


def test_every_batch_of_a_method_of_the_suite_is_known_by_its_card() -> None:
    own = {name: set(Registry().method(name).batches) for name in Registry().method_files}
    named = {
        name: {hyper for hyper in Registry().method(name).hypers if hyper.endswith("_batch")}
        for name in Registry().method_files
    }
    assert own == named
    assert own["lacvit"]
    assert own["feature_distillation"]


@pytest.mark.parametrize(
    ("recipe", "warmup"),
    [
        (Recipe(steps=1000), 0),
        (Recipe(steps=1000, warmup=1), 1),
        (Recipe(steps=1000, warmup=500), 2),
        (Recipe(steps=1000, warmup=999), 3),
        (Recipe(epochs=100, warmup_epochs=20), 1),
        (Recipe(epochs=100, warmup_epochs=75), 3),
        (Recipe(epochs=100, warmup=50), 2),
    ],
)
def test_a_warm_up_keeps_its_share_of_the_steps(recipe: Recipe, warmup: int) -> None:
    small = smaller_recipe(recipe, 4)
    assert (small.steps, small.epochs, small.warmup, small.warmup_epochs) == (4, 0, warmup, 0.0)
    assert replace(small, steps=0, warmup=0) == replace(recipe, steps=0, epochs=0, warmup=0, warmup_epochs=0.0)


class TestWeights:
    """Those that are here are taken; of the others some are drawn, with the head that the published ones have."""

    def test_methods_that_take_the_head_of_the_pre_training_are_planned_with_a_drawn_one(self) -> None:
        asked = Overrides(methods="co_tuning,lwf", backbones="cvt_13,ibot_vit_small", seeds="1", rates="100")
        plan = rehearse(read_plan("demo", registry(), asked), registry(), Scale())
        assert {spec.backbone.name for spec in plan.unique.values()} == {"cvt_13@drawn"}
        assert {spec.method.name for spec in plan.unique.values()} == {"co_tuning", "lwf"}
        assert any("needs source_head" in reason for reason in plan.reasons)

    def test_a_method_that_judges_each_filter_has_few_of_them(self) -> None:
        runs = rehearsed("coin").unique.values()
        assert {spec.backbone.name for spec in runs if spec.method.name == "delta"} == {"moco_v2_resnet50@small"}
        assert "moco_v2_resnet50@drawn" in {spec.backbone.name for spec in runs if spec.method.name == "ce"}

    @pytest.mark.parametrize(
        ("name", "has_head"),
        [("deit_small", True), ("ibot_vit_small", False), ("cvt_13", True), ("moco_v2_resnet50", False)],
    )
    def test_drawn_weights_come_with_a_head_where_the_published_ones_do(self, name: str, has_head: bool) -> None:
        card = Registry().backbone(f"{name}@drawn")
        assert ("source_head" in card.offers, card.weights) == (has_head, DRAWN)

    def test_converted_weights_are_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BENCH_DATA", str(tmp_path))
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "ibot_vit_small.safetensors").write_bytes(b"not looked into here")
        assert RehearsalRegistry([], small=False).backbone("ibot_vit_small").name == "ibot_vit_small"
        assert RehearsalRegistry([], small=True).backbone("ibot_vit_small").name == "ibot_vit_small@small"

    def test_weights_in_the_cache_of_the_hub_are_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        assert RehearsalRegistry([], small=False).backbone("deit_small").name == "deit_small@drawn"
        place = tmp_path / "models--timm--deit_small_patch16_224.fb_in1k" / "snapshots" / "0"
        place.mkdir(parents=True)
        (place / "model.safetensors").write_bytes(b"")
        assert RehearsalRegistry([], small=False).backbone("deit_small").name == "deit_small"

    def test_weights_that_are_typed_or_declared_stand_as_they_are(self) -> None:
        assert registry().backbone("deit_small@none").name == "deit_small@none"
        assert registry().backbone("micro_vit").name == "micro_vit"

    def test_drawn_weights_mean_something_else_than_random_and_published_ones(self) -> None:
        names = ("deit_small", "deit_small@none", "deit_small@drawn", "deit_small@small", "deit_base@drawn")
        assert len({Registry().backbone(name).means for name in names}) == len(names)


def test_what_stands_in_the_place_of_what_is_told_once() -> None:
    plan = read_plans(["gta", "drloc", "demo"], registry(), ONE_SEED)
    told = substitutes(plan, rehearse(plan, registry(), Scale()), registry())
    assert {"cub200", "stanford_dogs", "imagenet100"} <= {*told.drawn_datasets}
    assert told.cut_datasets == ("cluttered_digits",)
    assert told.weights == ("micro_vit",)
    assert len({*told.drawn_weights}) == len(told.drawn_weights)
    assert "ibot_vit_small" in told.drawn_weights
    assert 32 in told.sizes
    assert 64 in told.sizes


@pytest.mark.parametrize(
    ("scale", "option"),
    [
        (Scale(steps=1), "--steps 1"),
        (Scale(seed=-1), "--seed -1"),
        (Scale(seed=10**9), "--seed 1000000000"),
        (Scale(images=10**7), "--images 10000000"),
        (Scale(batch=1), "--batch 1"),
        (Scale(images=7), "--images 7"),
        (Scale(test_images=0), "--test-images 0"),
    ],
)
def test_too_small_or_too_large_is_refused(scale: Scale, option: str) -> None:
    with pytest.raises(InputError, match=option):
        rehearse(planned("gta/table2"), registry(), scale)


def test_planning_a_rehearsal_does_without_torch() -> None:
    code = (
        "import sys, bench\n"
        "from bench.plan.rehearsal import RehearsalRegistry, Scale, rehearse\n"
        "from bench.plan.target import read_plan\n"
        "registry = RehearsalRegistry([], False)\n"
        "plan = rehearse(read_plan('lacvit', registry), registry, Scale())\n"
        "assert plan.unique and not {'torch', 'timm'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- images with masks

MASKS = """\
title: masks
methods: [ce]
backbones: [vit_small, swin_tiny, resnet50, micro_vit, timm:vit_small_patch8_224.dino]
datasets: [ade20k, cub200, drawn_shapes]
rates: [100]
seeds: 1
protocol: {steps: 1000, warmup: 100, lr: 1e-4, schedule: poly, batch_size: 16, image_size: 512, augmentation: none}
"""


def test_a_plan_of_masks_keeps_its_inference_and_has_a_small_decoder(tmp_path: Path) -> None:
    (tmp_path / "masks.yaml").write_text(MASKS.replace("none}", "none, inference: slide, auxiliary: 0.2}"))
    plan = read_plan(str(tmp_path / "masks.yaml"), registry(), ONE_SEED)
    runs = list(rehearse(plan, registry(), Scale(whole=True)).unique.values())
    of_masks = [run for run in runs if registry().dataset(run.dataset.name).task == "segmentation"]
    assert {(run.protocol.inference, run.protocol.decoder, run.protocol.auxiliary) for run in of_masks} == {
        ("slide", 16, 0.2)
    }
    assert {(run.protocol.recipe.schedule, run.protocol.recipe.steps) for run in of_masks} == {("poly", 4)}
    sizes = {run.backbone.name.partition("@")[0]: run.protocol.image_size for run in of_masks}
    assert sizes == {
        "vit_small": 32,
        "swin_tiny": 64,
        "resnet50": 64,
        "micro_vit": 8,
        "timm:vit_small_patch8_224.dino": 32,
    }
    assert not any(unseen(registry().backbone(run.backbone.name), run.protocol.image_size) for run in of_masks)


def test_what_a_decoder_needs_leaves_classifiers_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "masks.yaml").write_text(MASKS)
    plan = read_plan(str(tmp_path / "masks.yaml"), registry(), ONE_SEED)
    runs = rehearse(plan, registry(), Scale(whole=True)).unique.values()
    labelled = [run for run in runs if registry().dataset(run.dataset.name).task == "classification"]
    assert {run.protocol.decoder for run in labelled} == {512}
    sizes = {run.backbone.name.partition("@")[0]: run.protocol.image_size for run in labelled}
    assert sizes == {
        "vit_small": 32,
        "swin_tiny": 64,
        "resnet50": 64,
        "micro_vit": 4,
        "timm:vit_small_patch8_224.dino": 16,
    }
