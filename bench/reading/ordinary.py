"""Files that are ordinary ones: a pipe would wait for a writer, and a device need never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_PART = 1 << 20
"""Bytes asked for at a time of a file that is longer than it says, or is given in parts."""


def open_ordinary(path: str | Path) -> BinaryIO:
    """Open a file for reading, without a buffer of its own. Raises ``OSError`` where it is none, or no ordinary one."""
    handle = os.open(path, _FLAGS)
    try:
        _size(handle, path)
        return os.fdopen(handle, "rb", buffering=0)
    except BaseException:
        os.close(handle)
        raise


def read_ordinary(path: str | Path) -> bytes:
    """The content of an ordinary file. Raises ``OSError`` as ``open_ordinary``."""
    handle = os.open(path, _FLAGS)
    try:
        size = _size(handle, path)
        content = os.read(handle, size + 1)
        if len(content) == size:  # nothing stands behind what was its end
            return content
        parts = [content]
        while part := os.read(handle, _PART):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _size(handle: int, path: str | Path) -> int:
    """Bytes of an open file. Raises ``OSError`` where it is no ordinary one."""
    status = os.fstat(handle)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
    return status.st_size
