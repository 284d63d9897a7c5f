"""Drawn shapes: fixed for ever, with masks that fit, and of kinds that only their form tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.data import read_masks, shapes
from bench.data.dataset import IGNORED, ArrayImages, MaskArrays, MaskedSplit
from bench.data.shapes import KINDS, MaskedArrays
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.task import find_task


@pytest.fixture(scope="module")
def drawn() -> dict[str, MaskedArrays]:
    return shapes.read_drawn_shapes()


@pytest.mark.slow
def test_the_card_opens_what_is_drawn(drawn: dict[str, MaskedArrays]) -> None:
    card = Registry().dataset("drawn_shapes")
    dataset = read_masks(card)
    assert tuple(dataset.classes) == shapes.CLASSES
    assert card.splits == shapes.SPLITS
    for name, split in dataset.splits.items():
        images, masks = drawn[name]
        assert isinstance(split, MaskedSplit)
        assert isinstance(split.images, ArrayImages)
        assert isinstance(split.masks, MaskArrays)
        assert np.array_equal(split.images.pixels, images)
        assert np.array_equal(split.masks.levels, masks)
        assert images.shape == (shapes.SPLITS[name], 48, 48, 3)
        assert masks.shape == images.shape[:3]


def test_other_bits_than_the_card_s_are_refused() -> None:
    card = Registry().dataset("drawn_shapes")
    with pytest.raises(InputError, match="drawn_shapes: its bytes have the checksum"):
        read_masks(replace(card, facts={**card.facts, "sha256": "0" * 64}))


def test_every_split_has_every_kind_and_ignored_pixels(drawn: dict[str, MaskedArrays]) -> None:
    for _, masks in drawn.values():
        assert set(np.unique(masks)) == {*range(len(shapes.CLASSES)), IGNORED}


def test_no_picture_is_in_two_splits(drawn: dict[str, MaskedArrays]) -> None:
    every = [image.tobytes() for images, _ in drawn.values() for image in images]
    assert len(set(every)) == len(every) == sum(shapes.SPLITS.values())


def test_neither_colour_nor_brightness_tells_a_kind(drawn: dict[str, MaskedArrays]) -> None:
    images, masks = drawn["train"]
    means = np.array([images[masks == kind].mean(0) for kind in range(1, len(shapes.CLASSES))])
    assert np.ptp(means, axis=0).max() < 12, means
    within = min(images[masks == kind].std(0).min() for kind in range(1, len(shapes.CLASSES)))
    assert within > 2 * np.ptp(means, axis=0).max()


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_shape_lies_around_its_place(kind: str, is_turned: bool) -> None:
    covered = shapes.shape(kind, 8, 20, 26, is_turned)
    rows, columns = np.nonzero(covered)
    assert max(abs(rows - 20).max(), abs(columns - 26).max()) <= 8
    assert covered[20, 26] == (kind != "ring")
    around = covered[12:29, 18:35]
    assert np.array_equal(around, around[::-1])
    assert np.array_equal(around, around[:, ::-1])
    assert np.array_equal(around, around.T)


def test_only_a_cross_is_another_when_it_is_turned() -> None:
    changed = {
        kind: (shapes.shape(kind, 9, 24, 24, True) != shapes.shape(kind, 9, 24, 24, False)).any() for kind in KINDS
    }
    assert changed == {"disc": False, "ring": False, "cross": True}


def test_a_border_is_one_pixel_around_a_shape() -> None:
    covered = np.zeros((48, 48), np.bool_)
    covered[0, 5:7] = True
    border = shapes.widened(covered) & ~covered
    assert np.argwhere(border).tolist() == [[0, 4], [0, 7], [1, 4], [1, 5], [1, 6], [1, 7]]


def test_the_experiment_can_be_planned_and_its_protocol_trains_masks() -> None:
    plan = read_plan("shapes", Registry(), Overrides())
    runs = list(plan.unique.values())
    assert {run.dataset.name for run in runs} == {"drawn_shapes"}
    assert not {find_task("segmentation").why_not(run.protocol) for run in runs} - {""}
    assert {cell.metric.name for table in plan.tables for _, cell in table.places() if cell.metric} == {"miou"}
