"""Images as they are stored and taken: views have the bits of copies, and nothing is drawn for what is off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bench.data.training
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.augment import test_view as at_test
from bench.data.augment import training_view
from bench.data.corrupted import CorruptedImages
from bench.data.mix import draw_mix
from bench.protocol import AUGMENTATIONS, Protocol, Recipe
from bench.spec import derive

CPU = torch.device("cpu")


class Copied(ArrayImages):
    """The same images, each channel in one piece of memory."""

    def take(self, indices: Any) -> Tensor:
        return super().take(indices).contiguous()


def pixels(count: int = 6, height: int = 40, width: int = 50, channels: int = 3) -> Any:
    return np.random.RandomState(0).randint(0, 256, (count, height, width, channels)).astype(np.uint8)


def fed(images: ArrayImages, **settings: Any) -> TrainingImages:
    labels = np.arange(len(images)) % 3
    protocol = Protocol(recipe=Recipe(steps=9), **{"batch_size": 4, **settings})
    return TrainingImages(Split(images, labels), np.arange(len(images)), 3, protocol, 24, 7, CPU)


def test_an_image_is_taken_without_moving_its_pixels() -> None:
    stored = pixels()
    taken = ArrayImages(stored).take(np.array([4, 1]))
    assert taken.shape == (2, 3, 40, 50)
    assert taken.permute(0, 2, 3, 1).is_contiguous()
    assert np.array_equal(taken.numpy(), stored[[4, 1]].transpose(0, 3, 1, 2))
    taken.zero_()
    assert stored[4].any(), "the images in memory are left alone"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [24, 40])
@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_views_have_the_bits_and_the_layout_that_copies_have(augmentation: str, size: int, channels: int) -> None:
    stored, indices = pixels(4, 40, 40, channels), np.arange(4)
    views, copies = ArrayImages(stored).take(indices), Copied(stored).take(indices)
    pairs = [
        (training_view(views, size, augmentation, 3), training_view(copies, size, augmentation, 3)),
        (at_test(views, size, augmentation), at_test(copies, size, augmentation)),
    ]
    for found, expected in pairs:
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()


@pytest.mark.parametrize("settings", [{"mixup": 0.8}, {"cutmix": 1.0}, {"erasing": 0.5}, {"augmentation": "shift"}])
def test_batches_have_the_bits_that_copies_have(settings: dict[str, Any]) -> None:
    first, again = fed(ArrayImages(pixels()), **settings), fed(Copied(pixels()), **settings)
    for step in range(3):
        assert torch.equal(first.batch(step, 2).images, again.batch(step, 2).images)
        assert torch.equal(first.batch(step, 2).targets, again.batch(step, 2).targets)


def test_corrupted_images_are_those_of_their_pixels() -> None:
    for kind in ("noise", "blur"):
        views = CorruptedImages(ArrayImages(pixels()), kind, 3).take(np.arange(3))
        copies = CorruptedImages(Copied(pixels()), kind, 3).take(np.arange(3))
        assert torch.equal(torch.as_tensor(views), torch.as_tensor(copies))


def test_nothing_is_drawn_for_mixing_and_erasing_that_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[str]()

    def counted(purpose: str, *along: object) -> int:
        drawn.append(purpose)
        return derive(purpose, *along)

    monkeypatch.setattr(bench.data.training, "derive", counted)
    images = fed(ArrayImages(pixels()), augmentation="crop_flip")
    images.batch(0)
    assert "augment" in drawn
    assert not {"mix", "erase"} & set(drawn)
    replace(images, protocol=replace(images.protocol, mixup=0.5, erasing=0.5)).batch(0)
    assert {"mix", "erase"} <= set(drawn)


def test_what_is_mixed_is_drawn_from_the_step_as_ever() -> None:
    images = fed(ArrayImages(pixels()), augmentation="none", cutmix=1.0, image_size=24)
    expected = draw_mix(24, 24, np.random.RandomState(derive("mix", 7, 5)), 0.0, 1.0, 1.0, 0.5)
    assert images._mix(5) == expected


@pytest.mark.parametrize(("count", "size"), [(6, 4), (4, 4), (3, 8), (1, 5), (100, 7)])
def test_a_step_has_the_images_at_its_places_in_the_stream_of_passes(count: int, size: int) -> None:
    """Each pass in an order of its own; said image by image."""
    images = replace(fed(ArrayImages(pixels(count, 4, 4))), indices=np.arange(count) * 10)
    images = replace(images, protocol=replace(images.protocol, batch_size=size))
    for step in range(5):
        expected = []
        for at in range(step * size, (step + 1) * size):
            order = np.random.RandomState(derive("order", 7, at // count)).permutation(count)
            expected.append(10 * order[at % count])
        assert images._chosen(step).tolist() == expected
