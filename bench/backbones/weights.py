"""Weights into a backbone: every name must be accounted for, and what depends on the image size is resized."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from bench.backbones.checkpoints import read_safetensors
from bench.backbones.vit import grid_size
from bench.cards.offers import HEADS
from bench.errors import InputError

State = dict[str, Tensor]
"""Tensors by name."""

COUNTERS = r".+\.num_batches_tracked"
"""Batch norms count batches; older files have no count, and none is used."""

_TABLE = "relative_position_bias_table"


def read_weights(path: Path) -> tuple[State, State]:
    """The backbone's weights in a safetensors file, and those of the classifier of its pre-training, by their names."""
    weights, prefixes = read_safetensors(path), tuple(f"{prefix}." for prefix in HEADS)
    head = {name: value for name, value in weights.items() if name.startswith(prefixes)}
    return {name: value for name, value in weights.items() if name not in head}, head


def load_weights(backbone: nn.Module, weights: Mapping[str, Tensor], source: str, fresh: str = "") -> None:
    """Load weights by the backbone's own names, resized where the image size asks for it.

    Nothing may be left over or missing, but for names that the regular expression ``fresh`` matches, which keep the
    value that the backbone starts with. ``source`` is what the weights are called in a message.

    Raises:
        InputError: names are missing, unknown, or of another shape.
    """
    expected = backbone.state_dict()
    fitted = {name: _resized(name, value, expected.get(name, value), backbone) for name, value in weights.items()}
    may_lack = re.compile(f"{COUNTERS}|{fresh}" if fresh else COUNTERS)
    missing = [name for name in expected if name not in fitted and not may_lack.fullmatch(name)]
    shapes = [
        f"{name} is {tuple(value.shape)}, not {tuple(expected[name].shape)}"
        for name, value in fitted.items()
        if name in expected and value.shape != expected[name].shape
    ]
    unexpected = sorted(fitted.keys() - expected.keys())
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    wrong = [f"{problem}: {listed(names)}" for problem, names in problems.items() if names]
    if wrong:
        raise InputError(f"{source} does not fit; {'; '.join(wrong)}")
    backbone.load_state_dict({**{name: value for name, value in expected.items() if name not in fitted}, **fitted})


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in one line, the first few and how many more there are."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def _resized(name: str, value: Tensor, expected: Tensor, backbone: Any) -> Tensor:
    """A position embedding or a table of relative positions, resampled to the places that the backbone has."""
    if value.shape == expected.shape or value.ndim != expected.ndim or value.shape[-1] != expected.shape[-1]:
        return value
    if name == "pos_embed":
        prefix = 0 if getattr(backbone, "no_embed_class", False) else backbone.num_prefix_tokens
        side = math.isqrt(value.shape[1] - prefix)
        resampled: Tensor = timm.layers.resample_abs_pos_embed(
            value, new_size=list(grid_size(backbone)), old_size=[side, side], num_prefix_tokens=prefix
        )
        return resampled
    if name.endswith(_TABLE):
        window = backbone.get_submodule(name.removesuffix(f".{_TABLE}")).window_size
        with warnings.catch_warnings():  # timm's interpolation indexes as torch no longer likes
            warnings.simplefilter("ignore", UserWarning)
            table: Tensor = timm.layers.resize_rel_pos_bias_table(value, window, tuple(expected.shape))
        return table.contiguous()
    return value
