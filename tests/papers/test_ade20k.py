"""Feature distillation's ADE20K column: what its runs are, and how mIoU stands beside top-1 in one table."""

from __future__ import annotations

import math
from functools import cache

import pytest

from bench.cards.backbone import TO_BE_GIVEN
from bench.cards.patches import unseen
from bench.metrics import METRICS
from bench.papers.values import values_of
from bench.plan.paper import plan_paper
from bench.plan.table import PlannedCell, TablePlan
from bench.records.store import Finished
from bench.registry import Registry
from bench.sheets.formats import FORMATS, render_sheet
from bench.sheets.view import PLAIN, sheet_of
from bench.spec import RunSpec
from bench.tables.compare import Table
from bench.task import find_task
from tests.plan.test_paper import PAPERS, Supplied, cell_of, runs_of, whole
from tests.tables.small import filled

TABLE, COLUMN = "fd/table1", "ADE20K"

DISTILLED: dict[tuple[str, ...], str] = {
    ("FD-DINO",): "fd_dino_vit_base",
    ("FD-EsViT",): "fd_esvit_swin_base",
    ("FD-DeiT",): "fd_deit_base",
    ("FD-CLIP", "ViT-B"): "fd_clip_vit_base",
    ("FD-CLIP", "ViT-L"): "fd_clip_vit_large",
}


@cache
def plan_of() -> TablePlan:
    (found,) = plan_paper(TABLE, Supplied()).tables
    return found


def cells() -> list[PlannedCell]:
    """The cells of the column that are run."""
    at = next(number for number, column in enumerate(plan_of().columns) if COLUMN in column)
    return [line[at] for line in plan_of().cells if line[at].candidates]


def spec_of(*row: str) -> RunSpec:
    (candidate,) = cell_of(TABLE, row, COLUMN).candidates
    (spec,) = candidate.runs
    return spec


# ---- what is run


def test_all_models_whose_weights_can_be_had_are_trained_and_scored_by_miou() -> None:
    assert len(cells()) == 14
    assert len({cell.candidates[0].runs[0].id for cell in cells()}) == 14
    for cell in cells():
        assert (cell.metric, cell.usual) == (METRICS["miou"], METRICS["miou"])
        assert cell.axes["dataset"] == "ade20k"
        assert cell.ground.images is None  # a mean over classes is no share of images
    assert {cell.metric.name for _, cell in plan_of().places() if cell.candidates} == {"top1", "miou"}
    assert not any("segmentation" in reason for reason in whole("fd").reasons)


@pytest.mark.parametrize(
    ("row", "lr", "decay", "drop_path"),
    [
        (("DINO [3]",), 4e-4, 0.65, 0.2),
        (("FD-CLIP", "ViT-B"), 4e-4, 0.65, 0.2),
        (("CLIP [33]", "ViT-L"), 1e-4, 0.75, 0.4),
        (("FD-CLIP", "ViT-L"), 1e-4, 0.75, 0.4),
        (("SimMIM [44]", "Swin-B"), 6e-5, 1, 0.3),
        (("FD-EsViT",), 6e-5, 1, 0.3),
    ],
)
def test_the_recipe_is_that_of_section_4_1_and_of_swin(
    row: tuple[str, ...], lr: float, decay: float, drop_path: float
) -> None:
    protocol = spec_of(*row).protocol
    recipe = protocol.recipe
    assert (recipe.steps, protocol.batch_size, recipe.weight_decay, recipe.optimizer) == (160_000, 16, 0.05, "adamw")
    assert (recipe.lr, recipe.layer_decay, protocol.drop_path) == (lr, decay, drop_path)
    assert (recipe.schedule, recipe.power, recipe.warmup, recipe.min_lr, recipe.clip_norm) == ("poly", 1, 1500, 0, 0)
    assert (protocol.augmentation, protocol.mixing, protocol.erasing, protocol.label_smoothing) == (
        *("mmseg", (0, 0)),
        *(0, 0),
    )
    assert (protocol.decoder, protocol.auxiliary, protocol.inference) == (512, 0.4, "slide")
    assert recipe.learning_rate(0) == pytest.approx(lr / 1500)
    assert recipe.learning_rate(80_000) == pytest.approx(lr / 2)


def test_what_section_4_1_states_is_told_apart_from_what_swin_has() -> None:
    kinds: dict[str, set[str]] = {}
    for value in values_of("fd", Registry()):
        if ("table1", COLUMN) in value.places:
            kinds.setdefault(value.kind, set()).add(value.name)
    assert kinds["paper"] == {*("steps", "batch_size", "image_size", "lr", "layer_decay", "drop_path", "weight_decay")}
    assert {"warmup", "schedule", "power", "decoder", "auxiliary", "augmentation"} <= kinds["another paper"]
    assert not kinds.keys() - {"paper", "another paper"}


def test_images_are_as_large_as_the_paper_says_or_as_whole_patches_cover_of_that() -> None:
    registry = Registry()
    for cell in cells():
        spec = cell.candidates[0].runs[0]
        card = registry.backbone(spec.backbone.name)
        size = 504 if "clip_vit_large" in card.name else 512
        assert spec.protocol.image_size == size
        assert unseen(card, size) == ""
        assert bool(unseen(card, 512)) == (size != 512)
        assert ("patches" in cell.ground.differs) == (size != 512)


def test_distilled_models_start_from_weights_that_are_published_or_ones_own() -> None:
    registry = Registry()
    for row, name in DISTILLED.items():
        spec = spec_of(*row)
        assert (spec.backbone.name, spec.method.name) == (name, "ce")
        card = registry.backbone(name)
        assert card.weights == TO_BE_GIVEN
        assert "Feature-Distillation" in card.facts["published"]
        assert "300 epochs, the distilled model" in " ".join(card.facts["published"].split())
    others = {cell.candidates[0].runs[0].backbone.name for cell in cells()} - {*DISTILLED.values()}
    assert not any(name.startswith("fd_") for name in others)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_protocol_of_a_paper_can_train_the_task_of_its_dataset(paper: str) -> None:
    registry = Registry()
    asked = {(spec.dataset.name, spec.protocol) for _, _, _, spec in runs_of(whole(paper))}
    for dataset, protocol in asked:
        assert find_task(registry.dataset(dataset).task).why_not(protocol) == ""


# ---- how it is shown


def as_printed(seeds: int = 1) -> Table:
    """Our table, of runs that gave what is printed."""
    found = {}
    for _, cell in plan_of().places():
        for candidate in cell.candidates:
            for spec in candidate.runs[:seeds]:
                assert cell.printed is not None
                curve = [(1, math.nan, cell.printed.number)]
                found[spec.id] = Finished(spec.id, f"runs/{spec.id}", curve, 1.0, cell.metric.name)
    return filled(plan_of(), found)


def test_a_row_has_both_metrics_each_in_its_own_columns() -> None:
    table = as_printed()
    for _, entry in table.places():
        if entry.planned.candidates:
            assert entry.cell.mean == entry.planned.published
    sheet = sheet_of(table, PLAIN, "both")
    assert "top-1 (%), on ADE20K mIoU" in sheet.title
    records = {(str(record["row"]), str(record["column"])): record for record in sheet.records}
    (row,) = [row for row, column in records if row.startswith("FD-CLIP / ViT-B") and column.startswith(COLUMN)]
    mine = {column: record for (of, column), record in records.items() if of == row}
    assert {record["metric"] for column, record in mine.items() if column.startswith(COLUMN)} == {"miou"}
    assert {record["metric"] for column, record in mine.items() if not column.startswith(COLUMN)} == {"top1"}


def test_columns_are_compared_each_by_itself() -> None:
    """Means over columns or ranks would mix two measures; contests are within a column."""
    for contest in plan_of().contests:
        metrics = {plan_of().cells[row][column].metric.name for row, column in contest.places}
        assert len(metrics) <= 1
        assert len({column for _, column in contest.places}) <= 1
        assert not contest.lower


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_says_what_is_measured(format: str) -> None:
    text = render_sheet(sheet_of(as_printed(), PLAIN, "ours"), format, 120)
    assert "55.7" in text
    assert "mIoU" in text or "miou" in text
