"""Attention inside the object: the share of what [cls] attends to in the last block that lies on the object's mask.

Mean over heads, then over images, in percent; the weights of a patch are spread evenly over its pixels. Objects of all
classes are one; pixels of level 255 count for nothing, and neither does what [cls] gives to itself. ``attention_gain``
divides it by the object's share of the pixels: 1 where attention is the same everywhere. The arrays have each image's,
so that models can be compared image by image. Images without an object in the view of evaluation are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.metrics import Metric
from bench.notation import counted

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "attention_inside",
    gives=(
        Metric("attention_inside", "attention inside", "%", low=0, high=100, measure="attention_inside"),
        Metric("attention_gain", "attention inside over area", "", low=0, decimals=2, measure="attention_inside"),
    ),
    needs=("cls_attention_map",),
    masks=True,
    options={"masks": ""},
    source="the suite's own, for GTA's claim that its attention lies on the object (section 1)",
)

IGNORED = 255


def measure(subject: Subject) -> Measured:
    """Arrays ``inside`` and ``area`` (n,), percent of each image; nan where it shows no object."""
    from bench.models.cls_attention import attended, pooling_remark

    pairs = [inside_of(attention.mean(0), mask) for attention, mask in attended(subject)]
    inside, area = 100 * np.array(pairs).reshape(-1, 2).T
    has_object = ~np.isnan(inside)
    if not has_object.any():
        raise CannotMeasure("no image has an object in its mask")
    remarks = list(pooling_remark(subject))
    if not has_object.all():
        remarks.append(f"{counted(int((~has_object).sum()), 'image')} without an object in view left out")
    if (area[has_object] == 100).all():
        remarks.append("every mask is object all over: are 0 the background and 255 what is left out?")
    numbers = {
        "attention_inside": float(inside[has_object].mean()),
        "attention_gain": float((inside[has_object] / area[has_object]).mean()),
    }
    return Measured(numbers, {"inside": inside, "area": area}, tuple(remarks))


def inside_of(attention: npt.NDArray[np.float64], mask: npt.NDArray[np.uint8]) -> tuple[float, float]:
    """The share of the attention (h, w), and of the pixels that count, that lies on the objects of a mask (S, S).

    Both nan where the mask has none.
    """
    high, wide = attention.shape
    size = mask.shape[0] // high
    seen = mask[: high * size, : wide * size].reshape(high, size, wide, size)
    counted_pixels = (seen != IGNORED).sum((1, 3))
    objects = ((seen != IGNORED) & (seen != 0)).sum((1, 3))
    if not objects.sum():
        return np.nan, np.nan
    area = float(objects.sum() / counted_pixels.sum())
    mass = float((attention * counted_pixels).sum())
    return (float((attention * objects).sum()) / mass if mass else area), area
