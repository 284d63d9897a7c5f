"""Attention distance: how many pixels lie between a place and what it attends to, by head and layer.

Dosovitskiy et al. (ICLR 2021), as Feature Distillation draws it (Figs. 1, 2, 6, 7): of a head, the mean over images and
places q of Σ_k a(q, k) · d(q, k), with d between centres of patches in pixels; a place attends to itself at 0. [cls] is
left out, as a place that asks and as one that is asked. What a place gives to [cls] is then lacking from its weights:
``attention_distance`` divides by what is left, so attention that is the same for all of 14 × 14 patches of 16 pixels
has 116.49 px; ``attention_distance_raw`` does not, as most public scripts (115.90 px then), so a head that attends to
[cls] looks local. Windows and strided keys: see ``bench.models.attention``.

The numbers are means over layers and heads. ``attention_spread`` is the deviation over the heads of a layer, mean over
the layers of several heads: heads that see the same distance have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.subject import Subject

MEASURE = Measure(
    "attention_distance",
    gives=(
        Metric("attention_distance", "attention distance", "px", low=0, measure="attention_distance"),
        Metric("attention_distance_raw", "attention distance, [cls] at 0", "px", low=0, measure="attention_distance"),
        Metric("attention_spread", "spread of heads", "px", low=0, measure="attention_distance"),
    ),
    images=1000,
    source="Dosovitskiy et al., ICLR 2021; Feature Distillation, section 3",
)


def measure(subject: Subject) -> Measured:
    """Of every block; the arrays ``distance`` and ``raw`` are (L, H), nan where a layer has fewer heads."""
    from bench.models.attention import blocks_of, watch

    blocks = blocks_of(subject.model, subject.facts.image_size)
    sums: list[npt.NDArray[np.float64]] = [np.zeros(0)] * len(blocks)
    counts = [0] * len(blocks)

    def look(number: int, maps: Tensor) -> None:
        block = blocks[number]
        both = distances_of(maps, block.distances.to(maps), block.prefix).sum(1).double().cpu().numpy()  # (2, H)
        sums[number] = both + (sums[number] if counts[number] else 0.0)
        counts[number] += len(maps)

    watch(subject, look, blocks)
    heads = max(each.shape[1] for each in sums)
    table = np.full((2, len(blocks), heads), np.nan)
    for number, each in enumerate(sums):
        table[:, number, : each.shape[1]] = each / counts[number]
    distance, raw = table
    several = distance[[each.shape[1] > 1 for each in sums]]
    numbers = {
        "attention_distance": float(np.nanmean(np.nanmean(distance, axis=1))),
        "attention_distance_raw": float(np.nanmean(np.nanmean(raw, axis=1))),
        "attention_spread": float(np.nanmean(np.nanstd(several, axis=1))) if len(several) else np.nan,
    }
    return Measured(numbers, {"distance": distance, "raw": raw})


def distances_of(maps: Tensor, distances: Tensor, prefix: int) -> Tensor:
    """(2, B, H) pixels: the distance over what is left of each row, and the one that is not divided.

    Args:
        maps: (B, H, Q, K), weights that add up to 1 along the keys.
        distances: (Q − prefix, K − prefix), between places.
        prefix: how many of the first queries and keys are left out.
    """
    import torch

    seen = maps[:, :, prefix:, prefix:]
    both = torch.stack([distances, torch.ones_like(distances)], -1)
    reached, left = torch.einsum("bhqk,qkd->bhqd", seen, both).unbind(-1)  # one matrix product for each query
    renormalised = reached / left.clamp_min(torch.finfo(maps.dtype).tiny)
    return torch.stack([renormalised.mean(-1), reached.mean(-1)])
