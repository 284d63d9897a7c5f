"""What is prepared ahead, in threads, while a GPU computes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from bench.device.distributed import own_cores
from bench.device.transfer import Copier, Sent, copier_of, mapped

PART = 32
"""Images of an item that a thread prepares at a time."""

WAITING = 2
"""Parts that wait in memory for each thread, so that none is idle where one item is taken and the next begun."""

A = TypeVar("A")
S = TypeVar("S")


@dataclass(frozen=True)
class Preparation(Generic[S]):
    """How an item is prepared: its images, each for itself, so that threads can make parts of it at the same time.

    Attributes:
        count: of its images; 0 where all is ``beside`` already.
        part: makes the images from one number to another one: tensors (n, ...).
        beside: what goes with the images: what was drawn for them all, their labels.
    """

    count: int
    part: Callable[[int, int], Sequence[Tensor]]
    beside: S


@dataclass(frozen=True)
class Made(Generic[S]):
    """An item prepared: the tensors of all its images (count, ...), and what goes with them."""

    images: tuple[Tensor, ...]
    beside: S


def feeders(device: torch.device) -> int:
    """Threads that prepare what a device computes on: none on the CPU, which would have no time for them.

    For a GPU, all cores but the one of the process that drives it. Processes that share the run on this machine have
    their share of them.
    """
    if device.type == "cpu":
        return 0
    return max(1, own_cores() - 1)


def made(work: Preparation[S]) -> Made[S]:
    """An item prepared at once, on this thread."""
    return Made(tuple(work.part(0, work.count)) if work.count else (), work.beside)


def ahead(
    prepare: Callable[[A], Preparation[S]],
    items: Iterable[A],
    threads: int,
    size: int = 1,
    copier: Copier | None = None,
) -> Generator[tuple[A, Made[S]], None, None]:
    """Each item with what is prepared of it, in order; with threads, those that come next are prepared meanwhile.

    What is made has the same bits whatever the threads: ``prepare`` is called once an item, on which alone it must
    depend, and draws what is drawn for all of its images; these are made in parts of ``PART``. What either raises is
    raised when its turn comes. Without threads each item is prepared when it is asked for. So many items wait that
    every thread has ``WAITING`` parts. Close the iterator to end the threads.

    Args:
        prepare: gives the work of an item.
        items: what is prepared.
        threads: that prepare it; 0: none beside this one.
        size: the most images that an item has.
        copier: in whose memory images are put together; plain memory where there is none.
    """
    if not threads:
        yield from ((item, made(prepare(item))) for item in items)
        return
    copier, parts = copier or Copier(torch.device("cpu")), range(0, size, PART)
    most = max(1, -(-WAITING * threads // len(parts)))
    waiting: deque[tuple[A, _Making[S]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="feeder") as pool:
        try:
            for item in items:
                waiting.append((item, _Making(pool, prepare, item, parts, copier)))
                if len(waiting) > most:
                    first, making = waiting.popleft()
                    yield first, making.result()
            while waiting:
                first, making = waiting.popleft()
                yield first, making.result()
        finally:
            for _, making in waiting:
                making.cancel()


def fed(
    prepare: Callable[[A], Preparation[S]], items: Iterable[A], device: torch.device, size: int = 1
) -> Generator[tuple[A, Made[S]], None, None]:
    """As ``ahead``, on the device: the copy of an item is begun before the one before it is given.

    So a GPU copies it while that one is computed with. Close the iterator to end threads and copies.
    """
    copier = copier_of(device)
    sent: deque[tuple[A, Sent[Made[S]]]] = deque()
    with closing(copier), closing(ahead(prepare, items, feeders(device), size, copier)) as feed:
        for item, prepared in feed:
            sent.append((item, copier.send(prepared)))
            if len(sent) > copier.ahead:
                first, copied = sent.popleft()
                yield first, copier.receive(copied)
        while sent:
            first, copied = sent.popleft()
            yield first, copier.receive(copied)


class _Making(Generic[S]):
    """An item that threads are making: one prepares it, whichever are free make its parts."""

    def __init__(
        self, pool: ThreadPoolExecutor, prepare: Callable[[A], Preparation[S]], item: A, parts: range, copier: Copier
    ) -> None:
        self.copier, self.lock = copier, threading.Lock()
        self.whole: list[Tensor] = []
        # a pool begins what it is given in order, so a part never waits for what no thread has begun
        self.work: Future[Preparation[S]] = pool.submit(lambda: self._begun(prepare(item)))
        self.parts = [pool.submit(self._make, start) for start in parts]

    def result(self) -> Made[S]:
        """The item, when it is there."""
        work = self.work.result()
        for part in self.parts:
            part.result()
        return Made(tuple(self.whole), work.beside)

    def cancel(self) -> None:
        """Begin no further part."""
        for part in self.parts:
            part.cancel()
        self.work.cancel()

    def _begun(self, work: Preparation[S]) -> Preparation[S]:
        return replace(work, beside=mapped(work.beside, self.copier.pinned))

    def _make(self, start: int) -> None:
        work = self.work.result()
        stop = min(start + PART, work.count)
        if start >= stop:
            return
        images = work.part(start, stop)
        with self.lock:
            if not self.whole:
                self.whole = [self._memory(part, work.count) for part in images]
        for whole, part in zip(self.whole, images, strict=True):
            whole[start:stop] = part

    def _memory(self, part: Tensor, count: int) -> Tensor:
        """For so many images, with the strides of a part's: a network may round by them, those of one channel too."""
        shape = (count, *part.shape[1:])
        order = [0, *sorted(range(1, part.ndim), key=lambda dim: (-part.stride()[dim], shape[dim] == 1))]
        memory = self.copier.memory([shape[dim] for dim in order], part.dtype)
        return memory.permute([order.index(dim) for dim in range(part.ndim)])
