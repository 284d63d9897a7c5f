"""CKA and drift by layer as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import InputError
from bench.figures.figure import sketches_of
from bench.records.measured import Measurement, folder_of, stem_of, write_measurement
from tests.tables.drawn import EXPERIMENT, STEPS, drawing, off_the_page, on_one_another, scene

ONE_RATE = EXPERIMENT.replace("rates: [15, 100]", "rates: [15]").replace("[0.1, 1, 10]", "1")
NAMES = np.array([*(f"blocks.{number}" for number in range(12)), "features"])


def measured(subject: Any, name: str, methods: tuple[str, ...] = ("Fine-tune", "BSS", "GTA")) -> None:
    """Write what a measure would have written of the runs of some methods: 0.1 a seed and 0.01 a layer."""
    for entry in subject.table.finished:
        if entry.planned.name not in methods:
            continue
        for spec in entry.cell.runs:
            root = subject.records.scores.root
            path = folder_of(root, spec.id) / f"{stem_of(name, str(STEPS[-1]), 'test', {})}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            facts: dict[str, Any] = {"point": "30", "split": "test", "images": 9, "of": 9, "options": {}, "numbers": {}}
            more: dict[str, Any] = {"remarks": [], "seconds": 1.0, "environment": {}, "arrays": True}
            top1 = subject.records.finished[spec.id].values[-1][2]
            measurement = Measurement(
                measure=name, code="", model="", top1=top1, run=spec.id, label="", **facts, **more
            )
            values = 0.1 * (1 + spec.seed) + 0.01 * np.arange(len(NAMES))
            write_measurement(path, measurement, {"layers": NAMES, name: values})


@pytest.mark.slow
def test_a_line_of_each_method_is_the_mean_of_its_seeds(tmp_path: Path) -> None:
    subject = scene(tmp_path, ONE_RATE, split="test")
    measured(subject, "cka")
    measured(subject, "drift")
    figure = drawing("layers", subject)
    assert [axes.get_title() for axes in figure.axes] == ["CKA", "drift"]
    for axes in figure.axes:
        lines = [line for line in axes.lines if np.size(line.get_xdata()) == len(NAMES)]
        assert len(lines) == 3
        for line in lines:
            assert np.allclose(np.asarray(line.get_ydata()), 0.15 + 0.01 * np.arange(13))
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["1", "3", "5", "7", "9", "11", "out"]
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []


def test_a_measure_that_lacks_a_method_is_left_out(tmp_path: Path) -> None:
    subject = scene(tmp_path, ONE_RATE)
    measured(subject, "cka", ("BSS",))
    measured(subject, "drift")
    assert [axes.get_title() for axes in drawing("layers", subject).axes] == ["drift"]


def test_what_was_not_measured_names_the_command(tmp_path: Path) -> None:
    subject = scene(tmp_path, ONE_RATE)
    with pytest.raises(
        InputError, match="neither CKA nor drift was measured of every method; 'bench measure mine cka drift'"
    ):
        sketches_of("layers", subject)
