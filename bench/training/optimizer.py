"""Optimisers from recipes: which parameters, at which learning rate, with which decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from timm.optim import Lars
from torch import nn

from bench.backbones import Model
from bench.protocol import Recipe

TRUST = 0.001
"""LARS's trust coefficient, in the step of every weight but biases and norms: MAE's and MoCo v3's linear probes.

Without weight decay, as there, timm's step is theirs to the bit. With it, timm divides by ‖g‖ + d ‖w‖ and they by
‖g + d w‖."""


def build_optimizer(
    model: Model,
    parameters: Iterable[tuple[str, nn.Parameter]],
    recipe: Recipe,
    previous: torch.optim.Optimizer | None,
    of_modules: Mapping[nn.Module, Recipe] | None = None,
) -> torch.optim.Optimizer:
    """An optimiser over the trained parameters.

    Args:
        model: tells the layer of its backbone's parameters, for layer-wise decay.
        parameters: with their names, those of ``model`` as ``model.named_parameters()`` gives them.
        recipe: kind, decay and moments; the learning rate itself is set at every step (``set_learning_rate``).
        previous: an optimiser whose moments are taken over for the parameters that both train, if it is of the same
            kind.
        of_modules: modules with a learning rate, schedule and weight decay of their own; the innermost last.

    Raises:
        ValueError: a module's own recipe does not cover as many steps.
    """
    recipes = {weight: special for module, special in (of_modules or {}).items() for weight in module.parameters()}
    if any(special.last - special.first != recipe.last - recipe.first for special in recipes.values()):
        raise ValueError("the recipe of a module must cover as many steps as its stage's")
    groups = _groups(model, parameters, recipe, recipes)
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
    elif recipe.optimizer == "lars":
        optimizer = Lars(groups, lr=recipe.lr, momentum=recipe.momentum, trust_coeff=TRUST, eps=0.0)
    else:
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=True)
    for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
        if type(previous) is type(optimizer) and parameter in previous.state:
            optimizer.state[parameter] = previous.state[parameter]
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, number: int) -> None:
    """Set the learning rate of a stage's step, counted from 0: each group by its own recipe and factor."""
    for group in optimizer.param_groups:
        recipe = group["recipe"]
        group["lr"] = recipe.learning_rate(recipe.first + number) * group["factor"]


def _groups(
    model: Model,
    parameters: Iterable[tuple[str, nn.Parameter]],
    stage_recipe: Recipe,
    recipes: Mapping[nn.Parameter, Recipe],
) -> list[dict[str, Any]]:
    """Parameters by recipe, decay and learning-rate factor.

    Biases, norms and embeddings have no decay; which embeddings that are, the backbone's ``Family.undecayed`` says. The
    classifier, ``model.head``, has its recipe's ``head_lr`` and no layer decay.
    """
    groups: dict[tuple[Recipe, float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        plain = parameter.ndim <= 1 or name.rpartition(".")[2] in model.family.undecayed or ".cpb_mlp." in name
        recipe = recipes.get(parameter, stage_recipe)
        factor = recipe.head_lr if name.startswith("head.") else _factor(model, name, recipe.layer_decay)
        adapted = stage_recipe.optimizer == "lars" and parameter.ndim > 1
        groups.setdefault((recipe, 0.0 if plain else recipe.weight_decay, factor, adapted), []).append(parameter)
    return [
        {"params": group, "weight_decay": decay, "factor": factor, "recipe": recipe, "always_adapt": adapted}
        for (recipe, decay, factor, adapted), group in groups.items()
    ]


def _factor(model: Model, name: str, layer_decay: float) -> float:
    if layer_decay == 1 or not name.startswith("backbone."):
        return 1.0
    layer, top = model.family.layer(name.removeprefix("backbone."), model.backbone)
    return layer_decay ** (top - layer)
