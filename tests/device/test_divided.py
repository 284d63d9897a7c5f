"""Batches of which each process has its part: it is as it is in the whole, which is there for whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.ahead import made
from bench.data.as_tested import AsTested
from bench.data.dataset import Indices, SomeImages
from bench.data.training import _mixed
from bench.device import division as of_processes
from bench.device.divided import DividedImages, own_part, was_read
from bench.device.division import Division, divided
from bench.protocol import AUGMENTATIONS, Protocol, Recipe

CPU = torch.device("cpu")
COLOURS = np.random.RandomState(0).randint(0, 256, (12, 10, 11, 3)).astype(np.uint8)

Place = Callable[[int, int], None]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """Makes this process one of several, by its number and theirs."""

    def be(rank: int, ranks: int) -> None:
        monkeypatch.setattr(of_processes, "ranks", lambda: ranks)
        monkeypatch.setattr(of_processes, "rank", lambda: rank)

    return be


def images(batch_size: int = 6, augmentation: str = "none", **settings: Any) -> TrainingImages:
    split = Split(ArrayImages(COLOURS), np.arange(12) % 3)
    protocol = Protocol(Recipe(steps=9), batch_size=batch_size, augmentation=augmentation, **settings)
    return TrainingImages(split, np.arange(12), 3, protocol, 8, 5, CPU)


def parts_of(data: TrainingImages, step: int, views: int, ranks: int, place: Place) -> Iterator[DividedImages]:
    for rank in range(ranks):
        place(rank, ranks)
        part = data.batch(step, views).images
        assert isinstance(part, DividedImages)
        yield part


# ---- who has which rows


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("count", "ranks"), [(8, 2), (7, 2), (64, 3), (65, 4), (3, 3)])
def test_every_row_is_one_processes_and_the_parts_are_alike(
    count: int, ranks: int, mirrored: bool, place: Place
) -> None:
    place(0, ranks)
    division = divided(count, mirrored=mirrored)
    assert division is not None
    assert sorted(np.concatenate(division.rows).tolist()) == list(range(count))
    lengths = [len(rows) for rows in division.rows]
    assert max(lengths) - min(lengths) <= (2 if mirrored else 1)
    assert all((np.diff(rows) > 0).all() for rows in division.rows)
    if mirrored and count >= 2 * ranks:
        for rows in division.rows:
            assert set((count - 1 - rows).tolist()) == set(rows.tolist()), "with its partners"


def test_groups_stay_together_and_each_process_has_as_many(place: Place) -> None:
    place(0, 2)
    division = divided(16, 2, mirrored=True)
    assert division is not None
    assert [rows.tolist() for rows in division.rows] == [[0, 1, 2, 3, 12, 13, 14, 15], [4, 5, 6, 7, 8, 9, 10, 11]]
    assert divided(12, 4) is None, "of three groups one process would have two"
    assert divided(1) is None, "one would have nothing"
    place(0, 1)
    assert divided(16) is None


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("count", "mirrored"), [(6, False), (7, False), (6, True), (7, True)])
def test_what_is_gathered_is_in_the_order_of_the_batch(
    count: int, mirrored: bool, times: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = torch.rand(count * times, 2, requires_grad=True), list[Tensor]()
    for rank in range(3):
        place(rank, 3)
        shared = divided(count, mirrored=mirrored)
        assert shared is not None
        division = shared.repeated(times)
        parts.append(division.of(whole))
    most = max(map(len, parts))
    sent = torch.cat([torch.cat([part, torch.zeros(most - len(part), 2)]) for part in parts])
    monkeypatch.setattr(of_processes, "gathered", lambda part: sent)
    found = division.gathered(parts[2])
    assert torch.equal(found, whole)
    (found * torch.arange(count * times)[:, None]).sum().backward()  # type: ignore[no-untyped-call]
    assert whole.grad is not None
    assert whole.grad[:, 1].tolist() == list(range(count * times))


# ---- a part is augmented as it is in the whole


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_an_image_is_the_same_whoever_prepares_it(augmentation: str, place: Place) -> None:
    data = images(5, augmentation, mixup=0.5, cutmix=0.5, erasing=0.7)
    place(0, 1)
    whole = data.batch(3, views=2)
    for part in parts_of(data, 3, 2, 2, place):
        assert torch.equal(part.part, part.division.of(whole.images, 1))
        assert not part.is_read
        assert part.shape == whole.images.shape
    batch = data.batch(3, views=2)
    assert torch.equal(batch.targets, whole.targets)
    assert torch.equal(batch.labels, whole.labels)
    assert torch.equal(batch.images + 0, whole.images), "and all of them are there, where somebody asks"


class Photographs:
    """Images of different sizes, which are known from the images alone."""

    def __len__(self) -> int:
        return 12

    def take(self, indices: Indices) -> list[Tensor]:
        return [torch.from_numpy(COLOURS[at, : 4 + at % 5, : 10 - at % 3]).permute(2, 0, 1) for at in indices]


@pytest.mark.parametrize("augmentation", ["crop_flip", "rand_m9"])
def test_crops_fit_the_sizes_of_images_that_others_prepare(augmentation: str, place: Place) -> None:
    data = images(5, augmentation)
    photographs = SomeImages(Photographs(), np.arange(12)[::-1].copy())
    data = replace(data, split=replace(data.split, images=photographs))
    place(0, 1)
    whole = data.batch(1).images
    for part in parts_of(data, 1, 1, 3, place):
        assert torch.equal(part.part, part.division.of(whole))


@pytest.mark.parametrize("settings", [{}, {"mixup": 1.0}, {"cutmix": 1.0}, {"mixup": 1.0, "norm_batch": 2}])
@pytest.mark.parametrize(("batch_size", "ranks"), [(8, 2), (7, 3), (12, 3)])
def test_a_process_cuts_its_part_of_the_batch_and_no_more(
    settings: dict[str, Any], batch_size: int, ranks: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mixed ones too: with an image comes the one that it is mixed with, but for two where they do not go up."""
    data, counts = images(batch_size, "crop_flip", **settings), list[int]()
    place(0, 1)
    wholes = [data.batch(step).images for step in range(3)]
    taken: list[int] = []
    take = ArrayImages.take

    def counted(self: ArrayImages, some: Indices) -> Tensor:
        taken.append(len(some))
        return take(self, some)

    monkeypatch.setattr(ArrayImages, "take", counted)
    for rank in range(ranks):
        place(rank, ranks)
        for step, whole in enumerate(wholes):
            part, division = own_part(data.batch(step).images)
            assert division is not None
            assert torch.equal(part, division.of(whole))
        counts.append(sum(taken) // 3)
        taken.clear()
    even = [batch_size * (rank + 1) // ranks - batch_size * rank // ranks for rank in range(ranks)]
    more = 2 if settings else 0
    if not settings:
        assert counts == even
    assert max(counts) <= max(even) + more
    if batch_size % (2 * ranks) == 0:
        assert counts == even, "mixed ones too"


def test_features_that_stand_for_images_are_everybodys(place: Place) -> None:
    data = images()
    model = Model(torch.nn.Flatten(), Any, 192, 3, [0.0] * 3, [1.0] * 3)  # type: ignore[arg-type]
    place(1, 2)
    data = replace(data, reader=lambda model, data: torch.rand(12, 4)).features(model)
    assert type(data.batch(0).images) is Tensor


# ---- what a loss does with them


def divided_images(place: Place) -> tuple[DividedImages, Tensor]:
    place(1, 2)
    data = images(6, "crop_flip", mixup=0.5)
    found = data.batch(0, views=2).images
    assert isinstance(found, DividedImages)
    return found, _mixed(data.prepared(0, 2, whole=True))


def test_a_model_is_given_a_view_or_all_views_of_its_part(place: Place) -> None:
    found, whole = divided_images(place)
    first, second = found
    for seen, expected in [
        (found[1], whole[1]),
        (first, whole[0]),
        (second, whole[1]),
        (found.flatten(0, 1), whole.flatten(0, 1)),
        (found.reshape(-1, *found.shape[2:]), whole.flatten(0, 1)),
    ]:
        assert isinstance(seen, DividedImages)
        part, division = own_part(seen)
        assert division is not None
        assert torch.equal(part, division.of(expected))
        assert seen.shape == expected.shape
    with torch.inference_mode():
        assert isinstance(found[1], DividedImages)
    assert not was_read(found)


@pytest.mark.parametrize(
    "look",
    [
        lambda images: images.flip(-4),
        lambda images: torch.lerp(images.flip(-4), images, 0.25),
        lambda images: images[:, torch.tensor([0, 5])],
        lambda images: images[0].mean((1, 2, 3)),
        lambda images: torch.cat([images[0], images[1]]),
        lambda images: torch.where(images > 0.5, images, images.flip(-4)),
        lambda images: images.clone(),
    ],
)
def test_whatever_else_is_done_is_done_with_the_whole(look: Callable[[Tensor], Tensor], place: Place) -> None:
    found, whole = divided_images(place)
    seen = look(found)
    assert type(seen) is Tensor
    assert torch.equal(seen, look(whole))
    assert was_read(found)
    assert torch.equal(found.part, found.division.of(whole, 1))


def test_what_is_changed_in_place_is_changed_for_the_model_too(place: Place) -> None:
    found, whole = divided_images(place)
    first = found[0]
    found[0].mul_(0.5)
    assert torch.equal(own_part(first)[0], first.division.of(whole[0] * 0.5))  # type: ignore[attr-defined]
    assert torch.equal(found.part[1], found.division.of(whole[1]))


@pytest.mark.parametrize("read", [lambda images: images.numpy(), lambda images: images.tolist()])
def test_what_cannot_be_given_the_whole_is_refused(read: Callable[[Tensor], Any], place: Place) -> None:
    with pytest.raises(RuntimeError, match="not supported for tensor subclasses"):
        read(divided_images(place)[0])


def test_a_part_of_a_batch_is_whole_images(place: Place) -> None:
    place(1, 2)
    batch = images().batch(0)
    halves = [part.images for part in batch.divided(2)]
    assert [type(half) for half in halves] == [Tensor, Tensor]
    assert torch.equal(torch.cat(halves), batch.images + 0)


def test_groups_that_processes_cut_through_are_those_of_the_whole_batch(place: Place) -> None:
    """A model whose norms see three images at a time takes its groups from all of a batch divided otherwise."""
    place(0, 2)
    found = images(6).batch(0).images
    part, division = own_part(found, 3)
    assert division is not None
    assert division.rows[0].tolist() == [0, 1, 2]
    assert torch.equal(part, (found + 0)[:3])
    part, division = own_part(found, 4)
    assert division is None
    assert len(part) == 6


def test_images_to_be_scored_are_divided_too(place: Place) -> None:
    views, indices, taken = AsTested(ArrayImages(COLOURS), 8, "none"), np.arange(2, 9), list[int]()
    place(0, 1)
    whole = views.batch(indices, made(views.preparation(indices, None)).images[0])
    assert type(whole) is Tensor
    for rank in range(2):
        place(rank, 2)
        (prepared,) = made(views.preparation(indices, None)).images
        taken.append(len(prepared))
        found = views.batch(indices, prepared)
        assert torch.equal(own_part(found)[0], Division.of(found.division, whole))  # type: ignore[attr-defined]
        assert torch.equal(found + 0, whole)
    assert taken == [3, 4]
