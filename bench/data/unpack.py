"""Archives, unpacked so that nothing leaves the folder and nothing half-done is taken for whole."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NoReturn

from tqdm import tqdm

from bench.errors import InputError

MOST_TIMES, FREE_BYTES = 100, 1 << 28
"""How many times its own size an archive may grow beyond the first quarter of a gigabyte: images hardly grow."""

_ENTRY = 512  # bytes that a member counts for at least, however empty it is
_PIECE = 1 << 20


def unpack(archive: Path, into: Path, rename: Mapping[str, str] | None = None) -> None:
    """Unpack a tar or zip file, compressed or not.

    All of it is unpacked beside the place first and then moved there, one rename for each thing at its top; what is
    there already is kept. Only plain files and folders are taken, and of their modes and times nothing. ``rename`` has
    other names for things at its top.

    Raises:
        InputError: it is no archive, is damaged, holds a link, a device or a path that leaves the folder, or would
            grow to far more than it is.
    """
    room = FREE_BYTES + MOST_TIMES * archive.stat().st_size
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=into, ignore_cleanup_errors=True) as folder:
        staging = Path(folder)
        try:
            for name, content in _members(archive):
                room -= _place(staging, name, content, archive, room)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{archive}: cannot be unpacked: {error}") from error
        for entry in sorted(staging.iterdir()):
            target = into / (rename or {}).get(entry.name, entry.name)
            if not target.exists():
                os.rename(entry, target)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """The name and the content of each member; None for a folder."""
    if zipfile.is_zipfile(archive):
        yield from _of_zip(archive)
    elif tarfile.is_tarfile(archive):
        yield from _of_tar(archive)
    else:
        raise InputError(f"{archive}: is neither a tar nor a zip file")


def _of_tar(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(archive, "r|*") as content, _bar(archive) as bar:
        for member in content:
            if not (member.isfile() or member.isdir()):
                raise InputError(f"{archive}: holds {member.name!r}, which is a link or a device")
            yield member.name, content.extractfile(member)
            bar.update(1)


def _of_zip(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as content, _bar(archive) as bar:
        for member in content.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise InputError(f"{archive}: holds {member.filename!r}, which is a link or a device")
            if member.is_dir():
                yield member.filename, None
            else:
                with content.open(member) as file:
                    yield member.filename, file
            bar.update(1)


def _place(staging: Path, name: str, content: IO[bytes] | None, archive: Path, room: int) -> int:
    """Write a member where it belongs; returns the bytes that it takes, which may be no more than there is room for."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\\" in name or "\0" in name:
        raise InputError(f"{archive}: holds {name!r}, a path that leaves the folder")
    target = staging.joinpath(*path.parts)
    (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
    taken = _ENTRY
    if content is not None:
        with target.open("wb") as file:
            while taken <= room and (piece := content.read(_PIECE)):
                taken += file.write(piece)
    if taken > room:
        raise InputError(f"{archive}: would grow to more than {MOST_TIMES} times its size; it is not unpacked")
    return taken


def _bar(archive: Path) -> tqdm[NoReturn]:
    return tqdm(unit=" files", desc=f"unpack {archive.name}", disable=None)
