"""What a process does to the files below a folder, counted; and something done at one of these moments.

Seen are the interpreter's audit events (opening to write, making, renaming, linking, touching and removing files), the
writes of files that Python opened, and syncs. Of a write at which something is done, one half has reached the file.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Act = Callable[[str, str], None]
"""Told the name of an operation and of its file, just before it is done."""

_EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.utime", "os.truncate")
_MAKING = ("open", "write", "os.fsync", "os.mkdir", "os.rename", "os.link")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def kill(name: str, path: str) -> None:
    """End this process as the system does where memory is short: at once, with nothing put in order."""
    os.kill(os.getpid(), signal.SIGKILL)


def no_space(name: str, path: str) -> None:
    """Answer as a full disk does; removing is possible there."""
    if name in _MAKING:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Operations:
    """Counts from its making on, for the rest of this process's life.

    Args:
        root: of the files that count.
        act: what is done.
        at: the number of the operation at which it is done, from 1; 0 for never.
        until: the number of the last such operation; by default ``at``.
    """

    def __init__(self, root: Path, act: Act = kill, at: int = 0, until: int = 0) -> None:
        self.root, self.act, self.at, self.until = str(root), act, at, until or at
        self.names: list[str] = []
        self.plain, self.sync = io.open, os.fsync
        sys.addaudithook(self._heard)
        io.open = builtins.open = self._open
        os.fsync = self._fsync  # type: ignore[assignment]

    @property
    def is_next(self) -> bool:
        """Whether something is done at the operation that comes."""
        return self.at <= len(self.names) + 1 <= self.until

    def step(self, name: str, path: Any) -> None:
        """An operation comes."""
        now = self.is_next
        self.names.append(f"{name} {Path(os.fsdecode(path)).name}")
        if now:
            self.act(name, os.fsdecode(path))

    def below(self, path: Any) -> bool:
        """Whether a path is one of those that count."""
        return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(self.root)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if self.below(path) and (flags & _WRITES or (mode and set(mode) & set("wax+"))):
                self.step("open", path)
        elif event in _EVENTS and (self.below(arguments[0]) or (event in ("os.remove", "os.rmdir") and self._inside())):
            self.step(event, arguments[0])

    def _inside(self) -> bool:
        """Whether a name without a folder is one of ours; a tree is removed from within."""
        return True

    def _open(self, file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        if not set(mode) & set("wax+") or not self.below(file):
            return self.plain(file, mode, buffering, *more, **named)
        raw = _File(os.fsdecode(file), mode.replace("b", "").replace("t", ""), self)
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffer
        names = ("encoding", "errors", "newline")
        return io.TextIOWrapper(buffer, **{**dict(zip(names, more, strict=False)), **named})

    def _fsync(self, handle: int) -> None:
        self.step("os.fsync", os.readlink(f"/proc/self/fd/{handle}"))
        self.sync(handle)


class _File(io.FileIO):
    """A file whose writes count."""

    def __init__(self, path: str, mode: str, operations: Operations) -> None:
        super().__init__(path, mode)
        self.told, self.operations, self.writes = path, operations, 0

    def write(self, data: Any, /) -> int:
        self.writes += 1
        if self.writes & (self.writes - 1):  # of a hundred small ones the 1st, 2nd, 4th, 8th ... count
            return super().write(data) or 0
        if self.operations.is_next:
            super().write(bytes(data)[: len(data) // 2])
        self.operations.step("write", self.told)
        return super().write(data) or 0
