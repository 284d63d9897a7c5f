"""A metric that a plug-in folder brings, that of docs/running.md: it is found, computed, and can be asked for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bench import Registry
from bench.cli import main
from bench.metrics import Predictions

PAGE = (Path(__file__).parent.parent / "docs" / "running.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(import numpy.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine" / "metrics" / "worst_class.py"
    file.parent.mkdir(parents=True)
    file.write_text(EXAMPLE, encoding="utf-8")
    return tmp_path / "mine"


def test_it_is_computed_of_what_was_predicted(mine: Path) -> None:
    metric = Registry([mine]).metrics["worst_class"]
    # right are 2 of 2 images of class 0, 1 of 4 of class 2; class 1 has none
    predictions = Predictions(predicted=np.array([0, 0, 2, 0, 0, 1]), labels=np.array([0, 0, 2, 2, 2, 2]))
    assert metric.of(predictions) == 25
    assert (metric.heading, metric.sign) == ("worst class (%)", 1)


def test_it_can_be_asked_for(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = ["--plugin", str(mine)]
    assert main(["list", "metrics", *here]) == 0
    assert main(["table", "demo", "--metric", "top1,worst_class", "--results", str(tmp_path), *here]) == 0
    printed = capsys.readouterr().out
    assert printed.count("worst class (%)") >= 2
