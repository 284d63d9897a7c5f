"""Optimisers from recipes: which decay and rate weights have, and how LARS, Lion and Muon step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.optim import Lars
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.families import family_of
from bench.backbones.model import Family
from bench.protocol import Recipe
from bench.training.checkpoint import _bring_optimizer, _optimizer_state
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


# ---- Lion and Muon


class Layers(nn.Module):
    """A linear layer, convolutions over all channels and one at a time, a norm, a table and a token."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(3, 8, 2), nn.Conv2d(8, 8, 3, groups=8)
        self.linear, self.norm = nn.Linear(8, 24), nn.LayerNorm(24)
        self.position_bias_table = nn.Parameter(torch.randn(9, 4))
        self.cls_token = nn.Parameter(torch.randn(1, 1, 24))


def layers() -> Model:
    torch.manual_seed(0)
    return Model(Layers(), Family(), 24, 3, [0.5], [0.25]).double()


def recipe_of(optimizer: str, **changes: Any) -> Recipe:
    return Recipe(steps=4, optimizer=optimizer, lr=0.1, schedule="constant", **changes).resolved(1, 1)


def steps(
    model: Model, recipe: Recipe, count: int = 3, optimizer: torch.optim.Optimizer | None = None, begin: int = 0
) -> tuple[torch.optim.Optimizer, list[dict[str, Tensor]]]:
    """Some steps with gradients that depend on the number of the step alone; gives the gradients too."""
    optimizer = optimizer or build_optimizer(model, model.named_parameters(), recipe, None)
    seen = []
    for number in range(begin, begin + count):
        torch.manual_seed(number)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        seen.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})  # type: ignore[union-attr]
        set_learning_rate(optimizer, number)
        optimizer.step()
    return optimizer, seen


def test_lion_steps_by_the_sign_of_an_average_as_its_paper_has_it() -> None:
    """c = β₁ m + (1 − β₁) g; w ← w − η (sign c + λ w); m ← β₂ m + (1 − β₂) g (algorithm 2)."""
    model = layers()
    expected = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer, gradients = steps(model, recipe_of("lion", weight_decay=0.5))
    moments = {name: torch.zeros_like(weight) for name, weight in expected.items()}
    for seen in gradients:
        for name, gradient in seen.items():
            decay = 0.0 if expected[name].ndim == 1 or "cls_token" in name else 0.5
            sign = (0.9 * moments[name] + 0.1 * gradient).sign()
            expected[name] = expected[name] - 0.1 * (sign + decay * expected[name])
            moments[name] = 0.99 * moments[name] + 0.01 * gradient
    assert type(optimizer).__name__ == "Lion"
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=0, atol=1e-12)


def orthogonal(matrix: Tensor) -> Tensor:
    """Five steps of Jordan's quintic iteration, in float64."""
    x = matrix / matrix.square().sum().sqrt()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return x


MATRICES = {"backbone.conv.weight", "backbone.linear.weight"}


def test_muon_steps_orthogonally_in_matrices_and_convolutions() -> None:
    """B = μ B + (1 − μ) g, O of (1 − μ) g + μ B, w ← (1 − η λ) w − η .2 √max(m, n) O; in bfloat16, so to two digits."""
    model = layers()
    expected = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    _, gradients = steps(model, recipe_of("muon", weight_decay=0.5))
    moments = {name: torch.zeros_like(expected[name]) for name in MATRICES}
    for seen in gradients:
        for name in MATRICES:
            moments[name] = 0.95 * moments[name] + 0.05 * seen[name]
            update = (0.05 * seen[name] + 0.95 * moments[name]).flatten(1)
            longest = math.sqrt(max(update.shape))
            expected[name] = 0.95 * expected[name] - 0.1 * 0.2 * longest * orthogonal(update).view_as(expected[name])
    for name, weight in model.named_parameters():
        if name in MATRICES:
            torch.testing.assert_close(weight.detach(), expected[name], rtol=0, atol=2e-3)


def test_muon_is_torchs_for_a_linear_layer() -> None:
    model = layers()
    other = nn.Parameter(model.get_parameter("backbone.linear.weight").detach().clone())
    _, gradients = steps(model, recipe_of("muon", weight_decay=0.5))
    torchs: Any = torch.optim.Muon([other], lr=0.1, weight_decay=0.5, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for seen in gradients:
        other.grad = seen["backbone.linear.weight"]
        torchs.step()
    torch.testing.assert_close(model.get_parameter("backbone.linear.weight"), other, rtol=0, atol=2e-3)


def test_all_that_is_no_matrix_of_the_backbone_has_muons_adamw() -> None:
    """The classifier, biases, norms, tokens, tables, depthwise convolutions."""
    muon, adamw = layers(), layers()
    start = {name: weight.detach().clone() for name, weight in muon.named_parameters()}
    steps(muon, recipe_of("muon", weight_decay=0.5))
    steps(adamw, recipe_of("adamw", weight_decay=0.5))
    for name, weight in muon.named_parameters():
        assert not torch.equal(weight, start[name]), name
        is_same = torch.allclose(weight, adamw.get_parameter(name), rtol=0, atol=1e-9)
        assert is_same == (name not in MATRICES), name


@pytest.mark.parametrize("optimizer", ["lion", "muon"])
def test_their_momenta_are_the_recipes(optimizer: str) -> None:
    ends = set()
    for changes in ({}, {"momentum": 0.5}, {"lion_beta2": 0.5}, {"muon_momentum": 0.5}):
        model = layers()
        steps(model, recipe_of(optimizer, **changes))
        ends.add(float(sum(weight.detach().sum() for weight in model.parameters())))
    assert len(ends) == 3  # of the other one's momentum nothing is used


@pytest.mark.parametrize("optimizer", ["lion", "muon"])
def test_rates_and_decays_of_layers_and_modules_are_theirs_too(optimizer: str) -> None:
    backbone = BACKBONES["vit"]()
    model = Model(backbone, family_of(backbone), backbone.num_features, 3, [0.5], [0.25])
    recipe = recipe_of(optimizer, layer_decay=0.5, head_lr=10.0, weight_decay=0.2)
    of_norm = {backbone.norm: recipe_of(optimizer, weight_decay=0.0)}
    built = build_optimizer(model, model.named_parameters(), recipe, None, of_norm)
    set_learning_rate(built, 0)
    names = {parameter: name for name, parameter in model.named_parameters()}
    rates = {names[weight]: group["lr"] for group in built.param_groups for weight in group["params"]}
    decays = {names[weight]: group["weight_decay"] for group in built.param_groups for weight in group["params"]}
    assert rates.keys() == set(names.values())
    assert rates["head.weight"] == 1.0
    assert rates["backbone.norm.weight"] == 0.1
    assert rates["backbone.blocks.1.mlp.fc1.weight"] == 0.05
    assert rates["backbone.blocks.0.mlp.fc1.weight"] == 0.025
    assert decays["backbone.blocks.0.mlp.fc1.weight"] == 0.2
    assert decays["backbone.pos_embed"] == decays["backbone.blocks.0.norm1.weight"] == 0.0


@pytest.mark.parametrize("optimizer", ["lion", "muon", "lars"])
def test_what_they_keep_goes_on_in_the_stage_after_and_through_a_file(optimizer: str, tmp_path: Path) -> None:
    recipe, whole = recipe_of(optimizer), layers()
    steps(whole, recipe, 4)
    continued, resumed = layers(), layers()
    first, _ = steps(continued, recipe, 2)
    after = build_optimizer(continued, continued.named_parameters(), recipe, first)
    steps(continued, recipe, 2, after, begin=2)

    written, _ = steps(resumed, recipe, 2)
    kept = {"optimizer": _optimizer_state(written), "model": resumed.state_dict()}
    torch.save(kept, tmp_path / "kept.pt")
    read = torch.load(tmp_path / "kept.pt", weights_only=True)
    anew = layers()
    anew.load_state_dict(read["model"])
    optimizer_anew = build_optimizer(anew, anew.named_parameters(), recipe, None)
    _bring_optimizer(optimizer_anew, read["optimizer"])
    steps(anew, recipe, 2, optimizer_anew, begin=2)
    for model in (continued, anew):
        assert all(torch.equal(value, whole.state_dict()[name]) for name, value in model.state_dict().items())


def test_moments_of_another_kind_are_not_taken_over() -> None:
    model = layers()
    lion, _ = steps(model, recipe_of("lion"))
    assert not build_optimizer(model, model.named_parameters(), recipe_of("muon"), lion).state
