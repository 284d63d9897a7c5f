"""What is prepared ahead: in order, whatever the threads do, and a run has the same bits with them and without."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TypeVar

import numpy as np
import pytest
import torch

from bench.data import ArrayImages, Split, TrainingImages
from bench.data import ahead as module
from bench.data.ahead import PART, Preparation, ahead, feeders
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import curve_of

CPU = torch.device("cpu")

A = TypeVar("A")


def uneven(item: int) -> Preparation[int]:
    time.sleep(0.002 * (item * 7 % 5))
    return ready(item * item)


def ready(value: A) -> Preparation[A]:
    return Preparation(0, lambda start, stop: (), value)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_items_come_in_order(threads: int, count: int) -> None:
    made = [(item, made.beside) for item, made in ahead(uneven, range(count), threads)]
    assert made == [(item, item * item) for item in range(count)]


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("late", [False, True])
def test_what_is_raised_is_raised_in_its_turn(threads: int, late: bool) -> None:
    def fails(item: int) -> Preparation[int]:
        def part(start: int, stop: int) -> list[torch.Tensor]:
            if item == 3:
                raise ValueError("no")
            return [torch.full((stop - start,), item)]

        if item == 3 and not late:
            raise ValueError("no")
        return Preparation(2, part, item)

    feed = ahead(fails, range(9), threads, 2)
    assert [next(feed)[1].beside for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no"):
        next(feed)


def test_the_threads_end_with_the_loop() -> None:
    before = threading.active_count()
    with closing(ahead(uneven, range(10**9), 3)) as feed:
        for item, _ in feed:
            if item == 5:
                break
    assert threading.active_count() == before


@pytest.mark.parametrize(("size", "most"), [(1, 8), (PART, 8), (3 * PART, 3), (8 * PART, 1), (99 * PART, 1)])
def test_so_many_items_wait_that_no_thread_is_idle(size: int, most: int) -> None:
    """Two parts for each of four threads; at least one item."""
    asked: list[int] = []

    def prepare(item: int) -> Preparation[None]:
        asked.append(item)
        return ready(None)

    with closing(ahead(prepare, range(100), 4, size)) as feed:
        for item, _ in feed:
            assert len(asked) <= item + 1 + most


@pytest.mark.parametrize(("cores", "threads"), [(16, 15), (1, 1), (2, 1)])
def test_a_gpu_is_fed_by_all_cores_but_one(cores: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "own_cores", lambda: cores)
    assert feeders(torch.device("cuda")) == threads
    assert feeders(CPU) == 0


AUGMENTED = [(name, 3) for name in ("none", "shift", "crop_flip", "randaugment", "contrastive", "rand_m9")]


@pytest.mark.parametrize(("augmentation", "channels"), [*AUGMENTED, ("none", 1), ("shift", 1)])
@pytest.mark.parametrize(("threads", "part"), [(1, 7), (3, 32), (4, 1)])
def test_neither_bits_nor_strides_depend_on_threads_or_parts(
    augmentation: str, channels: int, threads: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", part)
    data, state = images_of(augmentation, channels), torch.get_rng_state()
    alone = [data.prepared(step, 2) for step in range(6)]
    with closing(ahead(lambda step: data.preparation(step, 2), range(6), threads, 16)) as feed:
        for (step, one), other in zip(feed, alone, strict=True):
            assert len(one.images) == len(other.images) == 2
            for pixels, expected in zip(one.images, other.images, strict=True):
                assert torch.equal(pixels, expected)
                assert pixels.stride() == expected.stride()
            batch, again = data.batch(step, 2, 0.0, one), data.batch(step, 2)
            assert torch.equal(batch.images, again.images)
            assert torch.equal(batch.targets, again.targets)
            assert torch.equal(batch.labels, again.labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_thread_works_on_one_batch() -> None:
    """Eight parts of one batch, none of which ends before all have been begun."""
    barrier = threading.Barrier(8, timeout=60)

    def part(start: int, stop: int) -> list[torch.Tensor]:
        barrier.wait()
        return [torch.arange(start, stop)]

    work = Preparation(8 * PART, part, None)
    ((_, made),) = ahead(lambda item: work, [0], 8, work.count)
    assert torch.equal(made.images[0], torch.arange(8 * PART))


def images_of(augmentation: str, channels: int = 3) -> TrainingImages:
    pixels = np.random.RandomState(0).randint(0, 256, (40, 20, 20, channels)).astype(np.uint8)
    protocol = Protocol(
        recipe=Recipe(steps=10), batch_size=16, augmentation=augmentation, erasing=0.5, mixup=0.8, cutmix=1.0
    )
    return TrainingImages(Split(ArrayImages(pixels), np.arange(40) % 5), np.arange(40), 5, protocol, 20, 7, CPU)


def trial(method: str, *settings: str) -> TrainedRun:
    protocol = ("steps=8", "warmup=1", "evaluations=4", "batch_size=8", *settings)
    overrides = Overrides(method, rates="15", seeds="1", settings=protocol)
    (spec,) = read_plan("digits", Registry(), overrides).unique.values()
    return run_trial(spec, Registry(), CPU)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ce", ()),
        ("gta", ("augmentation=randaugment", "mixup=0.8", "erasing=0.5")),
        ("lacvit", ("augmentation=autoaugment",)),
    ],
)
def test_a_run_has_the_same_bits(method: str, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trial(method, *settings)
    monkeypatch.setattr(module, "feeders", lambda device: 3)
    monkeypatch.setattr(module, "PART", 3)
    fed = trial(method, *settings)
    assert curve_of(fed.record) == curve_of(plain.record)
    assert all(np.array_equal(fed.predictions[key], plain.predictions[key]) for key in plain.predictions)
