"""What is prepared ahead: in order, whatever the threads do, and a run has the same bits with them and without."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from bench.data import ahead as module
from bench.data.ahead import MOST, ahead, feeders
from bench.data.augment import cut
from bench.data.crop import draw_as_torchvision
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.registry import Registry
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import curve_of

CPU = torch.device("cpu")


def uneven(item: int) -> int:
    time.sleep(0.002 * (item * 7 % 5))
    return item * item


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_items_come_in_order(threads: int, count: int) -> None:
    assert list(ahead(uneven, range(count), threads)) == [(item, item * item) for item in range(count)]


@pytest.mark.parametrize("threads", [0, 2])
def test_what_is_raised_is_raised_in_its_turn(threads: int) -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise ValueError("no")
        return item

    feed = ahead(fails, range(9), threads)
    assert [next(feed) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="no"):
        next(feed)


def test_the_threads_end_with_the_loop() -> None:
    before = threading.active_count()
    with closing(ahead(uneven, range(10**9), 3)) as feed:
        for item, _ in feed:
            if item == 5:
                break
    assert threading.active_count() == before


@pytest.mark.parametrize(("size", "most"), [(1, 4), (module.IMAGES // 2, 2), (10**6, 1)])
def test_fewer_large_items_wait(size: int, most: int) -> None:
    asked: list[int] = []
    with closing(ahead(asked.append, range(100), 4, size)) as feed:
        for item, _ in feed:
            assert len(asked) <= item + 1 + most


def test_nothing_is_prepared_ahead_on_the_cpu() -> None:
    assert feeders(CPU) == 0
    assert 1 <= feeders(torch.device("cuda")) <= MOST


@pytest.mark.parametrize("sizes", [[(40, 60), (33, 33)], [(4, 200), (200, 4), (1, 1), (3, 90)] * 8])
def test_crops_and_flips_are_torchvisions_and_leave_its_generator_alone(sizes: list[tuple[int, int]]) -> None:
    crop, flip = v2.RandomResizedCrop(8), v2.RandomHorizontalFlip()
    for seed in range(20):
        torch.manual_seed(seed)
        images = [torch.arange(height * width).reshape(1, height, width) for height, width in sizes]
        boxes, flips = [], []
        for image in images:
            boxes.append(list(crop.make_params([image]).values()))
            flipped = not torch.equal(flip(image), image)
            flips.append(flipped if image.shape[-1] > 1 else None)
        state = torch.get_rng_state()
        found, mirrored = draw_as_torchvision(np.array(sizes), seed)
        assert torch.equal(torch.get_rng_state(), state)
        assert found.tolist() == boxes
        assert all(was in (None, bool(now)) for was, now in zip(flips, mirrored, strict=True))


@pytest.mark.parametrize("augmentation", ["none", "shift", "crop_flip", "autoaugment", "contrastive", "rand_m9"])
def test_threads_may_cut_at_the_same_time(augmentation: str) -> None:
    images = list(torch.randint(0, 256, (16, 3, 30, 40), dtype=torch.uint8))
    state = torch.get_rng_state()
    alone = [cut(images, 16, augmentation, seed) for seed in range(40)]
    for (_, one), other in zip(
        ahead(lambda seed: cut(images, 16, augmentation, seed), range(40), 4), alone, strict=True
    ):
        assert torch.equal(one.pixels, other.pixels)
        for (names, values), (also, again) in zip(one.draws, other.draws, strict=True):
            assert names.tolist() == also.tolist()
            assert values.tolist() == again.tolist()
    assert torch.equal(torch.get_rng_state(), state)


def trial(method: str, *settings: str) -> TrainedRun:
    protocol = ("steps=8", "warmup=1", "evaluations=4", "batch_size=8", *settings)
    overrides = Overrides(method, rates="15", seeds="1", settings=protocol)
    (spec,) = read_plan("digits", Registry(), overrides).unique.values()
    return run_trial(spec, Registry(), CPU)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ce", ()),
        ("gta", ("augmentation=crop_flip", "mixup=0.8", "erasing=0.5")),
        ("lacvit", ("augmentation=autoaugment",)),
    ],
)
def test_a_run_has_the_same_bits(method: str, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trial(method, *settings)
    for place in ("bench.data.training.feeders", "bench.training.answers.feeders"):
        monkeypatch.setattr(place, lambda device: 3)
    fed = trial(method, *settings)
    assert curve_of(fed.record) == curve_of(plain.record)
    assert all(np.array_equal(fed.predictions[key], plain.predictions[key]) for key in plain.predictions)
