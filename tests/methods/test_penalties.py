"""Which weights L2 and L2-SP touch: all of them, or kernels alone."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages
from bench.losses import penalised
from bench.method import Method, Stage
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit

CLASSES, SIDE = 3, 12

l2: Any = importlib.import_module("bench.methods.l2")
l2sp: Any = importlib.import_module("bench.methods.l2sp")

KERNELS = {"0.weight", "5.weight"}
"""The convolution and the linear layer of ``small``."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def small() -> Model:
    backbone = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    )
    model = Model(backbone, Family(), 4, CLASSES, [0.5], [0.25]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def noise() -> TrainingImages:
    state = np.random.RandomState(0)
    split = Split(
        ArrayImages(state.randint(0, 256, (40, SIDE, SIDE, 1)).astype(np.uint8)), state.randint(0, CLASSES, 40)
    )
    protocol = Protocol(batch_size=8, augmentation="none")
    return TrainingImages(split, np.arange(40), CLASSES, protocol, SIDE, seed=5, device=torch.device("cpu"))


def staged(method: Method, model: Model, steps: int = 4) -> Stage:
    (stage,) = method.stages(model, Recipe(steps=steps, lr=1e-2).resolved(40, 8), noise())
    return stage


def names(module: nn.Module, chosen: list[nn.Parameter]) -> set[str]:
    return {name for name, parameter in module.named_parameters() if any(parameter is one for one in chosen)}


# ---- what is penalised


def test_kernels_of_a_vit_are_its_matrices_without_embeddings() -> None:
    backbone = build_model(Registry().backbone("micro_vit@none"), CLASSES).backbone
    found = names(backbone, penalised(backbone, "kernels"))
    expected = r"patch_embed\.proj\.weight|blocks\.\d\.(attn\.(qkv|proj)|mlp\.fc[12])\.weight"
    assert found == {name for name, _ in backbone.named_parameters() if re.fullmatch(expected, name)}
    assert len(found) == 1 + 4 * 4
    assert names(backbone, penalised(backbone, "all")) == {name for name, _ in backbone.named_parameters()}


def test_kernels_of_a_convolutional_network_are_without_biases_and_batch_norm() -> None:
    model = small()
    assert names(model.backbone, penalised(model.backbone, "kernels")) == KERNELS
    assert names(model.head, penalised(model.head, "kernels")) == {"weight"}


def test_embeddings_are_no_kernels_and_shared_weights_count_once() -> None:
    module = nn.Sequential(nn.Embedding(4, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    assert isinstance(module[1], nn.Linear)
    module[2].weight = module[1].weight
    (only,) = penalised(module, "kernels")
    assert only is module[1].weight


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(ValueError, match="all or kernels, not 'biases'"):
        penalised(nn.Linear(2, 2), "biases")


# ---- what the methods do with it


def half_squares(weights: list[Tensor], start: list[Tensor]) -> float:
    total = 0.0
    for weight, origin in zip(weights, start, strict=True):
        for value, first in zip(weight.detach().flatten().tolist(), origin.flatten().tolist(), strict=True):
            total += (value - first) ** 2 / 2
    return total


def gradients(term: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Those of the parameters that the term depends on."""
    given = dict(module.named_parameters())
    found = torch.autograd.grad(term, list(given.values()), allow_unused=True, retain_graph=True)
    return {name: gradient for name, gradient in zip(given, found, strict=True) if gradient is not None}


@pytest.mark.parametrize("scope", ["all", "kernels"])
def test_l2_pulls_at_its_scope_alone(scope: str) -> None:
    model = small()
    terms = staged(l2.L2(alpha=0.3, beta=0.7, scope=scope), model).loss(model, noise().batch(0))
    for name, factor, part in (("l2", 0.3, model.backbone), ("l2_head", 0.7, model.head)):
        inside = dict(part.named_parameters())
        if scope == "kernels":
            inside = {key: value for key, value in inside.items() if key in KERNELS | {"weight"}}
        size = half_squares(list(inside.values()), [torch.zeros_like(value) for value in inside.values()])
        assert terms[name].item() == pytest.approx(factor * size, rel=1e-10)
        pulled = gradients(terms[name], part)
        assert pulled.keys() == inside.keys()
        for key, gradient in pulled.items():
            torch.testing.assert_close(gradient, factor * inside[key].detach(), rtol=1e-10, atol=0)


@pytest.mark.parametrize("scope", ["all", "kernels"])
def test_l2sp_pulls_its_scope_back_to_the_start(scope: str) -> None:
    model = small()
    start = {name: weight.detach().clone() for name, weight in model.backbone.named_parameters()}
    stage = staged(l2sp.L2SP(alpha=0.3, beta=0.7, scope=scope), model)
    fit(stage, noise(), start=0, stops=lambda _: False, at_stop=lambda _: None)
    terms = stage.loss(model, noise().batch(0))
    chosen = KERNELS if scope == "kernels" else start.keys()
    inside = {name: weight for name, weight in model.backbone.named_parameters() if name in chosen}
    way = half_squares(list(inside.values()), [start[name] for name in inside])
    assert way > 1e-5
    assert terms["l2sp"].item() == pytest.approx(0.3 * way, rel=1e-9)
    pulled = gradients(terms["l2sp"], model.backbone)
    assert pulled.keys() == inside.keys()
    for name, gradient in pulled.items():
        torch.testing.assert_close(gradient, 0.3 * (inside[name].detach() - start[name]), rtol=1e-9, atol=1e-12)
    assert gradients(terms["l2"], model.head).keys() == ({"weight"} if scope == "kernels" else {"weight", "bias"})


@pytest.mark.parametrize("method", [l2.L2(alpha=50, beta=50, scope="kernels"), l2.L2(alpha=50, beta=50)])
def test_a_strong_penalty_shrinks_kernels_and_with_all_also_the_rest(method: Any) -> None:
    """The scale of the batch norm has only cross-entropy's gradient where kernels alone are penalised."""
    model = small()
    scale = model.backbone.get_parameter("1.weight").detach().clone()
    kernel = model.backbone.get_parameter("5.weight").detach().norm().item()
    recipe = Recipe(steps=30, lr=1e-2, optimizer="sgd", momentum=0.0).resolved(40, 8)
    (stage,) = method.stages(model, recipe, noise())
    fit(stage, noise(), start=0, stops=lambda _: False, at_stop=lambda _: None)
    assert model.backbone.get_parameter("5.weight").norm().item() < 0.1 * kernel
    left = (model.backbone.get_parameter("1.weight").detach().norm() / scale.norm()).item()
    assert (left > 0.8) == (method.scope == "kernels")
