"""Weights into a backbone: every name must be accounted for, and what depends on the image size is resized."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.cards.offers import HEADS
from bench.errors import InputError

State = dict[str, Tensor]
"""Tensors by name."""

COUNTERS = r".+\.num_batches_tracked"
"""Batch norms count batches; older files have no count, and none is used."""

_TABLE = "relative_position_bias_table"


def read_weights(path: Path) -> tuple[State, State]:
    """The backbone's weights in a safetensors file, and those of the classifier of its pre-training, by their names.

    Raises:
        InputError: the file is none of safetensors.
    """
    try:
        found = load_file(path)
    except Exception as error:  # safetensors has one class for all that is wrong with a file, and it is private
        raise InputError(f"{path}: cannot be read as safetensors: {str(error).splitlines()[0]}") from None
    head = {name: value for name, value in found.items() if name.startswith(tuple(f"{prefix}." for prefix in HEADS))}
    return {name: value for name, value in found.items() if name not in head}, head


def load_weights(backbone: nn.Module, given: Mapping[str, Tensor], source: str, fresh: str = "") -> None:
    """Load weights, resized where the image size asks for it; nothing may be missing or left over.

    Args:
        backbone: takes them.
        given: the weights, by the backbone's own names.
        source: what they are called in a message.
        fresh: regular expression of names that may be missing, and keep the value that the backbone starts with.

    Raises:
        InputError: names are missing, unknown, or of another shape.
    """
    expected = backbone.state_dict()
    fitted = {name: _resized(name, value, backbone) if name in expected else value for name, value in given.items()}
    may_lack = re.compile(f"{COUNTERS}|{fresh}" if fresh else COUNTERS)
    missing = [name for name in expected if name not in fitted and not may_lack.fullmatch(name)]
    shapes = [
        f"{name} is {tuple(value.shape)}, not {tuple(expected[name].shape)}"
        for name, value in fitted.items()
        if name in expected and value.shape != expected[name].shape
    ]
    told = [("missing", missing), ("unexpected", sorted(fitted.keys() - expected.keys())), ("of another shape", shapes)]
    wrong = [f"{what}: {listed(names)}" for what, names in told if names]
    if wrong:
        raise InputError(f"{source} does not fit; {'; '.join(wrong)}")
    backbone.load_state_dict({**{name: value for name, value in expected.items() if name not in fitted}, **fitted})


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in one line, the first few and how many more there are."""
    known = list(names)
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


def _resized(name: str, given: Tensor, backbone: Any) -> Tensor:
    """A position embedding or a table of relative positions, resampled to the places that the backbone has."""
    expected = backbone.state_dict()[name]
    if given.shape == expected.shape or given.ndim != expected.ndim or given.shape[-1] != expected.shape[-1]:
        return given
    if name == "pos_embed":
        prefix = 0 if getattr(backbone, "no_embed_class", False) else backbone.num_prefix_tokens
        grid = getattr(backbone, "grid_size", None) or backbone.patch_embed.grid_size
        side = math.isqrt(given.shape[1] - prefix)
        resampled: Tensor = timm.layers.resample_abs_pos_embed(
            given, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix
        )
        return resampled
    if name.endswith(_TABLE):
        window = backbone.get_submodule(name.removesuffix(f".{_TABLE}")).window_size
        with warnings.catch_warnings():  # timm's interpolation indexes as torch no longer likes
            warnings.simplefilter("ignore", UserWarning)
            table: Tensor = timm.layers.resize_rel_pos_bias_table(given, window, tuple(expected.shape))
        return table.contiguous()
    return given
