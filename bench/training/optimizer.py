"""Optimisers from recipes: which parameters, at which learning rate, with which decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from timm.optim import Lars, Lion, Muon
from torch import nn

from bench.backbones import Model
from bench.protocol import Recipe

TRUST = 0.001
"""LARS's trust coefficient, in the step of every weight but biases and norms: MAE's and MoCo v3's linear probes.

Without weight decay, as there, timm's step is theirs to the bit. With it, timm divides by ‖g‖ + d ‖w‖ and they by
‖g + d w‖."""

MUON: dict[str, Any] = {
    "ns_steps": 5,
    "ns_coefficients": (3.4445, -4.7750, 2.0315),
    "adjust_lr_fn": "match_rms_adamw",
    "conv_mode": "flatten",
}
"""Muon's orthogonal step as Jordan published it: five steps of Newton and Schulz in bfloat16; a convolution is a matrix
with a row for each output channel. Of an m × n matrix the step is .2 √max(m, n) times that, as long as AdamW's usually
is (Moonshot, 'Muon is Scalable for LLM Training', 2025), so that learning rate and decay may be AdamW's."""


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
    optimizer: torch.optim.Optimizer = _of_kind(recipe, groups)
    for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
        if type(previous) is type(optimizer) and parameter in previous.state:
            optimizer.state[parameter] = previous.state[parameter]
    return optimizer


def _of_kind(recipe: Recipe, groups: list[dict[str, Any]]) -> Any:  # timm's have no types
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
        case "lars":
            return Lars(groups, lr=recipe.lr, momentum=recipe.momentum, trust_coeff=TRUST, eps=0.0)
        case "lion":
            return Lion(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.lion_beta2))
        case "muon":
            betas = recipe.momentum, recipe.beta2
            return Muon(groups, lr=recipe.lr, momentum=recipe.muon_momentum, betas=betas, **MUON)
        case _:
            return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=True)


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
    classifier, ``model.head``, has its recipe's ``head_lr`` and no layer decay. LARS adapts the step of all that is no
    vector; the orthogonal steps of Muon are for ``_is_matrix`` alone.
    """
    groups: dict[tuple[Recipe, float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        plain = parameter.ndim <= 1 or name.rpartition(".")[2] in model.family.undecayed or ".cpb_mlp." in name
        recipe = recipes.get(parameter, stage_recipe)
        factor = recipe.head_lr if name.startswith("head.") else _factor(model, name, recipe.layer_decay)
        if stage_recipe.optimizer == "muon":
            of_kind = not plain and _is_matrix(name, parameter)
        else:
            of_kind = stage_recipe.optimizer == "lars" and parameter.ndim > 1
        groups.setdefault((recipe, 0.0 if plain else recipe.weight_decay, factor, of_kind), []).append(parameter)
    return [
        {
            **{"params": group, "weight_decay": decay, "factor": factor, "recipe": recipe},
            **_group_settings(stage_recipe.optimizer, of_kind),
        }
        for (recipe, decay, factor, of_kind), group in groups.items()
    ]


def _group_settings(optimizer: str, of_kind: bool) -> dict[str, Any]:
    """What LARS and Muon are told of a group: whether it has the step that they are named for."""
    if optimizer == "muon":  # timm's has AdamW for the others, with Nesterov's momentum if that is on
        return {"use_muon": of_kind, "nesterov": of_kind, "eps": 1e-7 if of_kind else 1e-8}
    return {"always_adapt": of_kind} if optimizer == "lars" else {}


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether it is a linear layer's weight, or a convolution's over all channels, and not the classifier's.

    Tables and tokens are no layer's weight; a depthwise convolution has one row of its own for each channel.
    """
    is_depthwise = parameter.ndim > 2 and parameter.shape[1] == 1
    return parameter.ndim > 1 and name.endswith("weight") and not name.startswith("head.") and not is_depthwise


def _factor(model: Model, name: str, layer_decay: float) -> float:
    if layer_decay == 1 or not name.startswith("backbone."):
        return 1.0
    layer, top = model.family.layer(name.removeprefix("backbone."), model.backbone)
    return layer_decay ** (top - layer)
