"""Networks that have shapes and no values: nothing is drawn for weights that nobody looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_VALUES = {
    *("trunc_normal_", "uniform_", "normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_"),
    *("erfinv_", "mul_", "add_", "clamp_", "fill_", "zero_", "constant_", "ones_", "zeros_"),
}
"""What fills weights in place: of a tensor without values it changes nothing, and torch takes long to find that out."""


class _Undrawn(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in _VALUES:
            filled = args[0] if args else given["tensor"]
            if filled.is_meta:
                return filled
        return func(*args, **given)


@contextmanager
def bare() -> Iterator[None]:
    """Inside, tensors are made on torch's meta device, and what would fill them does nothing."""
    with torch.device("meta"), _Undrawn():
        yield
