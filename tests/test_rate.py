"""A rate is a share of each class or a budget of images: how it is written, called, refused and shown."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

import bench
from bench.cli import main
from bench.errors import InputError
from bench.figures.kinds.rates import sketches
from bench.figures.scene import Scene
from bench.imports.rates import rate_labels
from bench.plan.overrides import Overrides
from bench.plan.rehearsal import Scale, rehearse
from bench.plan.soundness import require_sound
from bench.plan.table import Plan
from bench.plan.target import read_plan
from bench.rate import about_images, most_images, rate_label, read_rate, refuse_shares, shortfall
from bench.records.store import Store
from bench.registry import Registry
from bench.sheets.formats import render_sheet
from bench.sheets.view import sheet_of
from bench.spec import from_json, to_json
from bench.tables.compare import fill, fill_table
from bench.tables.results import results_of
from bench.training.size import size_of
from tests.tables.laid import Layout, Measured, laid
from tests.test_spec import PINNED

REGISTRY = Registry()

EXPERIMENT = """\
methods: {Fine-tune: ce, GTA: gta}
backbones: [micro_vit]
datasets: [digits]
rates: [16-shot, 1000 images, 15]
seeds: 3
protocol: {steps: 10, validation: 0.2}
baseline: Fine-tune
"""
LABELS = ["16-shot", "1000 images", "15 %"]


# ---- as it is written


@pytest.mark.parametrize(
    ("written", "rate", "label"),
    [
        (15, 15.0, "15 %"),
        ("0.5%", 0.5, "0.5 %"),
        *((text, "16-shot", "16-shot") for text in ("16-shot", "16 shot", "16-shots", "16shots", "16-Shot")),
        *((text, "1000-images", "1000 images") for text in ("1000-images", "1000 images", "1000 image")),
        ("1-shots", "1-shot", "1-shot"),
        ("1-image", "1-images", "1 image"),
    ],
)
def test_equal_forms_are_one_rate_which_its_label_is_too(written: object, rate: object, label: str) -> None:
    assert read_rate(written, "") == rate
    assert rate_label(read_rate(written, "")) == label
    assert read_rate(label, "") == rate


@pytest.mark.parametrize("written", ["0-shot", "016-shot", "-1-shot", "1.5-shot", "shot", "1k-images", "\uff11-shot"])
def test_what_is_no_rate_is_refused_with_what_is_allowed(written: object) -> None:
    with pytest.raises(InputError, match=r"--rates: the rate .* 16-shot \(of each class\), 1000-images \(in all\)$"):
        read_rate(written, "--rates")


def test_a_number_above_100_may_be_of_images() -> None:
    with pytest.raises(InputError, match="write 1000-images if images are meant"):
        read_rate(1000, "--rates")


def test_a_budget_among_them_does_not_hide_that_rates_may_be_shares() -> None:
    refuse_shares(["1-shot", 15], "")
    refuse_shares(["1-shot"], "")
    with pytest.raises(InputError, match="write 15, 100 if shares are meant"):
        refuse_shares(["1-shot", 0.15, 1], "--rates")


# ---- what it is


def test_the_ids_of_budgets_are_fixed_for_ever() -> None:
    ids = [replace(PINNED, rate=rate).id for rate in ("16-shot", "1000-images", 15.0)]
    assert ids == ["651e217125d5", "d3f884382f43", "6c4ad45d7644"]


def test_a_spec_with_a_budget_is_read_as_it_was_written() -> None:
    spec = replace(PINNED, rate="1000-images")
    again = from_json(json.loads(json.dumps(to_json(spec))))
    assert (again, again.id) == (spec, spec.id)
    assert spec.label == "gta micro_vit digits 1000 images seed 0"


@pytest.mark.parametrize("rate", ["16 shots", "many", ""])
def test_a_spec_whose_rate_is_another_text_is_not_read(rate: str) -> None:
    with pytest.raises(ValueError, match="names no budget"):
        from_json({**to_json(PINNED), "rate": rate})


def test_how_many_images_a_rate_is() -> None:
    assert [about_images(rate, 1000, 7) for rate in (15.0, "16-shot", "200-images", "5000-images")] == [
        150,
        112,
        200,
        1000,
    ]
    assert [most_images(rate, 1000, 7) for rate in (15.0, "16-shot", 99.9)] == [157, 112, 1000]


def test_a_class_with_too_few_images_is_named() -> None:
    counts = {"cat": 20, "dog": 3, "bird": 16, "cow": 15}
    assert shortfall(15.0, counts) == shortfall("3-shot", counts) == shortfall("54-images", counts) == ""
    assert shortfall("16-shot", counts) == (
        "2 of 4 classes have fewer images to train on: 'dog' has 3, 'cow' has 15; at most 3-shot, or a rate in percent"
    )
    assert shortfall("55-images", counts) == (
        "there are 54 images to train on; at most 54-images, or a rate in percent"
    )
    assert shortfall("3-images", counts) == "each of 4 classes has an image at least: 4-images or more"


@pytest.mark.parametrize(("rate", "steps"), [("16-shot", 5), ("100-images", 4), ("5000-images", 30), (10.0, 3)])
def test_what_a_plan_costs_follows_from_the_images_of_a_budget(rate: str | float, steps: int) -> None:
    """Of 960 digits, in batches of 32; an epoch is as many steps as these are batches, the last one a part of one."""
    recipe = replace(PINNED.protocol.recipe, steps=0, epochs=1, warmup=0)
    spec = replace(PINNED, rate=rate, protocol=replace(PINNED.protocol, recipe=recipe, batch_size=32))
    assert size_of(spec, REGISTRY.dataset("digits")).steps == steps


# ---- in a plan


@pytest.fixture
def plan(here: Path) -> Plan:
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return read_plan("mine.yaml", REGISTRY)


def finish(plan: Plan, images: bool = True) -> Store:
    """A record of each run, which says how many images it was trained on, as a rate of 1,144 images would give them."""
    store = Store("results")
    for spec in plan.unique.values():
        score = {"top1": 50.0 + about_images(spec.rate, 1144, 10) / 50 + spec.seed}
        drawn = {"digest": "0" * 12, "images": about_images(spec.rate, 1144, 10) if images else 0, "of": 1144}
        curve = [{"step": 10, "val": score, "test": score}]
        with store.draft() as draft:
            store.publish(draft, spec, {"curve": curve, "timing": {"seconds": 1.0}, "subset": drawn})
    return store


def test_a_plan_has_budgets_beside_percent(plan: Plan) -> None:
    (table,) = plan.tables
    assert [label for (label,) in table.columns] == LABELS
    assert {spec.rate for spec in plan.unique.values()} == {"16-shot", "1000-images", 15.0}
    typed = read_plan("mine.yaml", REGISTRY, Overrides(rates="16 shots,1000-images,15%"))
    assert [*typed.unique] == [*plan.unique]


def test_runs_of_one_seed_draw_alike_at_every_rate_and_are_no_one_run(plan: Plan) -> None:
    runs = [spec for spec in plan.unique.values() if spec.seed == 0 and spec.method.name == "ce"]
    assert len({spec.seeds.subset for spec in runs}) == 1
    assert len({spec.seeds.order for spec in runs}) == len({spec.id for spec in runs}) == 3


def test_an_exclusion_may_name_a_budget_in_any_form(here: Path) -> None:
    rule = "exclude: [{rate: [1000-images, 16 shots, 15], method: gta, because: 'too dear'}]\n"
    (here / "mine.yaml").write_text(EXPERIMENT + rule, encoding="utf-8")
    assert {spec.method.name for spec in read_plan("mine.yaml", REGISTRY).unique.values()} == {"ce"}


def refused(*typed: str, **overrides: str) -> tuple[str, ...]:
    asked = Overrides(methods="ce", seeds="1", settings=typed, **overrides)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        require_sound(read_plan("digits", REGISTRY, asked).unique.values(), REGISTRY, print)
    return caught.value.problems


def test_a_budget_that_no_images_meet_is_refused_where_it_is_planned() -> None:
    assert refused(rates="200-shot,2000-images,9-images", datasets="cluttered_digits") == (
        "Cluttered digits at 200-shot: 10 classes are 2,000 images, and there are 960 to train on; at most 96-shot, or "
        "a rate in percent",
        "Cluttered digits at 2000 images: there are 960 to train on",
        "Cluttered digits at 9 images: each of 10 classes has an image at least: 10-images or more",
    )


def test_shots_are_refused_where_an_image_has_not_one_label() -> None:
    for name, task in (("drawn_shapes", "segmentation"), ("voc2012_labels", "multilabel")):
        (problem,) = refused("augmentation=none", "validation=0.2", rates="4-shot", datasets=name)
        assert problem.endswith(
            f" at 4-shot: for {task} an image has not one label, so that nothing is of each class: take images in all, "
            "such as 1000-images, or a rate in percent"
        )


def folder(root: Path, **classes: int) -> str:
    for split in ("train", "test"):
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (8, 8), 9 * number).save(root / split / name / f"{number}.png")
    return f"folder:{root}"


def test_a_class_of_a_folder_with_too_few_images_is_named_where_it_is_planned(here: Path) -> None:
    name = folder(here / "birds", jay=10, wren=5)
    (problem,) = refused("validation=0.2", rates="5-shot,4-shot", datasets=name)
    assert problem == (
        "birds at 5-shot: 1 of 2 classes has fewer images to train on: 'wren' has 4; at most 4-shot, or a rate in "
        "percent (beside the 0.2 of each class that is held out for validation)"
    )


def test_a_rehearsal_takes_what_there_is(plan: Plan) -> None:
    rehearsed = rehearse(plan, REGISTRY, Scale())
    assert {spec.rate for spec in rehearsed.unique.values()} == {100.0, 15.0}


# ---- in what is shown


def test_tables_have_budgets_as_columns_in_every_format(plan: Plan) -> None:
    (table,) = fill(plan, finish(plan))
    for format in ("text", "markdown", "latex", "csv"):
        text = render_sheet(sheet_of(table), format)
        assert "16-shot" in text
        assert "1000 images" in text


def test_runs_are_read_again_from_their_csv(plan: Plan, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish(plan)
    assert main(["runs", "mine.yaml", "--format", "csv", "--output", "runs.csv"]) == 0
    rows = list(csv.DictReader(io.StringIO((here / "runs.csv").read_text())))
    assert list(dict.fromkeys(row["rate"] for row in rows)) == LABELS
    assert rate_labels("rate", LABELS) == {"": "", **{label: label for label in LABELS}}
    data = pandas.read_csv(here / "runs.csv")
    assert data.groupby("rate")["training_images"].first().to_dict() == {
        "15 %": 172,
        "16-shot": 160,
        "1000 images": 1000,
    }
    capsys.readouterr()
    assert main(["import", "runs.csv", "--format", "csv", "--metric", "test.top1"]) == 0
    again = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(dict.fromkeys(row["rate"] for row in again)) == LABELS


def test_a_frame_has_one_kind_in_its_column_of_rates(plan: Plan) -> None:
    store = finish(plan)
    assert {*bench.frame(plan, store)["rate"]} == {*LABELS}
    percents = read_plan("mine.yaml", REGISTRY, Overrides(rates="15,100"))
    assert bench.frame(percents, store)["rate"].dtype == "float64"


def test_words_of_others_that_are_budgets_are_called_as_ours() -> None:
    texts = {"16 shots", "16-shot", "1000-images", "full", "1000 examples"}
    assert rate_labels("rate", texts) == {
        "": "",
        "16 shots": "16-shot",
        "16-shot": "16-shot",
        "1000-images": "1000 images",
        "full": "full",
        "1000 examples": "1000 examples",
    }


def test_a_caption_says_that_validation_is_not_counted(plan: Plan) -> None:
    store = finish(plan)
    said = "Validation images, by which points or values are chosen, are not counted in 16-shot and 1000 images."
    for selection, is_said in (("last", False), ("best-val", True)):
        (table,) = fill(read_plan("mine.yaml", REGISTRY, Overrides(selection=selection)), store)
        assert (said in " ".join(render_sheet(sheet_of(table)).split())) == is_said


def drawn(scene: Scene) -> tuple[str, list[str], list[float]]:
    """The name of the axis, its numbers, and where the first method's cells stand."""
    (sketch,) = sketches(scene)
    (axes,) = sketch.draw().axes
    line = axes.get_lines()[0]
    return (
        axes.get_xlabel(),
        [label.get_text() for label in axes.get_xticklabels()],
        np.asarray(line.get_xdata()).tolist(),
    )


def scene(plan: Plan, store: Store) -> Scene:
    results = results_of(plan, store)
    return Scene("mine", fill_table(plan.tables[0], results), results)


def test_a_figure_with_budgets_beside_percent_is_over_images_trained_on(plan: Plan) -> None:
    name, numbers, places = drawn(scene(plan, finish(plan)))
    assert name == "training images"
    assert numbers[0] == "160"
    assert numbers[-1] == "1000"
    assert places == pytest.approx([160, 172, 1000], abs=12)


@pytest.mark.parametrize(
    ("rates", "name", "numbers"),
    [
        ("1-shot,2-shot,4-shot", "training images of each class", ["1", "2", "4"]),
        ("100-images,1000-images", "training images", ["100", "1000"]),
        ("15,100", "sampling rate (%)", ["15", "100"]),
        ("1,100", "sampling rate (%, log scale)", ["1", "100"]),
        ("1-shot,32-shot", "training images of each class (log scale)", ["1", "32"]),
    ],
)
def test_a_figure_of_rates_of_one_kind_is_over_their_numbers(
    here: Path, rates: str, name: str, numbers: list[str]
) -> None:
    (here / "mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    plan = read_plan("mine.yaml", REGISTRY, Overrides(rates=rates))
    assert drawn(scene(plan, finish(plan)))[:2] == (name, numbers)


def test_a_figure_of_several_kinds_is_refused_without_the_numbers_of_images(plan: Plan) -> None:
    with pytest.raises(ValueError, match="not all records say how many these are"):
        sketches(scene(plan, finish(plan, images=False)))
    cells = [Measured({"rate": label, "method": "a"}, (1.0, 2.0), 2) for label in LABELS]
    table = laid(cells, Layout("Somebody's", ("method",), ("rate",)))
    with pytest.raises(ValueError, match=r"16-shot, 1000 images and 15 % have no axis in common .* numbers alone"):
        sketches(Scene("theirs", table))


def test_budgets_are_planned_and_shown_without_torch(plan: Plan) -> None:
    program = (
        "import sys; from bench.cli import main\n"
        "for words in (['plan'], ['status'], ['table']):\n"
        "    main([*words, 'mine.yaml'])\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "16-shot" in done.stdout
