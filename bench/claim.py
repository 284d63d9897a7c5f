"""Claims: of several processes that could do a piece of work, one does it, even on a network file system.

A claim is a file that its owner creates and keeps young; the claim of an owner that died grows old and is taken away.
Nothing relies on locks. In the worst case, a claim that seems old on a stalled file system, a piece is done twice;
so what is claimed must be harmless to repeat.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

BEAT, OLD = 5.0, 60.0
"""Seconds between signs of life, and without one after which an owner counts as dead."""


@contextlib.contextmanager
def claimed(path: Path, beat: float = BEAT, old: float = OLD) -> Iterator[bool]:
    """Whether the claim is ours inside; it is given back at the end.

    Args:
        path: the claim's file; its folder is made where it is missing.
        beat: seconds between signs of life.
        old: seconds without one after which another owner's claim is taken away.
    """
    if not _create(path) and not (_is_old(path, old) and _take_away(path, old) and _create(path)):
        yield False
        return
    ended = threading.Event()
    keeper = threading.Thread(target=_keep_young, args=(path, beat, ended), daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        ended.set()
        keeper.join()
        path.unlink(missing_ok=True)


def wait_for(found: Callable[[], bool], path: Path, pause: float = 1.0) -> None:
    """Sleep until something is found, or the claim at ``path`` is gone or old."""
    while not found() and path.exists() and not _is_old(path, OLD):
        time.sleep(pause)


def _create(path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}\n")
    except FileExistsError:
        return False
    return True


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


def _take_away(path: Path, old: float) -> bool:
    """Move a dead owner's claim away. Of several that try one succeeds; a claim that is young after all is put back."""
    away = path.with_name(f".old.{uuid.uuid4().hex[:8]}")
    try:
        path.rename(away)
    except OSError:
        return False
    young = not _is_old(away, old)
    if young:
        with contextlib.suppress(OSError):
            os.link(away, path)
    away.unlink(missing_ok=True)
    return not young


def _keep_young(path: Path, beat: float, ended: threading.Event) -> None:
    while not ended.wait(beat):
        with contextlib.suppress(OSError):
            os.utime(path)
