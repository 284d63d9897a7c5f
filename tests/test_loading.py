"""Files that are run as modules."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.reading.loading import load_file


def test_a_file_is_run_as_it_is_now_whatever_python_keeps_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's cache of compiled code goes by time and size, which another text may have too."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "mine.py"
    for value in (1, 2):
        path.write_text(f"VALUE = {value}\n", encoding="utf-8")
        os.utime(path, (1, 1))
        assert value == load_file("methods", path, f"text {value}").VALUE
    assert [file.name for file in tmp_path.iterdir()] == ["mine.py"]
