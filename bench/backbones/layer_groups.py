"""Weights of a backbone by what they are of: layers as timm groups them, biases, the modules that hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from timm.models._manipulate import group_with_matcher
from torch import nn

_GROUPS: WeakKeyDictionary[nn.Module, tuple[Mapping[str, int], int]] = WeakKeyDictionary()
"""What was asked for: timm goes through all names of a network, and a network is asked for each of its weights."""


def timm_layer(parameter: str, backbone: nn.Module) -> tuple[int, int]:
    """The layer of a weight counted from the input, and that of the head, as in timm's ``param_groups_layer_decay``.

    Raises ``KeyError``, with the reason, where timm's model does not say how its weights are grouped.
    """
    if backbone not in _GROUPS:
        _GROUPS[backbone] = _grouped(backbone)
    layers, top = _GROUPS[backbone]
    return layers[parameter], top


def _grouped(backbone: Any) -> tuple[Mapping[str, int], int]:
    """The layer of each weight by its name, and that of the head, which is counted though it was taken off."""
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is None:
        raise KeyError(f"{type(backbone).__name__} does not say which of its weights are of one layer")
    heads = backbone.pretrained_cfg.get("classifier") or "head"
    heads = (heads,) if isinstance(heads, str) else heads
    names = [name for name, _ in backbone.named_parameters()] + [f"{head}.weight" for head in heads]
    layers = group_with_matcher([(name, None) for name in names], matcher(coarse=False), reverse=True)
    return layers, max(layers.values())


def biases(backbone: nn.Module) -> list[nn.Module | nn.Parameter]:
    """Vectors that are called so."""
    return [weights for name, weights in backbone.named_parameters() if name.endswith("bias") and weights.ndim == 1]


def largest(module: nn.Module, chosen: Collection[nn.Parameter]) -> list[nn.Module | nn.Parameter]:
    """Some weights inside a module, as the largest modules that hold no others, and parameters between these."""
    weights = list(module.parameters())
    if weights and all(each in chosen for each in weights):
        return [module]
    parts = [each for each in module.parameters(recurse=False) if each in chosen]
    return [*parts, *(part for child in module.children() for part in largest(child, chosen))]
