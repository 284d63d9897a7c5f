"""Attention maps: the average of each layer over images and heads, and where [cls] of the last looks in some images.

The averages are those of Feature Distillation (Figs. 4, 7-9): of patch q to patch k, patches numbered row by row from
the top left, [cls] left out; diagonals are places relative to one another, columns are places of their own. The maps of
single images are those of GTA (Figs. 1 and A.1) and DINO: the weights of [cls] over the patches in the last block, mean
over heads. It gives arrays alone, for figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.subject import Subject

MEASURE = Measure(
    "attention_map",
    gives=(),
    images=1000,
    needs=("attention_maps", "cls_attention_map"),
    options={"pictures": 6},
    source="Feature Distillation, Figs. 4 and 7-9; GTA, Figs. 1 and A.1",
)


def measure(subject: Subject) -> Measured:
    """Arrays ``average`` (L, N, N); ``cls`` (n, h, w) and ``pictures`` uint8 (n, S, S, C) of n images."""
    from bench.backbones.vit import grid_size
    from bench.models.attention import blocks_of, watch

    wanted = int(subject.options["pictures"])
    if wanted < 0:
        raise CannotMeasure(f"--option pictures={wanted}: it is a number of images, or 0 for none")
    blocks = blocks_of(subject.model, subject.facts.image_size)
    grid, prefix, last = grid_size(subject.model.backbone), blocks[-1].prefix, len(blocks) - 1
    sums = np.zeros((len(blocks), grid[0] * grid[1], grid[0] * grid[1]))
    chosen = subject.spread_out(wanted)
    looks: list[npt.NDArray[np.float32]] = []
    images = 0

    def look(number: int, maps: Tensor) -> None:
        nonlocal images
        mean = maps.mean(1)  # over the heads
        sums[number] += mean[:, prefix:, prefix:].sum(0).double().cpu().numpy()
        if number == last:
            here = chosen[(chosen >= images) & (chosen < images + len(maps))] - images
            looks.extend(mean[here, 0, prefix:].cpu().numpy().reshape(-1, *grid))
            images += len(maps)

    watch(subject, look, blocks)
    arrays: dict[str, npt.NDArray[Any]] = {"average": (sums / images).astype(np.float32)}
    if len(chosen):
        arrays |= {"cls": np.stack(looks), "pictures": subject.pictures(chosen)}
    return Measured({}, arrays)
