"""Weights into a backbone: every name must be accounted for, and what depends on the image size is resized."""

from __future__ import annotations

import math
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.backbones.checkpoints import read_safetensors, read_shapes
from bench.backbones.vit import grid_size
from bench.cards.offers import HEADS
from bench.errors import InputError

State = dict[str, Tensor]
"""Tensors by name."""

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by name."""

COUNTERS = r".+\.num_batches_tracked"
"""Batch norms count batches; older files have no count, and none is used."""

_TABLE = "relative_position_bias_table"


def read_weights(path: Path) -> tuple[State, State]:
    """The backbone's weights in a safetensors file, and those of the classifier of its pre-training, by their names."""
    weights, prefixes = read_safetensors(path), tuple(f"{prefix}." for prefix in HEADS)
    head = {name: value for name, value in weights.items() if name.startswith(prefixes)}
    return {name: value for name, value in weights.items() if name not in head}, head


def save_tensors(tensors: State, path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file; who may read it is for the umask to say, and not for the library (600)."""
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    save_file(tensors, path, metadata)
    path.chmod(mode)


def load_weights(backbone: nn.Module, weights: Mapping[str, Tensor], source: str, fresh: str = "") -> None:
    """Load weights by the backbone's own names, resized where the image size asks for it.

    Nothing may be left over or missing, but for names that the regular expression ``fresh`` matches, which keep the
    value that the backbone starts with. ``source`` is what the weights are called in a message.

    Raises:
        InputError: names are missing, unknown, or of another shape.
    """
    expected = backbone.state_dict()
    fitted = {name: _resized(name, value, expected.get(name, value), backbone) for name, value in weights.items()}
    _require_fit(
        {name: tuple(value.shape) for name, value in expected.items()},
        {name: tuple(value.shape) for name, value in fitted.items()},
        source,
        fresh,
    )
    backbone.load_state_dict({**{name: value for name, value in expected.items() if name not in fitted}, **fitted})


def require_fit(backbone: nn.Module, file: Path, source: str) -> None:
    """Hold the names and shapes in the header of a safetensors file against a backbone's; no value is read.

    Raises ``InputError`` as ``load_weights`` does, or where the file is none.
    """
    expected = {name: tuple(value.shape) for name, value in backbone.state_dict().items()}
    heads = tuple(f"{prefix}." for prefix in HEADS)
    fitted = {}
    for name, shape in read_shapes(file).items():
        if not name.startswith(heads):
            fitted[name] = expected[name] if _is_resizable(name, shape, expected.get(name), backbone) else shape
    _require_fit(expected, fitted, source)


def _require_fit(expected: Shapes, fitted: Shapes, source: str, fresh: str = "") -> None:
    """Raise ``InputError`` that says which names are missing, unknown, or of another shape, and how many."""
    may_lack = re.compile(f"{COUNTERS}|{fresh}" if fresh else COUNTERS)
    missing = [name for name in expected if name not in fitted and not may_lack.fullmatch(name)]
    shapes = [
        f"{name} is {shape}, not {expected[name]}"
        for name, shape in fitted.items()
        if name in expected and shape != expected[name]
    ]
    unexpected = sorted(fitted.keys() - expected.keys())
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    wrong = [f"{problem}: {listed(names)}" for problem, names in problems.items() if names]
    if wrong:
        raise InputError(f"{source} does not fit; {'; '.join(wrong)}")


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in one line, the first few and how many more there are."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def _is_resizable(name: str, shape: tuple[int, ...], expected: tuple[int, ...] | None, backbone: Any) -> bool:
    """Whether a tensor of a shape can be resampled to the one of that name that a backbone has.

    It is a position embedding of a square of patches, or a table of the distances in a square window.
    """
    if expected is None or len(shape) != len(expected) or shape[-1] != expected[-1]:
        return False
    if name == "pos_embed" and len(shape) == 3:
        places = shape[1] - _prefix_tokens(backbone)
        return places > 0 and math.isqrt(places) ** 2 == places
    # BEiT's tables have three rows more, for distances from and to the class token
    squares = (math.isqrt(rows) ** 2 == rows for rows in (shape[0], shape[0] - 3) if rows > 0)
    return name.endswith(_TABLE) and len(shape) == 2 and any(squares)


def _prefix_tokens(backbone: Any) -> int:
    """Tokens before those of the patches that have a place in the position embedding."""
    return 0 if getattr(backbone, "no_embed_class", False) else int(getattr(backbone, "num_prefix_tokens", 0))


def _resized(name: str, value: Tensor, expected: Tensor, backbone: Any) -> Tensor:
    """A position embedding or a table of relative positions, resampled to the places that the backbone has."""
    if value.shape == expected.shape or not _is_resizable(name, tuple(value.shape), tuple(expected.shape), backbone):
        return value
    if name == "pos_embed":
        prefix = _prefix_tokens(backbone)
        side = math.isqrt(value.shape[1] - prefix)
        resampled: Tensor = timm.layers.resample_abs_pos_embed(
            value, new_size=list(grid_size(backbone)), old_size=[side, side], num_prefix_tokens=prefix
        )
        return resampled
    window = backbone.get_submodule(name.removesuffix(f".{_TABLE}")).window_size
    with warnings.catch_warnings():  # timm's interpolation indexes as torch no longer likes
        warnings.simplefilter("ignore", UserWarning)
        table: Tensor = timm.layers.resize_rel_pos_bias_table(value, window, tuple(expected.shape))
    return table.contiguous()
