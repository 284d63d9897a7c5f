"""Figures of landscapes: drawn from what was measured, the usual way first, or one line that says what measures it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.errors import InputError
from bench.figures.figure import about, is_of_run
from bench.figures.scene import Scene
from bench.measure import Option
from bench.measures.landscape import MEASURE, positions_of
from bench.records.measured import Measurement, folder_of, stem_of, write_measurement
from bench.spec import RunSpec
from tests.tables.drawn import EXPERIMENT, STEPS, drawing, off_the_page, on_one_another, scene
from tests.tables.test_gaps import ends

KINDS = {"landscape": 1, "landscape_plane": 2}
ONE_RATE = EXPERIMENT.replace("rates: [15, 100]", "rates: [15]")


def landscape(spec: RunSpec, dimensions: int, points: int, slope: float) -> dict[str, Any]:
    """A bowl of loss, and an accuracy that falls beside it."""
    positions = positions_of(points, 1.0)
    away = np.stack([np.abs(positions), 2 * np.abs(positions)])
    if dimensions == 2:
        away = np.hypot.outer(positions, positions)
    loss = 0.3 + slope * away**2 + 0.1 * spec.seed
    return {"positions": positions, "loss": loss, "accuracy": 80 - 60 * np.minimum(away, 1.0)}


def measured(subject: Scene, dimensions: int, slope: float = 2.0, images: int = 500, **options: Option) -> Scene:
    """The scene with its runs' landscapes measured."""
    chosen: dict[str, Option] = {**options, **({"dimensions": dimensions} if dimensions != 1 else {})}
    every = {**MEASURE.options, **chosen}
    stem = stem_of("landscape", str(STEPS[-1]), "test", {**chosen, **({} if images == 500 else {"images": images})})
    for entry in subject.table.finished:
        for spec in entry.cell.runs:
            arrays = landscape(spec, dimensions, int(every["points"]), slope)
            measurement = Measurement(
                measure="landscape",
                code="",
                model="",
                top1=subject.records.finished[spec.id].values[-1][2],
                run=spec.id,
                label=spec.label,
                point=str(STEPS[-1]),
                split="test",
                images=images,
                of=1000,
                options=every,
                numbers={},
                remarks=[],
                seconds=1.0,
                environment={},
                arrays=True,
            )
            write_measurement(folder_of(subject.records.scores.root, spec.id) / f"{stem}.json", measurement, arrays)
    return subject


def refusal(kind: str, subject: Scene) -> str:
    with pytest.raises(InputError) as refused:
        drawing(kind, subject)
    (line,) = refused.value.problems
    assert "\n" not in line
    return line


@pytest.mark.slow
@pytest.mark.parametrize("width", ["", "column", "page"])
@pytest.mark.parametrize("kind", KINDS)
def test_landscapes_fit_and_say_what_they_are(kind: str, width: str, tmp_path: Path) -> None:
    subject = measured(scene(tmp_path, ONE_RATE, width=width), KINDS[kind])
    figure = drawing(kind, subject)
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []
    assert "500 images of the test split" in str(figure.legends[0].get_title().get_text()).replace("\n", " ")
    assert is_of_run(kind)
    assert "bench measure" in about(kind)


@pytest.mark.slow
def test_lines_are_means_over_directions_and_seeds(tmp_path: Path) -> None:
    subject = measured(scene(tmp_path, ONE_RATE), 1)
    loss, accuracy = drawing("landscape", subject).axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss (nats)", "top-1 (%)")
    at_the_end = [max(ends(line))[1] for line in loss.lines if len(ends(line)) == 21]
    thin = [0.3 + 2 + seed / 10 for seed in (0, 1)] + [0.3 + 8 + seed / 10 for seed in (0, 1)]
    assert sorted(at_the_end) == pytest.approx(sorted(3 * [*thin, float(np.mean(thin))]))
    middle = {dict(ends(line))[0.0] for line in accuracy.lines if len(ends(line)) == 21}
    assert middle == {80.0}


@pytest.mark.slow
def test_losses_that_grow_a_lot_are_drawn_on_a_scale_that_shows_the_small_ones(tmp_path: Path) -> None:
    figure = drawing("landscape", measured(scene(tmp_path, ONE_RATE), 1, slope=300.0))
    loss, accuracy = figure.axes
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("symlog", "linear")
    assert [label.get_text() for label in loss.get_yticklabels()][:4] == ["0", "1", "10", "100"]
    assert on_one_another(figure) == []


@pytest.mark.slow
def test_each_setting_has_a_panel_of_loss_and_one_of_accuracy(tmp_path: Path) -> None:
    figure = drawing("landscape", measured(scene(tmp_path), 1))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["15 % / loss (nats)", "15 % / top-1 (%)", "100 % / loss (nats)", "100 % / top-1 (%)"]


@pytest.mark.slow
def test_what_was_measured_in_the_usual_way_counts_most_and_then_what_all_have(tmp_path: Path) -> None:
    subject = measured(scene(tmp_path, ONE_RATE, methods="Fine-tune"), 1, slope=1.0, images=900)
    assert "900 images of the test split" in drawing("landscape", subject).legends[0].get_title().get_text()
    measured(subject, 1, slope=2.0)
    assert "500 images of the test split" in drawing("landscape", subject).legends[0].get_title().get_text()
    measured(subject, 2, points=5)
    (plane, _) = drawing("landscape_plane", subject).axes
    assert plane.get_title() == "Fine-tune"


def test_models_that_were_measured_apart_are_not_compared(tmp_path: Path) -> None:
    measured(scene(tmp_path, ONE_RATE, methods="Fine-tune"), 1, points=5)
    measured(scene(tmp_path, ONE_RATE, methods="BSS"), 1, points=7)
    both = scene(tmp_path, ONE_RATE, methods="Fine-tune,BSS")
    assert "measured with different options; 'bench measure mine landscape' measures" in refusal("landscape", both)


@pytest.mark.parametrize(("kind", "option"), [("landscape", ""), ("landscape_plane", " --option dimensions=2")])
def test_what_was_not_measured_is_named_with_its_command(kind: str, option: str, tmp_path: Path) -> None:
    subject = scene(tmp_path, ONE_RATE)
    line = refusal(kind, subject)
    command = f"'bench measure mine landscape{option}' measures the kept models"
    assert f"was not measured; {command}" in line
