"""What tests of several parts share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.device import interrupt
from bench.launch import LocalExecutor
from bench.plan.architectures import architectures
from bench.reading.settings import VARIABLES

# pytest -n has a process a core: threads of torch beside it only wait for each other. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def timm_was_asked() -> None:
    """timm's names are kept for this machine, so that no test prints that they are asked for, whichever is first."""
    architectures(print)


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    """No test begins with the stop that another has asked its run for."""
    interrupt.clear()
    yield
    interrupt.clear()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, in which no run may be trained; a screen of 100 columns, and nothing named once."""

    def refuse(*args: object) -> None:
        raise AssertionError("runs would be trained")

    monkeypatch.setattr(LocalExecutor, "execute", refuse)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    return folder
