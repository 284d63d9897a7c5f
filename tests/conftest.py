"""What tests of several parts share."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.device import interrupt
from bench.launch import LocalExecutor
from bench.plan import architectures
from bench.reading.settings import VARIABLES
from tests.warm import forking

# pytest -n has a process a core: threads of torch beside it only wait for each other. Before torch is imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# commands that tests start find what Python has compiled of the suite, as they do where people type them
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``pytest -n`` goes through the tests file by file, unless another way is asked for."""
    from tests.spread import ByFile

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def asked_here() -> Any:
    """What timm says of its names, in this process: most tests import it anyhow."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        architectures.main()
    return json.loads(said.getvalue())


@pytest.fixture(scope="session", autouse=True)
def timm_was_asked() -> None:
    """timm's names are kept for this machine, so that no test prints that they are asked for, whichever is first."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(architectures, "_ask", asked_here)
        architectures.architectures(print)


@pytest.fixture(autouse=True)
def no_request() -> Iterator[None]:
    """No test begins with the stop that another has asked its run for."""
    interrupt.clear()
    yield
    interrupt.clear()


@pytest.fixture
def compiler() -> None:
    """Skip where torch finds no C++ compiler for its kernels; where CI is set that is a failure, so that it is seen."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        reason = "torch.compile needs a C++ compiler (g++)"
        if os.environ.get("CI"):
            pytest.fail(f"CI must have it: {reason}")
        pytest.skip(reason)


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


@pytest.fixture
def warm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Processes of bench that a slow test starts are forked from one that has imported everything, which takes long."""
    with forking() if request.node.get_closest_marker("slow") else contextlib.nullcontext():
        yield
