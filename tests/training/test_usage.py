"""What a run took, as it is measured; and that nothing is invented where nothing can be measured."""

from __future__ import annotations

import json
import mmap
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.records.record import Energy, Usage
from bench.training import usage
from bench.training.usage import Counter, Meter, Power, add
from tests.scenes import as_plain

MEGA = 2**20


@pytest.fixture(autouse=True)
def no_counters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without energy counters, whatever this one has."""
    monkeypatch.setattr(usage, "_RAPL", tmp_path / "powercap")
    return tmp_path / "powercap"


def zone(root: Path, name: str, joules: float, about: str = "package-0") -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{about}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")
    advance(folder / "energy_uj", joules)
    return folder / "energy_uj"


def advance(counter: Path, joules: float) -> None:
    """As the kernel does it: who reads meanwhile sees the old value or the new one, never an empty file."""
    fresh = counter.with_suffix(".new")
    fresh.write_text(f"{round(joules * 1e6)}\n")
    fresh.replace(counter)


class TestMeter:
    def test_plain_data_and_nothing_invented(self) -> None:
        with Meter() as meter:
            told = as_plain(meter.read())
        assert json.loads(json.dumps(told)) == told
        assert told["parts"] == 1
        assert told["gpu_memory_bytes"] is None
        assert told["energy_joules"] == {"processor": None, "gpu": None}

    def test_sleeping_takes_time_but_no_processor(self) -> None:
        meter = Meter()
        time.sleep(0.3)
        slept = as_plain(meter.read())
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        worked = as_plain(meter.read())
        assert slept["seconds"] >= 0.3
        assert slept["cpu_seconds"] < 0.15
        assert worked["cpu_seconds"] - slept["cpu_seconds"] >= 0.19

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets the peak of a process")
    def test_the_peak_is_that_of_this_run(self) -> None:
        """A worker trains one run after the other; the peak of an earlier one is not the next one's."""
        before = Meter().read().memory_bytes
        meter = Meter()
        with mmap.mmap(-1, 200 * MEGA) as block:  # of the allocator's, a part may be in memory already
            for page in range(0, len(block), mmap.PAGESIZE):
                block[page] = 1
        high, after = meter.read().memory_bytes, Meter().read().memory_bytes
        assert before is not None
        assert high is not None
        assert after is not None
        assert high >= before + 190 * MEGA
        assert after <= high - 150 * MEGA

    def test_a_peak_that_cannot_be_known_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        peaks = iter([500, 500, 700])
        monkeypatch.setattr(usage, "_peak", lambda: next(peaks))
        monkeypatch.setattr(Path, "write_text", _refuse)
        read = usage._begin_resident()
        assert read() is None, "it was as high before the run began"
        assert read() == 700

    def test_a_resumed_run_is_the_sum_of_its_parts(self) -> None:
        first = msgspec.structs.replace(Meter().read(), seconds=100.0, cpu_seconds=50.0, memory_bytes=10**15)
        second = Meter(earlier=first).read()
        told = as_plain(second)
        assert told["parts"] == 2
        assert 100 <= told["seconds"] < 110
        assert 50 <= told["cpu_seconds"] < 60
        assert told["memory_bytes"] == 10**15
        assert Meter(earlier=second).read().parts == 3

    def test_energy_is_followed_until_the_end(self, no_counters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(usage, "INTERVAL", 0.01)
        counter, threads = zone(no_counters, "intel-rapl:0", 10), threading.active_count()
        with Meter() as meter:
            assert threading.active_count() == threads + 1
            followed = meter.energy["processor"]
            assert isinstance(followed, Counter)
            advance(counter, 262143.328)
            until(lambda: followed.last == [262143.328])
            advance(counter, 1)  # it has started again
            told = meter.read().energy_joules.processor
        assert told == pytest.approx(262143.328 - 10 + 1, abs=0.01)
        until(lambda: threading.active_count() == threads)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _refuse(*_: Any, **__: Any) -> None:
    raise PermissionError


def test_two_parts_together() -> None:
    part = Usage(1, 1.5, 1.0, memory_bytes=100, gpu_memory_bytes=7, energy_joules=Energy(2.0, None))
    other = Usage(1, 1.5, 1.0, memory_bytes=50, gpu_memory_bytes=None, energy_joules=Energy(3.0, 1.0))
    assert add(None, part) == part
    together = Usage(2, 3.0, 2.0, memory_bytes=100, gpu_memory_bytes=None, energy_joules=Energy(5.0, None))
    assert add(part, other) == together


class TestProcessorEnergy:
    def test_packages_are_summed_and_parts_of_them_are_not(self, tmp_path: Path) -> None:
        first, second = zone(tmp_path, "intel-rapl:0", 5), zone(tmp_path, "intel-rapl:1", 7, "package-1")
        zone(tmp_path, "intel-rapl:0:0", 1, "core")
        zone(tmp_path, "intel-rapl:2", 9, "psys")
        energy = usage._processor_energy(tmp_path)
        assert energy is not None
        first.write_text("6000000\n")
        second.write_text("9500000\n")
        assert energy.read() == 3.5

    def test_counters_that_only_root_may_read(self, tmp_path: Path) -> None:
        zone(tmp_path, "intel-rapl:0", 5).unlink()
        assert usage._processor_energy(tmp_path) is None

    def test_what_cannot_be_read_any_more_is_not_known(self) -> None:
        values = iter([[1.0], None, [9.0]])
        counter = Counter(lambda: next(values), [0.0], follow=True)
        assert counter.read() is None
        assert Counter(lambda: [1.0], [0.0], follow=True).read() == 0


class TestGpuEnergy:
    def test_counters_of_the_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        millijoules = {"GPU-a": 1000, "GPU-b": 5000}
        nvml = SimpleNamespace(
            nvmlInit=lambda: None,
            nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
            nvmlDeviceGetTotalEnergyConsumption=lambda handle: millijoules[handle],
        )
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        energy = usage._gpu_counters(["GPU-a", "GPU-b"])
        assert energy is not None
        millijoules["GPU-b"] = 7500
        assert energy.read() == 2.5
        assert not energy.follow

    def test_a_gpu_without_a_counter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=_refuse))
        assert usage._gpu_counters(["GPU-a"]) is None

    def test_power_now_and_then(self) -> None:
        now, watts = [0.0], [100.0]
        power = Power(lambda: watts[0], clock=lambda: now[0])
        assert power.read() is None, "nothing was asked yet"
        power.sample()
        now[0] = 2.0
        assert power.read() == 200
        watts[0] = 50.0
        power.sample()
        assert power.read() == 100
        now[0] = 3.0
        assert power.read() == 150

    def test_power_as_the_tool_says_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text('#!/bin/sh\n[ "$1" = --id=GPU-a,GPU-b ] && printf "61.5\\n100.25\\n"\n')
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert usage._gpu_watts(["GPU-a", "GPU-b"]) == 161.75
        tool.write_text("#!/bin/sh\necho '[N/A]'\n")
        assert usage._gpu_watts(["GPU-a"]) is None
        tool.unlink()
        assert usage._gpu_watts(["GPU-a"]) is None
