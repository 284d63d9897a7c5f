"""Paths that people type, and where data and weights that do not come with the package lie."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from bench.errors import InputError, hidden


def data_folder() -> Path:
    """Where datasets lie, each in a folder of its name: ``$BENCH_DATA``, or else ``data`` in the current folder."""
    return Path(os.environ.get("BENCH_DATA") or "data").expanduser().absolute()


def user_cache() -> Path:
    """What may be deleted at any time and is no result: ``finetune-bench`` in the user's cache.

    As the standard says, an ``$XDG_CACHE_HOME`` that is relative counts for nothing.
    """
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (stated if stated.is_absolute() else Path(os.path.expanduser("~/.cache"))) / "finetune-bench"


def converted_weights(name: str) -> Path:
    """Where the converted weights of a backbone lie: ``weights/NAME.safetensors`` in the data folder."""
    return data_folder() / "weights" / f"{name}.safetensors"


def typed_path(text: str | Path) -> Path:
    """A path as it was typed, with somebody's home folder in the place of a ``~``; whether it exists is not asked.

    Raises ``InputError``: nothing can have this path: it is empty or too long, or names a user that there is not; or it
    has characters that steer a terminal.
    """
    if not str(text):
        raise InputError("'' is no path; give a file or a folder ('.' is the current one)")
    if odd := hidden(str(text)):
        raise InputError(f"{text}: a path with the character U+{ord(odd):04X} cannot be printed; rename it")
    try:
        path = Path(text).expanduser()
        path.lstat()
    except RuntimeError:
        raise InputError(f"{text}: there is no such user; write ./~... for a name that begins with ~") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{text}: a path cannot be so long") from None
    return path


def real_path(path: str | Path) -> Path:
    """The path that a typed one leads to, which may be printed as well as that one. Raises as ``typed_path``."""
    return typed_path(os.path.realpath(typed_path(path)))


def stays_inside(name: object) -> bool:
    """Whether a name in a card is that of something in a folder: relative, and never up."""
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name or PureWindowsPath(name).drive:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
