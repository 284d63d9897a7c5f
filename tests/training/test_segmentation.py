"""Runs for segmentation: their loss, their views, their score, taken up where they were; on drawn shapes."""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import wilcoxon as signed_rank
from torch import Tensor

from bench.backbones.dense import DenseOutput
from bench.cli import main
from bench.data import ArrayImages, ahead
from bench.data.dataset import IGNORED, MaskArrays, MaskedSplit, masked
from bench.data.masked import MaskBatch, MaskedImages
from bench.errors import InputError
from bench.metrics.segmentation import image_iou, mean_accuracy, miou, pixel_accuracy
from bench.protocol import Protocol, Recipe
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec
from bench.stats.items import paired_bootstrap, score_bootstrap, wilcoxon
from bench.task import find_task
from bench.training.pixel_answers import predict_pixels
from bench.training.trial import run_trial
from tests.models.trained import planned as planned_run
from tests.training.test_checkpoint import in_pieces, same

CPU = torch.device("cpu")
CLASSES, SIDE = 3, 16
SETTINGS = ("augmentation=scale_crop_flip", "decoder=8", "schedule=poly", "batch_size=4")


def planned(methods: str = "ce", *settings: str) -> RunSpec:
    return planned_run(methods, *SETTINGS, *settings, datasets="drawn_shapes")


def levels(images: int, height: int = SIDE, width: int = SIDE, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Masks in blocks of 4 pixels, some of which count for nothing."""
    state = np.random.RandomState(seed)
    blocks = state.choice([*range(CLASSES), IGNORED], (images, height // 4, width // 4)).astype(np.uint8)
    return blocks.repeat(4, 1).repeat(4, 2)


def painted(masks: npt.NDArray[np.uint8]) -> MaskedSplit:
    """Images of one channel whose grey level tells the class: 80 times it; what counts for nothing is of class 0."""
    grey = np.where(masks == IGNORED, 0, 80 * masks)[..., None].astype(np.uint8)
    return masked(ArrayImages(grey), MaskArrays(masks))


class Reader(torch.nn.Module):
    """A model that reads the class from the grey level, or that says one class everywhere."""

    def __init__(self, constant: int | None = None) -> None:
        super().__init__()
        self.constant, self.shapes = constant, list[tuple[int, ...]]()

    def forward(self, images: Tensor) -> DenseOutput:
        self.shapes.append(tuple(images.shape))
        places = (images[:, :1] * 255 / 80).round().long()
        if self.constant is not None:
            places = torch.full_like(places, self.constant)
        logits = torch.zeros(len(images), CLASSES, *images.shape[-2:]).scatter_(1, places, 1.0)
        return DenseOutput(logits, images.flatten(1), {})


def images_of(split: MaskedSplit, size: int = SIDE, **changes: Any) -> MaskedImages:
    protocol = Protocol(Recipe(steps=1), batch_size=4, augmentation="none", **changes)
    return MaskedImages(split, np.arange(len(split)), CLASSES, protocol, size, 0, CPU)


@pytest.mark.parametrize("inference", ["whole", "slide"])
def test_a_perfect_predictor_scores_100(inference: str) -> None:
    split = painted(levels(5))
    predictions = predict_pixels(Reader(), split, images_of(split, inference=inference))  # type: ignore[arg-type]
    assert miou(predictions) == mean_accuracy(predictions) == pixel_accuracy(predictions) == 100
    assert (image_iou(predictions) == 100).all()


@pytest.mark.parametrize("inference", ["whole", "slide"])
@pytest.mark.parametrize("constant", range(CLASSES))
def test_a_constant_predictor_scores_what_arithmetic_says(inference: str, constant: int) -> None:
    masks = levels(6)
    split = painted(masks)
    model: Any = Reader(constant)
    predictions = predict_pixels(model, split, images_of(split, inference=inference))
    share = (masks == constant).sum() / (masks != IGNORED).sum()
    assert pixel_accuracy(predictions) == pytest.approx(100 * share)
    assert miou(predictions) == pytest.approx(100 * share / CLASSES)
    assert mean_accuracy(predictions) == pytest.approx(100 / CLASSES)


def test_windows_slide_over_an_image_that_is_no_square_and_images_share_passes() -> None:
    split = painted(levels(3, 16, 32))
    model: Any = Reader()
    data = images_of(split, inference="slide")
    predictions = predict_pixels(model, split, data)
    assert miou(predictions) == 100
    # a stride of 10 from 0 to 16: three windows an image, nine of three images, in one pass
    assert model.shapes == [(9, 1, SIDE, SIDE)]
    squeezed: Any = Reader()
    predict_pixels(squeezed, split, replace(data, protocol=replace(data.protocol, inference="whole")))
    assert squeezed.shapes == [(3, 1, SIDE, SIDE)]


def test_what_is_through_is_told() -> None:
    split, told = painted(levels(11)), list[int]()
    model: Any = Reader()
    predict_pixels(model, split, images_of(split), told.append)
    assert told == [8, 11]


def batch(masks: Tensor, auxiliary: float = 0.4) -> MaskBatch:
    zeros = torch.zeros(len(masks), dtype=torch.int64)
    images = torch.zeros(len(masks), 1, SIDE, SIDE)
    return MaskBatch(images, zeros, torch.zeros(len(masks), CLASSES), 0.0, masks, auxiliary)


def test_the_loss_is_the_mean_over_all_pixels_of_which_ignored_ones_are_0() -> None:
    masks = torch.from_numpy(levels(4))
    logits = torch.zeros(4, CLASSES, SIDE, SIDE)
    counted = float((masks != IGNORED).float().mean())
    loss = batch(masks).cross_entropy(DenseOutput(logits, logits, {}))
    assert float(loss) == pytest.approx(counted * math.log(CLASSES), rel=1e-6)
    both = batch(masks).cross_entropy(DenseOutput(logits, logits, {}, logits))
    assert float(both) == pytest.approx(1.4 * counted * math.log(CLASSES), rel=1e-6)
    nothing = torch.full_like(masks, IGNORED)
    assert float(batch(nothing).cross_entropy(DenseOutput(logits, logits, {}))) == 0


def test_the_loss_of_a_batch_is_the_mean_of_its_parts() -> None:
    masks = torch.from_numpy(levels(6))
    logits = torch.randn(6, CLASSES, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    whole = float(batch(masks).cross_entropy(DenseOutput(logits, logits, {})))
    parts = [
        len(part.masks) / 6 * float(part.cross_entropy(DenseOutput(some, logits, {})))
        for part, some in zip(batch(masks).divided(4), logits.chunk(4), strict=True)
    ]
    assert len(parts) == 3
    assert math.fsum(parts) == pytest.approx(whole, rel=1e-6)


def test_batches_depend_on_the_step_alone() -> None:
    split = painted(levels(7))
    data = images_of(split)
    data = replace(data, protocol=replace(data.protocol, augmentation="scale_crop_flip"))
    first, again = data.batch(3), data.batch(3, prepared=data.prepared(3))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.masks, data.batch(4).masks)
    with pytest.raises(InputError, match="2 views"):
        data.batch(0, views=2)


@pytest.mark.parametrize("augmentation", ["none", "mmseg"])
def test_threads_make_parts_of_a_batch_with_the_same_bits(augmentation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images_of(painted(levels(7)))
    data = replace(data, protocol=replace(data.protocol, augmentation=augmentation))
    alone, whole = [data.batch(step) for step in range(3)], list(data.plain(5))
    monkeypatch.setattr(ahead, "feeders", lambda device: 2)
    monkeypatch.setattr(ahead, "PART", 2)
    with closing(data.feed(range(3))) as feed:
        fed = [data.batch(step, prepared=prepared) for step, prepared in feed]
    for batch, expected in zip([*fed, *data.plain(5)], [*alone, *whole], strict=True):
        assert isinstance(batch, MaskBatch)
        assert isinstance(expected, MaskBatch)
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.masks, expected.masks)


def test_a_stage_that_looks_at_images_alone_may_be_fed_as_one_of_classification_is() -> None:
    data = images_of(painted(levels(7)))
    assert not isinstance(data.fed(augmentation="crop_flip"), MaskedImages)
    assert data.fed(2).batch(0).masks.shape == (2, SIDE, SIDE)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no augmentation is called 'crop'"):
        data.fed(augmentation="crop")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("augmentation", "crop_flip"), ("mixup", 0.8), ("cutmix", 1.0), ("erasing", 0.2), ("label_smoothing", 0.1)],
)
def test_what_has_no_meaning_for_masks_is_refused(setting: str, value: object) -> None:
    usual = Protocol(Recipe(steps=1), augmentation="mmseg")
    assert find_task("segmentation").why_not(usual) == ""
    changes: dict[str, Any] = {setting: value}
    assert setting in find_task("segmentation").why_not(replace(usual, **changes))


@pytest.mark.parametrize(("setting", "value"), [("augmentation", "mmseg"), ("inference", "slide"), ("decoder", 8)])
def test_what_is_of_masks_is_refused_of_labels(setting: str, value: object) -> None:
    changes: dict[str, Any] = {setting: value}
    assert setting in find_task("classification").why_not(replace(Protocol(Recipe(steps=1)), **changes))


def test_poly_falls_to_its_floor_with_its_power() -> None:
    recipe = Recipe(steps=100, lr=1.0, schedule="poly", power=0.9, min_lr=0.1, warmup=10)
    # the warm-up is a factor on what falls from the first step, as in mmcv
    assert recipe.learning_rate(4) == pytest.approx(0.5 * (0.1 + 0.9 * 0.96**0.9))
    assert recipe.learning_rate(9) == pytest.approx(0.1 + 0.9 * 0.91**0.9)
    assert recipe.learning_rate(10) == pytest.approx(0.1 + 0.9 * 0.9**0.9)
    assert recipe.learning_rate(99) == pytest.approx(0.1 + 0.9 * 0.01**0.9)


def test_wilcoxon_is_that_of_scipy_and_1_where_nothing_differs() -> None:
    state = np.random.RandomState(0)
    a, b = state.uniform(0, 100, 50), state.uniform(10, 100, 50)
    assert wilcoxon(a, b) == pytest.approx(float(signed_rank(a, b).pvalue))
    assert wilcoxon(a, a) == 1
    with pytest.raises(ValueError, match="no finite number"):
        wilcoxon([1.0, math.nan], [1.0, 2.0])


def test_the_bootstrap_of_scores_is_that_of_answers_where_scores_are_0_or_100() -> None:
    state = np.random.RandomState(1)
    a, b = state.uniform(size=(3, 40)) < 0.6, state.uniform(size=(3, 40)) < 0.5
    exact, scored = paired_bootstrap(a, b), score_bootstrap(100.0 * a, 100.0 * b)
    assert scored.gap == pytest.approx(exact.gap)
    assert (scored.low, scored.high, scored.p) == pytest.approx((exact.low, exact.high, exact.p))


@pytest.mark.slow
def test_a_run_records_its_score_and_its_task(tmp_path: Path) -> None:
    trained = run_trial(planned(), Registry(), CPU)
    record = trained.record
    assert (record.task, record.score) == ("segmentation", "miou")
    assert record.scored(record.curve[-1].test).endswith(" %")
    assert record.subset is not None
    assert record.subset.images == math.ceil(0.15 * 512)
    assert {name for name in trained.predictions if name.startswith("test_")} == {
        "test_intersection",
        "test_predicted",
        "test_true",
    }
    assert trained.predictions["test_true"].shape == (256, 4)
    assert trained.predictions["test_predicted"].shape == (2, 256, 4)
    assert trained.predictions["test_predicted"].sum(-1).max() <= 48 * 48


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ce", "gta", "l2sp"])
def test_a_run_in_pieces_ends_with_the_bits_of_one_in_one_go(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = planned(method, "steps=6", "warmup=1", "evaluations=2")
    whole = run_trial(spec, Registry(), CPU, tmp_path / "whole")
    pieces, stops = in_pieces(spec, tmp_path / "pieces", 2, monkeypatch)
    assert stops >= 2
    same(whole, pieces)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_table_of_masks_from_the_command_to_items_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [word for setting in (*SETTINGS, "steps=4", "warmup=1") for word in ("--set", setting)]
    what = ["shapes", "--methods", "ce,gta", "--rates", "15", "--seeds", "2", *settings]
    assert main(["run", *what, "--keep", "last", "--jobs", "1"]) == 0
    assert "mIoU (%)" in capsys.readouterr().out
    assert {run.score for run in Store(Path("results")).finished().values()} == {"miou"}
    assert main(["items", *what, "--format", "json"]) == 0
    tests = json.loads(capsys.readouterr().out)["tests"]
    assert [test["test"] for test in tests] == ["wilcoxon", "wilcoxon", "bootstrap"]
    assert tests[0]["only_method"] + tests[0]["only_baseline"] <= tests[0]["images"] <= 256
    assert main(["measure", *what, "silhouette"]) == 2
    assert "it is of models for classification" in capsys.readouterr().err
    assert main(["figure", *what, "--kind", "masks", "--output", "masks.svg"]) == 2
    assert "predicted_masks" in capsys.readouterr().err
    assert main(["measure", *what, "predicted_masks"]) == 0
    assert main(["figure", *what, "--kind", "masks", "--output", "masks.svg"]) == 0
    drawing = Path("masks.svg").read_text()
    assert "true mask" in drawing
    assert "background" in drawing
    run = next(iter(Store(Path("results")).finished()))
    assert main(["export", run, "model.safetensors"]) == 2
    assert "has a linear head, and it is for segmentation" in capsys.readouterr().err
    assert main(["predict", run, "digits"]) == 2
    assert "its model is of segmentation" in capsys.readouterr().err
    assert main(["show", run]) == 0
    assert "test mIoU: " in capsys.readouterr().out


def test_a_mask_of_another_size_is_refused_at_training_and_at_the_test() -> None:
    split = masked(ArrayImages(np.zeros((2, 16, 16, 1), np.uint8)), MaskArrays(levels(2, 16, 20)))
    with pytest.raises(InputError, match="image 1: a mask of 20 × 16 pixels for an image of 16 × 16"):
        images_of(split).plain(2).__next__()
    model: Any = Reader()
    with pytest.raises(InputError, match="image 1: a mask of 20 × 16 pixels for an image of 16 × 16"):
        predict_pixels(model, split, images_of(split))


def test_there_is_no_label_to_read() -> None:
    batch = images_of(painted(levels(7))).batch(0)
    assert batch.labels is None
    assert batch.targets is None
    assert len(batch) == 4
    assert [len(part) for part in batch.divided(3)] == [2, 2]


def test_a_split_of_which_nothing_counts_ends_a_run_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: MaskArrays, indices: npt.NDArray[np.int64]) -> list[Tensor]:
        return [torch.full((48, 48), IGNORED, dtype=torch.uint8) for _ in indices]

    monkeypatch.setattr(MaskArrays, "take", nothing)
    with pytest.raises(InputError, match=r"drawn_shapes: mIoU is no number on the val split, of which nothing counts"):
        run_trial(planned("ce", "steps=2"), Registry(), CPU)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (("schedule=cosine", "power=0.9"), "power = 0.9 is of the schedule poly, and this one is cosine"),
        (("optimizer=muon", "lion_beta2=0.9"), "lion_beta2 = 0.9 is of the optimizer lion, and this one is muon"),
        (("muon_momentum=0.9",), "muon_momentum = 0.9 is of the optimizer muon, and this one is adamw"),
    ],
)
def test_a_setting_of_another_choice_is_refused(settings: tuple[str, ...], line: str) -> None:
    with pytest.raises(InputError, match=line):
        planned("ce", *settings)
