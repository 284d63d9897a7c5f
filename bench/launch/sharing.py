"""Several runs on one GPU: which may begin beside which.

As many go at a time as there are workers; or, by memory, as many as the peaks say that finished runs of their kinds
had. Of a kind of which no peak is at hand the first run is trained alone. A run that meets too little memory beside
others is neither divided into parts, which would change its bits, nor failed: it is trained again alone, and from then
on memory decides.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.process import send
from bench.records.record import Record
from bench.records.store import Store, slug
from bench.spec import RunSpec, short_name

CONTEXT = 1e9
"""Bytes of a GPU that a process is reckoned to take beside what its run allocates."""

SHARE = 0.9
"""Of the memory that was free on a GPU, as much is filled."""

HOST = 2e9
"""Bytes of the machine that a run is reckoned to need where no run of its kind has been measured."""

_READ = 200
"""Records that are read for their peaks."""


class MemoryKind(NamedTuple):
    """What decides the memory that a run takes, as far as its spec tells."""

    method: str
    backbone: str
    image_size: int
    batch_size: int
    precision: str
    norm_batch: int
    features: str


class Peak(NamedTuple):
    """The most bytes that a run took: of its GPU, as torch held them, and of the machine."""

    gpu: float
    host: float = HOST


@dataclass(frozen=True)
class Sharing:
    """How the runs of a launch share GPUs.

    Attributes:
        by_memory: whether memory decides from the beginning how many go at a time.
        peaks: what is measured of kinds.
        host: bytes of the machine that all of them may take.
        mps: whether NVIDIA's multi-process service is to serve them.
    """

    by_memory: bool = False
    peaks: Mapping[MemoryKind, Peak] = field(default_factory=dict)
    host: float = math.inf
    mps: bool = False

    def ordered(self, runs: Iterable[RunSpec]) -> list[RunSpec]:
        """Runs in the order in which they are begun: by memory, those first that show what their kinds need."""
        ordered = list(runs)
        if not self.by_memory:
            return ordered
        firsts = {kind_of(run): run.id for run in reversed(ordered) if kind_of(run) not in self.peaks}
        return sorted(ordered, key=lambda run: firsts.get(kind_of(run)) != run.id)


class Placement:
    """Which runs are on which GPU, and which may begin there.

    A GPU is what its workers have as CUDA_VISIBLE_DEVICES; what is called None is none, and takes every run.
    """

    def __init__(self, sharing: Sharing) -> None:
        self.by_memory = sharing.by_memory
        self._peaks, self._host = dict(sharing.peaks), sharing.host
        self._running: dict[str | None, dict[str, RunSpec]] = {}
        self._most: dict[str, int] = {}
        self._memory: dict[str | None, float] = {}
        self._alone: set[str] = set()

    def measure(self, gpu: str | None, free: float | None) -> None:
        """Note the bytes that were free on a GPU when its first worker was ready."""
        if free:
            self._memory.setdefault(gpu, SHARE * free)

    def room(self, gpu: str | None, runs: Iterable[RunSpec]) -> int:
        """How many of some runs, in their order, could begin on a GPU beside those that are there."""
        beside = self.on(gpu)
        count = 0
        for run in runs:
            if not self._fits(gpu, beside, run):
                break
            beside.append(run)
            count += 1
        return count

    def on(self, gpu: str | None) -> list[RunSpec]:
        """The runs in training on a GPU."""
        return list(self._running.get(gpu, {}).values())

    def begin(self, gpu: str | None, run: RunSpec) -> int:
        """A run begins on a GPU; gives how many there are on it now."""
        if gpu is None:
            return 1
        runs = self._running.setdefault(gpu, {})
        runs[run.id] = run
        self._most[run.id] = 1
        for each in runs:
            self._most[each] = max(self._most[each], len(runs))
        return len(runs)

    def end(self, gpu: str | None, run: RunSpec) -> None:
        """A run has ended, however."""
        self._running.get(gpu, {}).pop(run.id, None)

    def was_shared(self, run: RunSpec) -> bool:
        """Whether a run had others beside it."""
        return self._most.get(run.id, 1) > 1

    def learn(self, run: RunSpec, peak: Sequence[float] | None) -> None:
        """Note what a finished run took, as its worker says it."""
        if peak:
            add_peak(self._peaks, kind_of(run), Peak(*peak))

    def crowd(self, run: RunSpec) -> None:
        """A run had too little memory beside others: it is trained alone, and its kind measured anew."""
        self.by_memory = True
        self._alone.add(run.id)
        self._peaks.pop(kind_of(run), None)

    def _fits(self, gpu: str | None, beside: Sequence[RunSpec], run: RunSpec) -> bool:
        if gpu is None or not beside:
            return True
        if self._is_alone(run) or any(map(self._is_alone, beside)):
            return False
        if not self.by_memory:
            return True
        elsewhere = [each for name in self._running if name != gpu for each in self.on(name)]
        peaks = [self._peaks[kind_of(each)] for each in (*beside, run)]
        host = sum(peak.host for peak in peaks)
        host += sum(self._peaks.get(kind_of(each), Peak(0)).host for each in elsewhere)
        needed = sum(peak.gpu for peak in peaks) + CONTEXT * (len(peaks) - 1)
        return needed <= self._memory.get(gpu, 0.0) and host <= self._host

    def _is_alone(self, run: RunSpec) -> bool:
        return run.id in self._alone or (self.by_memory and kind_of(run) not in self._peaks)


def kind_of(run: RunSpec) -> MemoryKind:
    """The kind of a run: the dataset is not in it, nor are hyper-parameters."""
    protocol = run.protocol
    sizes = protocol.image_size, protocol.batch_size, protocol.precision, protocol.norm_batch
    return MemoryKind(run.method.full_name, run.backbone.name.partition("@")[0], *sizes, protocol.features)


def add_peak(peaks: dict[MemoryKind, Peak], kind: MemoryKind, peak: Peak) -> None:
    """Add a measured peak: of several the highest counts."""
    earlier = peaks.get(kind, Peak(0, 0))
    peaks[kind] = Peak(max(earlier.gpu, peak.gpu), max(earlier.host, peak.host))


def peaks_of(store: Store, runs: Iterable[RunSpec]) -> dict[MemoryKind, Peak]:
    """What finished runs of the same kinds took, as the records of some of them say."""
    kinds = {kind_of(run) for run in runs}
    names = tuple({slug(short_name(kind.backbone)) for kind in kinds})
    cells: dict[str, list[str]] = {}
    for run in store.finished().values():
        cells.setdefault(run.folder.rpartition("-seed-")[0], []).append(run.folder)
    first = sorted(cells.values(), key=lambda folders: not any(name in folders[0] for name in names))
    folders = [folder for each in first for folder in each[-2:]][:_READ]
    peaks: dict[MemoryKind, Peak] = {}
    for record, _ in store.records(folders):
        kind, peak = kind_of(record.run), peak_of(record)
        if kind in kinds and peak:
            add_peak(peaks, kind, peak)
    return peaks


def peak_of(record: Record) -> Peak | None:
    """What a run took; None where it used no GPU, was computed in parts, or its record does not say it."""
    usage = record.usage
    if usage is None or not usage.gpu_reserved_bytes or (record.parts or 1) > 1:
        return None
    return Peak(usage.gpu_reserved_bytes, usage.memory_bytes or HOST)


def tell(process: subprocess.Popen[bytes], count: int, *, begins: bool) -> None:
    """Tell a worker how many runs there are on its GPU, when its run begins or another one has begun."""
    send(process, {"sharing": count, "begins": begins})
