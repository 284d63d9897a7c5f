"""What is prepared ahead, in threads, while a GPU computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from bench.device.distributed import own_cores

MOST = 8
"""Threads of a process at most."""

IMAGES = 4096
"""Images that may wait in memory, where a batch is not larger."""

A = TypeVar("A")
B = TypeVar("B")


def feeders(device: torch.device) -> int:
    """Threads that prepare what a device computes on: none on the CPU, which would have no time for them."""
    if device.type == "cpu":
        return 0
    return min(MOST, own_cores())


def ahead(
    prepare: Callable[[A], B], items: Iterable[A], threads: int, size: int = 1
) -> Generator[tuple[A, B], None, None]:
    """Each item with what is prepared of it, in order; with threads, those that come next are prepared meanwhile.

    ``prepare`` is called once an item, on which alone it must depend; what it raises is raised when its turn comes.
    Without threads each is prepared when it is asked for. Of items of a large size, in images, fewer wait. Close the
    iterator to end the threads.
    """
    if not threads:
        yield from ((item, prepare(item)) for item in items)
        return
    waiting: deque[tuple[A, Future[B]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="feeder") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(prepare, item)))
                if len(waiting) > max(1, min(threads, IMAGES // size)):
                    first, made = waiting.popleft()
                    yield first, made.result()
            while waiting:
                first, made = waiting.popleft()
                yield first, made.result()
        finally:
            for _, made in waiting:
                made.cancel()
