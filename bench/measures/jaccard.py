"""Jaccard index of attention: how well the patches that [cls] attends to are those of the objects in an image.

In the last block, a head's map is turned into a mask: the fewest patches that hold more than a share of its weights
(``mass``, 60 % in DINO's code), each as large as it is. The Jaccard index is intersection over union with the mask of
each class of objects in the image (all objects of the class together); pixels of level 255 count for nothing. Three
numbers, as papers have them:

- ``jaccard``: the best head of each class, mean over the classes of an image, then over images (Caron et al., DINO,
  2021; GTA follows it, Table 4).
- ``jaccard_image``: one head an image for all its classes, the one whose mean is best.
- ``jaccard_ipvit``: as the first, with 90 % of the mass, and pixels of level 255 counted as background, as the released
  code of Naseer et al. (NeurIPS 2021) does, which means to leave them out.

Papers give images of 480 or 512 pixels; here a model sees the size it was trained at, cut as at evaluation, and masks
are cut likewise (nearest pixel), so numbers compare among runs and not with those of other sizes. Images without an
object in that view are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric
from bench.notation import counted

if TYPE_CHECKING:
    from bench.models.subject import Subject

Mask = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

MEASURE = Measure(
    "jaccard",
    gives=(
        Metric("jaccard", "Jaccard index", "", low=0, high=1, decimals=3, measure="jaccard"),
        Metric("jaccard_image", "Jaccard index, one head an image", "", low=0, high=1, decimals=3, measure="jaccard"),
        Metric("jaccard_ipvit", "Jaccard index, 90 % of the mass", "", low=0, high=1, decimals=3, measure="jaccard"),
    ),
    needs=("cls_attention_map",),
    masks=True,
    options={"masks": "voc2012", "mass": 0.6, "pictures": 6},
    source="Caron et al., ICCV 2021; Naseer et al., NeurIPS 2021; GTA, Table 4",
)

IPVIT_MASS = 0.9
IGNORED = 255


@dataclass(frozen=True)
class PatchTruth:
    """An image's mask, patch by patch.

    Attributes:
        classes: of the objects in it.
        objects: (C, N), pixels of each class in each patch.
        counted: (N,), pixels of a patch that count.
        size: pixels of a patch.
    """

    classes: tuple[int, ...]
    objects: Floats
    counted: Floats
    size: int


def measure(subject: Subject) -> Measured:
    """All numbers; arrays: ``image`` (n,), the index of each image, nan without an object, and what figures show."""
    from bench.models.cls_attention import attended, pooling_remark

    mass, wanted = float(subject.options["mass"]), int(subject.options["pictures"])
    if not 0 < mass < 1:
        raise CannotMeasure(f"--option mass={mass}: it is a share of the attention, between 0 and 1")
    scores: list[tuple[float, float, float]] = []
    chosen = subject.spread_out(wanted)
    examples: list[tuple[int, Flags, Mask]] = []
    for attention, mask in attended(subject):
        grid = attention.shape[1:]
        truth = truth_of(mask, grid)
        kept = kept_mass(attention.reshape(len(attention), -1), mass)
        scores.append(_scores(attention.reshape(len(attention), -1), kept, truth))
        if truth.classes and len(scores) - 1 in chosen:
            best = indices_of(kept, truth).mean(1).argmax()
            examples.append((len(scores) - 1, kept[best].reshape(grid), mask))
    table = np.array(scores).reshape(-1, 3)
    has_object = ~np.isnan(table[:, 0])
    if not has_object.any():
        raise CannotMeasure("no image has an object in its mask")
    numbers = dict(zip((metric.name for metric in MEASURE.gives), map(float, table[has_object].mean(0)), strict=True))
    arrays: dict[str, npt.NDArray[Any]] = {"image": table[:, 0]}
    if examples:
        places, masks, truths = zip(*examples, strict=True)
        arrays |= {"kept": np.stack(masks), "truth": np.stack(truths)}
        arrays["pictures"] = subject.pictures(np.array(places))
    remarks = list(pooling_remark(subject))
    if not has_object.all():
        remarks.append(f"{counted(int((~has_object).sum()), 'image')} without an object in view left out")
    return Measured(numbers, arrays, tuple(remarks))


def _scores(attention: Floats, kept: Flags, truth: PatchTruth) -> tuple[float, float, float]:
    """The three numbers of an image; nan where it shows no object."""
    if not truth.classes:
        return np.nan, np.nan, np.nan
    indices = indices_of(kept, truth)
    theirs = indices_of(kept_mass(attention, IPVIT_MASS), truth, void_counts=True)
    return float(indices.max(0).mean()), float(indices.mean(1).max()), float(theirs.max(0).mean())


def kept_mass(attention: Floats, mass: float) -> Flags:
    """(..., N), the patches that hold a share of the attention: whose sum, from the smallest on, exceeds 1 − mass."""
    order = np.argsort(attention, axis=-1, kind="stable")
    ascending = np.take_along_axis(attention, order, axis=-1)
    summed = np.cumsum(ascending, axis=-1) / attention.sum(-1, keepdims=True)
    kept = np.zeros(attention.shape, np.bool_)
    np.put_along_axis(kept, order, summed > 1 - mass, axis=-1)
    return kept


def truth_of(mask: Mask, grid: tuple[int, ...]) -> PatchTruth:
    """A mask (S, S) by the patches of a grid; pixels that no patch sees are left out."""
    size = mask.shape[0] // grid[0]
    seen = mask[: grid[0] * size, : grid[1] * size]
    patches = seen.reshape(grid[0], size, grid[1], size).swapaxes(1, 2).reshape(grid[0] * grid[1], -1)
    classes = tuple(int(level) for level in np.unique(seen) if level not in (0, IGNORED))
    objects = np.array([(patches == level).sum(1) for level in classes], float).reshape(len(classes), -1)
    return PatchTruth(classes, objects, (patches != IGNORED).sum(1).astype(float), size)


def indices_of(kept: Flags, truth: PatchTruth, void_counts: bool = False) -> Floats:
    """(H, C), the Jaccard index of the patches that each head keeps, (H, N), with the pixels of each class."""
    counted_pixels = np.full_like(truth.counted, truth.size**2) if void_counts else truth.counted
    both = kept @ truth.objects.T
    kept_pixels = (kept @ counted_pixels)[:, None]
    union: Floats = kept_pixels + truth.objects.sum(1) - both
    return both / union  # an object has a pixel, so a union is never empty
