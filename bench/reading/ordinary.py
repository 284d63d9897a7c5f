"""Files that are ordinary ones: a pipe would wait for a writer, and a device need never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_ordinary(path: str | Path) -> BinaryIO:
    """Open a file for reading, without a buffer of its own. Raises ``OSError`` where it is none, or no ordinary one."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        return os.fdopen(handle, "rb", buffering=0)
    except BaseException:
        os.close(handle)
        raise


def read_ordinary(path: str | Path) -> bytes:
    """The content of an ordinary file. Raises ``OSError`` as ``open_ordinary``."""
    with open_ordinary(path) as file:
        return file.read()
