"""The training loop: schedules, what is trained, stages one after another, and the same bits every time."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.backbones.vit import ViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.errors import InputError
from bench.method import Batch, Method, Stage, Terms, frozen
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.spec import RunSpec, to_json
from bench.training.answers import predict
from bench.training.fit import Diverged, Progress, fit, set_modes, trained
from bench.training.optimizer import build_optimizer
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import as_plain, curve_of

CPU = torch.device("cpu")
CLASSES, SIDE, DEPTH = 10, 12, 2
QUICK = settings(max_examples=60, deadline=None)
SGD = Recipe(steps=10, optimizer="sgd", lr=0.01, warmup=2).resolved(1, 1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def tiny(drop_path: float = 0.0, qkv_bias: bool = True) -> Model:
    backbone = VisionTransformer(
        img_size=SIDE,
        patch_size=4,
        in_chans=1,
        embed_dim=24,
        depth=DEPTH,
        num_heads=3,
        mlp_ratio=2,
        num_classes=0,
        drop_path_rate=drop_path,
        qkv_bias=qkv_bias,
    )
    return Model(backbone, ViT(), 24, CLASSES, [0.5], [0.25])


def noise(count: int = 30, **protocol: Any) -> TrainingImages:
    """Images of noise, of 0..255, as a run is given them."""
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (count, SIDE, SIDE, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, count))
    held = Protocol(**{"batch_size": 8, "augmentation": "shift", **protocol})
    return TrainingImages(split, np.arange(count), CLASSES, held, SIDE, seed=5, device=CPU)


def levels(count: int, batch_size: int, indices: npt.NDArray[np.int64] | None = None) -> TrainingImages:
    """Images of one grey level each, image i of level i, so that one can see which are in a batch."""
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 1))
    split = Split(ArrayImages(pixels), np.arange(count) % 3)
    chosen = np.arange(count) if indices is None else indices
    return TrainingImages(split, chosen, 3, Protocol(batch_size=batch_size, augmentation="none"), 2, 5, CPU)


def seen(batch: Batch) -> list[int]:
    """Which images of ``levels`` a batch holds."""
    return (batch.images[:, 0, 0, 0] * 255).round().int().tolist()


def plain(model: Model, batch: Batch) -> Terms:
    return {"ce": batch.cross_entropy(model(batch.images))}


def fit_stage(stage: Stage, data: TrainingImages, start: int = 0, previous: Any = None) -> Any:
    return fit(stage, data, start=start, stops=lambda _: False, at_stop=lambda _: None, previous=previous)


def train(method: Method, data: TrainingImages, recipe: Recipe, model: Model | None = None) -> Model:
    """What a run does with a method, without the curve."""
    torch.manual_seed(3)
    model = model or tiny()
    done, optimizer = 0, None
    for stage in method.stages(model, recipe, data):
        optimizer = fit_stage(stage, data, done, optimizer)
        done, model = done + stage.recipe.last - stage.recipe.first, stage.model
    return model


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def moved(before: dict[str, Tensor], after: nn.Module) -> set[str]:
    return {name for name, value in after.state_dict().items() if not torch.equal(before[name], value)}


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == also and torch.equal(value, again) for (name, value), (also, again) in pairs)


# ---- recipes


def rates(recipe: Recipe) -> list[float]:
    return [recipe.learning_rate(step) for step in range(recipe.first, recipe.last)]


def test_warm_up_is_linear_and_reaches_the_peak() -> None:
    recipe = Recipe(steps=100, warmup=10, lr=0.5).resolved(1, 1)
    assert rates(recipe)[:10] == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5])
    assert recipe.learning_rate(10) == 0.5
    assert max(rates(recipe)) == 0.5


def test_cosine_falls_from_the_peak_to_the_floor() -> None:
    recipe = Recipe(steps=100, warmup=20, lr=0.5, min_lr=0.1).resolved(1, 1)
    falling = rates(recipe)[20:]
    assert all(later < earlier for earlier, later in itertools.pairwise(falling))
    assert recipe.learning_rate(60) == pytest.approx((0.5 + 0.1) / 2)
    assert recipe.learning_rate(100) == pytest.approx(0.1)
    assert Recipe(steps=100, lr=0.5).learning_rate(100) == pytest.approx(0, abs=1e-12)
    for step in range(20, 100):
        by_hand = 0.1 + (0.5 - 0.1) / 2 * (1 + math.cos(math.pi * (step - 20) / (100 - 20)))
        assert recipe.learning_rate(step) == pytest.approx(by_hand, rel=1e-12)


def test_constant_schedule_stays_at_the_peak_after_the_warm_up() -> None:
    recipe = Recipe(steps=6, warmup=2, lr=0.5, min_lr=0.1, schedule="constant").resolved(1, 1)
    assert rates(recipe) == [0.25, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_learning_rate_at_the_switch_of_coin() -> None:
    recipe = Recipe(steps=1000, lr=0.01).resolved(1, 1)
    assert rates(recipe.window(0.7, 1.0))[0] == pytest.approx(0.00206, abs=5e-6)


@QUICK
@given(st.integers(2, 400), st.floats(0.01, 0.99), st.integers(0, 20))
def test_two_windows_together_are_the_schedule_of_the_whole(steps: int, switch: float, warmup: int) -> None:
    whole = Recipe(steps=steps, lr=0.01, warmup=min(warmup, steps - 1)).resolved(1, 1)
    first, second = whole.window(0, switch), whole.window(switch, 1)
    assert rates(first) + rates(second) == rates(whole)
    assert len(rates(first)) == round(switch * steps)


@QUICK
@given(st.integers(4, 400), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_a_window_of_a_window_is_a_window(steps: int, outer: float, inner: float) -> None:
    whole = Recipe(steps=steps, lr=0.01).resolved(1, 1)
    second = whole.window(outer, 1)
    assert rates(whole.window(0, outer)) + rates(second.window(0, inner)) + rates(second.window(inner, 1)) == rates(
        whole
    )


def test_a_share_has_a_whole_schedule_of_its_own() -> None:
    recipe = Recipe(steps=100, warmup=10, lr=0.5).resolved(1, 1)
    assert rates(recipe.share(0.3)) == rates(Recipe(steps=30, warmup=3, lr=0.5).resolved(1, 1))
    assert rates(recipe.window(0.5, 1).share(0.5)) == rates(Recipe(steps=25, warmup=5, lr=0.5).resolved(1, 1))


def test_a_share_of_the_schedule_ends_where_the_whole_would_go_on() -> None:
    whole = Recipe(epochs=300, warmup_epochs=20, lr=0.5).resolved(100, 10)
    part = Recipe(epochs=101, warmup_epochs=20, lr=0.5, schedule_share=101 / 300).resolved(100, 10)
    assert (part.last, part.steps) == (1010, 3000)
    assert rates(part) == rates(whole)[:1010]
    assert rates(part)[-1] > 0.3
    first, second = part.window(0, 0.5), part.window(0.5, 1)
    assert rates(first) + rates(second) == rates(part)
    assert rates(part.share(0.5)) == rates(whole.share(0.5))[:505]


@pytest.mark.parametrize("steps", [4, 5, 6, 7, 15, 99])
def test_shares_that_make_a_whole_fit_into_the_budget(steps: int) -> None:
    """An odd budget has no two equal halves; whichever way it is rounded, a method must not fail for it."""
    recipe = Recipe(steps=steps).resolved(1, 1)
    for parts in ((0.5, 0.5), (0.7, 0.3), (0.25, 0.25, 0.5)):
        assert sum(recipe.share(part).last for part in parts) <= steps


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(10, 5, 6), (10, 4, 9), (3, 768, 3)])
def test_epochs_become_steps_with_the_partial_batch_counted(images: int, batch_size: int, steps: int) -> None:
    recipe = Recipe(epochs=3).resolved(images, batch_size)
    assert (recipe.first, recipe.last, recipe.steps, recipe.epochs) == (0, steps, steps, 0)


def test_steps_do_not_depend_on_the_number_of_images() -> None:
    assert Recipe(steps=7).resolved(1000, 8) == Recipe(steps=7).resolved(1, 8)


def test_each_step_is_made_at_its_learning_rate() -> None:
    """Read off the weights: SGD without momentum moves the head's bias by learning rate times gradient."""
    recipe = Recipe(steps=9, warmup=3, lr=0.3, optimizer="sgd", momentum=0).resolved(1, 1).window(1 / 9, 1)
    model, data, found = tiny(), noise(), []

    def loss(model: Model, batch: Batch) -> Terms:
        found.append(model.head.bias[0].item())
        return {"linear": -model.head.bias[0]}

    fit_stage(Stage(model, loss, recipe, train=[model.head]), data)
    found.append(model.head.bias[0].item())
    assert np.diff(found) == pytest.approx(rates(recipe), abs=1e-6)


# ---- optimisers


def groups(model: Model, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The optimiser's group of each parameter."""
    optimizer = build_optimizer(model, model.named_parameters(), recipe, None)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = [(names[parameter], group) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(found) == len(dict(found)) == len(names)
    return dict(found)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_biases_norms_and_embeddings_are_not_decayed(optimizer: str) -> None:
    found = groups(tiny(), replace(SGD, optimizer=optimizer, weight_decay=0.3))
    decayed = {name for name, group in found.items() if group["weight_decay"] == 0.3}
    blocks = [f"backbone.blocks.{n}.{part}.weight" for n in range(DEPTH) for part in PARTS]
    assert decayed == {"head.weight", "backbone.patch_embed.proj.weight", *blocks}
    assert {group["weight_decay"] for name, group in found.items() if name not in decayed} == {0.0}


PARTS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


def test_optimisers_have_the_recipes_moments() -> None:
    model = tiny()
    adamw = build_optimizer(model, model.named_parameters(), Recipe(momentum=0.8, beta2=0.95), None)
    sgd = build_optimizer(model, model.named_parameters(), replace(SGD, momentum=0.7, nesterov=True), None)
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(sgd, torch.optim.SGD)
    assert {group["betas"] for group in adamw.param_groups} == {(0.8, 0.95)}
    assert {(group["momentum"], group["nesterov"]) for group in sgd.param_groups} == {(0.7, True)}


def test_layer_decay_is_that_of_beit() -> None:
    """Head and final norm have 1, the last block one factor, the embeddings one for each block and one more."""
    found = {name: group["factor"] for name, group in groups(tiny(), replace(SGD, layer_decay=0.5)).items()}
    for name, factor in found.items():
        if name.startswith(("head", "backbone.norm")):
            assert factor == 1, name
        elif name.startswith("backbone.blocks."):
            assert factor == 0.5 ** (DEPTH - int(name.split(".")[2])), name
        else:
            assert factor == 0.5 ** (DEPTH + 1), name


def test_layer_decay_falls_by_one_factor_a_block_and_leaves_the_head() -> None:
    found = {name: group["factor"] for name, group in groups(tiny(), replace(SGD, layer_decay=0.5)).items()}
    first, second = (found[f"backbone.blocks.{number}.mlp.fc1.weight"] for number in range(DEPTH))
    assert first / second == 0.5
    assert found["backbone.pos_embed"] / first == 0.5
    assert found["head.weight"] == 1
    assert {group["factor"] for group in groups(tiny(), SGD).values()} == {1.0}


def test_layer_decay_scales_the_steps_of_the_weights() -> None:
    model = tiny()
    before = weights(model)
    recipe = replace(SGD, layer_decay=1e-6, last=3, weight_decay=0)
    fit_stage(Stage(model, plain, recipe), noise())
    head = (model.head.weight - before["head.weight"]).abs().max().item()
    patches = (model.state_dict()[PATCHES] - before[PATCHES]).abs().max().item()
    assert head > 1e-4
    assert patches < 1e-6


PATCHES = "backbone.patch_embed.proj.weight"


@pytest.mark.parametrize("clip_norm", [0.0, 1e-3])
def test_gradients_are_clipped_to_their_norm(clip_norm: float) -> None:
    model = tiny()
    before = weights(model)
    recipe = Recipe(steps=1, optimizer="sgd", lr=1, momentum=0, weight_decay=0, clip_norm=clip_norm).resolved(1, 1)
    fit_stage(Stage(model, plain, recipe), noise())
    way = math.sqrt(sum((value - before[name]).square().sum().item() for name, value in weights(model).items()))
    assert way == pytest.approx(clip_norm, rel=1e-2) if clip_norm else way > 0.1


# ---- what is trained


def test_stage_trains_all_of_its_model_unless_told_otherwise() -> None:
    model = tiny()
    assert [name for name, _ in trained(Stage(model, plain, SGD))] == [name for name, _ in model.named_parameters()]


def test_listed_modules_train_and_the_rest_is_frozen_in_eval_mode() -> None:
    model = tiny(drop_path=0.5)
    backbone: Any = model.backbone
    listed = [backbone.blocks[1].mlp, backbone.pos_embed, model.head]
    modes: list[tuple[set[str], set[str]]] = []

    def loss(model: Model, batch: Batch) -> Terms:
        in_training = {name for name, module in model.named_modules() if module.training}
        modes.append((in_training, {name for name, weight in model.named_parameters() if weight.requires_grad}))
        return plain(model, batch)

    before = weights(model)
    fit_stage(Stage(model, loss, replace(SGD, last=2), train=listed), noise())
    mlp = {f"backbone.blocks.1.mlp{part}" for part in ("", ".fc1", ".act", ".drop1", ".norm", ".fc2", ".drop2")}
    gradients = {f"backbone.blocks.1.mlp.fc{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")}
    gradients |= {"backbone.pos_embed", "head.weight", "head.bias"}
    assert modes == [(mlp | {"head"}, gradients)] * 2
    assert moved(before, model) == gradients


def test_modes_are_set_again_after_an_evaluation() -> None:
    model, data = tiny(drop_path=0.9), noise()
    modes: list[bool] = []

    def loss(model: Model, batch: Batch) -> Terms:
        modes.append(model.training and all(weight.requires_grad for weight in model.parameters()))
        return plain(model, batch)

    def evaluate(_: Progress) -> None:
        predict(model, data.split, data)
        assert not model.training

    stage = Stage(model, loss, replace(SGD, last=4))
    fit(stage, data, start=0, stops=lambda _: True, at_stop=evaluate)
    assert modes == [True] * 4


def test_a_parameter_of_the_methods_own_is_trained_when_listed() -> None:
    """``train`` takes modules and parameters; a learnt temperature is a parameter of no module."""
    model, temperature = tiny(), nn.Parameter(torch.tensor(1.0))

    def loss(model: Model, batch: Batch) -> Terms:
        output = model(batch.images)
        return {"ce": batch.cross_entropy(replace(output, logits=output.logits * temperature)), "t": temperature**2}

    fit_stage(Stage(model, loss, replace(SGD, last=3), train=[model, temperature]), noise())
    assert temperature.item() != 1


def test_a_parameter_listed_twice_is_trained_once() -> None:
    model = tiny()
    found = list(trained(Stage(model, plain, SGD, train=[model.head, model, *model.head.parameters()])))
    assert len(found) == len({id(parameter) for _, parameter in found}) == len(list(model.parameters()))


@dataclass(frozen=True)
class Projector(Method):
    """An auxiliary head: a layer that only the loss knows."""

    made: list[nn.Module] = field(default_factory=list)

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        projector = nn.Sequential(nn.Linear(model.dim, 8), nn.BatchNorm1d(8))
        self.made.append(projector)

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images)
            return {"ce": batch.cross_entropy(output), "size": projector(output.features).abs().mean()}

        yield Stage(model, loss, recipe, train=[model, projector])


def test_an_auxiliary_head_is_trained_with_the_model() -> None:
    method = Projector()
    before = weights(tiny())
    model = train(method, noise(), replace(SGD, last=3))
    (projector,) = method.made
    fresh = weights(torch.nn.Sequential(nn.Linear(model.dim, 8), nn.BatchNorm1d(8)))
    assert projector.training
    assert moved(fresh, projector) == set(fresh)
    assert set(before) == moved(before, model)
    assert same(model, train(Projector(), noise(), replace(SGD, last=3)))


@dataclass(frozen=True)
class MeanTeacher(Method):
    """A momentum encoder and a queue: modules that the loss keeps and nobody trains."""

    made: list[Any] = field(default_factory=list)

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        teacher, queue = frozen(model), nn.BatchNorm1d(1)
        queue.register_buffer("features", torch.zeros(20, model.dim))
        self.made.extend((teacher, queue))

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images)
            with torch.no_grad():
                for mean, weight in zip(teacher.parameters(), model.parameters(), strict=True):
                    mean.lerp_(weight, 0.5)
                kept: Any = queue.features
                queue.features = torch.cat([teacher(batch.images).features, kept])[:20]
            return {"ce": batch.cross_entropy(output), "near": (output.features[0] - queue.features[1]).square().mean()}

        yield Stage(model, loss, recipe, state=[teacher, queue])


def test_state_modules_are_kept_by_the_loss_and_never_trained() -> None:
    method, start = MeanTeacher(), tiny()
    model = train(method, noise(), replace(SGD, last=3), start)
    teacher, queue = method.made
    (stage,) = method.stages(model, SGD, noise())
    assert [name for name, _ in trained(stage)] == [name for name, _ in model.named_parameters()]
    assert not any(weight.requires_grad or weight.grad is not None for weight in teacher.parameters())
    assert not same(teacher, model)
    assert (queue.features.abs().sum(1) > 0).all()
    assert queue.weight.tolist() == [1]


# ---- stages


@dataclass(frozen=True)
class HeadFirst(Method):
    """Two stages, two windows of one schedule: the head alone, then everything."""

    switch: float = 0.4

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        yield Stage(model, self.loss, recipe.window(0, self.switch), train=[model.head])
        self.between(model)
        yield Stage(model, self.loss, recipe.window(self.switch, 1))

    def between(self, model: Model) -> None:
        """Looked at by the test."""


def test_two_stages_are_trained_one_after_the_other() -> None:
    start = tiny()
    before, halfway = weights(start), {}

    class Watched(HeadFirst):
        def between(self, model: Model) -> None:
            halfway.update(weights(model))
            assert moved(before, model) == {"head.weight", "head.bias"}

    model = train(Watched(), noise(), SGD, start)
    assert halfway
    assert moved(halfway, model) == set(before)


@dataclass(frozen=True)
class Windows(Method):
    """Plain fine-tuning cut in two where nothing changes."""

    continues: bool
    switch: float = 0.3

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        yield Stage(model, self.loss, recipe.window(0, self.switch))
        yield Stage(model, self.loss, recipe.window(self.switch, 1), continues=self.continues)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_stage_that_continues_keeps_the_moments(optimizer: str) -> None:
    """Then the cut cannot be seen, bit for bit; and without it can."""
    recipe, data = replace(SGD, optimizer=optimizer), noise()
    whole = train(Method(), data, recipe)
    assert same(whole, train(Windows(continues=True), data, recipe))
    assert not same(whole, train(Windows(continues=False), data, recipe))


def test_moments_are_kept_of_what_both_stages_train_and_of_nothing_else() -> None:
    model, data = tiny(), noise()
    first = fit_stage(Stage(model, plain, replace(SGD, last=3), train=[model.head]), data)
    second = Stage(model, plain, replace(SGD, first=3), continues=True)
    taken = build_optimizer(model, trained(second), second.recipe, first)
    assert set(taken.state) == {model.head.weight, model.head.bias}
    for parameter in taken.state:
        assert torch.equal(taken.state[parameter]["momentum_buffer"], first.state[parameter]["momentum_buffer"])
    assert not build_optimizer(model, trained(second), second.recipe, None).state


@dataclass(frozen=True)
class Rifle(Method):
    """A loop of stages; the head is drawn anew at the start of each."""

    times: int = 3
    heads: list[Tensor] = field(default_factory=list)

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        for number in range(self.times):
            model.head.reset_parameters()
            self.heads.append(model.head.weight.detach().clone())
            part = recipe.window(number / self.times, (number + 1) / self.times)
            yield Stage(model, self.loss, part, continues=number > 0)
            self.heads.append(model.head.weight.detach().clone())


def test_a_loop_of_stages_can_draw_the_head_anew() -> None:
    data, recipe = noise(), Recipe(steps=9, lr=1e-3).resolved(1, 1)
    method, again = Rifle(), Rifle()
    model = train(method, data, recipe)
    assert len(method.heads) == 6
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(method.heads, 2))
    assert torch.equal(model.head.weight, method.heads[-1])
    assert same(model, train(again, data, recipe))
    assert all(map(torch.equal, method.heads, again.heads))


@dataclass(frozen=True)
class Distilled(Method):
    """A stage on a teacher, then a stage on a student: another model, and the one that counts."""

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        student = tiny()
        yield Stage(model, self.loss, recipe.share(0.5))
        teacher = frozen(model)

        def loss(student: Model, batch: Batch) -> Terms:
            wanted = teacher(batch.images).features
            return {"features": (student(batch.images).features - wanted).square().mean()}

        yield Stage(student, loss, recipe.share(0.5))


def test_the_last_stages_model_is_the_one_that_counts() -> None:
    teacher = tiny()
    before = weights(teacher)
    student = train(Distilled(), noise(), SGD, teacher)
    assert student is not teacher
    assert moved(before, teacher) == set(before)
    assert moved(weights(student), teacher) == set(before)


@dataclass(frozen=True)
class TwoViews(Method):
    """Cross-entropy of both views, which must agree."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        def loss(model: Model, batch: Batch) -> Terms:
            self.shapes.append(tuple(batch.images.shape))
            assert not torch.equal(batch.images[0], batch.images[1])
            one, other = model(batch.images[0]), model(batch.images[1])
            agree = (one.features - other.features).square().mean()
            return {"ce": batch.cross_entropy(one) + batch.cross_entropy(other), "agree": agree}

        yield Stage(model, loss, recipe, views=2)


def test_a_stage_is_given_the_views_that_it_asks_for() -> None:
    method, start = TwoViews(), tiny()
    before = weights(start)
    assert moved(before, train(method, noise(), replace(SGD, last=3), start)) == set(before)
    assert method.shapes == [(2, 8, 1, SIDE, SIDE)] * 3


@dataclass(frozen=True)
class Mixup(Method):
    """Mixes images and targets, then does as any method does."""

    share: float = 0.3

    def loss(self, model: Model, batch: Batch) -> Terms:
        def mix(given: Tensor) -> Tensor:
            return (1 - self.share) * given + self.share * given.flip(0)

        return super().loss(model, replace(batch, images=mix(batch.images), targets=mix(batch.targets)))


def test_labels_are_mixed_by_replacing_them() -> None:
    model, data = tiny(), noise()
    batch = data.batch(0)
    mixed = 0.7 * batch.images + 0.3 * batch.images.flip(0)
    total = 0.0
    for row, (own, other) in zip(
        model(mixed).logits.tolist(), zip(batch.labels, batch.labels.flip(0), strict=True), strict=True
    ):
        normaliser = math.log(sum(math.exp(logit) for logit in row))
        total += 0.7 * (normaliser - row[int(own)]) + 0.3 * (normaliser - row[int(other)])
    assert Mixup().loss(model, batch)["ce"].item() == pytest.approx(total / len(batch.labels), rel=1e-5)
    assert not same(train(Mixup(), data, SGD), train(Mixup(share=0), data, SGD))


def test_progress_rises_from_zero_within_each_stage() -> None:
    found: list[float] = []

    class Ramp(HeadFirst):
        def loss(self, model: Model, batch: Batch) -> Terms:
            found.append(batch.progress)
            return plain(model, batch)

    train(Ramp(), noise(), SGD)
    assert found == pytest.approx([0, 1 / 4, 2 / 4, 3 / 4] + [number / 6 for number in range(6)])


def test_a_stage_goes_on_in_the_stream_of_images_where_the_one_before_ended() -> None:
    found: list[Tensor] = []

    class Kept(HeadFirst):
        def loss(self, model: Model, batch: Batch) -> Terms:
            found.append(batch.images)
            return plain(model, batch)

    data = noise()
    train(Kept(), data, SGD)
    assert all(torch.equal(images, data.batch(step).images) for step, images in enumerate(found))
    assert len(found) == 10


# ---- the curve of a stage


def test_points_have_the_steps_the_rate_and_the_mean_of_each_term_since_the_last() -> None:
    points: list[Progress] = []
    values = iter(range(1, 7))

    def loss(model: Model, batch: Batch) -> Terms:
        value = next(values)
        return {"value": 0 * model.head.bias.sum() + value, "twice": torch.tensor(2.0 * value)}

    recipe = Recipe(steps=6, lr=0.1, schedule="constant").resolved(1, 1)
    fit(Stage(tiny(), loss, recipe), noise(), start=10, stops={12, 16}.__contains__, at_stop=points.append)
    assert points == [
        Progress(12, 0.1, {"value": 1.5, "twice": 3.0}),
        Progress(16, 0.1, {"value": 4.5, "twice": 9.0}),
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_told_with_its_term(value: float) -> None:
    def loss(model: Model, batch: Batch) -> Terms:
        return {**plain(model, batch), "bad": torch.tensor(value if batch.progress >= 0.5 else 1.0)}

    points: list[int] = []
    with pytest.raises(Diverged, match="bad"):
        fit(Stage(tiny(), loss, SGD), noise(), start=0, stops=lambda _: True, at_stop=lambda p: points.append(p.step))
    assert points == [1, 2, 3, 4, 5]


def test_a_stage_that_ends_between_two_points_is_noticed_too() -> None:
    """Else the run of a method that goes on with another model would hide it."""

    def loss(model: Model, batch: Batch) -> Terms:
        return {"bad": model(batch.images).logits.sum() * math.nan}

    with pytest.raises(Diverged, match="bad"):
        fit_stage(Stage(tiny(), loss, replace(SGD, last=2)), noise())


# ---- training images


@QUICK
@given(st.integers(1, 40), st.integers(1, 100), st.integers(1, 6))
def test_every_image_is_seen_once_a_pass_and_none_is_dropped(count: int, batch_size: int, batches: int) -> None:
    data = levels(count, batch_size)
    found = [seen(data.batch(step)) for step in range(batches)]
    assert [len(batch) for batch in found] == [batch_size] * batches
    stream = [image for batch in found for image in batch]
    passes = [stream[start : start + count] for start in range(0, len(stream), count)]
    for images in passes:
        assert len(set(images)) == len(images)
    assert all(sorted(images) == list(range(count)) for images in passes[:-1])


def test_passes_are_shuffled_anew_and_by_the_seed() -> None:
    data = levels(30, 30)
    orders = [tuple(seen(replace(data, seed=seed).batch(step))) for seed in range(3) for step in range(3)]
    assert len(set(orders)) == 9
    assert tuple(range(30)) not in orders


def test_only_the_sampled_images_are_seen_with_their_labels() -> None:
    data = levels(30, 7, indices=np.array([3, 4, 11, 29]))
    for step in range(5):
        batch = data.batch(step)
        assert set(seen(batch)) == {3, 4, 11, 29}
        assert batch.labels.tolist() == [image % 3 for image in seen(batch)]


@pytest.mark.parametrize("augmentation", ["none", "shift", "crop_flip", "randaugment"])
def test_a_batch_depends_on_its_step_alone(augmentation: str) -> None:
    data = noise(augmentation=augmentation)
    forwards = [data.batch(step, views=2) for step in range(6)]
    torch.manual_seed(99)
    for step in (5, 0, 3, 3, 1):
        again = noise(augmentation=augmentation).batch(step, views=2)
        assert torch.equal(again.images, forwards[step].images)
        assert torch.equal(again.labels, forwards[step].labels)


def test_views_differ_in_augmentation_only_and_the_first_is_the_only_one() -> None:
    data = noise()
    one, three = data.batch(4), data.batch(4, views=3)
    assert three.images.shape == (3, 8, 1, SIDE, SIDE)
    assert torch.equal(one.images, three.images[0])
    assert not any(torch.equal(three.images[a], three.images[b]) for a, b in itertools.combinations(range(3), 2))
    assert torch.equal(one.labels, three.labels)
    assert torch.equal(one.targets, three.targets)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_targets_sum_to_one(smoothing: float) -> None:
    batch = noise(label_smoothing=smoothing).batch(0)
    assert batch.targets.shape == (8, CLASSES)
    for row, label in zip(batch.targets.tolist(), batch.labels.tolist(), strict=True):
        expected = [smoothing / CLASSES + (1 - smoothing) * (k == label) for k in range(CLASSES)]
        assert row == pytest.approx(expected, abs=1e-7)
        assert sum(row) == pytest.approx(1)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_plain_gives_every_sampled_image_once_in_order(batch_size: int) -> None:
    data = replace(levels(30, 4), indices=np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29]))
    batches = list(data.plain(batch_size))
    assert [image for batch in batches for image in seen(batch)] == data.indices.tolist()
    assert torch.equal(torch.cat([batch.labels for batch in batches]), torch.from_numpy(data.indices % 3))
    assert torch.cat([batch.targets for batch in batches]).sum(1).tolist() == [1.0] * 10


# ---- predictions


@pytest.mark.parametrize("batch_size", [1, 7, 256])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_predict_answers_for_every_image_in_order(batch_size: int, count: int) -> None:
    """Image i has a bright pixel at the place of its class, and the head reads that pixel."""
    classes = np.random.RandomState(0).randint(0, 4, count)
    pixels = np.zeros((count, 4), np.uint8)
    pixels[np.arange(count), classes] = 255
    split = Split(ArrayImages(pixels.reshape(count, 2, 2, 1)), classes)
    model = Model(nn.Flatten(), Family(), 4, 4, [0.5], [0.25])
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(4))
    data = TrainingImages(split, np.arange(count), 4, Protocol(augmentation="none"), 2, 0, CPU)
    found = predict(model.train(), split, data, batch_size)
    assert np.array_equal(found.predicted, classes)
    assert np.array_equal(found.labels, classes)
    assert not model.training


# ---- runs


def demo(methods: str = "ce,gta", *changed: str) -> list[RunSpec]:
    overrides = Overrides(methods, rates="15", seeds="1", settings=("steps=12", "warmup=2", "evaluations=4", *changed))
    return list(read_plan("demo", Registry(), overrides).unique.values())


def outcome(spec: RunSpec, registry: Registry | None = None) -> TrainedRun:
    return run_trial(spec, registry or Registry(), CPU)


def bits(made: TrainedRun) -> str:
    """Curve, stages, subset and predictions; every digit of every number."""
    kept = {key: as_plain(made.record)[key] for key in ("stages", "subset")}
    kept = {"curve": curve_of(made.record), **kept}
    return json.dumps([kept, {name: values.tolist() for name, values in made.predictions.items()}])


FRESH = """
import json, sys
import msgspec
import torch
torch.set_num_threads(1)
from bench.registry import Registry
from bench.spec import from_json
from bench.training.trial import run_trial
for given in json.load(sys.stdin):
    made = run_trial(from_json(given), Registry(), torch.device("cpu"))
    kept = {key: msgspec.to_builtins(made.record)[key] for key in ("curve", "stages", "subset")}
    for point in kept["curve"]:
        del point["seconds"]
    print(json.dumps([kept, {name: values.tolist() for name, values in made.predictions.items()}]))
"""


@pytest.mark.slow
def test_a_run_is_the_same_twice_after_another_and_in_a_fresh_process() -> None:
    torch.set_num_threads(1)
    plain_run, guided = demo("ce,gta", "drop_path=0.2", "evaluations=2")
    once = bits(outcome(plain_run))
    assert bits(outcome(plain_run)) == once
    after = bits(outcome(guided))
    assert bits(outcome(plain_run)) == once != after
    given = json.dumps([to_json(guided), to_json(plain_run)])
    fresh = subprocess.run([sys.executable, "-c", FRESH], input=given, capture_output=True, text=True, check=True)
    told = [line for line in fresh.stdout.splitlines() if line.startswith("[")]  # and not what runs print
    assert told == [after, once]


@pytest.mark.slow
def test_a_run_keeps_its_curve_and_the_predictions_of_each_point() -> None:
    (spec,) = demo("ce")
    made = outcome(spec)
    curve = as_plain(made.record)["curve"]
    assert [point["step"] for point in curve] == [3, 6, 9, 12]
    assert [point["learning_rate"] for point in curve] == [spec.protocol.recipe.learning_rate(s) for s in (2, 5, 8, 11)]
    assert made.predictions["test"].shape == (4, 597)
    assert made.predictions["val"].shape == (4, 240)
    assert (as_plain(made.record)["test_images"], as_plain(made.record)["validation_images"]) == (597, 240)
    assert as_plain(made.record)["stages"][0]["steps"] == 12
    for split in ("val", "test"):
        labels = made.predictions[f"{split}_labels"].tolist()
        for point, predicted in zip(curve, made.predictions[split].tolist(), strict=True):
            hits = [(label, label == guess) for label, guess in zip(labels, predicted, strict=True)]
            of_class = [[hit for label, hit in hits if label == each] for each in range(10)]
            assert point[split]["top1"] == pytest.approx(100 * sum(hit for _, hit in hits) / len(labels))
            mean = sum(sum(hit) / len(hit) for hit in of_class) / 10
            assert point[split]["mean_per_class"] == pytest.approx(100 * mean)


@pytest.mark.parametrize("evaluations", [1, 5, 50])
@pytest.mark.slow
def test_the_points_are_evenly_spaced_and_the_last_is_the_end(evaluations: int) -> None:
    (spec,) = demo("ce", f"evaluations={evaluations}")
    steps = [point["step"] for point in as_plain(outcome(spec).record)["curve"]]
    assert steps[-1] == 12
    assert len(steps) == min(evaluations, 12)
    assert steps == sorted(set(steps))
    assert max(np.diff([0, *steps])) <= math.ceil(12 / evaluations)


def written(folder: Path, name: str, body: str) -> Registry:
    """The registry with a method whose ``stages`` has this body."""
    text = f'''"""A test's."""

from __future__ import annotations

from dataclasses import dataclass

from bench.method import Method, Stage, frozen


@dataclass(frozen=True)
class Mine(Method):
    """A test's."""

    paper = "none"

    def stages(self, model, recipe, data):
        {body}
'''
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return Registry([folder / f"{name}.py"])


def run_written(registry: Registry, name: str) -> TrainedRun:
    overrides = Overrides(name, rates="15", seeds="1", settings=("steps=12", "warmup=2", "evaluations=4"))
    (spec,) = read_plan("demo", registry, overrides).unique.values()
    return outcome(spec, registry)


@pytest.mark.slow
def test_a_run_that_exceeds_its_budget_is_refused(tmp_path: Path) -> None:
    body = "yield Stage(model, self.loss, recipe)\n        yield Stage(model, self.loss, recipe.window(0, 0.5))"
    with pytest.raises(InputError, match=r"greedy.*18.*12"):
        run_written(written(tmp_path, "greedy", body), "greedy")


@pytest.mark.slow
def test_the_curve_runs_over_all_stages(tmp_path: Path) -> None:
    body = (
        "yield Stage(model, self.loss, recipe.window(0, 0.3), train=[model.head])\n"
        "        yield Stage(model, self.loss, recipe.window(0.3, 1), continues=True)"
    )
    record = as_plain(run_written(written(tmp_path, "staged", body), "staged").record)
    assert [point["step"] for point in record["curve"]] == [3, 6, 9, 12]
    assert [stage["steps"] for stage in record["stages"]] == [4, 8]
    assert record["stages"][0]["trained_weights"] == 48 * 10 + 10
    assert record["parameters"] == record["stages"][1]["trained_weights"] > 48 * 10 + 10


def test_a_run_that_uses_less_than_its_budget_is_evaluated_at_its_end(tmp_path: Path) -> None:
    registry = written(tmp_path, "modest", "yield Stage(model, self.loss, recipe.window(0, 0.4))")
    made = run_written(registry, "modest")
    assert [point["step"] for point in as_plain(made.record)["curve"]] == [3, 5]
    assert made.predictions["test"].shape == (2, 597)
    assert made.predictions["class_names"].tolist() == [str(digit) for digit in range(10)]


def test_a_method_without_stages_is_the_untrained_model(tmp_path: Path) -> None:
    made = run_written(written(tmp_path, "idle", "return iter(())"), "idle")
    assert [point["step"] for point in as_plain(made.record)["curve"]] == [0]


def test_modes_of_a_stage_can_be_set_twice() -> None:
    model = tiny()
    stage = Stage(model, plain, SGD, train=[model.head])
    for _ in range(2):
        set_modes(stage)
        assert model.head.training
        assert not model.backbone.training
        assert [name for name, weight in model.named_parameters() if weight.requires_grad] == [
            "head.weight",
            "head.bias",
        ]
