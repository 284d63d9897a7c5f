"""DINOv2's linear sweep: what heads read, that each trains as it would alone, and how the best is chosen."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.vit import Classless, ViT
from bench.data import TrainingImages, Validation
from bench.errors import InputError
from bench.method import replace
from bench.models.kept import load_model
from bench.plan.overrides import Overrides
from bench.plan.soundness import require_sound
from bench.plan.target import read_plan
from bench.protocol import Recipe
from bench.records.kept import kept_models, read_facts
from bench.registry import Registry
from bench.training.fit import fit
from bench.training.trial import run_trial
from tests.methods.test_frozen_parts import model as a_vit
from tests.methods.test_frozen_parts import noise
from tests.models.trained import CPU, confidences, planned, recorded, train

sweep: Any = importlib.import_module("bench.methods.linear_sweep")


def deep(**arguments: Any) -> Model:
    torch.manual_seed(0)
    backbone = VisionTransformer(
        **{"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 16, "depth": 5, "num_heads": 2},
        **{"num_classes": 0, "reg_tokens": 2, **arguments},
    )
    return Model(backbone, ViT() if backbone.cls_token is not None else Classless(), 16, 3, [0.5], [0.25]).eval()


def with_validation(data: TrainingImages) -> TrainingImages:
    return replace(data, held_out=Validation(replace(data, indices=data.indices[:20]), lambda model: 0.0))


@pytest.mark.parametrize("count", [1, 4])
def test_features_are_timms_intermediate_layers(count: int) -> None:
    model, images = deep(), torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        theirs: Any = model.backbone.get_intermediate_layers(  # type: ignore[operator]
            model.normalised(images), n=count, return_prefix_tokens=True, norm=True
        )
        model.read_last_blocks(count)
        features = model.pooled(images)
    firsts = [prefix[:, 0] for _, prefix in theirs]
    expected = torch.cat([*firsts, theirs[-1][0].mean(1)], 1)
    assert features.shape == (3, (count + 1) * 16)
    torch.testing.assert_close(features, expected)
    assert model.dim == (count + 1) * 16
    with torch.no_grad():
        torch.testing.assert_close(model.pooled(images), features)


def test_without_a_class_token_the_mean_of_patches_stands_for_it() -> None:
    model, images = deep(class_token=False, global_pool="avg", reg_tokens=0, fc_norm=False), torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        theirs: Any = model.backbone.get_intermediate_layers(  # type: ignore[operator]
            model.normalised(images), n=2, norm=True
        )
        model.read_last_blocks(2)
        features = model.pooled(images)
    torch.testing.assert_close(features, torch.cat([theirs[0].mean(1), theirs[1].mean(1), theirs[1].mean(1)], 1))


def test_fewer_blocks_than_are_read_are_refused() -> None:
    with pytest.raises(InputError, match="the last 4 blocks are read, and the backbone has 2"):
        a_vit().read_last_blocks(4)


def test_heads_read_the_four_parts_of_dinov2() -> None:
    """create_linear_input of the released code: [cls] of the last n blocks, then the mean of the last patches."""
    tokens = [torch.full((1, 3), float(number)) for number in range(4)]
    features = torch.cat([*tokens, torch.full((1, 3), 9.0)], 1)
    read = {name: features[:, first:end].tolist()[0] for name, (first, end) in sweep.parts_of(3, 4).items()}
    assert read == {
        "cls of 1": [3.0] * 3,
        "cls+mean of 1": [3.0] * 3 + [9.0] * 3,
        "cls of 4": [0.0] * 3 + [1.0] * 3 + [2.0] * 3 + [3.0] * 3,
        "cls+mean of 4": [0.0] * 3 + [1.0] * 3 + [2.0] * 3 + [3.0] * 3 + [9.0] * 3,
    }
    assert list(sweep.parts_of(3, 1)) == ["cls of 1", "cls+mean of 1"]
    assert len(sweep.RATES) * 4 == 52
    assert sorted(sweep.RATES) == list(sweep.RATES)


def test_one_head_is_the_layer_that_computes_its_logits_and_together_they_answer_with_the_mean() -> None:
    torch.manual_seed(0)
    heads = sweep.LinearHeads([(4, 8), (0, 8)], 3, 8, 5)
    features = torch.randn(6, 8)
    each = heads.each_of(features)
    assert each.shape == (6, len(heads), 5) == (6, 6, 5)
    for number in range(len(heads)):
        torch.testing.assert_close(heads.head(number)(features), each[:, number])
    torch.testing.assert_close(heads(features), each.mean(1))
    torch.testing.assert_close(heads.folded()(features), each.mean(1))
    weights = torch.cat([weights.flatten() for weights in heads.parameters() if weights.ndim == 2])
    assert weights.std().item() == pytest.approx(0.01, rel=0.15)


def alone(layer: nn.Linear, rate: float, batches: list[tuple[Tensor, Tensor]], recipe: Recipe) -> nn.Linear:
    """A head trained by itself in double precision with torch's SGD and DINOv2's cosine."""
    layer = layer.double()
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate, momentum=0.9, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps, eta_min=0)
    for features, targets in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(features), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return layer


def test_each_head_trains_as_it_would_alone_with_its_learning_rate() -> None:
    model, data, recipe = a_vit().double(), with_validation(noise()), Recipe(steps=6, lr=3.0).resolved(40, 8)
    steps = sweep.LinearSweep(blocks=2).stages(model, recipe, data)
    stage = next(steps)
    heads: Any = model.head
    starts = [heads.head(number) for number in range(len(heads))]
    batches = []
    for number in range(6):
        batch = data.batch(number)
        with torch.no_grad():
            batches.append((model.eval().pooled(batch.images.double()), batch.targets.double()))
    fit(stage, data, start=0)
    first, end = 0, 0
    for number, rate in ((0, 1e-5), (12, 0.1), (20, 2e-3), (51, 0.1)):
        first, end = list(sweep.parts_of(24, 2).values())[number // 13]
        start = nn.Linear(end - first, 3)
        start.weight.data, start.bias.data = starts[number].weight.data[:, first:end].clone(), starts[number].bias.data
        cut = [(features[:, first:end], targets) for features, targets in batches]
        expected = alone(start, rate * 8 / 256, cut, recipe)
        trained = heads.head(number)
        torch.testing.assert_close(trained.weight[:, first:end].double(), expected.weight, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(trained.bias.double(), expected.bias, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_best_on_the_validation_split_takes_their_place_and_the_record_says_which() -> None:
    done = run_trial(planned("linear_sweep", "steps=8", "lr=5"), Registry(), CPU)
    chosen: Any = done.record.chosen
    assert chosen["of"] == 52
    assert chosen["lr"] == sweep.RATES[chosen["head"] % 13]
    (words,) = done.record.choice.values()
    assert words.startswith(f"head {chosen['head']}, of 52, lr {chosen['lr']}, reads cls")
    val = done.record.curve[-1].val
    assert val is not None
    assert val["top1"] == pytest.approx(chosen["right"], abs=1e-3)


def test_of_heads_that_are_as_good_the_first_is_taken_and_no_test_image_chooses() -> None:
    model, data = deep(), with_validation(noise())
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(0)
    steps = sweep.LinearSweep().stages(model, Recipe(steps=0).resolved(40, 8), data)
    next(steps)
    with torch.no_grad():
        for weights in model.head.parameters():
            weights.mul_(0)
    assert next(steps, None) is None
    assert data.validation.chosen["head"] == 0
    assert type(model.head) is nn.Linear


def test_the_head_is_that_with_most_right_answers() -> None:
    model, data = deep(), with_validation(noise())
    steps = sweep.LinearSweep().stages(model, Recipe(steps=0).resolved(40, 8), data)
    next(steps)
    heads: Any = model.head
    right = [0] * 52
    with torch.no_grad():
        for batch in data.validation.plain():
            for number in range(52):
                logits = heads.head(number)(model(batch.images).features)
                right[number] += int((logits.argmax(1) == batch.labels).sum())
    next(steps, None)
    assert data.validation.chosen["head"] == right.index(max(right))
    assert data.validation.chosen["right"] == pytest.approx(100 * max(right) / 20)


def test_without_a_validation_split_it_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(InputError, match=r"chooses on the validation split, and the run has none: .*validation: 0.1"):
        next(sweep.LinearSweep(blocks=2).stages(a_vit(), Recipe(steps=6).resolved(40, 8), noise()))


def test_and_where_runs_are_planned() -> None:
    def runs(*settings: str, datasets: str) -> Any:
        overrides = Overrides(methods="linear_sweep,knn", datasets=datasets, rates="15", seeds="1", settings=settings)
        return read_plan("demo", Registry(), overrides).unique.values()

    with pytest.raises(InputError) as caught:
        require_sound(runs("validation=0", "image_size=12", datasets="cifar10"), Registry(), print)
    (problem,) = caught.value.problems
    assert problem.startswith("linear_sweep: methods/linear_sweep.py:")
    assert "reads data.validation, and cifar10 has no validation split with validation = 0" in problem
    assert "--set validation=0.1" in problem
    require_sound(runs("image_size=12", datasets="cifar10"), Registry(), print)
    require_sound(runs("validation=0", datasets="digits"), Registry(), print)  # it has a split of its own


@pytest.mark.slow
def test_all_heads_take_as_many_images_through_the_backbone_as_one_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, usual = [], Model.normalised

    def normalised(self: Model, images: Tensor) -> Tensor:
        passes.append(len(images))
        return usual(self, images)

    monkeypatch.setattr(Model, "normalised", normalised)
    counts = {}
    for method in ("linear", "linear_sweep"):
        for features in ("every_step", "once"):
            run_trial(planned(method, "steps=40", f"features={features}"), Registry(), CPU)
            counts[method, features] = sum(passes)
            passes.clear()
    assert counts["linear_sweep", "once"] == counts["linear", "once"] < counts["linear", "every_step"]
    assert counts["linear_sweep", "every_step"] == counts["linear", "every_step"]


@pytest.mark.slow
def test_kept_models_of_every_point_say_what_they_said(tmp_path: Path) -> None:
    spec = planned("linear_sweep")
    _, folder = train(spec, tmp_path)
    scored = recorded(folder)
    assert len(kept_models(folder)) == 2
    for number, step in enumerate(kept_models(folder)):
        classes, confidence = confidences(folder, step, spec)
        np.testing.assert_allclose(confidence, scored["test_confidence"][number], atol=2e-5)
        assert np.array_equal(classes, scored["test"][number])
    path = kept_models(folder)[step]
    assert type(load_model(path, read_facts(path), Registry()).head) is nn.Linear
