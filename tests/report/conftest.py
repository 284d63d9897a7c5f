"""A page and the folder that it was made in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli import main
from tests.report.scenes import TARGET, made


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, its records, and the page of it: ``page.html``."""
    folder = tmp_path_factory.mktemp("grid")
    made(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        assert main(["report", TARGET, "--output", "page.html"]) == 0
    return folder
