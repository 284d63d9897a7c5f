"""Limits of containers, read from pretended files of both cgroups; and how many runs go at a time by them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.device import limits
from bench.device.limits import cpu_limit, memory_limit, usable_cores
from bench.launch import local

GB = 10**9
V1 = "12:memory:{0}\n4:cpu,cpuacct:{0}\n1:name=systemd:/elsewhere\n"


def tree(root: Path, groups: str, files: Mapping[str, str]) -> Path:
    """A root with what a process is in, and files under ``/sys/fs/cgroup``."""
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": files[name] for name in files}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cpus", "memory"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n", "memory.max": "4000000000\n"}, 2.5, 4 * GB),
        ("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        ("0::/\n", {}, None, None),
        # the least of a group and of those around it
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "100000 50000", "cpu.max": "max 1"}, 2.0, None),
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "7", "other/memory.max": "1"}, None, 7),
        ("0::/a/b\n", {"a/b/memory.max": "6", "a/memory.max": "7"}, None, 6),
        # the path is the host's, and the container's own group is all that is there
        ("0::/docker/1f\n", {"cpu.max": "50000 100000", "memory.max": "9"}, 0.5, 9),
        ("0::/../../x\n", {"cpu.max": "50000 100000", "memory.max": "9"}, 0.5, 9),
        (
            V1.format("/"),
            {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"},
            1.5,
            None,
        ),
        (
            V1.format("/docker/1f"),
            {
                "cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "-1\n",
                "cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000\n",
                "cpu/docker/cpu.cfs_quota_us": "300000\n",
                "cpu/docker/cpu.cfs_period_us": "100000\n",
                "memory/docker/1f/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/memory.limit_in_bytes": "8000000000\n",
            },
            3.0,
            8 * GB,
        ),
        (V1.format("/"), {"memory/memory.limit_in_bytes": "9223372036854771712"}, None, None),
        # both: version 2 counts nothing there
        (
            V1.format("/") + "0::/\n",
            {"unified/cgroup.procs": "1", "memory/memory.limit_in_bytes": "5"},
            None,
            5,
        ),
        ("nonsense\n::\n0\n", {"cpu.max": "1 0"}, None, None),
        ("0::/\n", {"cpu.max": "many\n", "memory.max": "\n"}, None, None),
    ],
)
def test_limits(tmp_path: Path, groups: str, files: Mapping[str, str], cpus: float | None, memory: int | None) -> None:
    root = tree(tmp_path, groups, files)
    assert (cpu_limit(root), memory_limit(root)) == (cpus, memory)


def test_where_there_are_no_groups(tmp_path: Path) -> None:
    assert (cpu_limit(tmp_path), memory_limit(tmp_path)) == (None, None)


@pytest.mark.parametrize(
    ("cpus", "memory", "cores", "jobs"),
    [
        ("max 100000", "max", 16, 16),
        ("350000 100000", "max", 3, 3),
        ("50000 100000", "max", 1, 1),
        ("max 100000", str(9 * GB), 16, 4),
        ("6400000 100000", str(GB), 16, 1),
    ],
)
def test_so_many_runs_go_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: str, memory: str, cores: int, jobs: int
) -> None:
    """On a machine of 16 cores with plenty of memory."""
    monkeypatch.setattr(limits, "ROOT", tree(tmp_path, "0::/\n", {"cpu.max": cpus, "memory.max": memory}))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10**8, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert (usable_cores(), local.default_jobs()) == (cores, jobs)
