"""Attention-only and FFN-only fine-tuning: which weights move under each reading of what is frozen."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.backbones.vit import ViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.losses import all_but
from bench.method import Method, Stage
from bench.protocol import Protocol, Recipe
from bench.training.fit import fit, set_modes

CLASSES, SIDE = 3, 12

attention_only: Any = importlib.import_module("bench.methods.attention_only")
ffn_only: Any = importlib.import_module("bench.methods.ffn_only")
linear: Any = importlib.import_module("bench.methods.linear")

METHODS = {"attention_only": attention_only.AttentionOnly, "ffn_only": ffn_only.FFNOnly}
BRANCH = {"attention_only": r"\.attn\.", "ffn_only": r"\.mlp\."}
OTHER = {"attention_only": BRANCH["ffn_only"], "ffn_only": BRANCH["attention_only"]}


def model() -> Model:
    """With registers, query and key norms, layer scale and stochastic depth: all that a block may hold."""
    torch.manual_seed(0)
    backbone = VisionTransformer(
        **{"img_size": SIDE, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 2, "num_heads": 3},
        **{"num_classes": 0, "reg_tokens": 1, "qk_norm": True, "init_values": 0.1, "drop_path_rate": 0.3},
    )
    return Model(backbone, ViT(), 24, CLASSES, [0.5], [0.25])


def noise() -> TrainingImages:
    state = np.random.RandomState(0)
    split = Split(
        ArrayImages(state.randint(0, 256, (40, SIDE, SIDE, 1)).astype(np.uint8)), state.randint(0, CLASSES, 40)
    )
    protocol = Protocol(batch_size=8, augmentation="none")
    return TrainingImages(split, np.arange(40), CLASSES, protocol, SIDE, seed=5, device=torch.device("cpu"))


def staged(name: str, given: Model, rest: str) -> Stage:
    recipe = Recipe(steps=6, lr=1e-2).resolved(40, 8)
    (stage,) = METHODS[name](rest=rest).stages(given, recipe, noise())
    assert isinstance(stage, Stage)
    return stage


@pytest.mark.parametrize("rest", ["deit", "literal"])
@pytest.mark.parametrize("name", METHODS)
def test_exactly_these_weights_move(name: str, rest: str) -> None:
    given = model()
    before = {key: value.clone() for key, value in given.state_dict().items()}
    fit(staged(name, given, rest), noise(), start=0, stops=lambda _: False, at_stop=lambda _: None)
    moved = {key for key, value in given.state_dict().items() if not torch.equal(value, before[key])}
    if rest == "literal":
        expected = {key for key in before if not re.search(OTHER[name], key)}
    else:
        expected = {key for key in before if re.search(rf"{BRANCH[name]}|head\.|pos_embed", key)}
    assert moved == expected
    inside = {"backbone.cls_token", "backbone.norm.weight", "backbone.patch_embed.proj.weight"}
    assert inside.isdisjoint(moved) == (rest == "deit")


@pytest.mark.parametrize("rest", ["deit", "literal"])
@pytest.mark.parametrize("name", METHODS)
def test_paths_of_both_branches_are_dropped_whichever_is_trained(name: str, rest: str) -> None:
    """As DeiT's code does, which sets requires_grad alone and keeps the whole model in training mode."""
    given = model()
    seen: list[Tensor] = []
    block: Any = given.backbone.blocks[1]  # type: ignore[index]
    stage = staged(name, given, rest)
    set_modes(stage)
    for drop in (block.drop_path1, block.drop_path2):
        assert (drop.training, drop.drop_prob) == (True, pytest.approx(0.3))
        drop.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    given(torch.rand(200, 1, SIDE, SIDE))
    for output in seen:
        share = (output.flatten(1) == 0).all(1).double().mean().item()
        assert 0.15 < share < 0.45  # of 200 images each dropped with probability 0.3
    trains = {name for name, weight in given.named_parameters() if weight.requires_grad}
    assert any(re.search(BRANCH[name], each) for each in trains)
    assert not any(re.search(OTHER[name], each) for each in trains)


def test_batch_norms_of_a_frozen_part_keep_their_statistics_while_it_drops() -> None:
    torch.manual_seed(0)
    layers = (nn.Flatten(), nn.BatchNorm1d(SIDE * SIDE), nn.Dropout(0.5), nn.Linear(SIDE * SIDE, 8), nn.BatchNorm1d(8))
    flat, first, drop, linear, last = layers
    small = Model(nn.Sequential(*layers), Family(), 8, CLASSES, [0.5], [0.25])
    before = {key: value.clone() for key, value in small.state_dict().items()}
    recipe = Recipe(steps=6, lr=1e-2).resolved(40, 8)
    stage = Stage(small, Method().loss, recipe, train=(last, small.head), frozen_drops=True)
    set_modes(stage)
    modes = [module.training for module in (flat, first, drop, linear, last)]
    assert modes == [True, False, True, True, True]
    fit(stage, noise(), start=0)
    moved = {key for key, value in small.state_dict().items() if not torch.equal(value, before[key])}
    kept = {"running_mean", "running_var", "num_batches_tracked", "weight", "bias"}
    assert moved == {f"backbone.4.{key}" for key in kept} | {"head.weight", "head.bias"}


def test_a_linear_probe_stays_in_eval_mode() -> None:
    given = model()
    recipe = Recipe(steps=6, lr=1e-2).resolved(40, 8)
    (stage,) = linear.LinearProbe().stages(given, recipe, noise())
    set_modes(stage)
    assert not any(module.training for module in given.backbone.modules())
    assert given.head.training


# ---- all but some modules


def test_all_but_is_the_largest_modules_and_what_lies_between() -> None:
    inner = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    outer = nn.Sequential(inner, nn.LayerNorm(2))
    outer.register_parameter("scale", nn.Parameter(torch.ones(1)))
    assert [id(item) for item in all_but(outer, [inner[0]])] == [id(outer.scale), id(inner[1]), id(outer[1])]
    assert [id(item) for item in all_but(outer, [inner])] == [id(outer.scale), id(outer[1])]
    assert all_but(outer, []) == [outer]
    assert all_but(outer, [outer]) == []
