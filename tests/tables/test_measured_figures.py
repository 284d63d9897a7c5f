"""Figures of what was measured of models: they look as they did, and one line says what is lacking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import InputError
from bench.figures.figure import sketches_of
from bench.figures.kinds.embedding import MOST_CLASSES
from bench.figures.measured import shown_as
from bench.registry import Registry
from tests.tables.drawn import STEPS, boxes, drawing, off_the_page, on_one_another, scene
from tests.tables.looks import FOLDER, MEASURED, TWO, arrays_of, drawings, measured_scene, picture, put
from tests.tables.test_gaps import ends

MOST = 8.0
"""How far pixels may be from those that are kept, of 255, as a root mean square: letters differ between versions."""


@pytest.mark.slow
def test_they_look_as_they_did(tmp_path: Path) -> None:
    for name, sketch in drawings(tmp_path).items():
        now = picture(sketch)
        kept = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"), np.float64)
        assert now.shape == kept.shape, name
        assert np.sqrt(((now - kept) ** 2).mean()) < MOST, name
        mirrored = np.sqrt(((now[:, ::-1] - kept) ** 2).mean())
        assert mirrored > MOST, f"{name}: the comparison would take anything"


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEASURED)
@pytest.mark.parametrize("width", ["column", "page"])
def test_no_text_covers_another(tmp_path: Path, kind: str, width: str) -> None:
    figure = drawing(kind, replace(measured_scene(tmp_path, kind), width=width))
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []


@pytest.mark.parametrize("kind", MEASURED)
def test_what_was_not_measured_is_one_line_with_the_command(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError) as refused:
        sketches_of(kind, scene(tmp_path, TWO))
    (line,) = refused.value.problems
    command = f"'bench measure mine {MEASURED[kind]}' measures the kept models"
    assert line == f"mine: {MEASURED[kind]} was not measured; {command} (--train trains again where none was kept)"


@pytest.mark.slow
def test_the_pre_trained_model_stands_first_where_it_was_measured(tmp_path: Path) -> None:
    figure = drawing("cosine", measured_scene(tmp_path, "cosine"))
    assert [axes.get_title() for axes in figure.axes] == ["pre-trained", "Fine-tune", "GTA"]
    (tmp_path / "without").mkdir()
    figure = drawing("cosine", measured_scene(tmp_path / "without", "cosine", source=False))
    assert [axes.get_title() for axes in figure.axes] == ["Fine-tune", "GTA"]
    assert any("not measured: pre-trained (cosine --of source)" in " ".join(text.split()) for text in boxes(figure))


@pytest.mark.slow
def test_of_many_classes_some_are_drawn_and_the_figure_says_so(tmp_path: Path) -> None:
    subject = scene(tmp_path, TWO)
    put(subject, "embedding", str(STEPS[-1]), arrays_of("embedding", 4.0, classes=30))
    figure = drawing("embedding", subject)
    assert len(figure.axes[0].lines) == MOST_CLASSES
    assert any("12 of 30 classes" in " ".join(text.split()) for text in boxes(figure))


def test_a_curve_of_what_was_measured_at_each_point(tmp_path: Path) -> None:
    subject = scene(tmp_path, TWO)
    accuracy = Registry().metrics["accuracy"]
    subject = replace(subject, table=shown_as(subject.table, accuracy), split="train")
    with pytest.raises(InputError) as refused:
        sketches_of("curves", subject)
    assert "'bench measure mine accuracy --points all --split train' measures the kept models" in str(refused.value)
    for at, step in enumerate(STEPS):
        put(subject, "accuracy", str(step), {}, "train", {"accuracy": 50.0 + at})
    (axes,) = drawing("curves", subject).axes
    line = next(line for line in axes.lines if len(ends(line)) == len(STEPS))
    assert [(round(x), y) for x, y in ends(line)] == [(step, 50.0 + at) for at, step in enumerate(STEPS)]
    assert axes.get_ylabel().replace("\n", " ") == "accuracy (%), training split"
