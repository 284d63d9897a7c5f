"""Features computed once: the same bits as at every step, each image through the backbone once, and kept for others."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.cost.shared import stages_here
from bench.data import ArrayImages, Split, TrainingImages
from bench.data.augment import test_view as at_test
from bench.device import interrupt
from bench.method import Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol
from bench.registry import Registry
from bench.spec import RunSpec
from bench.task import find_task
from bench.training.features import TEST, TRAIN, VAL, Features, Untold, at_once, is_plain, trains_head_alone
from bench.training.shelf import Shelf
from bench.training.trial import TrainedRun, run_trial
from tests.methods.test_frozen_parts import model as a_vit
from tests.scenes import as_plain, curve_of
from tests.training.test_checkpoint import in_pieces

CPU = torch.device("cpu")
USUAL = ("steps=6", "warmup=0", "evaluations=3", "batch_size=8", "augmentation=none")
ONCE = "features=once"


def planned(methods: str, *settings: str, backbones: str = "micro_vit") -> RunSpec:
    overrides = Overrides(methods=methods, rates="5", seeds="1", backbones=backbones, settings=(*USUAL, *settings))
    (spec,) = read_plan("digits", Registry(), overrides).unique.values()
    return spec


def run(spec: RunSpec, keep: Path | None = None) -> TrainedRun:
    return run_trial(spec, Registry(), CPU, keep)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many images went through a backbone."""
    counter, usual = Counter[str](), Model.normalised

    def normalised(self: Model, images: Tensor) -> Tensor:
        counter["images"] += len(images)
        return usual(self, images)

    monkeypatch.setattr(Model, "normalised", normalised)
    return counter


def sizes(done: TrainedRun) -> tuple[int, int]:
    """Training images, and those of both other splits."""
    record = done.record
    assert record.subset is not None
    return record.subset.images, (record.validation_images or 0) + (record.test_images or 0)


@pytest.mark.parametrize("method", ["linear", "lp_ft(share=0.5)", "wise_ft(share=0.5)"])
@pytest.mark.parametrize("backbone", ["micro_vit", "micro_resnet"])
@pytest.mark.slow
def test_without_augmentation_a_run_has_the_same_bits(method: str, backbone: str) -> None:
    each, once = (run(planned(method, *more, backbones=backbone)) for more in ((), (ONCE,)))
    assert each.record.id != once.record.id
    assert curve_of(each.record) == curve_of(once.record)
    assert each.predictions.keys() == once.predictions.keys()
    assert all(np.array_equal(array, once.predictions[name]) for name, array in each.predictions.items())


def test_each_image_goes_through_the_backbone_once(seen: Counter[str]) -> None:
    done = run(planned("linear", ONCE))
    assert seen["images"] == sum(sizes(done))


def test_at_every_step_nothing_is_kept(seen: Counter[str], tmp_path: Path) -> None:
    done = run(planned("linear"), tmp_path)
    assert len(done.record.curve) == 3
    assert seen["images"] == 6 * 8 + 3 * sizes(done)[1]
    assert not (tmp_path / "features").exists()


def test_a_batch_norm_before_the_head_sees_the_same_features_to_rounding() -> None:
    """It rounds otherwise where they lie otherwise in memory."""
    each, once = (curve_of(run(planned("linear(batch_norm=yes)", *more)).record) for more in ((), (ONCE,)))
    for left, right in zip(each, once, strict=True):
        assert left["loss"]["ce"] == pytest.approx(right["loss"]["ce"], rel=1e-5)
        assert left["test"]["nll"] == pytest.approx(right["test"]["nll"], rel=1e-5)


def test_other_runs_take_what_was_computed(seen: Counter[str], tmp_path: Path) -> None:
    first = run(planned("linear", ONCE), tmp_path)
    assert len(list((tmp_path / "features").glob("*.safetensors"))) == 3
    computed = seen["images"]
    for method in ("linear", "lp_ft(share=1)", "knn"):
        run(planned(method, ONCE, "lr=0.01"), tmp_path)
    assert seen["images"] == computed == sum(sizes(first))
    again = run(planned("linear", ONCE), tmp_path)
    assert curve_of(again.record) == curve_of(first.record)


def test_a_stage_that_trains_more_is_fed_and_scored_as_ever(seen: Counter[str]) -> None:
    plain = run(planned("ce"))
    count = seen["images"]
    once = run(planned("ce", ONCE))
    assert seen["images"] == 2 * count
    assert curve_of(plain.record) == curve_of(once.record)


def shared_keys(done: TrainedRun) -> list[str]:
    return [stage["shared"]["key"] for stage in as_plain(done.record)["stages"]]


@pytest.mark.slow
def test_the_head_of_a_member_of_a_soup_is_trained_on_features_too(seen: Counter[str], tmp_path: Path) -> None:
    soup, shifted = "linear+soup(members=2,kind=uniform)", "augmentation=shift"
    once = run(planned(soup, ONCE, shifted), tmp_path)
    assert seen["images"] == sum(sizes(once))
    each = run(planned(soup, shifted), tmp_path)
    assert curve_of(each.record) != curve_of(once.record)
    assert len({*shared_keys(each), *shared_keys(once)}) == 4
    of_plan = stages_here([planned(soup, ONCE, shifted), planned(soup, shifted)], Registry())
    assert len({stage.key for stages in of_plan if stages for stage in stages.shared}) == 4
    plain, again = (run(planned(soup, *more)) for more in ((), (ONCE,)))
    assert curve_of(plain.record) == curve_of(again.record)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linear+soup(members=2,kind=uniform)", "linear_sweep+soup(members=2)"])
def test_a_stage_on_features_is_shared_for_the_same_images_alone(method: str, tmp_path: Path) -> None:
    spec = planned(method, ONCE)
    other = replace(spec, seeds=replace(spec.seeds, subset=spec.seeds.subset + 1))
    first, second = run(spec, tmp_path), run(other, tmp_path)
    assert not {*shared_keys(first)} & {*shared_keys(second)}
    assert curve_of(second.record) == curve_of(run(other).record)
    assert shared_keys(run(replace(spec, seed=spec.seed + 1), tmp_path)) == shared_keys(first)


def test_a_damaged_file_is_computed_again(seen: Counter[str], tmp_path: Path) -> None:
    spec = planned("linear", ONCE)
    first = run(spec, tmp_path)
    file = max((tmp_path / "features").glob("*.safetensors"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    seen.clear()
    assert curve_of(run(spec, tmp_path).record) == curve_of(first.record)
    assert 0 < seen["images"] < sum(sizes(first))
    assert file.is_file()


def test_where_they_cannot_be_kept_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: Shelf, *_: object) -> None:
        raise OSError(28, "No space left on device")

    expected = curve_of(run(planned("linear", ONCE)).record)
    for where in ("_write", "get"):  # the disk is full, or the folder cannot be made
        with monkeypatch.context() as patched:
            patched.setattr(Shelf, where, full)
            assert curve_of(run(planned("linear", ONCE), tmp_path).record) == expected
        assert f"features are not kept in {tmp_path / 'features'} (No space left on device)" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["linear", "lp_ft(share=0.5)", "linear_sweep", "knn"])
def test_a_run_that_is_taken_up_has_the_same_bits(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = planned(method, ONCE)
    whole = run(spec)
    taken_up, stops = in_pieces(spec, tmp_path, 2, monkeypatch)
    assert stops == (0 if method == "knn" else 3)
    assert curve_of(taken_up.record) == curve_of(whole.record)
    assert taken_up.record.chosen == whole.record.chosen
    assert not interrupt.requested()


# ---- what a stage is fed


def noise(augmentation: str = "crop_flip", **protocol: Any) -> TrainingImages:
    state = np.random.RandomState(0)
    split = Split(
        ArrayImages(state.randint(0, 256, (12, 20, 16, 1)).astype(np.uint8)), state.randint(0, 3, 12).astype(np.int64)
    )
    of_run = Protocol(batch_size=4, augmentation=augmentation, **protocol)
    return TrainingImages(split, np.array([1, 4, 5, 8, 9, 11]), 3, of_run, 12, seed=5, device=CPU)


def test_as_tested_is_the_test_view_in_the_same_order_with_the_same_targets() -> None:
    data = noise(mixup=0.8, erasing=0.5, label_smoothing=0.1)
    usual, plain = data.batch(2), data.as_tested().batch(2)
    assert torch.equal(plain.labels, usual.labels)
    chosen = data._chosen(2)
    assert torch.equal(plain.images, at_test(data.split.images.take(chosen), 12, "crop_flip"))
    smooth = 0.9 * torch.nn.functional.one_hot(plain.labels, 3) + 0.1 / 3
    torch.testing.assert_close(plain.targets, smooth.to(plain.targets.dtype))


def test_features_stand_for_the_images_of_the_same_batches() -> None:
    data, model = noise(), a_vit()
    kept, plain = data.features(model), data.as_tested()
    assert len(kept) == len(data)
    for step in (0, 1, 7):
        of_features, of_images = kept.batch(step), plain.batch(step)
        assert torch.equal(of_features.labels, of_images.labels)
        assert torch.equal(of_features.targets, of_images.targets)
        with torch.no_grad():
            expected = model(of_images.images)
        torch.testing.assert_close(of_features.images, expected.features)
        torch.testing.assert_close(model(of_features.images).logits, expected.logits)
        assert len(of_features) == len(of_images) == 4
        assert [len(part) for part in of_features.divided(2)] == [2, 2]


def test_what_was_made_of_the_images_is_never_taken_for_them() -> None:
    """A photograph as it is tested, or its features, would be kept as those of the image."""
    data = replace(noise(), reader=lambda model, images: torch.zeros(len(images), 3))
    assert data.features(a_vit()).reader is None
    assert data.as_tested().reader is None


def test_of_features_nothing_else_is_read() -> None:
    data, model = noise(), a_vit()
    batch = data.features(model).batch(0)
    with pytest.raises(ValueError, match="expected 4, got 3"):
        model(batch.images, probe="tokens")


def stage(model: Model, loss: Callable[..., Any] | None = None, **changes: Any) -> Stage:
    method: Any = Registry().load_method(Registry().method("linear"))
    linear: Stage
    (linear,) = method().stages(model, noise().protocol.recipe, noise())
    return replace(linear, loss=loss or linear.loss, **changes)


def test_which_stages_are_fed_with_features() -> None:
    model, data = a_vit(), noise(features="once")
    assert at_once(stage(model), data).batch(0).images.ndim == 2
    assert at_once(stage(model, lambda model, batch: {}), data).batch(0).images.ndim == 4
    for left_alone in (
        stage(model, train=()),
        stage(model, train=(model.head, model.backbone)),
        stage(model, frozen_drops=True),
        stage(model, views=2),
        stage(model, data=data),
    ):
        assert at_once(left_alone, data) is data
    every_step = noise()
    assert at_once(stage(model), every_step) is every_step
    assert trains_head_alone(stage(model, train=(model.head.weight,)))


# ---- what decides them


def test_the_key_is_of_weights_images_size_view_and_what_is_read() -> None:
    spec, data, model = planned("linear"), noise(), a_vit()
    features = Features(spec)

    def key(model: Model = model, data: TrainingImages = data, part: str = TRAIN, spec: RunSpec = spec) -> str:
        return repr(sorted(replace(features, spec=spec).meaning(model, data, part).items(), key=str))

    first = key()
    assert key(spec=planned("lp_ft", "lr=0.3", "steps=9")) == first
    photo = replace(data.protocol, augmentation="rand_m9")
    assert key(data=replace(data, protocol=photo, seed=7)) == first
    assert key(part=VAL) != key(part=TEST) != first
    assert key(data=replace(data, size=16)) != first
    assert key(data=replace(data, indices=data.indices[1:])) != first
    assert key(data=replace(data, protocol=replace(data.protocol, augmentation="none"))) != first
    assert key(data=replace(data, protocol=replace(data.protocol, precision="bf16"))) != first
    other = planned("linear", backbones="micro_resnet")
    assert key(spec=replace(spec, backbone=other.backbone)) != first
    assert key(spec=replace(spec, dataset=dataclasses.replace(spec.dataset, means="another"))) != first
    with torch.no_grad():
        next(model.backbone.parameters()).view(-1)[0] += 1
    changed = key()
    assert changed != first
    model.read_last_blocks(1)
    assert key() != changed


def test_a_backbone_into_which_somebody_hooked_something_shares_nothing(tmp_path: Path) -> None:
    model, data = a_vit(), noise()
    features = Features(planned("linear"), Shelf(tmp_path))
    assert is_plain(model)
    model.backbone.register_forward_hook(lambda module, inputs, output: output + 1)
    assert not is_plain(model)
    features.of(model, data, TRAIN)
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_trained_between_is_read_anew() -> None:
    model, data = a_vit(), noise()
    features = Features(planned("linear"))
    first = features.of(model, data, TRAIN)
    assert features.of(model, data, TRAIN) is first
    with torch.no_grad():
        for weights in model.backbone.parameters():
            weights.mul_(1.5)
    assert not torch.equal(features.of(model, data, TRAIN), first)


def test_at_a_point_of_the_curve_weights_are_digested_once_and_anew_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models: list[Model] = []

    def counted(model: Model) -> str:
        models.append(model)
        return str(len(models))

    monkeypatch.setattr("bench.training.features.weights_digest", counted)
    model, another, data, features = a_vit(), a_vit(), noise(), Features(planned("linear"))
    with features.unchanged():
        keys = [features.meaning(each, data, part)["weights"] for each in (model, another) for part in (VAL, TEST)]
    assert keys == ["1", "1", "2", "2"]
    with features.unchanged():
        features.meaning(model, data, VAL)
    features.meaning(model, data, VAL)
    assert models == [model, another, model, model]
    models.clear()
    run(planned("linear", ONCE))
    assert len(models) == 1 + 3  # at the stage, and at each of its points


def test_where_stages_are_gone_through_untrained_only_the_shape_counts(seen: Counter[str]) -> None:
    model = a_vit()
    assert Untold(planned("linear")).of(model, noise(), TRAIN).shape == (6, model.dim)
    assert not seen


def test_the_setting_is_for_images_with_labels() -> None:
    protocol = Protocol(augmentation="none", features="once")
    assert "a decoder takes maps, which are not kept" in find_task("segmentation").why_not(protocol)
    assert not find_task("multilabel").why_not(Protocol(features="once"))
