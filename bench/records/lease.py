"""Claims: of several processes that could do a piece of work, one does it, even on a network file system.

A claim is a file that its owner creates and keeps young; the claim of an owner that died grows old and is taken away.
Where the owner's process can be seen, it counts whether that is there, and not how old the claim is. Nothing relies on
locks. In the worst case, a claim that seems old on a stalled file system, a piece is done twice; so what is claimed
must be harmless to repeat.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.reading.ordinary import read_ordinary

BEAT, OLD = 5.0, 60.0
"""Seconds between signs of life, and without one after which an owner counts as dead."""

_STUBBORN = 100
"""Looks at a claim that is gone each time and yet in the way, after which it is said why it cannot be seen."""

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""What a file system without hard links answers."""


@contextlib.contextmanager
def claimed(path: Path, beat: float = BEAT, old: float = OLD) -> Iterator[bool]:
    """Whether the claim is ours inside; it is given back at the end.

    Where another has it, this waits for a sign of life: at most a beat (in seconds) if its owner lives, at most until
    the claim is old if not; then it is taken away. Raises ``OSError``, which names the claim: it cannot be written, or
    another's cannot be read; nothing of it is left.
    """
    token = uuid.uuid4().hex
    try:
        ours = _take(path, token, old)
    except OSError as error:  # what it names was there for a moment only
        raise OSError(error.errno, error.strerror, str(path)) from error
    if not ours:
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
            with contextlib.suppress(OSError):  # what cannot be removed ends with this process
                path.unlink()


def wait_for(is_there: Callable[[], bool], path: Path, pause: float = 1.0) -> None:
    """Sleep until something is found, or the claim at ``path`` is gone or its owner dead."""
    watch = ClaimWatch(path, OLD)
    while not is_there() and watch.is_held():
        time.sleep(pause)


def is_held(path: Path, old: float = OLD) -> bool:
    """Whether a claim is there and its owner, as far as can be seen, alive."""
    return ClaimWatch(path, old).is_held()


class _Sight(NamedTuple):
    """What was seen of a claim: its content, and when it was last touched, in ns of the file system's clock."""

    content: bytes
    touched: int


class ClaimWatch:
    """Looks at a claim, again and again, for signs of life; ``seen`` is what the last look saw, None for no claim."""

    def __init__(self, path: Path, old: float = OLD) -> None:
        self.path, self.old = path, old
        self.seen: _Sight | None = None
        self.since = time.monotonic()

    def is_held(self) -> bool:
        """Look: whether a claim is there and its owner, as far as can be seen, alive."""
        return self.look() in ("lives", "unknown")

    def look(self) -> str:
        """``"gone"``, ``"dead"``, ``"lives"``, or ``"unknown"`` where only further looks can tell.

        An owner that cannot be seen is dead when its claim is old by the file system's clock; or when nothing happened
        to it for as long while it was looked at, since a clock that was set back makes claims of the future.
        """
        earlier, self.seen = self.seen, _sight(self.path)
        if self.seen is None:
            return "gone"
        if earlier != self.seen:
            self.since = time.monotonic()
        owner = _parsed(self.seen.content)
        if owner.get("machine") is not None and owner["machine"] == _machine():  # a process that this one can see
            started = _started(owner.get("pid"))
            return "lives" if started is not None and owner.get("started") == started else "dead"
        if earlier not in (None, self.seen):
            return "lives"
        is_dead = time.monotonic() - self.since > self.old or _is_old(self.path, self.old)
        return "dead" if is_dead else "unknown"


def _take(path: Path, token: str, old: float) -> bool:
    """Create the claim, once that of a dead owner is out of the way; False if its owner lives."""
    watch = ClaimWatch(path, old)
    unseen = 0
    while not _create(path, token):
        state = watch.look()
        if state == "lives":
            return False
        if state == "dead" and watch.seen:
            _take_away(path, watch.seen, token, old)
        unseen = unseen + 1 if state == "gone" else 0
        if unseen > _STUBBORN:
            path.stat()
        time.sleep(0.1 if state == "unknown" else 0.01)
    return True


def _create(path: Path, token: str) -> bool:
    """Make a claim, whole or not at all; False where there is one."""
    if os.path.lexists(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**_this_process(), "token": token})
    draft = path.with_name(f".new.{uuid.uuid4().hex}")
    try:
        draft.write_text(content, encoding="utf-8")
        os.link(draft, path)
    except FileExistsError:
        return draft.stat().st_nlink == 2  # on NFS, where the answer to a link that was made may be lost
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_without_link(path, content)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return True


def _create_without_link(path: Path, content: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _sight(path: Path) -> _Sight | None:
    """What there is to see of a claim; None where there is none."""
    try:
        touched = path.stat().st_mtime_ns
    except OSError:
        return None
    with contextlib.suppress(OSError):
        return _Sight(read_ordinary(path), touched)
    return _Sight(b"", touched)


def _owner(path: Path) -> dict[str, Any]:
    """Who made a claim; empty where that cannot be read."""
    sight = _sight(path)
    return _parsed(sight.content) if sight else {}


def _parsed(content: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        owner = json.loads(content)
        return owner if isinstance(owner, dict) else {}
    return {}


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
    if not isinstance(pid, int):
        return None
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return None if status[0] in "ZX" else status[19]
    except (OSError, IndexError):
        return None


def _is_old(path: Path, old: float) -> bool:
    """Both times are the file system's: the clocks of machines differ. Where it is read-only this one's has to do."""
    probe = path.with_name(f".now.{uuid.uuid4().hex}")
    try:
        try:
            probe.touch()
            moment = probe.stat().st_mtime
        except OSError:
            moment = time.time()
        return moment - path.stat().st_mtime > old
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _take_away(path: Path, seen: _Sight, token: str, old: float) -> None:
    """Remove a dead owner's claim, if it is still the one that was seen; one process at a time does this.

    Without that, of two processes that saw the dead claim the slower one could remove what the quicker one has put in
    its place.
    """
    turn = path.with_name(f".turn.{path.name}")
    if not _create(turn, token):
        if ClaimWatch(turn, old).look() == "dead":  # it died in the lines below
            turn.unlink(missing_ok=True)
        return
    try:
        if _sight(path) == seen:
            path.unlink(missing_ok=True)
        _sweep(path.parent, turn.stat().st_mtime - max(old, OLD))
    finally:
        turn.unlink(missing_ok=True)


def _sweep(folder: Path, oldest: float) -> None:
    """Remove what killed processes left of the files that exist for a moment only."""
    for left in (*folder.glob(".new.*"), *folder.glob(".now.*")):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < oldest:
                left.unlink()


def _keep_young(path: Path, token: str, beat: float, ended: threading.Event) -> None:
    while not ended.wait(beat):
        if _owner(path).get("token") == token:
            with contextlib.suppress(OSError):
                os.utime(path)
