"""How many seconds of CPU each test takes, with the processes that it starts: ``pytest -p tests.cpu``, with ``-n`` too.

The wall clock of a busy machine says little. Below the results stand the sums by part, by file and by test, the dearest
first; ``--cpu-to FILE`` writes a line a test, by which two runs can be compared. What a process costs that is neither
waited for nor below the one that runs the test (a daemon of a cluster) is not seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

import pytest

SHOWN = 25
TICKS = os.sysconf("SC_CLK_TCK")
PARTS = ("slurm", "slow", "quick")

_spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
"""Seconds of CPU and of the clock, by test."""
_parts: dict[str, str] = {}
_last = (0.0, 0.0)


def now() -> tuple[float, float]:
    """Seconds of CPU that this process and those below it have taken so far; and the clock."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used) + sum(map(_of, _below(os.getpid()))), time.monotonic()


def _below(pid: int) -> Iterable[int]:
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from _below(child)


def _of(pid: int) -> float:
    """Seconds that a living process has taken, with its children that have ended."""
    with contextlib.suppress(OSError):
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15])) / TICKS
    return 0.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cpu-to", metavar="FILE", help="write what each test took: a JSON line with its name, its part, "
                     "seconds of CPU and of the clock")  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a phase took goes with its report to the process that prints."""
    global _last
    report = yield
    before, _last = _last, now()
    part = next((part for part in PARTS if item.get_closest_marker(part)), "quick")
    seconds = [after - earlier for after, earlier in zip(_last, before, strict=True)]
    report.cpu = (part, *(seconds if before[1] else (0.0, 0.0)))  # type: ignore[attr-defined]
    return report


def pytest_collection_finish() -> None:
    global _last
    _last = now()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if taken := getattr(report, "cpu", None):
        _parts[report.nodeid] = taken[0]
        for number, seconds in enumerate(taken[1:]):
            _spent[report.nodeid][number] += seconds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The sums, and the file that was asked for."""
    if not _spent:
        return
    if path := config.getoption("--cpu-to"):
        lines = (json.dumps([name, _parts[name], *(round(each, 3) for each in took)]) for name, took in _spent.items())
        Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    files = {name: name.partition("::")[0] for name in _spent}
    terminalreporter.section("seconds of CPU, and of the clock")
    for title, group in (("part", _parts), ("file", files), ("test", {name: name for name in _spent})):
        terminalreporter.line(f"by {title}")
        sums = _summed(group)
        for name in sorted(sums, key=lambda name: -sums[name][0])[:SHOWN]:
            terminalreporter.line(f"{sums[name][0]:8.1f} {sums[name][1]:8.1f}  {name}")
    whole = sum(took[0] for took in _spent.values())
    terminalreporter.line(f"{whole:8.1f} of all tests; to collect them comes on top, in each process")


def _summed(group: Mapping[str, str]) -> dict[str, list[float]]:
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name, took in _spent.items():
        for number, seconds in enumerate(took):
            sums[group[name]][number] += seconds
    return sums
