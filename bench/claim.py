"""Claims: of several processes that could do a piece of work, one does it, even on a network file system.

A claim is a file that its owner creates and keeps young; the claim of an owner that died grows old and is taken away,
at once where it can be seen that the owner's process is gone. Nothing relies on locks. In the worst case, a claim that
seems old on a stalled file system, a piece is done twice; so what is claimed must be harmless to repeat.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BEAT, OLD = 5.0, 60.0
"""Seconds between signs of life, and without one after which an owner counts as dead."""


@contextlib.contextmanager
def claimed(path: Path, beat: float = BEAT, old: float = OLD) -> Iterator[bool]:
    """Whether the claim is ours inside; it is given back at the end.

    Where another has it, this waits for a sign of life: at most a beat if its owner lives, at most until the claim is
    old if not.

    Args:
        path: the claim's file; its folder is made where it is missing.
        beat: seconds between signs of life.
        old: seconds without one after which another owner's claim is taken away.
    """
    token = uuid.uuid4().hex
    if not _take(path, token, old):
        yield False
        return
    ended = threading.Event()
    keeper = threading.Thread(target=_keep_young, args=(path, token, beat, ended), daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        ended.set()
        keeper.join()
        if _owner(path).get("token") == token:
            path.unlink(missing_ok=True)


def wait_for(found: Callable[[], bool], path: Path, pause: float = 1.0) -> None:
    """Sleep until something is found, or the claim at ``path`` is gone or its owner dead."""
    while not found() and path.exists() and not _is_dead(path, OLD):
        time.sleep(pause)


def is_held(path: Path, old: float = OLD) -> bool:
    """Whether a claim is there and its owner, as far as can be seen, alive."""
    return path.exists() and not _is_dead(path, old)


def _take(path: Path, token: str, old: float) -> bool:
    """Create the claim, once that of a dead owner is out of the way; False if its owner lives."""
    first = None
    while not _create(path, token):
        if _is_dead(path, old):
            _take_away(path, old)
            time.sleep(0.01)
            continue
        seen = _touched(path)
        if _lives_here(_owner(path)) or (first is not None and seen not in (None, first)):
            return False
        first = first if first is not None else seen
        time.sleep(0.1)
    return True


def _create(path: Path, token: str) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps({**_this_process(), "token": token}))
    except FileExistsError:
        return False
    return True


def _owner(path: Path) -> dict[str, Any]:
    """Who made a claim; empty where that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        owner = json.loads(path.read_text(encoding="utf-8"))
        return owner if isinstance(owner, dict) else {}
    return {}


def _is_dead(path: Path, old: float) -> bool:
    owner = _owner(path)
    return (_is_here(owner) and not _lives_here(owner)) or _is_old(path, old)


def _is_here(owner: dict[str, Any]) -> bool:
    """Whether an owner is, or was, a process that this one can see."""
    return owner.get("machine") is not None and owner["machine"] == _this_process()["machine"]


def _lives_here(owner: dict[str, Any]) -> bool:
    return _is_here(owner) and owner.get("started") == _started(owner.get("pid"))


@functools.lru_cache(maxsize=1)
def _machine() -> str | None:
    """This boot of this machine and its view of processes; None where that cannot be known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "machine": _machine(), "pid": pid, "started": _started(pid)}


def _started(pid: object) -> str | None:
    """When a process of this machine was started, in ticks; None where there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if status[0] in "ZX" else status[19]
    except (OSError, IndexError):
        return None


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _is_old(path: Path, old: float) -> bool:
    """Both times are the file system's: the clocks of machines differ."""
    probe = path.with_name(f".now.{uuid.uuid4().hex[:8]}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime > old
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def _take_away(path: Path, old: float) -> None:
    """Move a dead owner's claim away. Of several that try one succeeds; one that is alive after all is put back."""
    away = path.with_name(f".old.{uuid.uuid4().hex[:8]}")
    with contextlib.suppress(OSError):
        path.rename(away)
        if not _is_dead(away, old):
            with contextlib.suppress(OSError):
                os.link(away, path)
        away.unlink(missing_ok=True)


def _keep_young(path: Path, token: str, beat: float, ended: threading.Event) -> None:
    while not ended.wait(beat):
        if _owner(path).get("token") == token:
            with contextlib.suppress(OSError):
                os.utime(path)
