"""Similarity of heads: the cosine between the attention maps of the heads of a layer, mean over pairs of heads.

Feature Distillation (Fig. 3) draws it by layer, after DeepViT (Zhou et al., 2021), whose cosine is between columns of
two maps: what one token gives to every other one. ``--option between=rows`` compares what a token takes (queries),
``maps`` whole maps. [cls] is a token like others. The mean over images and tokens is of the pairs of different heads: 1
where all heads are the same; a layer of one head has none. Windows of a Swin count as images do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.subject import Subject

BETWEEN = ("columns", "rows", "maps")
"""What may be compared."""

MEASURE = Measure(
    "head_similarity",
    gives=(
        Metric(
            "head_similarity",
            "similarity of heads",
            "",
            lower=True,
            low=0,
            high=1,
            decimals=3,
            measure="head_similarity",
        ),
    ),
    images=1000,
    options={"between": "columns"},
    source="Feature Distillation, section 3; Zhou et al., DeepViT, 2021",
)

SHORTEST = 1e-12
"""Of a column: what is shorter has no direction."""


def measure(subject: Subject) -> Measured:
    """Mean over the layers; the array ``similarity`` is (L,), nan where a layer has one head."""
    from bench.models.attention import blocks_of, watch

    between = str(subject.options["between"])
    if between not in BETWEEN:
        raise CannotMeasure(f"--option between={between}: it is {', '.join(BETWEEN[:-1])} or {BETWEEN[-1]}")
    blocks = blocks_of(subject.model, subject.facts.image_size)
    sums, counts = np.zeros(len(blocks)), np.zeros(len(blocks))

    def look(number: int, maps: Tensor) -> None:
        sums[number] += float(similarity_of(maps, between).double().sum())
        counts[number] += len(maps)

    watch(subject, look, blocks)
    similarity = sums / counts
    if np.isnan(similarity).all():
        raise CannotMeasure("its layers have one head each")
    return Measured({"head_similarity": float(np.nanmean(similarity))}, {"similarity": similarity})


def similarity_of(maps: Tensor, between: str = "columns") -> Tensor:
    """(B,), the mean cosine of two heads of maps (B, H, Q, K); nan where H is 1.

    The sum over pairs of different heads follows from the length of the sum of all unit vectors.
    """
    heads = maps.shape[1]
    if heads == 1:
        return maps.new_full((len(maps),), math.nan)
    if between == "maps":
        vectors = maps.flatten(2).unsqueeze(-1)
    else:
        vectors = maps if between == "columns" else maps.transpose(2, 3)
    lengths = vectors.norm(dim=2, keepdim=True)  # (B, H, 1, tokens)
    together = (vectors / lengths.clamp_min(SHORTEST)).sum(1).square().sum(1).mean(-1)
    heads_there = (lengths > SHORTEST).sum(1).to(maps.dtype)  # (B, 1, tokens), but for columns that nothing attends to
    pairs = (heads_there * (heads_there - 1)).mean((1, 2))
    similarity: Tensor = (together - heads_there.mean((1, 2))) / pairs
    return similarity.clamp_max(1)  # rounding goes beyond
