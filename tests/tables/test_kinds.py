"""Curves, sweeps, classes and confusions: every number where it belongs, and one line for what cannot be drawn."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from bench.cli import main
from bench.errors import InputError
from bench.figures.figure import sketches_of, write_figure
from bench.figures.kinds.confusion import PAIRS
from bench.figures.kinds.sweep import places_of
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from tests.tables.drawn import (
    CLASSES,
    EXPERIMENT,
    STEPS,
    accuracy,
    boxes,
    drawing,
    finish,
    off_the_page,
    on_one_another,
    scene,
    score,
)
from tests.tables.test_gaps import ends

WIDE = EXPERIMENT.replace("rates: [15, 100]", "rates: [15]")
KINDS = ("curves", "sweep", "classes")


def refusal(kind: str, folder: Path, text: str = EXPERIMENT, **how: Any) -> str:
    """What is said where a kind cannot be drawn."""
    with pytest.raises(InputError) as refused:
        drawing(kind, scene(folder, text, **how))
    (line,) = refused.value.problems
    assert "\n" not in line
    return line


def points(axes: Axes, label: str | None = None) -> list[list[tuple[float, float]]]:
    """The points of each line."""
    lines = [line for line in axes.lines if label is None or line.get_label() == label]
    return [[(round(x, 6), round(y, 6)) for x, y in ends(line)] for line in lines]


def runs_of(subject: Any, method: str) -> list[RunSpec]:
    """The runs that count of a method, at 15 %."""
    entries = [entry for entry in subject.table.finished if entry.planned.name == method]
    entry = next(entry for entry in entries if entry.planned.axes["rate"] == "15 %")
    return list(entry.cell.runs)


@pytest.mark.slow
@pytest.mark.parametrize("width", ["", "column", "page"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fits(kind: str, width: str, tmp_path: Path) -> None:
    figure = drawing(kind, scene(tmp_path, width=width))
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []


# ---- curves


@pytest.mark.slow
def test_curves_are_means_over_seeds_by_step_on_each_split(tmp_path: Path) -> None:
    subject = scene(tmp_path, made=score, selection="best-val")
    figure = drawing("curves", subject)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["15 % / validation", "15 % / test", "100 % / validation", "100 % / test"]
    for axes, split in zip(figure.axes[:2], ("val", "test"), strict=True):
        for method in ("Fine-tune", "BSS", "GTA"):
            specs = runs_of(subject, method)
            means = [np.mean([accuracy(spec, split, at) for spec in specs]) for at in range(3)]
            assert [(step, round(float(mean), 6)) for step, mean in zip(STEPS, means, strict=True)] in points(axes)


def test_the_selected_point_of_each_seed_is_circled(tmp_path: Path) -> None:
    for rule, at in (("best-val", 1), ("last", 2)):
        subject = scene(tmp_path, WIDE, made=score, selection=rule, methods="Fine-tune")
        (axes,) = drawing("curves", subject).axes
        circles = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
        drawn = {place for line in circles for place in ends(line)}
        specs = runs_of(subject, "Fine-tune")
        assert drawn == {(STEPS[at], accuracy(spec, split, at)) for spec in specs for split in ("val", "test")}


def test_curves_of_a_run_without_validation_are_of_the_test_split(tmp_path: Path) -> None:
    subject = scene(tmp_path, WIDE, made=partial(score, validation=False), methods="Fine-tune", seeds="1")
    (axes,) = drawing("curves", subject).axes
    (spec,) = runs_of(subject, "Fine-tune")
    assert points(axes)[0] == [(step, accuracy(spec, "test", at)) for at, step in enumerate(STEPS)]
    assert "no validation split" in refusal(
        "curves", tmp_path, WIDE, made=partial(score, validation=False), methods="Fine-tune", split="val"
    )


# ---- sweeps


@pytest.mark.slow
def test_a_sweep_shows_every_value_and_the_one_chosen(tmp_path: Path) -> None:
    subject = scene(tmp_path, WIDE, made=score)
    (axes,) = drawing("sweep", subject).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "1", "10"]
    assert axes.get_xlabel() == "weight (log scale)"
    specs = [spec for _, cell in subject.table.plan.places() for c in cell.candidates for spec in c.runs]
    for split in ("val", "test"):
        for weight in (0.1, 1, 10):
            of_value = [spec for spec in specs if dict(spec.method.hyper).get("weight") == weight]
            mean = float(np.mean([accuracy(spec, split, 2) for spec in of_value]))
            assert any(y == pytest.approx(mean) for line in points(axes) for _, y in line)
    (bar,) = [line for line in axes.lines if line.get_linewidth() == 4]
    assert [x for x, _ in ends(bar)] == [0.0, 0.0], "log10 of the weight 1"
    assert "Fine-tune, test" in boxes(axes.figure)  # type: ignore[arg-type]


def test_rows_of_a_sweep_are_a_sweep_of_which_none_is_chosen(tmp_path: Path) -> None:
    subject = scene(tmp_path, WIDE + "sweep: rows\n")
    (axes,) = drawing("sweep", subject).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "1", "10"]
    assert [line for line in axes.lines if line.get_linewidth() == 4] == []


def test_values_stand_in_proportion_at_logarithms_or_in_order() -> None:
    assert places_of([1, 2, 3]) == {"1": 1, "2": 2, "3": 3}
    assert places_of([0.01, 1]) == {"0.01": -2, "1": 0}
    zero = places_of([0.0, 0.01, 0.1, 1.0])
    assert zero["0.0"] == pytest.approx(-3)
    assert zero["1.0"] == 0
    assert places_of(["cosine", "none", 3]) == {"'cosine'": 0, "'none'": 1, "3": 2}
    assert places_of([True, False]) == {"True": 0, "False": 1}


# ---- classes


@pytest.mark.slow
def test_each_class_stands_at_its_accuracy_in_order(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", "cat", "dog"])
    (axes,) = drawing("classes", scene(tmp_path, WIDE, made=partial(finish, class_names=names))).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cat", "dog"]
    assert [round(x) for x, _ in max(points(axes), key=len)] == [100, 90, 80, 70]
    numbers = drawing("classes", scene(tmp_path / "", WIDE, rates="100"))
    assert [label.get_text() for label in numbers.axes[0].get_yticklabels()] == [str(i) for i in range(CLASSES)]


def test_of_many_classes_both_ends_are_drawn_and_it_is_told(tmp_path: Path) -> None:
    figure = drawing("classes", scene(tmp_path, WIDE, made=partial(finish, classes=200), width="column", methods="ce"))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 31
    assert "⋮" in labels
    said = " ".join(" ".join(text.split()) for text in boxes(figure))
    assert "of 200 classes the 30 with the highest and lowest accuracy of Fine-tune" in said
    assert on_one_another(figure) == []


# ---- confusion


@pytest.mark.slow
def test_a_confusion_matrix_has_the_shares_of_each_true_class(tmp_path: Path) -> None:
    figure = drawing("confusion", scene(tmp_path, WIDE, methods="GTA"))
    (image,) = figure.axes[0].images
    shares = np.asarray(image.get_array())
    assert shares.sum(axis=1) == pytest.approx(100)
    assert np.diag(shares) == pytest.approx([100, 90, 80, 70])
    assert shares[1, 2] == pytest.approx(10)
    assert {"90", "80", "70", "10"} <= {*boxes(figure)}
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []


def test_of_many_classes_the_pairs_confused_most_are_drawn_and_it_is_told(tmp_path: Path) -> None:
    figure = drawing("confusion", scene(tmp_path, WIDE, made=partial(finish, classes=60), methods="ce"))
    (axes,) = figure.axes
    assert len(axes.patches) == PAIRS
    assert axes.get_yticklabels()[0].get_text() == "9 → 10"
    said = " ".join(" ".join(text.split()) for text in boxes(figure))
    assert f"of 60 classes, whose matrix cannot be read at this width, the {PAIRS} pairs confused most" in said
    assert on_one_another(figure) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize(("kind", "classes"), [("confusion", 30), ("confusion", 60), ("classes", 60)])
def test_long_names_of_many_classes_fit(kind: str, classes: int, width: str, tmp_path: Path) -> None:
    names = np.array([f"{label:03d}.Black_footed_Albatross_of_the_North" for label in range(classes)])
    made = partial(finish, classes=classes, class_names=names)
    figure = drawing(kind, scene(tmp_path, WIDE, made=made, methods="GTA", width=width))
    assert off_the_page(figure) == []
    assert on_one_another(figure) == []


# ---- what cannot be drawn


def test_what_cannot_be_drawn_is_one_line(tmp_path: Path) -> None:
    plain = EXPERIMENT.replace("weight: [0.1, 1, 10]", "weight: 1")
    assert "nothing is swept: no method has a list of values" in refusal("sweep", tmp_path, plain)
    assert "--methods NAME chooses it (Fine-tune, BSS, GTA)" in refusal("confusion", tmp_path, plain)
    empty = tmp_path / "empty"
    empty.mkdir()
    for kind in KINDS:
        missing = refusal(kind, empty, EXPERIMENT, made=None)
        assert missing.startswith("mine: nothing to draw: no run")
        assert missing.endswith(" finished; 'bench run mine' trains them")
    seconds = refusal("curves", tmp_path, plain, metric="seconds")
    assert seconds == "mine: training time has no curve: it is of the whole run"


def test_a_sweep_without_validation_is_drawn_on_the_test_split_when_asked(tmp_path: Path) -> None:
    made = partial(score, validation=False)
    assert "no validation split to choose on" in refusal("sweep", tmp_path, WIDE, made=made)
    (axes,) = drawing("sweep", scene(tmp_path, WIDE, made=made, split="test")).axes
    assert [line for line in axes.lines if line.get_linewidth() == 4] == []


def test_a_sweep_that_is_chosen_on_the_test_split_is_drawn_there_and_says_so(tmp_path: Path) -> None:
    made = partial(score, validation=False)
    (axes,) = drawing("sweep", scene(tmp_path, WIDE + "sweep: best-test\n", made=made)).axes
    assert [line for line in axes.lines if line.get_linewidth() == 4] != []
    told = [" ".join(text.split()) for text in boxes(axes.figure)]  # type: ignore[arg-type]
    assert any("the value chosen, best on the test split (an oracle)" in text for text in told)


@pytest.mark.parametrize("kind", ["classes", "confusion"])
def test_damaged_predictions_are_told_with_their_file(kind: str, tmp_path: Path) -> None:
    subject = scene(tmp_path, WIDE, methods="Fine-tune")
    for file in (tmp_path / "results" / "runs").glob("*/predictions.npz"):
        file.write_bytes(b"PK\x03\x04 no")
    with pytest.raises(InputError, match=r"mine: run [0-9a-f]{12}: .*\.npz: it cannot be read as predictions"):
        sketches_of(kind, subject)
    for file in (tmp_path / "results" / "runs").glob("*/predictions.npz"):
        file.unlink()
    with pytest.raises(InputError, match="the run kept no predictions"):
        sketches_of(kind, scene(tmp_path, WIDE, methods="Fine-tune"))


# ---- the command


@pytest.mark.slow
def test_a_run_is_drawn_by_the_beginning_of_its_id(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text(WIDE, encoding="utf-8")
    spec = next(iter(read_plan("mine.yaml", Registry(), Overrides()).unique.values()))
    finish(spec, Store("results"))
    for kind in ("curves", "classes", "confusion"):
        assert main(["figure", spec.id[:8], "--kind", kind, "--width", "column", "--output", "a.svg"]) == 0
        assert capsys.readouterr().out == "a.svg\n"
    assert main(["figure", spec.id]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"results/figures/{spec.id}-curves.png"
    for words, said in (
        ([spec.id, "--kind", "sweep"], "--kind sweep: it is of a table; of a run there are "),
        ([spec.id, "--rates", "15"], f"--rates: {spec.id} is one run, of which nothing is to be chosen"),
        (["abcdef", "--kind", "curves"], "no record of a run whose id begins with 'abcdef'"),
        ([spec.id, "--output", "a.gif"], "--output a.gif: a figure is a .png, .pdf or .svg file"),
    ):
        assert main(["figure", *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["show", spec.id]) == 0
    assert "parameters: 1,234,567\n  trained weights: –" in capsys.readouterr().out


def test_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "figures"]) == 0
    listed = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert any(name == "confusion" and about.startswith("Which classes one method") for name, about in listed)
    assert ["gta/fig4", "Figure 4: the weight of GTA on five datasets, by sampling rate"] in listed


@pytest.mark.slow
def test_files_are_called_after_the_target_and_the_kind(tmp_path: Path) -> None:
    paths, _ = write_figure("curves", scene(tmp_path, WIDE), tmp_path / "figures")
    assert [path.name for path in paths] == ["mine-curves.png", "mine-curves.pdf"]
