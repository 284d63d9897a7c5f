"""Files are read whole, however they come, and nothing but files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.reading.ordinary import open_ordinary, read_ordinary


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100_000])
@pytest.mark.parametrize("part", [7, 1 << 30], ids=["in parts", "at once"])
def test_it_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, part: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    read = os.read
    monkeypatch.setattr("os.read", lambda handle, count: read(handle, min(count, part)))
    assert read_ordinary(tmp_path / "file") == content


def test_one_that_is_longer_than_it_says_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    monkeypatch.setattr("bench.reading.ordinary._size", lambda handle, path: 4)
    assert read_ordinary(tmp_path / "file") == b"0123456789"


@pytest.mark.parametrize("read", [read_ordinary, open_ordinary])
def test_what_is_no_file_is_refused_and_nothing_stays_open(tmp_path: Path, read: object) -> None:
    assert callable(read)
    os.mkfifo(tmp_path / "pipe")
    handle = os.open(tmp_path, os.O_RDONLY)
    os.close(handle)
    for name, error in (("pipe", "no ordinary file"), (".", "directory"), ("none", "No such file")):
        with pytest.raises(OSError, match=error):
            read(tmp_path / name)
    again = os.open(tmp_path, os.O_RDONLY)
    os.close(again)
    assert again == handle
