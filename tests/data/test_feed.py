"""How a GPU is fed and asked, without one: what is copied when, what waits for what, and which memory is kept."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.data import ArrayImages, Split, TrainingImages
from bench.data import ahead as module
from bench.data.ahead import Preparation, fed
from bench.data.augment import POLICIES
from bench.device.transfer import Collected, Copier, Mark, StreamCopier, copier_of, images_at_once, mapped
from bench.protocol import Protocol, Recipe
from tests.data.test_ahead import images_of
from tests.data.test_ahead import trial as trained
from tests.scenes import curve_of

CPU, META = torch.device("cpu"), torch.device("meta")


@dataclass
class Point:
    """A mark that a stream has reached or not."""

    number: int
    calls: list[str]
    reached: bool = False

    def query(self) -> bool:
        return self.reached

    def synchronize(self) -> None:
        self.calls.append(f"wait for copy {self.number}")
        self.reached = True


@dataclass
class FakeStream:
    """Notes its calls. What is copied arrives when its mark is awaited, and not before: until then it is noise."""

    calls: list[str] = field(default_factory=list)
    pending: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    marks: list[tuple[Point, list[tuple[Tensor, Tensor]]]] = field(default_factory=list)
    lent: list[Tensor] = field(default_factory=list)
    pins: set[int] = field(default_factory=set)

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        tensor = torch.empty(tuple(shape), dtype=dtype)
        self.pins.add(tensor.data_ptr())
        return tensor

    def pinned(self, tensor: Tensor) -> Tensor:
        return self.memory(tensor.shape, tensor.dtype).copy_(tensor)

    def copy(self, tensor: Tensor) -> Tensor:
        assert tensor.data_ptr() in self.pins or not tensor.numel(), "copied from memory that is not pinned"
        there = torch.full_like(tensor, 7)
        self.pending.append((there, tensor))
        return there

    def mark(self) -> Mark:
        point = Point(len(self.marks), self.calls)
        self.calls.append(f"copy {point.number}")
        self.marks.append((point, self.pending))
        self.pending = []
        return point

    def await_mark(self, mark: Any) -> None:
        self.calls.append(f"await {mark.number}")
        for there, source in self.marks[mark.number][1]:
            there.copy_(source)

    def lend(self, tensor: Tensor) -> None:
        self.lent.append(tensor)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    """Feeds are those of a GPU, by three threads, over a stream that only notes what it is asked."""
    fake = FakeStream()
    monkeypatch.setattr(module, "copier_of", lambda device: StreamCopier(device, fake))
    monkeypatch.setattr(module, "feeders", lambda device: 3)
    monkeypatch.setattr(module, "PART", 4)
    return fake


def numbers(item: int) -> Preparation[Tensor]:
    return Preparation(6, lambda start, stop: [torch.arange(start, stop) + item], torch.tensor([item, -item]))


def test_a_copy_is_begun_before_the_step_before_it_is_computed(stream: FakeStream) -> None:
    for item, made in fed(numbers, range(4), CPU, 6):
        assert torch.equal(made.images[0], torch.arange(6) + item)
        assert made.beside.tolist() == [item, -item]
        stream.calls.append(f"compute {item}")
    steps = [[f"copy {step + 1}", f"await {step}", f"compute {step}"] for step in range(3)]
    ended = ["await 3", "compute 3", *(f"wait for copy {number}" for number in range(4))]
    assert stream.calls == ["copy 0", *(call for step in steps for call in step), *ended]
    assert len(stream.lent) == 8  # the images and the numbers of each item


def test_memory_is_kept_until_its_copy_is_over(stream: FakeStream) -> None:
    copier = StreamCopier(CPU, stream)
    sent = [copier.send(copier.pinned(torch.tensor([number]))) for number in range(3)]
    assert len(copier.sources) == 3
    stream.marks[0][0].reached = True
    sent.append(copier.send(copier.pinned(torch.tensor([3]))))
    assert [mark.number for mark, _ in copier.sources] == [1, 2, 3]  # type: ignore[attr-defined]
    assert [int(copier.receive(one)) for one in sent] == [0, 1, 2, 3]
    copier.close()
    assert not copier.sources
    assert [call for call in stream.calls if call.startswith("wait")] == [f"wait for copy {n}" for n in (1, 2, 3)]


def test_a_loop_that_is_left_ends_threads_and_copies(stream: FakeStream) -> None:
    alive = threading.active_count()
    with closing(fed(numbers, range(10**9), CPU, 6)) as feed:
        for item, _ in feed:
            if item == 2:
                break
    assert threading.active_count() == alive
    assert stream.calls[-1] == "wait for copy 3"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "lacvit"])
def test_a_run_that_is_fed_over_a_stream_has_the_same_bits(method: str, stream: FakeStream) -> None:
    settings = ("augmentation=randaugment", *(("mixup=0.8", "erasing=0.5") if method == "ce" else ()))
    fed_over_stream = trained(method, *settings)
    assert len(stream.marks) > 8
    with pytest.MonkeyPatch.context() as plain:
        plain.setattr(module, "copier_of", copier_of)
        plain.setattr(module, "feeders", lambda device: 0)
        alone = trained(method, *settings)
    assert curve_of(fed_over_stream.record) == curve_of(alone.record)
    for key, predictions in alone.predictions.items():
        assert np.array_equal(fed_over_stream.predictions[key], predictions)


# ---- nothing waits, and nothing is copied, once a batch is on the device


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes copies from the CPU, and what reads a tensor's values; where it has none (``meta``), that fails."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operands = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)]
        from_cpu = any(value.device.type == "cpu" and value.ndim for value in operands)
        if func._schema.name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal"):
            self.seen.append(func._schema.name)
        elif from_cpu and isinstance(result, Tensor) and result.device.type == "meta":
            self.seen.append(f"{func._schema.name} from the CPU")
        return result


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("augmentation", ["none", "shift", "crop_flip", *sorted(POLICIES)])
def test_making_a_batch_of_what_is_on_the_device_waits_for_nothing(
    augmentation: str, views: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device whose tensors have no values: what reads one fails, what is copied to it is noted."""
    monkeypatch.setattr("bench.data.erase.generator_of", lambda device, seed: None)
    data = images_of(augmentation)
    for step in range(2):
        prepared = mapped(data.prepared(step, views), lambda tensor: tensor.to(META))
        with Watch() as watch:
            batch = data.batch(step, views, 0.5, prepared)
        assert watch.seen == []
        assert batch.images.device == batch.labels.device == batch.targets.device == META
        assert batch.images.shape == (*([views] if views > 1 else []), 16, 3, 20, 20)


def test_the_watch_sees_what_waits() -> None:
    with Watch() as watch:
        torch.arange(3).to(META)
        torch.ones(2).sum().item()
        torch.ones(3).nonzero()
    assert watch.seen == ["aten::_to_copy from the CPU", "aten::_local_scalar_dense", "aten::nonzero"]


# ---- evaluation


@pytest.mark.parametrize("most", [1, 100, 10**9])
def test_what_is_collected_is_in_order_whatever_is_held(most: int) -> None:
    collected, parts = Collected(1, most), [torch.randn(2, count) for count in (3, 5, 1, 7)]
    for part in parts:
        collected.add(part)
        assert collected.held <= most
    assert torch.equal(collected.whole(), torch.cat(parts, 1))


def test_a_gpu_is_given_more_images_at_a_time() -> None:
    assert images_at_once(CPU) == 64
    assert 256 <= images_at_once(torch.device("cuda")) <= 512


def test_a_cpu_is_sent_nothing() -> None:
    copier, tensor = copier_of(CPU), torch.ones(3)
    assert type(copier) is Copier
    assert copier.ahead == 0
    assert copier.pinned(tensor) is tensor
    assert copier.receive(copier.send(tensor)) is tensor


def test_the_same_images_are_chosen_however_many_passes_a_batch_spans() -> None:
    """A batch may be larger than all images, and then has some of them more than once."""
    split = Split(ArrayImages(np.zeros((9, 4, 4, 1), np.uint8)), np.arange(9))
    batches = []
    for size, steps in ((4, 9), (36, 1), (1, 36)):
        protocol = Protocol(recipe=Recipe(steps=9), batch_size=size, augmentation="none")
        data = TrainingImages(split, np.arange(9), 9, protocol, 4, 7, CPU)
        batches.append(torch.cat([data.batch(step).labels for step in range(steps)]).tolist())
    assert batches[0] == batches[1] == batches[2]
    assert all(sorted(batches[0][start : start + 9]) == list(range(9)) for start in range(0, 36, 9))
