"""The precision of forward passes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast where the protocol asks for it; ``auto`` asks for it on a GPU."""
    if precision == "bf16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()
