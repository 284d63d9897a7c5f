"""What a rehearsal trains on in the place of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cards.rehearsal import Excerpt, read_rehearsal, rehearsal_dataset
from bench.data import ArrayImages, read_data, read_masks
from bench.data.dataset import IGNORED, MaskArrays
from bench.data.multilabel import MultiLabelSplit
from bench.data.rehearsal import drawn, drawn_masks, grouped
from bench.errors import InputError
from bench.registry import Registry
from bench.spec import digest
from bench.task import find_task


def test_drawn_images_are_the_same_every_time_and_others_for_another_seed() -> None:
    first, again, other = (drawn(4, {"train": 9, "test": 5}, seed) for seed in (0, 0, 1))
    pixels = [data.train.images.pixels for data in (first, again, other) if isinstance(data.train.images, ArrayImages)]
    assert pixels[0].shape == (9, 48, 48, 3)
    assert pixels[0].dtype == np.uint8
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])
    assert first.train.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert first.val is None


def test_drawn_images_of_a_class_are_alike_and_those_of_two_classes_are_not() -> None:
    images = drawn(2, {"train": 8, "test": 2}, 0).train.images
    assert isinstance(images, ArrayImages)
    first, second = images.pixels[0::2].astype(float), images.pixels[1::2].astype(float)
    within = np.abs(first[0] - first[1]).mean()
    assert np.abs(first.mean(0) - second.mean(0)).mean() > np.abs(first[:2].mean(0) - first[2:].mean(0)).mean()
    assert within > 0


def test_a_dataset_that_is_not_here_is_drawn_with_its_classes_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    card = Registry().dataset("rehearsal:drawn+train=64+test=32+seed=0:cub200")
    assert (card.facts["classes"], card.splits, card.missing) == (16, {"train": 64, "test": 32}, [])
    data = read_data(card)
    assert (len(data.classes), len(data.train), len(data.test)) == (16, 64, 32)
    few = Registry().dataset("rehearsal:drawn+train=64+test=32+seed=0:cifar10")
    assert few.facts["classes"] == 10


def test_splits_are_those_of_the_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    card = Registry().dataset("rehearsal:drawn+train=16+test=8+seed=0:oxford_flowers102@train")
    assert card.splits == {"train": 16, "val": 8, "test": 8}
    assert read_data(card).val is not None


def test_of_a_dataset_that_is_here_some_images_are_taken() -> None:
    whole, part = (
        read_data(Registry().dataset(name)) for name in ("digits", "rehearsal:train=40+test=7+seed=3:digits")
    )
    assert {name: len(split) for name, split in part.splits.items()} == {"train": 40, "val": 7, "test": 7}
    assert part.classes == whole.classes
    assert isinstance(whole.train.images, ArrayImages)
    assert isinstance(part.train.images, ArrayImages)
    known = {image.tobytes() for image in whole.train.images.pixels}
    assert all(image.tobytes() in known for image in part.train.images.pixels)


def test_of_a_folder_some_images_are_taken_and_never_between_splits(tmp_path: Path) -> None:
    for split, count in (("train", 6), ("test", 3)):
        for label in ("ape", "bee"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (8, 8), (number, len(split), 0)).save(tmp_path / split / label / f"{number}.png")
    data = read_data(Registry().dataset(f"rehearsal:train=8+test=4+seed=0:folder:{tmp_path}"))
    assert (len(data.train), len(data.test)) == (8, 4)
    assert np.bincount(data.train.labels).tolist() == [4, 4]


def test_images_of_a_class_are_taken_together_where_there_are_many_classes() -> None:
    labels = np.repeat(np.arange(50), 10)
    first = grouped(labels, 0)[:16]
    assert np.unique(labels[first], return_counts=True)[1].tolist() == [4, 4, 4, 4]
    assert np.array_equal(np.sort(grouped(labels, 0)), np.arange(500))
    assert not np.array_equal(first, grouped(labels, 1)[:16])


def test_it_means_neither_the_dataset_nor_another_part_of_it() -> None:
    names = ["digits", "cluttered_digits", *(f"rehearsal:train={n}+test=8+seed=0:digits" for n in (16, 32))]
    names += ["rehearsal:train=16+test=8+seed=1:digits", "rehearsal:drawn+train=16+test=8+seed=0:digits"]
    assert len({Registry().dataset(name).means for name in names}) == len(names)


def test_a_name_says_what_is_taken() -> None:
    excerpt = Excerpt(64, 32, 1, drawn=True)
    assert read_rehearsal(f"rehearsal:{excerpt}:folder:/a:b@split=20") == (excerpt, "folder:/a:b@split=20")


@pytest.mark.parametrize(
    "name", ["rehearsal:", "rehearsal:digits", "rehearsal:train=1:digits", "rehearsal:train=8+test=8+seed=0:"]
)
def test_a_name_of_another_form_is_refused_in_a_line(name: str) -> None:
    with pytest.raises(InputError, match="is written rehearsal:train=64"):
        Registry().dataset(name)


def test_too_few_images_for_two_classes_are_refused() -> None:
    with pytest.raises(InputError, match="at least 8 training images"):
        Registry().dataset("rehearsal:drawn+train=7+test=8+seed=0:digits")


@pytest.mark.parametrize("name", ["voc2012_labels", "voc2012"])
def test_any_task_is_rehearsed_on_drawn_images(name: str) -> None:
    card = rehearsal_dataset(Registry().dataset(name), Excerpt(24, 8, drawn=True))
    task = find_task(card.task)
    first, again = task.read(card), task.read(card)
    assert {split: len(images) for split, images in first.splits.items()} == {"train": 24, "test": 8}
    assert len(first.classes) == card.facts["classes"] >= 20
    for split, images in first.splits.items():
        assert images.odd(len(first.classes)) == ""
        both = [dataset.splits[split].images.take(np.arange(8)) for dataset in (first, again)]
        assert all(torch.equal(one, two) for one, two in zip(*both, strict=True))


# ---- images with masks


def test_drawn_masks_have_all_classes_and_ignored_pixels_and_are_told_by_colour() -> None:
    data = drawn_masks(30, {"train": 4, "test": 2}, 0)
    assert isinstance(data.train.images, ArrayImages)
    assert isinstance(data.train.masks, MaskArrays)
    pixels, levels = data.train.images.pixels, data.train.masks.levels
    assert (pixels.shape, levels.shape) == ((4, 48, 64, 3), (4, 48, 64))
    assert set(np.unique(levels)) == {*range(30), IGNORED}
    means = np.array([pixels[levels == label].mean(0) for label in range(30)])
    spread = np.array([pixels[levels == label].std(0) for label in range(30)])
    assert means.std(0).min() > 20
    assert spread.max() < 50
    assert data.val is None


def test_drawn_masks_are_the_same_every_time_and_others_for_another_seed() -> None:
    first, again, other = (drawn_masks(4, {"train": 3, "test": 2}, seed).train for seed in (0, 0, 1))
    indices = np.arange(3)
    same = zip(first.masks.take(indices), again.masks.take(indices), strict=True)
    assert all(torch.equal(mask, twin) for mask, twin in same)
    assert not torch.equal(first.masks.take(indices)[0], other.masks.take(indices)[0])


def test_a_dataset_with_masks_that_is_not_here_is_drawn_with_all_its_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    card = Registry().dataset("rehearsal:drawn+train=8+test=4+seed=0:ade20k")
    assert (card.task, card.metric, card.facts["classes"], card.missing) == ("segmentation", "miou", 150, [])
    data = read_masks(card)
    assert (len(data.classes), len(data.train), len(data.test)) == (150, 8, 4)
    with pytest.raises(InputError, match="it is for segmentation"):
        read_data(card)


@pytest.mark.slow
def test_of_a_dataset_with_masks_that_is_here_some_images_are_taken_with_their_masks() -> None:
    names = ("drawn_shapes", "rehearsal:train=20+test=7+seed=3:drawn_shapes")
    whole, part = (read_masks(Registry().dataset(name)) for name in names)
    assert {name: len(split) for name, split in part.splits.items()} == {"train": 20, "val": 7, "test": 7}
    assert part.classes == whole.classes
    everything, few = np.arange(len(whole.train)), np.arange(20)
    images, masks = whole.train.images.take(everything), whole.train.masks.take(everything)
    mask_of = {image.numpy().tobytes(): mask for image, mask in zip(images, masks, strict=True)}
    for image, mask in zip(part.train.images.take(few), part.train.masks.take(few), strict=True):
        assert torch.equal(mask_of[image.numpy().tobytes()], mask)


def test_what_is_drawn_means_something_else_for_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    excerpt = Excerpt(64, 8, 0, drawn=True)
    card = Registry().dataset("oxford_pets_trimaps")
    labelled = replace(card, facts={**card.facts, "task": "classification"})
    assert rehearsal_dataset(card, excerpt).means != rehearsal_dataset(labelled, excerpt).means


def test_what_a_rehearsal_of_a_classifier_means_never_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    card = Registry().dataset("rehearsal:drawn+train=64+test=32+seed=0:cub200")
    stated = ["rehearsal", 1, "drawn", 16, 48, "drawn+train=64+test=32+seed=0", {"train": 64, "test": 32}]
    assert card.means == digest(stated)


# ---- what other tasks ask


def test_a_dataset_of_another_task_that_is_not_here_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "/nowhere")
    card = Registry().dataset("rehearsal:drawn+train=8+test=4+seed=0:voc2012_labels")
    first, again = (find_task(card.task).read(card) for _ in range(2))
    assert (len(first.classes), len(first.train), len(first.test)) == (20, 8, 4)
    assert isinstance(first.train, MultiLabelSplit)
    assert isinstance(again.train, MultiLabelSplit)
    assert first.train.odd(20) == ""
    assert np.array_equal(first.train.present, again.train.present)
    assert 0 < first.train.present.mean() < 1
