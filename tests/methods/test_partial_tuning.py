"""BitFit, norm tuning, the last blocks, surgical fine-tuning: which weights each trains, of which kind of backbone."""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer
from timm.models.beit import Beit
from torch import nn

from bench.backbones import Model
from bench.backbones.build import sketch
from bench.backbones.families import family_of
from bench.backbones.model import Family
from bench.errors import InputError
from bench.method import Method, Stage
from bench.protocol import Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes, trained
from tests.methods.test_frozen_parts import model as everything
from tests.methods.test_frozen_parts import noise

METHODS: dict[str, Any] = {
    "bitfit": importlib.import_module("bench.methods.bitfit").BitFit,
    "norm_tuning": importlib.import_module("bench.methods.norm_tuning").NormTuning,
    "last_blocks": importlib.import_module("bench.methods.last_blocks").LastBlocks,
    "surgical": importlib.import_module("bench.methods.surgical").Surgical,
}

Case = tuple[str, dict[str, int]]


def staged(case: Case, model: Model) -> Stage:
    name, hypers = case
    method = METHODS[name](**hypers)
    assert isinstance(method, Method)
    (stage,) = method.stages(model, Recipe(steps=6, lr=1e-2).resolved(40, 8), noise())
    return stage


@lru_cache
def published(name: str) -> Model:
    """A card's architecture without values."""
    return sketch(Registry().backbone(name))


def names(case: Case, model: Model) -> set[str]:
    """The trained weights of the backbone; those of the head are trained always."""
    every = {name for name, _ in trained(staged(case, model))}
    assert {name for name in every if name.startswith("head.")} == {"head.weight", "head.bias"}
    return {name.removeprefix("backbone.") for name in every if name.startswith("backbone.")}


def numbers(case: Case, model: Model) -> int:
    """How many numbers of the backbone are trained."""
    named = dict(model.backbone.named_parameters())
    return sum(named[name].numel() for name in names(case, model))


WIDTH, HIDDEN, DEPTH, TOKENS, PIXELS = 768, 3072, 12, 197, 768
NORM = 2 * WIDTH
BIASES = DEPTH * (3 * WIDTH + WIDTH + HIDDEN + WIDTH + 2 * WIDTH) + WIDTH + WIDTH
"""Of queries, keys and values, projection, two layers of the FFN and two norms; of the patches and the last norm."""
BLOCK = 2 * NORM + 4 * (WIDTH * WIDTH + WIDTH) + WIDTH * HIDDEN + HIDDEN + HIDDEN * WIDTH + WIDTH
STEM = WIDTH + TOKENS * WIDTH + PIXELS * WIDTH + WIDTH
"""Class token, positions, and the projection of 16 × 16 × 3 pixels."""


@pytest.mark.parametrize(
    ("case", "count"),
    [
        (("bitfit", {}), BIASES),
        (("norm_tuning", {}), 25 * NORM),
        (("last_blocks", {}), BLOCK + NORM),
        (("last_blocks", {"k": 4}), 4 * BLOCK + NORM),
        (("surgical", {}), STEM + BLOCK),
        (("surgical", {"block": 12}), BLOCK),
        (("surgical", {"block": 4, "count": 3}), 3 * BLOCK),
    ],
)
def test_of_a_vit_base_as_many_weights_are_trained_as_arithmetic_says(case: Case, count: int) -> None:
    assert numbers(case, published("vit_base")) == count


def test_the_numbers_are_those_that_the_papers_and_the_cards_have() -> None:
    assert (BIASES, 25 * NORM) == (102_912, 38_400)
    assert "102,912" in Registry().method("bitfit").text
    assert "38,400" in Registry().method("norm_tuning").text
    every = sum(weights.numel() for weights in published("vit_base").backbone.parameters())
    assert every == DEPTH * BLOCK + STEM + NORM


def matching(model: Model, pattern: str) -> set[str]:
    return {name for name, _ in model.backbone.named_parameters() if re.fullmatch(pattern, name)}


@pytest.mark.parametrize(
    ("case", "pattern"),
    [
        (("bitfit", {}), r".*\.bias"),
        (("norm_tuning", {}), r"bn1\..*|layer\d\.\d\.(bn\d|downsample\.1)\..*"),
        (("last_blocks", {}), r"layer4\.2\..*"),
        (("last_blocks", {"k": 4}), r"layer4\..*|layer3\.5\..*"),
        (("surgical", {"block": 1, "count": 3}), r"conv1\..*|bn1\..*|layer1\..*"),
        (("surgical", {"block": 4, "count": 4}), r"layer2\..*"),
        (("surgical", {"block": 8, "count": 6}), r"layer3\..*"),
        (("surgical", {"block": 14, "count": 3}), r"layer4\..*"),
    ],
)
def test_of_a_resnet_50(case: Case, pattern: str) -> None:
    assert names(case, published("resnet50")) == matching(published("resnet50"), pattern) != set()


@pytest.mark.parametrize(
    ("case", "pattern"),
    [
        (("bitfit", {}), r".*\.bias"),
        (("norm_tuning", {}), r"(.*\.)?norm\d?\..*"),
        (("last_blocks", {"k": 2}), r"layers\.3\.blocks\..*|norm\..*"),
        (("last_blocks", {"k": 3}), r"layers\.3\..*|layers\.2\.blocks\.5\..*|norm\..*"),
        (("surgical", {"block": 1}), r"patch_embed\..*|layers\.0\.blocks\.0\..*"),
        (("surgical", {"block": 12}), r"layers\.3\.blocks\.1\..*"),
    ],
)
def test_of_a_swin_tiny(case: Case, pattern: str) -> None:
    assert names(case, published("swin_tiny")) == matching(published("swin_tiny"), pattern) != set()


MOVES: list[tuple[Case, str]] = [
    (("bitfit", {}), r".*\.bias"),
    (("norm_tuning", {}), r"(.*\.)?([qk]_)?norm\d?\.(weight|bias)"),
    (("last_blocks", {}), r"blocks\.1\..*|norm\..*"),
    (("surgical", {}), r"(?!blocks\.1\.|norm\.).*"),
    (("surgical", {"block": 2}), r"blocks\.1\..*"),
]


@pytest.mark.parametrize(("case", "pattern"), MOVES)
def test_these_weights_move_and_all_others_keep_their_bits(case: Case, pattern: str) -> None:
    model = everything()
    start = {key: value.clone() for key, value in model.state_dict().items()}
    fit(staged(case, model), noise(), start=0)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, start[key])}
    inside = {f"backbone.{name}" for name in matching(model, pattern)}
    assert moved == inside | {"head.weight", "head.bias"}


def test_frozen_branches_drop_paths_unless_they_are_what_the_trained_end_stands_on() -> None:
    model = everything()
    first, last = model.backbone.blocks  # type: ignore[misc]
    for case, drops in ((("bitfit", {}), True), (("norm_tuning", {}), True), (("last_blocks", {"k": 1}), False)):
        set_modes(staged(case, model))
        assert (first.drop_path1.training, last.drop_path1.training) == (drops, True)
    set_modes(staged(("surgical", {"block": 2}), model))
    assert first.drop_path1.training


def test_batch_norms_take_statistics_where_they_are_trained() -> None:
    backbone: Any = published("resnet50").backbone
    expected = {"norm_tuning": (True, True), "last_blocks": (False, True), "bitfit": (False, False)}
    for name, modes in expected.items():
        set_modes(staged((name, {}), published("resnet50")))
        assert (backbone.bn1.training, backbone.layer4[2].bn3.training) == modes, name


def test_what_decay_counts_with_the_head_and_lies_before_the_blocks_is_not_behind_them() -> None:
    tiny = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 2, "num_heads": 3}
    clip: nn.Module = VisionTransformer(**tiny, num_classes=0, pre_norm=True)
    beit: nn.Module = Beit(**tiny, num_classes=0, use_shared_rel_pos_bias=True)
    for backbone, before in ((clip, "norm_pre.weight"), (beit, "rel_pos_bias.relative_position_bias_table")):
        model = Model(backbone, family_of(backbone), 24, 3, [0.5], [0.25])
        assert model.depth == 2
        assert before in names(("surgical", {"block": 1}), model)
        assert before not in names(("last_blocks", {"k": 1}), model)
        assert matching(model, r"(fc_)?norm\..*") <= names(("last_blocks", {"k": 1}), model)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (("last_blocks", {"k": 3}), "no 3 last blocks: the backbone has 2, so 2 is the most"),
        (("surgical", {"block": 3}), "there is no block 3: the backbone has 2"),
        (("surgical", {"block": 2, "count": 2}), "no blocks 2 to 3: the backbone has 2"),
    ],
)
def test_blocks_that_are_not_there_are_refused(case: Case, said: str) -> None:
    with pytest.raises(InputError, match=said):
        staged(case, everything())


@pytest.mark.parametrize(("name", "lacking"), [("bitfit", "biases"), ("norm_tuning", "norms")])
def test_a_backbone_without_what_is_tuned_is_not_probed_under_another_name(name: str, lacking: str) -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(144, 8, bias=False))
    with pytest.raises(InputError, match=f"has no {lacking}, so that only the head"):
        staged((name, {}), Model(backbone, Family(), 8, 3, [0.5], [0.25]))


def test_a_backbone_of_an_unknown_kind_is_refused_where_runs_are_planned() -> None:
    registry = Registry()
    kinds = ("vit_base@none", "swin_base@none", "resnet50@none", "beit_base@none", "cvt_13@none", "micro_resnet")
    for name in METHODS.keys() - {"bitfit"}:
        needs = registry.method(name).needs
        assert all(needs <= registry.backbone(kind).offers for kind in kinds)
        assert needs - registry.backbone("timm:xcit_nano_12_p16_224@none").offers == {"norms"}
