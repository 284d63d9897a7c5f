"""Figures of attention: each number where it belongs, and one line where nothing was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from bench.errors import InputError
from bench.figures.figure import sketches_of
from bench.figures.saving import styled
from bench.figures.scene import Scene
from bench.records.measured import Measurement, folder_of, stem_of, write_measurement
from bench.rules import SOURCE
from bench.spec import RunSpec
from tests.tables.drawn import EXPERIMENT, STEPS, drawing, off_the_page, on_one_another, scene, smallest_font
from tests.tables.test_gaps import ends

ALONE = EXPERIMENT.replace("rates: [15, 100]", "rates: [15]").replace("BSS: bss, ", "")
LAYERS, HEADS, GRID, SIDE, PICTURES = 3, 3, 3, 6, 2
KINDS = {"distance": "attention_distance", "attention": "attention_map", "average_attention": "attention_map"}
KINDS |= {"segmentation": "jaccard"}


def arrays_of(measure: str, shift: float) -> Mapping[str, npt.NDArray[Any]]:
    """What a measure would have found, told apart by a number."""
    state = np.random.RandomState(0)
    pictures = state.randint(0, 256, (PICTURES, SIDE, SIDE, 3)).astype(np.uint8)
    if measure == "attention_distance":
        return {"distance": shift + np.arange(LAYERS * HEADS, dtype=float).reshape(LAYERS, HEADS)}
    if measure == "jaccard":
        truth = np.zeros((PICTURES, SIDE, SIDE), np.uint8)
        truth[:, 2:4, 2:4], truth[:, 0] = 1, 255
        kept = state.rand(PICTURES, GRID, GRID) < 0.5
        return {"image": np.zeros(5), "pictures": pictures, "truth": truth, "kept": kept}
    average = state.rand(LAYERS, GRID**2, GRID**2) + shift
    return {"average": average, "pictures": pictures, "cls": state.rand(PICTURES, GRID, GRID) + shift}


def note_of(figure: Figure) -> str:
    """What stands below a figure."""
    return figure.legends[0].get_title().get_text().replace("\n", " ")


def shown(image: AxesImage) -> npt.NDArray[Any]:
    """What an image in a figure is of."""
    array = image.get_array()
    assert array is not None
    return array


def put(subject: Scene, spec: RunSpec, measure: str, point: str, shift: float, **chosen: Any) -> None:
    path = folder_of(subject.records.scores.root, spec.id) / f"{stem_of(measure, point, 'test', chosen)}.json"
    arrays = arrays_of(measure, shift)
    facts: dict[str, Any] = {
        "measure": measure,
        "code": "0",
        "model": "",
        "top1": subject.records.finished[spec.id].values[-1][2],
        "run": spec.id,
        "label": "",
        "point": point,
    }
    facts |= {"split": "test", "images": 5, "of": 5, "options": chosen, "numbers": {}, "remarks": []}
    measurement = msgspec.convert({**facts, "seconds": 1.0, "environment": {}, "arrays": True}, Measurement)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_measurement(path, measurement, arrays)


def measured_scene(folder: Path, kind: str, of_source: bool = True, **how: Any) -> Scene:
    """A table of which every run was measured, and the model of the first that they started from."""
    subject = scene(folder, ALONE, **how)
    for number, entry in enumerate(subject.table.finished):
        for spec in entry.cell.runs:
            put(subject, spec, KINDS[kind], str(STEPS[-1]), 1.0 + number)
    if of_source:
        put(subject, subject.table.finished[0].cell.runs[0], KINDS[kind], SOURCE, 0.0)
    return subject


@pytest.mark.parametrize("odd", ["another model", "another version"])
def test_what_is_not_of_these_models_is_not_drawn(tmp_path: Path, odd: str) -> None:
    subject = measured_scene(tmp_path, "distance")
    subject = replace(subject, code_of={"another version": lambda measure: "1"}.get(odd, lambda measure: "0"))
    if odd == "another model":
        finished = {
            name: run._replace(values=[(step, val, test + 1) for step, val, test in run.values])
            for name, run in subject.records.finished.items()
        }
        subject = replace(subject, results=replace(subject.records, finished=finished))
    with pytest.raises(InputError, match="attention_distance was not measured"):
        drawing("distance", subject)


@pytest.mark.parametrize("width", ["", "column", "page"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_every_kind_fits(kind: str, width: str, tmp_path: Path) -> None:
    figure = drawing(kind, measured_scene(tmp_path, kind, width=width))
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []
    assert smallest_font(figure) >= 7


def test_a_dot_a_head_of_each_model_beside_the_pre_trained_one(tmp_path: Path) -> None:
    figure = drawing("distance", measured_scene(tmp_path, "distance"))
    assert [axes.get_title() for axes in figure.axes] == ["pre-trained", "Fine-tune", "GTA"]
    for shift, axes in enumerate(figure.axes):
        (dots,) = axes.lines
        known = [(layer, shift + HEADS * (layer - 1) + head) for layer in range(1, LAYERS + 1) for head in range(HEADS)]
        assert [(int(x), float(y)) for x, y in ends(dots)] == known
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


@pytest.mark.slow
def test_maps_are_those_of_the_models(tmp_path: Path) -> None:
    subject = measured_scene(tmp_path, "attention")
    figure = drawing("attention", subject)
    titles = [axes.get_title().replace("\n", " ") for axes in figure.axes]
    assert titles == ["image", "pre-trained", "Fine-tune", "GTA", *[""] * 4]
    for column, shift in enumerate((0.0, 1.0, 2.0), 1):
        for row in range(PICTURES):
            picture, attention = figure.axes[4 * row + column].images
            assert np.array_equal(shown(attention), arrays_of("attention_map", shift)["cls"][row])
            assert shown(picture).shape == (SIDE, SIDE)
    figure = drawing("average_attention", subject)
    assert len(figure.axes) == 3 * LAYERS
    for at, axes in enumerate(figure.axes):
        (image,) = axes.images
        average = arrays_of("attention_map", float(at // LAYERS))["average"].astype(float)
        assert np.array_equal(shown(image), average[at % LAYERS])


@pytest.mark.slow
def test_masks_stand_beside_the_true_ones_without_void(tmp_path: Path) -> None:
    figure = drawing("segmentation", measured_scene(tmp_path, "segmentation"))
    known = arrays_of("jaccard", 0)
    truth, kept = shown(figure.axes[1].images[1]), shown(figure.axes[2].images[1])
    assert np.array_equal(~np.ma.getmaskarray(truth), known["truth"][0] == 1)
    assert np.array_equal(~np.ma.getmaskarray(kept), known["kept"][0])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_not_measured_is_one_line_with_the_command(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        drawing(kind, scene(tmp_path, ALONE))
    (line,) = refused.value.problems
    measure = KINDS[kind]
    assert line.startswith(f"mine: {measure} was not measured; 'bench measure mine {measure}' measures the kept models")


def test_a_figure_says_which_seed_it_shows_and_that_the_source_is_not_there(tmp_path: Path) -> None:
    figure = drawing("distance", measured_scene(tmp_path, "distance", of_source=False))
    note = note_of(figure)
    assert "5 images of the test split, one seed of each method" in note
    assert "not measured: pre-trained (attention_distance --of source)" in note


def test_each_setting_has_a_figure_of_its_own(tmp_path: Path) -> None:
    subject = scene(tmp_path)
    for entry in subject.table.finished:
        for spec in entry.cell.runs:
            put(subject, spec, "attention_distance", str(STEPS[-1]), 1.0)
    sketches = sketches_of("distance", subject)
    assert [sketch.part for sketch in sketches] == [("15 %",), ("100 %",)]
    with styled():
        assert sketches[1].draw().axes[0].get_title() == "Fine-tune"


@pytest.mark.slow
def test_what_was_measured_with_options_of_its_own_is_drawn_and_said(tmp_path: Path) -> None:
    subject = scene(tmp_path, ALONE)
    for entry in subject.table.finished:
        for spec in entry.cell.runs:
            put(subject, spec, "jaccard", str(STEPS[-1]), 1.0, masks="mine")
    assert "masks=mine" in note_of(drawing("segmentation", subject))


@pytest.mark.slow
def test_the_usual_measurement_counts_and_else_the_newest(tmp_path: Path) -> None:
    subject = scene(tmp_path, ALONE, methods="Fine-tune")
    (spec, _) = subject.table.finished[0].cell.runs
    ways: list[tuple[float, dict[str, Any]]] = [(3.0, {"heads": 1}), (2.0, {"heads": 2}), (1.0, {})]
    for age, (shift, chosen) in enumerate(ways):
        put(subject, spec, "attention_distance", str(STEPS[-1]), shift, **chosen)
        stem = stem_of("attention_distance", str(STEPS[-1]), "test", chosen)
        path = folder_of(subject.records.scores.root, spec.id) / f"{stem}.json"
        os.utime(path, (1e9 - age, 1e9 - age))
    assert first_drawn(subject) == (1.0, [])
    path.unlink()
    assert first_drawn(subject) == (3.0, ["heads=1"])


def first_drawn(subject: Scene) -> tuple[float, list[str]]:
    """The number that tells apart what is drawn, and what the figure says was chosen."""
    figure = drawing("distance", subject)
    lowest = min(float(y) for _, y in ends(figure.axes[0].lines[0]))
    return lowest, [part for part in note_of(figure).split("; ") if "=" in part]


def test_models_that_were_not_measured_are_named_beside_the_others(tmp_path: Path) -> None:
    subject = scene(tmp_path, ALONE)
    put(subject, subject.table.finished[1].cell.runs[1], "attention_distance", str(STEPS[-1]), 1.0)
    figure = drawing("distance", subject)
    assert [axes.get_title() for axes in figure.axes] == ["GTA"]
    assert "not measured: pre-trained (attention_distance --of source), Fine-tune" in note_of(figure)
