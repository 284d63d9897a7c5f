"""The process that times steps: what kills it for one kind of work does not keep the others from being timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import bench
from bench.cost import measure as measuring
from bench.cost.step_times import read_times
from bench.errors import InputError
from bench.records.store import Store
from bench.spec import RunSpec

TIMER = """
import dataclasses, json, os, signal, sys
from bench.cost.step_times import StepTime, work_of
from bench.spec import from_json
for spec in map(from_json, json.load(sys.stdin)["specs"]):
    if spec.method.name == "gta":
        {end}
    time = StepTime(work_of(spec), "a machine", False, 0.1, 0.01, 10)
    print(json.dumps(dataclasses.asdict(time)), flush=True)
"""


def three(monkeypatch: pytest.MonkeyPatch, end: str) -> list[RunSpec]:
    """Runs of three methods, for the second of which the process that times them ends."""
    monkeypatch.setattr(measuring, "program", lambda module: [sys.executable, "-c", TIMER.format(end=end)])
    plan = bench.read_plan("demo", bench.Registry(), bench.Overrides(methods="ce,gta,bss", rates="15", seeds="1"))
    return list(plan.unique.values())


def test_work_that_is_killed_for_its_memory_is_told_and_the_rest_is_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs, store = three(monkeypatch, "os.kill(os.getpid(), signal.SIGKILL)"), Store(tmp_path)
    told = list(measuring.measure(runs, bench.Registry(), store))
    assert [line.split()[0] for line in told] == ["ce", "gta", "bss"]
    assert "a step of 32 images: not measured: killed (SIGKILL), as where memory is short" in told[1]
    assert [time.work.method for time in read_times(store)] == ["ce", "bss"]


def test_another_end_is_told_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the process that times steps ended: exit code 7"):
        list(measuring.measure(three(monkeypatch, "sys.exit(7)"), bench.Registry(), Store(tmp_path)))
