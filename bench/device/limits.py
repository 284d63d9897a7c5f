"""What a container, or another control group, lets its processes use: CPUs and memory, of which the machine has more.

Both versions of Linux's cgroups are read, from the files under ``/sys/fs/cgroup``. A group is limited by those around
it, too, so the least of all of them counts. In a container its own group is often all that can be seen, as the root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
"""Of the file system; another one has the same files in its place."""

_UNLIMITED = 1 << 60
"""Version 1 says in bytes that there is no limit: about 2 to the power of 63."""


def usable_cores() -> int:
    """The cores whose time this process has, by its affinity and by its groups: at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, cpu_limit() or cores)))


def cpu_limit(root: Path | None = None) -> float | None:
    """How many CPUs' time this process's groups have together; None where nothing limits it."""
    return min(_limits(root or ROOT, "cpu", _cpus_of_v2, _cpus_of_v1), default=None)


def memory_limit(root: Path | None = None) -> int | None:
    """How many bytes of memory this process's groups have; None where nothing limits it."""
    limits = [int(limit) for limit in _limits(root or ROOT, "memory", _bytes_of_v2, _bytes_of_v1)]
    return min((limit for limit in limits if limit < _UNLIMITED), default=None)


Read = Callable[[Path], float]
"""The limit that a group's folder states. Raises ``ValueError`` or ``OSError`` where it states none."""


def _limits(root: Path, controller: str, of_v2: Read, of_v1: Read) -> Iterator[float]:
    """What each group states that this process is in."""
    for folder, read in _folders(root, controller, of_v2, of_v1):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            limit = read(folder)
            if limit > 0:
                yield limit


def _folders(root: Path, controller: str, of_v2: Read, of_v1: Read) -> Iterator[tuple[Path, Read]]:
    """The folders of this process's groups that limit what a controller controls, and of the groups around them."""
    mounted = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:  # 0::/a/b of version 2, 4:cpu,cpuacct:/a/b of version 1
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        path = PurePosixPath(name.lstrip("/"))
        within = [] if ".." in path.parts else [path, *path.parents]
        if number == "0" and not controllers:
            tops, read = [mounted, mounted / "unified"], of_v2
        elif controller in controllers.split(","):
            tops, read = [mounted / controller, mounted / controllers], of_v1
        else:
            continue
        # where the path is the host's, as seen from a container, only the root is there
        places = dict.fromkeys(top / part for top in tops for part in [*within, PurePosixPath()])
        yield from ((place, read) for place in places)


def _cpus_of_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    return int(quota) / int(period)


def _cpus_of_v1(folder: Path) -> float:
    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
    return int(quota) / int(period)


def _bytes_of_v2(folder: Path) -> float:
    return int((folder / "memory.max").read_text(encoding="utf-8"))


def _bytes_of_v1(folder: Path) -> float:
    return int((folder / "memory.limit_in_bytes").read_text(encoding="utf-8"))
