"""By which kernel attention is computed, where torch's own choice is a slow one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def explicit_on_cpu(backbone: nn.Module, images: Tensor) -> Iterator[None]:
    """Passes inside that a CPU computes under bf16 autocast have timm's explicit attention; all others are as ever.

    torch's fused kernel takes twice the time of the whole step there on small models, and no less on large ones.
    """
    is_slow = images.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    fused: list[Any] = (
        [module for module in backbone.modules() if getattr(module, "fused_attn", False)] if is_slow else []
    )
    for attention in fused:
        attention.fused_attn = False
    try:
        yield
    finally:
        for attention in fused:
            attention.fused_attn = True
