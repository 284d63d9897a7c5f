"""What goes between the memory of this machine and that of a GPU: batches there, results back.

A loop over batches is as fast as its GPU where it never waits for it: a batch is copied while the one before it is
computed, from memory that the driver can read by itself (pinned), on a stream of its own; and results are brought back
together. What the engine does in a step then waits for nothing. What does wait, by torch's documentation:

- ``Terms.read``, ``recent`` and ``check`` (``bench.training.fit``), which read sums: at points of the curve, every
  ``CHECKED`` steps, and where a run says how it stands;
- ``Collected.whole``, once a split;
- ``Copier.close``, at the end of a stage or a split, for copies alone;
- whatever a method reads of a tensor (``item``, ``float``, ``nonzero``, a mask as an index).

``torch.cuda.set_sync_debug_mode("warn")`` tells them on a GPU; ``tests/data/test_feed.py`` holds it without one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

V = TypeVar("V")

HELD = 256 * 2**20
"""Bytes of results that are kept on a GPU before they are brought over."""


def images_at_once(device: torch.device) -> int:
    """How many images a device is given at a time where nothing is trained: a GPU needs more than a CPU to be busy.

    On a CPU more are no faster.
    """
    return 64 if device.type == "cpu" else 256


class Collected:
    """What is computed of batches, in order; on a GPU it stays there, and comes to the CPU together.

    Args:
        dim: along which it is joined.
        most: bytes that are kept on a device.
    """

    def __init__(self, dim: int = 0, most: int = HELD) -> None:
        self.dim, self.most, self.held = dim, most, 0
        self.parts: list[Tensor] = []
        self.brought: list[Tensor] = []

    def add(self, part: Tensor) -> None:
        """Those of one more batch."""
        self.parts.append(part)
        self.held += part.nbytes
        if self.held > self.most:
            self._bring()

    def whole(self) -> Tensor:
        """Of all batches, on the CPU."""
        if self.parts:
            self._bring()
        return self.brought[0] if len(self.brought) == 1 else torch.cat(self.brought, self.dim)

    def _bring(self) -> None:
        self.brought.append(torch.cat(self.parts, self.dim).cpu())
        self.parts, self.held = [], 0


def mapped(value: V, change: Callable[[Tensor], Tensor]) -> V:
    """A value with every tensor in it changed: itself, or in lists, tuples and dataclasses."""
    changed: Any = value
    if isinstance(value, Tensor):
        changed = change(value)
    elif isinstance(value, (list, tuple)):
        changed = type(value)(mapped(item, change) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        changed = replace(value, **{each.name: mapped(getattr(value, each.name), change) for each in fields(value)})
    return changed  # type: ignore[no-any-return]


def on(device: torch.device, value: V) -> V:
    """A value with its tensors (``mapped``) on a device; itself where that is the CPU, on which they were made."""
    return value if device.type == "cpu" else mapped(value, lambda tensor: tensor.to(device))


class Mark(Protocol):
    """A point of a stream of work (``torch.cuda.Event``)."""

    def query(self) -> bool:
        """Whether all work before it is done."""
        ...

    def synchronize(self) -> None:
        """Wait for that."""
        ...


class Stream(Protocol):
    """Copies to a device that run beside what is computed there."""

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of this machine from which a device can copy by itself."""
        ...

    def pinned(self, tensor: Tensor) -> Tensor:
        """A tensor in such memory."""
        ...

    def copy(self, tensor: Tensor) -> Tensor:
        """Begin to copy a tensor to the device."""
        ...

    def mark(self) -> Mark:
        """The point after all copies that have been begun."""
        ...

    def await_mark(self, mark: Mark) -> None:
        """Have what is computed from here on wait for a point; the caller goes on."""
        ...

    def lend(self, tensor: Tensor) -> None:
        """Have a copy's memory kept until what is computed with it is done, also where the tensor is freed before."""
        ...


class CudaStream:
    """A stream of copies to a GPU: each method is a call of torch's."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory()

    def copy(self, tensor: Tensor) -> Tensor:
        with torch.cuda.stream(self.stream):
            return tensor.to(self.device, non_blocking=True)

    def mark(self) -> Mark:
        event: Mark = self.stream.record_event()
        return event

    def await_mark(self, mark: Any) -> None:
        torch.cuda.current_stream(self.device).wait_event(mark)

    def lend(self, tensor: Tensor) -> None:
        # the memory is the copies' stream's, which would else fill it anew as soon as the tensor is freed
        tensor.record_stream(torch.cuda.current_stream(self.device))


@dataclass(frozen=True)
class Sent(Generic[V]):
    """What is on its way to a device, and the point at which it is there."""

    value: V
    mark: Mark | None = None


class Copier:
    """Brings what is prepared to a device. This one does it when it is asked for: on a CPU that is nothing.

    Attributes:
        ahead: of how many values the copies may be on their way while the one before them is computed with.
    """

    ahead = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory in which a tensor is prepared."""
        return torch.empty(tuple(shape), dtype=dtype)

    def pinned(self, tensor: Tensor) -> Tensor:
        """A tensor in such memory. Threads may ask for it, as for ``memory``."""
        return tensor

    def send(self, value: V) -> Sent[V]:
        """Begin to copy all tensors of a value (``mapped``)."""
        return Sent(on(self.device, value))

    def receive(self, sent: Sent[V]) -> V:
        """The value on the device, for what is computed from here on."""
        return sent.value

    def close(self) -> None:
        """Wait until no copy reads this machine's memory any more."""


class StreamCopier(Copier):
    """Brings what is prepared to a GPU on a stream of its own; nobody waits on this side.

    What is copied from is kept until its copy is over, so that its memory is not written to before.
    """

    ahead = 1

    def __init__(self, device: torch.device, stream: Stream) -> None:
        super().__init__(device)
        self.stream = stream
        self.sources: deque[tuple[Mark, object]] = deque()

    def memory(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return self.stream.memory(shape, dtype)

    def pinned(self, tensor: Tensor) -> Tensor:
        return self.stream.pinned(tensor)

    def send(self, value: V) -> Sent[V]:
        while self.sources and self.sources[0][0].query():
            self.sources.popleft()
        copied = mapped(value, self.stream.copy)
        mark = self.stream.mark()
        self.sources.append((mark, value))
        return Sent(copied, mark)

    def receive(self, sent: Sent[V]) -> V:
        assert sent.mark is not None
        self.stream.await_mark(sent.mark)
        return mapped(sent.value, self._lent)

    def close(self) -> None:
        while self.sources:
            self.sources.popleft()[0].synchronize()

    def _lent(self, tensor: Tensor) -> Tensor:
        self.stream.lend(tensor)
        return tensor


def copier_of(device: torch.device) -> Copier:
    """What brings batches to a device."""
    return StreamCopier(device, CudaStream(device)) if device.type == "cuda" else Copier(device)
