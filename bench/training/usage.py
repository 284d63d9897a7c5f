"""What a run took: time, memory, and energy where it can be read without privileges."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.records.record import Energy, Usage

INTERVAL = 20.0
"""Seconds between two readings of what must be followed: a processor's counter starts again after some minutes."""

_RAPL = Path("/sys/class/powercap")


class Meter:
    """Measures from its making on; a context that ends the following of energy.

    Energy is that of whole processors and GPUs while the run lasted, what else ran on them included.

    Args:
        earlier: what the earlier parts of a resumed run took, as ``read`` gave it.
    """

    def __init__(self, earlier: Usage | None = None) -> None:
        self.earlier = earlier
        self.clock, self.processor = time.perf_counter(), time.process_time()
        self.resident = _begin_resident()
        _begin_gpu_memory()
        self.energy = {"processor": _processor_energy(), "gpu": _gpu_energy()}
        self.ended = threading.Event()
        if any(energy is not None and energy.follow for energy in self.energy.values()):
            threading.Thread(target=self._follow, daemon=True).start()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()

    def read(self) -> Usage:
        """What was taken so far, earlier parts included."""
        energy = {name: counter.read() if counter else None for name, counter in self.energy.items()}
        usage = Usage(
            parts=1,
            seconds=round(time.perf_counter() - self.clock, 3),
            cpu_seconds=round(time.process_time() - self.processor, 3),
            memory_bytes=self.resident(),
            gpu_memory_bytes=_gpu_memory("max_memory_allocated"),
            energy_joules=Energy(**energy),
            gpu_reserved_bytes=_gpu_memory("max_memory_reserved"),
        )
        return add(self.earlier, usage)

    def _follow(self) -> None:
        while True:
            for energy in self.energy.values():
                if energy is not None:
                    energy.sample()
            if self.ended.wait(INTERVAL):
                return


def add(a: Usage | None, b: Usage) -> Usage:
    """What two parts of a run took together: times and energies summed, of peaks the higher.

    What is not known of one part is not known of both. ``None`` stands for no part.
    """
    if a is None:
        return b
    return Usage(
        parts=a.parts + b.parts,
        seconds=round(a.seconds + b.seconds, 3),
        cpu_seconds=round(a.cpu_seconds + b.cpu_seconds, 3),
        memory_bytes=_both(a.memory_bytes, b.memory_bytes, max),
        gpu_memory_bytes=_both(a.gpu_memory_bytes, b.gpu_memory_bytes, max),
        energy_joules=Energy(
            _both(a.energy_joules.processor, b.energy_joules.processor, _sum),
            _both(a.energy_joules.gpu, b.energy_joules.gpu, _sum),
        ),
        gpu_reserved_bytes=_both(a.gpu_reserved_bytes, b.gpu_reserved_bytes, max),
    )


def _sum(joules: list[float]) -> float:
    return round(sum(joules), 3)


def _both(a: Any, b: Any, joined: Callable[[list[Any]], Any]) -> Any:
    return None if a is None or b is None else joined([a, b])


class Counter:
    """Joules since it was made, from counters that only rise and start again at their end.

    Args:
        read: the counters' values in joules, or None where they cannot be read.
        ends: the value at which each starts again; 0: never.
        follow: whether it must be read now and then.
    """

    def __init__(self, read: Callable[[], list[float] | None], ends: list[float], follow: bool) -> None:
        self.counters, self.ends, self.follow = read, ends, follow
        self.last, self.joules = read(), 0.0
        self.lock = threading.Lock()

    def sample(self) -> None:
        """Read the counters before they start again."""
        self.read()

    def read(self) -> float | None:
        """Joules so far; None once a counter could not be read."""
        with self.lock:
            now = self.counters()
            if now is None or self.last is None:
                self.last = None
                return None
            for new, old, end in zip(now, self.last, self.ends, strict=True):
                self.joules += new - old if new >= old else new - old + end
            self.last = now
            return round(self.joules, 3)


class Power:
    """Joules since it was made, from the power asked for now and then.

    Args:
        watts: the power now, or None where it cannot be read.
        clock: seconds.
    """

    follow = True

    def __init__(self, watts: Callable[[], float | None], clock: Callable[[], float] = time.perf_counter) -> None:
        self.watts, self.clock = watts, clock
        self.since, self.joules = clock(), 0.0
        self.last: float | None = None
        self.lock = threading.Lock()

    def sample(self) -> None:
        """Ask for the power: it stands for the time since the last sample."""
        watts = self.watts()
        with self.lock:
            now = self.clock()
            self.joules, self.since, self.last = self.joules + (watts or 0.0) * (now - self.since), now, watts

    def read(self) -> float | None:
        """Joules so far, without asking, which is slow: the last power has lasted. None before the first sample."""
        with self.lock:
            if self.last is None:
                return None
            return round(self.joules + self.last * (self.clock() - self.since), 3)


def _begin_resident() -> Callable[[], int | None]:
    """Begin to follow the peak of the resident memory; gives what reads it, in bytes.

    The kernel keeps the peak of a process's life. Where it cannot be told to forget it, the peak since the beginning
    is known only if it has risen since.
    """
    forgotten = False
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        forgotten = True
    start = _peak()

    def read() -> int | None:
        peak = _peak()
        return peak if peak is not None and start is not None and (forgotten or peak > start) else None

    return read


def _peak() -> int | None:
    """The peak of this process's resident memory, in bytes."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _begin_gpu_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)


def _gpu_memory(peak: str) -> int | None:
    """A peak of torch's statistics, of the GPU with the most."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return max(int(getattr(torch.cuda, peak)(number)) for number in range(torch.cuda.device_count()))


def _processor_energy(root: Path | None = None) -> Counter | None:
    """The counters of the processors (RAPL, microjoules); None where there are none or only root may read them."""
    packages = sorted((root or _RAPL).glob("intel-rapl:[0-9]"))  # a subzone, intel-rapl:0:1, is a part of its package
    packages = [path for path in packages if _text(path / "name").startswith("package")]
    ends = [float(_text(path / "max_energy_range_uj") or 0) / 1e6 for path in packages]

    def read() -> list[float] | None:
        try:
            return [int((path / "energy_uj").read_text(encoding="ascii")) / 1e6 for path in packages]
        except (OSError, ValueError):
            return None

    return Counter(read, ends, follow=True) if packages and read() is not None else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _gpu_energy() -> Counter | Power | None:
    """The energy of the GPUs that this process may use: their counters, or else their power now and then."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    uuids = [f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in range(torch.cuda.device_count())]
    return _gpu_counters(uuids) or Power(lambda: _gpu_watts(uuids))


def _gpu_counters(uuids: list[str]) -> Counter | None:
    """NVIDIA's counters (millijoules since the driver was loaded), where its bindings are installed."""
    try:
        pynvml = importlib.import_module("pynvml")
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
    except Exception:  # no bindings, no library, an old GPU: the bindings have an exception for each
        return None

    def read() -> list[float] | None:
        try:
            return [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3 for handle in handles]
        except Exception:
            return None

    return Counter(read, [0.0] * len(handles), follow=False) if read() is not None else None


def _gpu_watts(uuids: list[str]) -> float | None:
    """The power of some GPUs together, as NVIDIA's tool says it."""
    asked = ("nvidia-smi", f"--id={','.join(uuids)}", "--query-gpu=power.draw", "--format=csv,noheader,nounits")
    try:
        run = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
        return sum(float(line) for line in run.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
