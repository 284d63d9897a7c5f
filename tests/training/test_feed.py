"""Batches of a stage's own: as many passes over the images as planned, and points of the curve where they would be."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.conformance import examine, find_examined
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.dataset import FileImages
from bench.errors import InputError
from bench.method import Method, Stage
from bench.plan.experiment import read_experiment
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe, read_protocol
from bench.registry import Registry
from bench.training.feed import StageSpan, fed
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import as_plain

CPU = torch.device("cpu")
QUICK = settings(max_examples=200, deadline=None)

LARGE = '''
"""Head first, in larger batches."""

from dataclasses import dataclass

from bench.method import Method, Stage, hyper


@dataclass(frozen=True)
class Large(Method):
    """Head first, in larger batches."""

    paper = "a test"

    batch: int = hyper(12, low=0, source="a test")
    share: float = hyper(0.5, low=0, high=1, source="a test")

    def stages(self, model, recipe, data):
        def counted(model, batch):
            print("images", len(batch.labels))
            return self.loss(model, batch)

        images = data.fed(self.batch, "crop_flip")
        yield Stage(model, counted, recipe.share(self.share), train=[model.head], data=images)
        yield Stage(model, counted, recipe.rest(self.share))
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "large.py"
    path.write_text(LARGE)
    return path


def trial(plugin: Path, method: str = "large", *changed: str) -> TrainedRun:
    registry = Registry([plugin])
    protocol = ("steps=24", "warmup=4", "evaluations=6", "batch_size=4", *changed)
    if "epochs=2" in changed:
        protocol = protocol[1:]
    overrides = Overrides(method, rates="15", seeds="1", settings=protocol)
    (spec,) = read_plan("digits", registry, overrides).unique.values()
    return run_trial(spec, registry, CPU)


def photos(**protocol: object) -> TrainingImages:
    split = Split(FileImages((Path("a.png"),)), np.zeros(1, dtype=np.int64))
    return TrainingImages(split, np.arange(1), 2, Protocol(**protocol), 8, 0, CPU)  # type: ignore[arg-type]


# ---- recipes


@given(
    steps=st.integers(1, 10**6),
    of=st.integers(1, 5000),
    size=st.integers(1, 5000),
    images=st.integers(1, 10**6),
    cut=st.floats(0, 1),
)
@QUICK
def test_as_many_passes_less_a_part_of_a_step(steps: int, of: int, size: int, images: int, cut: float) -> None:
    recipe = Recipe(steps=steps, warmup=steps // 3).resolved(1, 1)
    own, usual = -(-images // size), -(-images // of)
    if size == of or steps * own < usual:
        return
    other = recipe.in_batches(size, of, images)
    assert 0 <= Fraction(steps, usual) - Fraction(other.last, own) < Fraction(1, own)
    assert other.steps == other.last
    assert 0 <= Fraction(recipe.warmup, usual) - Fraction(other.warmup, own) < Fraction(1, own)
    windows = []
    for window in (recipe.window(0, cut), recipe.window(cut, 1)):
        if (window.last - window.first) * own >= 2 * usual:
            windows.append(window.in_batches(size, of, images))
    if len(windows) == 2:
        assert (windows[0].first, windows[0].last, windows[1].last) == (0, windows[1].first, other.last)


@pytest.mark.parametrize(
    ("images", "steps", "batch"),
    [
        (1_020, 50, 1_020),  # Flowers: 8 steps of 128 a pass, 400 in 50 epochs; one batch is all of a pass
        (5_994, 100, 4_096),  # CUB: 47 steps of 128 a pass, 2,350 in 50 epochs; 4,096 + 1,898 are two batches
        (3_680, 50, 3_680),  # Pets: 29 steps a pass, 1,450
        (50_000, 650, 4_096),  # CIFAR: 391 steps a pass, 19,550; twelve batches and one of 848
        (1_281_167, 15_650, 4_096),  # ImageNet: 10,010 steps a pass, 500,500; 313 batches
    ],
)
def test_lacvits_contrast_has_the_steps_of_a_loader(images: int, steps: int, batch: int) -> None:
    """50 of 60 epochs, in batches of 4,096 beside the protocol's 128."""
    recipe = Recipe(epochs=60).resolved(images, 128)
    contrast = recipe.share(0.8333333333333334)
    assert contrast.last == 50 * -(-images // 128)
    split = Split(ArrayImages(np.zeros((1, 2, 2, 1), dtype=np.uint8)), np.zeros(1, dtype=np.int64))
    data = TrainingImages(split, np.zeros(images, dtype=np.int64), 2, Protocol(batch_size=128), 2, 0, CPU)
    head = nn.Linear(1, 1)
    model = Model(nn.Flatten(), Family(), 4, 2, [0.5], [0.25])
    planned = Stage(model, Method().loss, contrast, recipes={head: contrast}, data=data.fed(4096))
    stage, fed_with = fed(planned, data)
    assert (stage.recipe.steps, stage.recipe.first, stage.recipe.last) == (steps, 0, steps)
    assert stage.recipes[head] == stage.recipe
    assert fed_with.protocol.batch_size == batch
    assert replace(fed_with.protocol, batch_size=128) == data.protocol


def test_a_batch_of_all_images_holds_each_once() -> None:
    pixels = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2)
    split = Split(ArrayImages(pixels), np.zeros(10, dtype=np.int64))
    data = TrainingImages(split, np.arange(10), 2, Protocol(batch_size=4, augmentation="none"), 2, 0, CPU)
    model = Model(nn.Flatten(), Family(), 4, 2, [0.5], [0.25])
    stage, images = fed(Stage(model, Method().loss, Recipe(steps=6).resolved(10, 4), data=data.fed(64)), data)
    assert stage.recipe.last == 2  # 6 steps of 4 are two passes over 10
    for step in range(2):
        seen = (images.batch(step).images[:, 0, 0, 0] * 255).round().int().tolist()
        assert sorted(seen) == list(range(10))


@pytest.mark.parametrize(("own", "batch"), [(0, 128), (64, 64), (128, 128), (4096, 128)])
def test_no_batch_is_made_smaller_than_the_protocols(own: int, batch: int) -> None:
    """Of 100 images, which are fewer than a batch: the protocol's batches repeat them too."""
    data = replace(photos(batch_size=128), indices=np.zeros(100, dtype=np.int64))
    model = Model(nn.Flatten(), Family(), 4, 2, [0.5], [0.25])
    stage, images = fed(Stage(model, Method().loss, Recipe(steps=7).resolved(100, 128), data=data.fed(own)), data)
    assert images.protocol.batch_size == batch
    assert stage.recipe.last == (14 if own == 64 else 7)


def test_batches_of_the_same_size_change_nothing() -> None:
    recipe = Recipe(steps=10, warmup=3).resolved(1, 1).window(0.2, 0.7)
    assert recipe.in_batches(64, 64, 1000) == recipe


def test_a_stage_too_short_for_one_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"1,280 images has not one batch of 4,096"):
        Recipe(steps=10).resolved(1, 1).in_batches(4096, 128, 50_000)


@given(points=st.integers(1, 40), spent=st.integers(0, 500), budget=st.integers(1, 500), steps=st.integers(1, 900))
@QUICK
def test_points_lie_where_their_share_of_the_stage_is_done(points: int, spent: int, budget: int, steps: int) -> None:
    wanted = {max(1, round(1000 * (point + 1) / points)) for point in range(points)}
    inside = sorted(point for point in wanted if spent < point <= spent + budget)
    span = StageSpan(7, steps, spent, budget)
    found = sorted(step - 7 for step in span.at(wanted))
    assert all(1 <= step <= steps for step in found)
    assert (span.of_budget(0), span.of_budget(steps)) == (spent, spent + budget)
    assert len(found) <= len(inside)
    if steps == budget:
        assert found == [point - spent for point in inside]
    for point in inside:
        assert any(0 <= step / steps - (point - spent) / budget < 1 / steps for step in found)


def test_a_warm_up_in_epochs_is_as_long_a_part_of_every_schedule() -> None:
    recipe = Recipe(epochs=100, warmup_epochs=20)
    for images in (1000, 50_000):
        found = recipe.resolved(images, 128)
        assert found.warmup == found.steps // 5
        assert (found.epochs, found.warmup_epochs) == (0, 0.0)
    assert Recipe(epochs=10, warmup_epochs=2.5).resolved(400, 100).warmup == 10


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"epochs": 20, "warmup_epochs": 20}, r"the warm-up \(20 epochs\) must be shorter than the schedule \(20\)"),
        ({"epochs": 20, "warmup_epochs": 1, "warmup": 5}, "either warmup"),
        ({"steps": 20, "warmup_epochs": 1}, "has its warm-up in steps"),
    ],
)
def test_a_warm_up_that_makes_no_sense_is_refused(given: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_protocol([(key, value, "x.yaml:1") for key, value in given.items()], "x.yaml:1")


def test_a_warm_up_in_steps_takes_the_place_of_one_in_epochs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    axes = "methods: [ce]\nbackbones: micro_vit\ndatasets: digits\nrates: 15\nseeds: 1\n"
    path.write_text(f"{axes}protocol: {{epochs: 9, warmup_epochs: 3}}\n")
    for typed, warmup in (((), (0, 3.0)), (("warmup=7",), (7, 0.0))):
        experiment = read_experiment(str(path), Registry(), Overrides(settings=typed))
        assert (experiment.protocols[()].recipe.warmup, experiment.protocols[()].recipe.warmup_epochs) == warmup


def test_a_warm_up_longer_than_the_run_is_said_before_it_trains(plugin: Path) -> None:
    with pytest.raises(InputError, match="the warm-up: 90000 steps are not shorter than the schedule of"):
        trial(plugin, "ce", "epochs=2", "warmup=90000")


# ---- images


def test_a_stages_augmentation_comes_without_the_protocols_mixing_and_erasing() -> None:
    data = photos(augmentation="rand_m9", mixup=0.8, cutmix=1.0, erasing=0.25, label_smoothing=0.1, batch_size=7)
    assert data.fed() == data
    assert data.fed(9).protocol == replace(data.protocol, batch_size=9)
    own = data.fed(augmentation="crop_flip").protocol
    assert own == Protocol(augmentation="crop_flip", label_smoothing=0.1, batch_size=7)
    assert data.fed(label_smoothing=0.0).protocol == replace(data.protocol, label_smoothing=0.0)
    assert not any(data.fed(augmentation="deit").protocol.mixing), "DeiT's own is one of the protocol"


@pytest.mark.parametrize(("own", "protocols"), [("crop_flip", "shift"), ("none", "autoaugment")])
def test_files_are_not_decoded_for_photographs_and_for_others_at_once(own: str, protocols: str) -> None:
    data = photos(augmentation=protocols)
    with pytest.raises(InputError, match=rf"{own} where the protocol's is {protocols}"):
        data.fed(augmentation=own)
    pixels = ArrayImages(np.zeros((1, 8, 8, 3), dtype=np.uint8))
    in_memory = replace(data, split=Split(pixels, data.split.labels))
    assert in_memory.fed(augmentation=own).protocol.augmentation == own


def test_an_augmentation_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(InputError, match=r"'crop_flop'; did you mean 'crop_flip'.*protocol"):
        photos().fed(augmentation="crop_flop")


# ---- runs


def test_a_stage_is_given_its_batches_and_the_curve_counts_its_steps(
    plugin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = as_plain(trial(plugin).record)
    sizes = [int(line.split()[1]) for line in capfd.readouterr().out.splitlines() if line.startswith("images")]
    assert sizes == [12] * 4 + [4] * 12
    told = [{key: stage[key] for key in ("steps", "budget", "batch_size")} for stage in record["stages"]]
    assert told == [{"steps": 4, "budget": 12, "batch_size": 12}, {"steps": 12, "budget": 12, "batch_size": 4}]
    # six points, evenly spaced over the images: every 16 of 96
    assert [point["step"] for point in record["curve"]] == [2, 3, 4, 8, 12, 16]


def test_a_run_whose_stage_cannot_fill_a_batch_says_so(plugin: Path) -> None:
    with pytest.raises(InputError, match="48 images has not one batch of 64"):
        trial(plugin, "large(batch=64)")


@pytest.mark.slow
def test_a_method_with_batches_of_its_own_keeps_every_promise(plugin: Path) -> None:
    registry = Registry([plugin])
    promises = dict(examine(find_examined(registry.method("large"), registry)))
    assert {promise: problem for promise, problem in promises.items() if problem} == {}


def test_lacvits_contrast_set_is_the_batch_that_is_asked_for(plugin: Path) -> None:
    stages = as_plain(trial(plugin, "lacvit(contrast_batch=24,share=0.5)").record)["stages"]
    assert [(stage["steps"], stage["batch_size"]) for stage in stages] == [(2, 24), (12, 4)]
