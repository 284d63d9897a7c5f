"""Formulas that several methods share."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is where it is float64: sums of squares lose too much in half precision."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
