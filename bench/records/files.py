"""Files on any file system: written whole or not at all, on disk before they get their name, many read at a time."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

THREADS = 32
"""Files looked at at a time: on a network file system each takes a while, in which others can be asked for."""

_BATCH = 1024
"""Files whose content is in memory at a time."""

_SAMPLE = 16
_AT_HAND = 1e-4
"""Seconds of waiting for a file below which it is at hand."""

_STAMP = (1 << 63) - 1
"""The bits of a stamp: as many as a file of them has room for."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. Raises ``OSError`` that names it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        draft.replace(path)
    except OSError as error:  # a write that fails does not say of which file
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Inside, an ``OSError`` that does not say of which file it is, as where a write fails, names this path."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def place_also(source: Path, target: Path) -> None:
    """Have a file under a second name too: without a copy, where the file system can. Raises ``OSError``."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def in_threads(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """What ``work``, which looks at a file, gives for each item, in order.

    Threads are used where the first few items were mostly waited for, as on a network file system. Where files are at
    hand they would only hinder each other.
    """
    started, worked = time.perf_counter(), time.thread_time()
    first = [work(item) for item in items[:_SAMPLE]]
    waited = time.perf_counter() - started - (time.thread_time() - worked)
    rest = items[_SAMPLE:]
    if not rest or waited < _SAMPLE * _AT_HAND:
        return first + [work(item) for item in rest]
    from concurrent.futures import ThreadPoolExecutor

    batches = [rest[start : start + _SAMPLE] for start in range(0, len(rest), _SAMPLE)]  # a task of one costs too much
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(lambda batch: [work(item) for item in batch], batches)
        return [*first, *itertools.chain.from_iterable(results)]


def in_batches(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> Iterator[tuple[_Item, _Result]]:
    """As ``in_threads``, each item with what is given for it; no more than so many of these are in memory at a time."""
    for start in range(0, len(items), _BATCH):
        batch = items[start : start + _BATCH]
        yield from zip(batch, in_threads(work, batch), strict=True)


def stamps_in(place: str, folders: Sequence[str], name: str) -> dict[str, int]:
    """For each of some folders at a place, a number that changes with the file of this name in it; 0 without one."""

    def stamp(folder: str) -> int:
        try:
            status = os.stat(f"{place}/{folder}/{name}")
        except OSError:
            return 0
        return (status.st_mtime_ns ^ status.st_size) & _STAMP  # a clock that is off may say a year beyond 2262

    return dict(zip(folders, in_threads(stamp, folders), strict=True))


def sync(path: Path) -> None:
    """Have the file or folder on disk before it gets its name. Raises ``OSError`` where it is not."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # a disk that is full may say so only now
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # as network file systems do for folders
            raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(handle)
