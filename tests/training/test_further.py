"""Runs with further tests and further models: scored beside the rest, and nothing else of the run is changed by it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bench.backbones import Model
from bench.data import ArrayImages, Split, TrainingImages, read_data
from bench.data.further import SomeClasses
from bench.errors import InputError
from bench.method import Method, Stage
from bench.metrics import TASKS
from bench.metrics.predictions import Predictions
from bench.models.kept import _last_model
from bench.models.measuring import _images_of
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.records.proof import of_points
from bench.records.record import Point
from bench.registry import Registry
from bench.spec import RunSpec, from_json, to_json
from bench.task import find_task
from bench.training.answers import predict, some_classes
from bench.training.stages import Training
from bench.training.trackers import Observer
from bench.training.trial import TrainedRun, run_trial
from bench.training.usage import Meter
from tests.data.test_further import draw
from tests.scenes import curve_of
from tests.training.test_checkpoint import in_pieces, same

CPU = torch.device("cpu")
ALSO = "cluttered_digits@also=noise+contrast"


def planned(methods: str = "ce", datasets: str = "cluttered_digits", *settings: str) -> RunSpec:
    usual = ("steps=6", "warmup=1", "evaluations=2", "batch_size=8", *settings)
    overrides = Overrides(methods=methods, datasets=datasets, rates="15", seeds="1", settings=usual)
    (spec,) = read_plan("demo", Registry(), overrides).unique.values()
    return spec


def trained(spec: RunSpec) -> TrainedRun:
    return run_trial(spec, Registry(), CPU)


def plain(scores: Mapping[str, float | None] | None, where: str = "") -> dict[str, float | None]:
    """The scores of the own split and model, or those elsewhere under the same names."""
    parts = {name: name.partition("@") for name in scores or {}}
    return {parts[name][0]: value for name, value in (scores or {}).items() if parts[name][2] == where}


# ---- further tests


def test_they_are_part_of_the_id_and_of_no_draw() -> None:
    without, with_them = planned(), planned(datasets=ALSO)
    assert without.id != with_them.id
    assert (without.dataset.means, without.seeds) == (with_them.dataset.means, with_them.seeds)
    assert planned(datasets="cluttered_digits@also=contrast+noise").id == with_them.id
    assert planned(datasets="cluttered_digits@also=noise").id != with_them.id
    assert from_json(to_json(with_them)) == with_them
    older = {key: value for key, value in to_json(without).items() if key != "further"}
    assert from_json(older).id == without.id


@pytest.mark.slow
def test_the_training_and_all_other_scores_are_those_of_a_run_without_them() -> None:
    without, with_them = trained(planned()), trained(planned(datasets=ALSO))
    for point, also in zip(without.record.curve, with_them.record.curve, strict=True):
        assert (point.loss, plain(point.test), plain(point.val)) == (also.loss, plain(also.test), plain(also.val))
        assert {name.partition("@")[2] for name in also.test} == {"", "noise", "contrast"}
        assert not any("@" in name for name in also.val or {})
    assert np.array_equal(without.predictions["test"], with_them.predictions["test"])
    assert with_them.predictions.keys() - without.predictions.keys() >= {"test@noise", "test@noise_labels"}


@pytest.mark.slow
def test_each_score_is_that_of_the_predictions_that_are_kept() -> None:
    run = trained(planned(datasets=ALSO))
    of_noise = {name: array for name, array in run.predictions.items() if name.startswith("test@noise")}
    arrays = {name.removeprefix("test@noise").lstrip("_"): array for name, array in of_noise.items()}
    labels = {"labels": arrays.pop("labels")}
    for point, predictions in zip(run.record.curve, of_points(arrays, labels, 2, Predictions), strict=True):
        expected = {metric.name: metric.of(predictions) for metric in TASKS["classification"].METRICS}
        assert plain(point.test, "noise") == expected


def test_a_run_whose_further_tests_changed_since_it_was_planned_is_refused() -> None:
    with pytest.raises(InputError, match="further tests changed since the run was planned"):
        trained(replace(planned(datasets=ALSO), further="0" * 12))


def test_a_part_of_the_classes_restricts_the_answers_to_it() -> None:
    """The softmax is over these alone, as ImageNet-A and -R are scored; each with 200 of the 1,000 logits."""
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 9.0, 1.0, 2.0]])
    some = some_classes(logits, torch.tensor([[1], [3]]))
    expected = logits[:, [1, 3]].softmax(1)
    assert torch.equal(some.softmax(1)[:, [1, 3]], expected)
    assert some.softmax(1)[:, [0, 2]].count_nonzero() == 0

    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            return type("Output", (), {"logits": logits[: len(images)]})

    images, labels = ArrayImages(np.zeros((2, 4, 4, 1), np.uint8)), np.array([1, 3])
    data = TrainingImages(Split(images, labels), np.arange(2), 4, Protocol(augmentation="none"), 4, 0, CPU)
    whole = predict(Fixed(), Split(images, labels), data)  # type: ignore[arg-type]
    part = predict(Fixed(), SomeClasses(images, labels, np.array([[1], [3]])), data)  # type: ignore[arg-type]
    assert (whole.predicted.tolist(), part.predicted.tolist()) == ([0, 1], [3, 1])
    assert (whole.rank.tolist(), part.rank.tolist()) == ([4, 2], [2, 2])
    assert part.probability == pytest.approx(expected.numpy()[[0, 1], [0, 1]])
    assert part.confidence == pytest.approx(expected.amax(1).numpy(), abs=2e-5)


def test_a_group_of_classes_has_its_largest_logit() -> None:
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 9.0, 1.0, 2.0]])
    grouped = some_classes(logits, torch.tensor([[0, 3], [2, 2]]))
    assert grouped.tolist() == [[5.0, -math.inf, 3.0, -math.inf], [2.0, -math.inf, 1.0, -math.inf]]


def test_a_rehearsal_scores_parts_of_them() -> None:
    registry, name = Registry(), f"rehearsal:train=64+test=20+seed=0:{ALSO}"
    card, spec = registry.dataset(name), planned(datasets=ALSO)
    assert card.further_means == spec.further
    run = trained(replace(spec, dataset=card.named, rate=100.0))
    assert run.predictions["test@noise"].shape == run.predictions["test"].shape == (2, 20)


def test_image_files_of_a_further_test_are_decoded_once_and_scored_the_same(tmp_path: Path) -> None:
    draw(tmp_path / "pets/train", {"ape": 4, "bee": 4, "cow": 4})
    draw(tmp_path / "pets/test", {"ape": 2, "bee": 2, "cow": 2})
    draw(tmp_path / "sketches", {"bee": 3, "cow": 1, "yak": 2})
    settings = ("steps=2", "warmup=0", "evaluations=1", "batch_size=4", "validation=0")
    name = f"folder:{tmp_path}/pets@also=sketches:{tmp_path}/sketches"
    asked = Overrides(methods="ce", datasets=name, rates="100", seeds="1", settings=settings)
    plan = read_plan("demo", Registry(), asked)
    (spec,) = plan.unique.values()
    plainly, kept = run_trial(spec, Registry(), CPU), run_trial(spec, Registry(), CPU, tmp_path / "results")
    same(plainly, kept)
    assert kept.predictions["test@sketches_labels"].tolist() == [1, 1, 1, 2]
    assert {*kept.predictions["test@sketches"][0].tolist()} <= {1, 2}
    assert len(kept.predictions["test_labels"]) == 6
    assert len([*(tmp_path / "results/cache").glob("*.pixels")]) == 3


def test_a_kept_model_is_built_without_them(tmp_path: Path) -> None:
    """Their images may be gone by then."""
    for part in ("train", "test"):
        draw(tmp_path / "pets" / part, {"ape": 2, "bee": 2})
    draw(tmp_path / "sketches", {"ape": 1, "bee": 1})
    asked = Overrides(
        methods="ce",
        datasets=f"folder:{tmp_path}/pets@also=sketches:{tmp_path}/sketches",
        rates="100",
        seeds="1",
        settings=("steps=2", "warmup=0", "batch_size=4", "validation=0"),
    )
    (spec,) = read_plan("demo", Registry(), asked).unique.values()
    shutil.rmtree(tmp_path / "sketches")
    registry = Registry()
    with pytest.raises(InputError):
        registry.dataset(spec.dataset.name)
    model = find_task("classification").build(registry.backbone(spec.backbone.name), 2, spec.protocol)
    assert _last_model(spec, model, registry) is model
    assert len(_images_of(spec, "test", registry, tmp_path)) == 4


# ---- further models


@pytest.mark.slow
def test_ema_scores_the_average_and_beside_it_the_weights_of_the_training() -> None:
    without, ema = trained(planned()), trained(planned("ce+ema(decay=0.5)"))
    for point, also in zip(without.record.curve, ema.record.curve, strict=True):
        assert plain(also.test, "raw") == plain(point.test)
        assert plain(also.val, "raw") == plain(point.val)
        assert plain(also.test) != plain(point.test)
    assert np.array_equal(without.predictions["test"], ema.predictions["test@raw"])


def test_an_average_that_forgets_everything_is_the_training_itself() -> None:
    (_, last) = trained(planned("ce+ema(decay=0)")).record.curve
    assert plain(last.test) == plain(last.test, "raw")


def test_swa_scores_its_average_last_and_the_weights_of_the_training_at_each_point() -> None:
    first, last = trained(planned("swa(every=1)")).record.curve
    assert plain(first.test) == plain(first.test, "raw")
    assert plain(last.test) != plain(last.test, "raw")


@pytest.mark.slow
def test_ema_and_further_tests_are_taken_up_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = planned("ce+ema(decay=0.5)", ALSO)
    whole = run_trial(spec, Registry(), CPU)
    assert {name.partition("@")[2] for name in whole.record.curve[0].test} == {"", "noise", "contrast", "raw"}
    pieces, stops = in_pieces(spec, tmp_path, 2, monkeypatch)
    assert stops >= 2
    same(whole, pieces)
    assert curve_of(whole.record) == curve_of(pieces.record)


def test_a_method_has_them_at_every_point() -> None:
    class Once(Method):
        def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
            yield Stage(model, self.loss, recipe.share(0.5))
            yield Stage(model, self.loss, recipe.rest(0.5), beside={"twin": model})

    spec, registry = planned(), Registry()
    dataset, task = read_data(registry.dataset("cluttered_digits")), find_task("classification")
    torch.manual_seed(0)
    model = task.build(registry.backbone("micro_vit"), 10, spec.protocol)
    small = dataset.test.part(np.arange(8))
    data = task.images(spec, dataset, np.arange(16), model, CPU)
    with Meter() as meter, pytest.raises(ValueError, match=r"models beside theirs \(twin\)"):
        Training(spec, task, data, None, small, observer=Observer(), meter=meter).train(Once(), model)


# ---- records


@pytest.mark.parametrize("score", [None, 101.0, math.nan])
def test_a_record_with_an_impossible_score_elsewhere_is_none(score: float | None) -> None:
    with pytest.raises(ValueError, match="top1@noise is a number from 0 to 100"):
        Point(step=1, test={"top1": 50.0, "top1@noise": score})
