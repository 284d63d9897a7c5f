"""Optimisers from recipes: which decay and rate the weights of each family have, and how LARS steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.optim import Lars
from torch import nn

from bench.backbones import Model
from bench.backbones.families import family_of
from bench.backbones.model import Family
from bench.protocol import Recipe
from bench.training.optimizer import build_optimizer, set_learning_rate

VIT: dict[str, Any] = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 2, "num_heads": 3}
SWIN: dict[str, Any] = {
    **{"img_size": 32, "patch_size": 4, "in_chans": 1, "window_size": 2},
    **{"embed_dim": 12, "depths": (2, 2), "num_heads": (2, 2)},
}
BACKBONES: dict[str, Any] = {
    "vit": lambda: VisionTransformer(num_classes=0, reg_tokens=1, **VIT),
    "beit": lambda: Beit(num_classes=0, use_abs_pos_emb=True, use_rel_pos_bias=True, **VIT),
    "shared": lambda: Beit(num_classes=0, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, **VIT),
    "swin": lambda: SwinTransformer(num_classes=0, **SWIN),
    "swin_v2": lambda: SwinTransformerV2(num_classes=0, **SWIN),
}


def groups(kind: str, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The optimiser's group of each parameter of a backbone with a head, and how many dimensions it has."""
    backbone = BACKBONES[kind]()
    model = Model(backbone, family_of(backbone), backbone.num_features, 3, [0.5], [0.25])
    optimizer = build_optimizer(model, model.named_parameters(), recipe.resolved(1, 1), None)
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: {**group, "ndim": parameter.ndim}
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize(
    ("kind", "undecayed"),
    [
        ("vit", {"cls_token", "pos_embed", "reg_token"}),
        ("beit", {"cls_token", "pos_embed"}),
        ("shared", {"cls_token"}),
        ("swin", {"relative_position_bias_table"}),
        ("swin_v2", {"logit_scale", "cpb_mlp.0.weight", "cpb_mlp.2.weight"}),
    ],
)
def test_what_has_no_decay_is_what_the_released_code_of_each_family_leaves_out(kind: str, undecayed: set[str]) -> None:
    """Embeddings (DeiT), not the position tables of a BEiT (its code, SimMIM, FD) but those of a Swin, and V2's MLP."""
    found = groups(kind, Recipe(steps=1, weight_decay=0.05))
    matrices = {name: group["weight_decay"] for name, group in found.items() if group["ndim"] > 1}
    for name, decay in matrices.items():
        assert decay == (0.0 if name.endswith(tuple(undecayed)) else 0.05), name
    assert {end for end in undecayed if any(name.endswith(end) for name in matrices)} == undecayed
    vectors = {group["weight_decay"] for group in found.values() if group["ndim"] <= 1}
    assert vectors == {0.0}


@pytest.mark.parametrize("kind", ["beit", "shared"])
def test_a_beits_position_tables_are_decayed(kind: str) -> None:
    found = groups(kind, Recipe(steps=1, weight_decay=0.05))
    tables = [group["weight_decay"] for name, group in found.items() if name.endswith("position_bias_table")]
    assert tables == [0.05] * (2 if kind == "beit" else 1)


@pytest.mark.parametrize("kind", ["swin", "swin_v2"])
def test_a_swins_downsampling_has_the_rate_of_the_block_before_it(kind: str) -> None:
    """Two stages of two blocks at decay .8: head and norm 1, blocks .8 to .8^4, of which .8^3 is before the merging."""
    found = groups(kind, Recipe(steps=1, layer_decay=0.8))
    factors = {
        "head.weight": 1.0,
        "backbone.norm.weight": 1.0,
        "backbone.layers.1.blocks.1.mlp.fc1.weight": 0.8,
        "backbone.layers.1.blocks.0.mlp.fc1.weight": 0.64,
        "backbone.layers.1.downsample.reduction.weight": 0.512,
        "backbone.layers.1.downsample.norm.weight": 0.512,
        "backbone.layers.0.blocks.1.mlp.fc1.weight": 0.512,
        "backbone.layers.0.blocks.0.mlp.fc1.weight": 0.4096,
        "backbone.patch_embed.proj.weight": 0.32768,
    }
    assert {name: found[name]["factor"] for name in factors} == pytest.approx(factors)


# ---- LARS


def test_lars_steps_as_maes_linear_probe_does_number_by_number() -> None:
    """v ← .9 v + g · .001 ‖w‖/‖g‖, w ← w − lr v for a matrix; a bias has its gradient as it is."""
    torch.manual_seed(0)
    model = Model(nn.Flatten(), Family(), 4, 3, [0.5], [0.25]).double()
    recipe = Recipe(steps=3, optimizer="lars", lr=0.4, weight_decay=0.0, schedule="constant").resolved(1, 1)
    optimizer = build_optimizer(model, model.named_parameters(), recipe, None)
    assert isinstance(optimizer, Lars)
    weights = {"weight": model.head.weight, "bias": model.head.bias}
    expected = {name: weight.detach().flatten().tolist() for name, weight in weights.items()}
    moments = {name: [0.0] * len(values) for name, values in expected.items()}
    for number in range(3):
        for name, weight in weights.items():
            weight.grad = torch.randn_like(weight)
            gradient = weight.grad.flatten().tolist()
            ratio = 0.001 * math.hypot(*expected[name]) / math.hypot(*gradient) if name == "weight" else 1.0
            moments[name] = [0.9 * v + ratio * g for v, g in zip(moments[name], gradient, strict=True)]
            expected[name] = [w - 0.4 * v for w, v in zip(expected[name], moments[name], strict=True)]
        set_learning_rate(optimizer, number)
        optimizer.step()
        for name, weight in weights.items():
            assert weight.detach().flatten().tolist() == pytest.approx(expected[name], rel=1e-9), name


def test_lars_leaves_a_weight_without_a_length_or_a_gradient_finite() -> None:
    model = Model(nn.Flatten(), Family(), 4, 3, [0.5], [0.25])
    nn.init.zeros_(model.head.weight)
    recipe = Recipe(steps=1, optimizer="lars", lr=0.5, weight_decay=0.0, momentum=0.0).resolved(1, 1)
    optimizer = build_optimizer(model, model.named_parameters(), recipe, None)
    model.head.weight.grad, model.head.bias.grad = torch.ones(3, 4), torch.zeros(3)
    set_learning_rate(optimizer, 0)
    optimizer.step()
    assert torch.equal(model.head.weight, torch.full((3, 4), -0.5))
    assert not model.head.bias.any()
