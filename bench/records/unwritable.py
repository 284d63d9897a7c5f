"""Faults of a folder of results: a full disk, somebody else's folder, a lost mount, a file in the place of a folder.

None of them is a run's doing: no run may be blamed, and a failure could often not even be recorded.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from bench.errors import InputError

FOLDERS = ("cache", "checkpoints", "claims", "damaged", "drafts", "failed", "runs", "shared")
"""What a folder of results has in it that those who train write to."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)
_NO_ANSWER = (errno.EIO, errno.ESTALE)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
_FAULTS = (*_NO_FOLDER, *_NO_ANSWER, *_NOT_ALLOWED)
NOT_NOW = (*_NO_ANSWER, *_NOT_ALLOWED)
"""What says nothing of a file's content: that it may not be read, or that its file system fails."""


CLOSED = "it cannot be read"
"""How the reason begins of a record that may be sound, but that this user may not read, or its file system does not."""

OPEN_IT = "have its owner change that ('ls -ld' says who it is), or see to its disk"


class Unwritable(InputError):
    """Nothing can be written to the results, or to a part of them: no run is to blame."""


def closed(folder: Path, reason: str) -> Unwritable:
    """The error where a record is closed: a sound one must neither be moved away nor be trained again."""
    return Unwritable(
        f"{folder}: {reason}; nothing is trained in its place: {OPEN_IT}, then run the same command again"
    )


@contextlib.contextmanager
def writing_to(results: str | Path) -> Iterator[None]:
    """Inside, a fault of the folder of results is told as what it is. Raises ``Unwritable`` then."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Unwritable) or not (reason := why_unwritable(error, results)):
            raise
        raise Unwritable(reason) from error


def why_unwritable(error: BaseException, results: str | Path) -> str:
    """What is wrong with a folder of results, in a sentence; empty where an error has another cause.

    Where there is no room, an error that names no file counts too, and one that another error hides. Of any other
    fault, those count that name one of ``FOLDERS``, or what is in it.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _NO_ROOM:
            return "" if _place(seen, Path(results)) is None else _no_room(seen.errno, results)
        for number in _NO_ROOM:
            if type(seen).__name__ == "SafetensorError" and f"os error {number})" in str(seen):
                return _no_room(number, results)
        seen = seen.__cause__ or seen.__context__
    seen = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FAULTS and (place := _place(seen, Path(results))) in FOLDERS:
            return _faulty(seen.errno, Path(results) / place)
        seen = seen.__cause__
    return ""


def _place(error: OSError, results: Path) -> str | None:
    """The part of the results that an error names; empty where it names no file, None where it is elsewhere."""
    names = [name for name in (error.filename, error.filename2) if isinstance(name, (str, os.PathLike))]
    for path in map(Path, names):
        as_named = (Path(os.path.abspath(path)), Path(os.path.abspath(results)))
        for file, root in (as_named, (path.resolve(), results.resolve())):
            if root in file.parents:
                return file.relative_to(root).parts[0]
    return None if names else ""


def _no_room(number: int, results: str | Path) -> str:
    advice = "have it made writable" if number == errno.EROFS else "make room"
    reason = f"nothing more can be written there: {os.strerror(number)}"
    return f"{results}: {reason}; what is done is kept: {advice}, then run the same command again"


def _faulty(number: int, folder: Path) -> str:
    if number in _NO_FOLDER:
        reason, advice = "a file is in the place of this folder", "move it away"
    elif number in _NO_ANSWER:
        reason, advice = f"its file system fails: {os.strerror(number)}", "see to its disk or mount"
    else:
        reason = f"this user may not write there: {os.strerror(number)}"
        advice = "have its owner change that ('ls -ld' says who it is)"
    return f"{folder}: {reason}; no run is to blame, what is done is kept: {advice}, then run the same command again"
