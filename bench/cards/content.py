"""What somebody's own images mean: a digest of their names and bytes, whatever the folder is called."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from bench.cards.backbone import file_sha256
from bench.cards.folder_options import FolderOptions
from bench.cards.layout import ImageLayout
from bench.spec import digest

_SETTLED = 2e9
"""Nanoseconds after which a file that is written once more has another time on every file system."""

_hashed: dict[str, tuple[tuple[int, ...], str]] = {}


def content_digest(layout: ImageLayout, options: FolderOptions) -> str:
    """12 hexadecimal digits of the images' names and bytes, of labels that stand in tables, and of what was chosen.

    Raises ``InputError`` where a file cannot be read.
    """
    running = hashlib.sha256()
    for split, images in layout.splits.items():
        for image in images:
            stated = f"{split}\0{image.label}\0" if layout.from_tables else ""
            line = f"{stated}{image.name}\0{_sha256(layout.root / image.name)}\n"
            running.update(line.encode(errors="surrogateescape"))  # a name may be no UTF-8
    means = running.hexdigest()[:12]
    return digest([means, options.as_options]) if options.as_options else means


def _sha256(path: Path) -> str:
    """The SHA-256 of a file, computed once in a process for as long as the file is the same by what the system says."""
    now, seen = time.time_ns(), os.stat(path)
    stamp = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
    if (kept := _hashed.get(str(path))) and kept[0] == stamp:
        return kept[1]
    computed = file_sha256(path)
    if now - max(seen.st_mtime_ns, seen.st_ctime_ns) > _SETTLED:
        _hashed[str(path)] = (stamp, computed)
    return computed
