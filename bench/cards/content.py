"""What somebody's own images mean: a digest of their names and bytes, whatever the folder is called."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from bench.cards.backbone import file_sha256
from bench.cards.folder_options import FolderOptions
from bench.cards.folders import user_cache
from bench.cards.layout import ImageLayout
from bench.errors import InputError
from bench.spec import digest

MANY_BYTES = 200_000_000
"""Of images that were hashed: from here on, what was computed is kept for other processes."""

_SETTLED = 2e9
"""Nanoseconds after which a file that is written once more has another time on every file system."""

_Stamp = tuple[int, ...]
_hashed: dict[str, tuple[_Stamp, str]] = {}
_looked_up = set[Path]()


def content_digest(layout: ImageLayout, options: FolderOptions) -> str:
    """12 hexadecimal digits of the names and bytes of images and masks, of labels in tables, and of what was chosen.

    A file is hashed once for as long as it is the same by what the system says: its inode, size and times. Raises
    ``InputError`` where one cannot be read.
    """
    file = _file_of(layout.root)
    if layout.root not in _looked_up:
        _looked_up.add(layout.root)
        _hashed.update(_kept(file))
    running, computed = hashlib.sha256(), 0
    for stated, name in layout.hashed:
        sha256, size = _sha256(f"{layout.root}/{name}")
        computed += size
        # a name may be no UTF-8
        running.update(f"{stated}{name}\0{sha256}\n".encode(errors="surrogateescape"))
    if computed >= MANY_BYTES:
        _keep(file, (f"{layout.root}/{name}" for _, name in layout.hashed))
    means, chosen = running.hexdigest()[:12], options.as_options | layout.stated
    return digest([means, chosen]) if chosen else means


def _sha256(path: str) -> tuple[str, int]:
    """The SHA-256 of a file, and how many bytes were read for it."""
    now = time.time_ns()
    try:
        seen = os.stat(path)
        stamp = (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if (earlier := _hashed.get(path)) and earlier[0] == stamp:
            return earlier[1], 0
        computed = file_sha256(Path(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if now - max(seen.st_mtime_ns, seen.st_ctime_ns) > _SETTLED:
        _hashed[path] = (stamp, computed)
    return computed, seen.st_size


def _file_of(root: Path) -> Path:
    """Where what was computed of a folder is kept: in the user's cache, which may be deleted at any time."""
    return user_cache() / "digests" / f"{digest(str(root))}.json"


def _kept(file: Path) -> dict[str, tuple[_Stamp, str]]:
    """What a process computed; nothing where it cannot be read."""
    try:
        return {path: (tuple(stamp), sha256) for path, (stamp, sha256) in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(file: Path, paths: Iterable[str]) -> None:
    """Keep what was computed of some files, if the cache can be written."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}.draft")
        draft.write_text(json.dumps({path: _hashed[path] for path in paths if path in _hashed}), encoding="utf-8")
        draft.replace(file)
