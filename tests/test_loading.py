"""Files that are run as modules."""

from __future__ import annotations

import os
import py_compile
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import pytest

from bench.reading.loading import load_file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    return tmp_path / "mine.py"


def write(path: Path, value: int) -> None:
    """A module of this value; all of them have one size and one time."""
    path.write_text(f"VALUE = {value}\n", encoding="utf-8")
    os.utime(path, (1, 1))


def value_of(path: Path, means: str) -> int:
    return int(load_file("methods", path, means).VALUE)


def constants(loader: SourceFileLoader) -> tuple[object, ...]:
    code = loader.get_code(loader.name)
    assert code is not None
    return code.co_consts


def test_a_file_is_run_as_it_is_now_whatever_python_keeps_of_it(path: Path) -> None:
    """Python's cache of compiled code goes by time and size, which another text may have too."""
    write(path, 1)
    py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    for value in (2, 3):
        write(path, value)
        assert value_of(path, f"text {value}") == value


def test_a_file_is_compiled_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    compile_source = SourceFileLoader.source_to_code

    def counted(self: SourceFileLoader, *arguments: Any, **options: Any) -> object:
        compiled.append(arguments)
        return compile_source(self, *arguments, **options)

    monkeypatch.setattr(SourceFileLoader, "source_to_code", counted)
    write(path, 1)
    assert [value_of(path, means) for means in ("one", "two")] == [1, 1]
    assert len(compiled) == 1


def test_python_reads_what_is_kept_too(path: Path) -> None:
    """By Python's own rules: of these bytes, and of no others."""
    write(path, 1)
    load_file("methods", path, "one")
    loader = SourceFileLoader("mine", str(path))
    assert constants(loader)[0] == 1
    write(path, 2)
    assert constants(loader)[0] == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 16, "cut"], ids=["empty", "another version", "cut"])
def test_what_is_kept_may_be_damaged(path: Path, content: bytes | str) -> None:
    write(path, 1)
    load_file("methods", path, "one")
    kept = Path(cache_from_source(str(path)))
    kept.write_bytes(kept.read_bytes()[:20] if isinstance(content, str) else content)
    assert value_of(path, "two") == 1


def test_a_folder_with_another_name(path: Path) -> None:
    """Its files are compiled again: an error in them is shown where it is now."""
    path.parent.joinpath("first").mkdir()
    first = path.parent / "first" / "mine.py"
    first.write_text("def files():\n    return {__file__, files.__code__.co_filename}\n", encoding="utf-8")
    load_file("methods", first, "one")
    second = first.parent.rename(path.parent / "second") / "mine.py"
    assert load_file("methods", second, "two").files() == {str(second)}
