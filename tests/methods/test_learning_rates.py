"""Methods whose parts learn at rates of their own: what the optimiser is given at every step."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from bench.backbones import Model
from bench.backbones.model import Family
from bench.backbones.vit import ViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.errors import InputError
from bench.method import Method, Stage
from bench.protocol import Protocol, Recipe, read_protocol
from bench.spec import written
from bench.training.fit import fit, trained

CLASSES, SIDE, PEAK, FLOOR = 3, 6, 0.01, 0.001

bi: Any = importlib.import_module("bench.methods.bi_tuning")
bss: Any = importlib.import_module("bench.methods.bss")
rifle: Any = importlib.import_module("bench.methods.rifle")

Rates = dict[Tensor, list[float]]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def small() -> Model:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 8), nn.LayerNorm(8))
    return Model(backbone, Family(), 8, CLASSES, [0.5], [0.25])


def noise() -> TrainingImages:
    state = np.random.RandomState(0)
    split = Split(
        ArrayImages(state.randint(0, 256, (40, SIDE, SIDE, 1)).astype(np.uint8)), state.randint(0, CLASSES, 40)
    )
    protocol = Protocol(batch_size=8, augmentation="none")
    return TrainingImages(split, np.arange(40), CLASSES, protocol, SIDE, seed=5, device=torch.device("cpu"))


def a_recipe(steps: int = 12, **changes: Any) -> Recipe:
    return Recipe(steps=steps, **{"lr": PEAK, "min_lr": FLOOR, "weight_decay": 0.05, **changes}).resolved(1, 1)


@contextmanager
def rates_seen() -> Iterator[Rates]:
    """The learning rate of each parameter at each step that an optimiser makes inside."""
    seen: Rates = {}

    def note(optimizer: Any, *_: object) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                seen.setdefault(parameter, []).append(group["lr"])

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def train(method: Method, model: Model, recipe: Recipe) -> tuple[Rates, list[Stage]]:
    done, optimizer, data, stages = 0, None, noise(), []
    with rates_seen() as seen:
        for stage in method.stages(model, recipe, data):
            optimizer = fit(stage, data, start=done, stops=lambda _: False, at_stop=lambda _: None, previous=optimizer)
            done += stage.recipe.last - stage.recipe.first
            stages.append(stage)
    assert done == recipe.steps
    return seen, stages


def cosine(steps: int, peak: float = PEAK, floor: float = FLOOR) -> list[float]:
    return [floor + (peak - floor) * (1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]


def check_rates(seen: Rates, module: nn.Module, expected: list[float]) -> None:
    for parameter in module.parameters():
        assert seen[parameter] == pytest.approx(expected, rel=1e-12)


# ---- RIFLE


@pytest.mark.parametrize(("resets", "spans"), [(0, [12]), (1, [6, 6]), (2, [4, 4, 4]), (4, [2, 3, 2, 3, 2])])
def test_rifle_restarts_the_heads_cosine_in_every_period_and_only_the_heads(resets: int, spans: list[int]) -> None:
    model = small()
    seen, _ = train(rifle.RIFLE(resets=resets), model, a_recipe())
    check_rates(seen, model.head, [rate for span in spans for rate in cosine(span)])
    check_rates(seen, model.backbone, cosine(12))


def test_rifle_warms_up_once() -> None:
    """A head that is drawn anew starts at the peak; the first one warms up with the backbone."""
    model = small()
    seen, _ = train(rifle.RIFLE(resets=1), model, a_recipe(warmup=2))
    rise = [PEAK / 2, PEAK]
    check_rates(seen, model.head, [*rise, *cosine(4), *cosine(6)])
    check_rates(seen, model.backbone, [*rise, *cosine(10)])


def test_rifle_with_a_warm_up_longer_than_a_period() -> None:
    model = small()
    seen, _ = train(rifle.RIFLE(resets=3), model, a_recipe(warmup=4))
    rise = [PEAK * (step + 1) / 4 for step in range(4)]
    check_rates(seen, model.head, [*rise[:3], *cosine(3), *cosine(3), *cosine(3)])
    check_rates(seen, model.backbone, [*rise, *cosine(8)])


def test_released_rifle_has_one_cosine_for_all() -> None:
    model = small()
    seen, stages = train(rifle.RIFLE(resets=2, variant="released"), model, a_recipe())
    check_rates(seen, model, cosine(12))
    assert not any(stage.recipes for stage in stages)


def test_the_two_variants_of_rifle_part_after_the_first_period_of_a_constant_rate_never() -> None:
    ends = {}
    for schedule in ("cosine", "constant"):
        for variant in ("paper", "released"):
            torch.manual_seed(3)
            model = small()
            train(rifle.RIFLE(variant=variant), model, a_recipe(schedule=schedule))
            ends[schedule, variant] = model.head.weight.detach()
    assert torch.equal(ends["constant", "paper"], ends["constant", "released"])
    assert not torch.equal(ends["cosine", "paper"], ends["cosine", "released"])


@pytest.mark.parametrize("first", [True, False])
def test_restarted_keeps_everything_but_the_place_in_the_schedule(first: bool) -> None:
    recipe = a_recipe(100, warmup=7, weight_decay=0.3, layer_decay=0.7)
    found = rifle.restarted(recipe.window(0.25, 0.75), first)
    assert (found.first, found.last, found.steps, found.warmup) == (0, 50, 50, 7 if first else 0)
    kept = {"lr", "min_lr", "weight_decay", "layer_decay", "optimizer", "momentum", "schedule"}
    assert all(getattr(found, name) == getattr(recipe, name) for name in kept)


# ---- a faster head


@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("method", [Method(), bss.BSS(), bi.BiTuning(keys=2)], ids=["ce", "bss", "bi_tuning"])
def test_the_head_has_its_factor_at_every_step_of_any_method_and_nothing_else_has(method: Method, warmup: int) -> None:
    """TLlib's recipe, for all its methods and its baseline: the head at 0.01, backbone and projector at 0.001."""
    model = small()
    seen, (stage,) = train(method, model, a_recipe(warmup=warmup, lr=1e-3, min_lr=1e-4, head_lr=10))
    rest = [1e-3 * (step + 1) / 3 for step in range(warmup)] + cosine(12 - warmup, 1e-3, 1e-4)
    check_rates(seen, model.head, [10 * rate for rate in rest])
    check_rates(seen, model.backbone, rest)
    for item in stage.train:  # a projector
        if isinstance(item, nn.Linear):
            check_rates(seen, item, rest)


@pytest.mark.parametrize("method", [bss.BSS(), bi.BiTuning(keys=2)], ids=["bss", "bi_tuning"])
def test_by_default_all_learn_at_the_protocols_rate(method: Method) -> None:
    seen, (stage,) = train(method, small(), a_recipe())
    assert len(seen) == len(list(trained(stage)))
    assert all(rates == pytest.approx(cosine(12), rel=1e-12) for rates in seen.values())


def test_a_head_with_a_recipe_of_its_own_keeps_the_factor() -> None:
    model = small()
    seen, _ = train(rifle.RIFLE(resets=1), model, a_recipe(head_lr=10))
    check_rates(seen, model.head, [10 * rate for rate in [*cosine(6), *cosine(6)]])
    check_rates(seen, model.backbone, cosine(12))


def test_the_heads_factor_stands_beside_layer_decay_and_clipping() -> None:
    """Two layers of norms and attention below the head at decay .5; the gradient is cut before any rate counts."""
    torch.manual_seed(0)
    size = {"img_size": SIDE, "patch_size": 3, "in_chans": 1, "embed_dim": 12, "depth": 1, "num_heads": 2}
    model = Model(VisionTransformer(**size, num_classes=0), ViT(), 12, CLASSES, [0.5], [0.25])
    recipe = a_recipe(head_lr=10, layer_decay=0.5, optimizer="sgd", momentum=0.0, weight_decay=0.0, clip_norm=1e-3)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    seen, _ = train(Method(), model, replace(recipe, last=1, steps=1))
    backbone: Any = model.backbone
    check_rates(seen, model.head, [10 * PEAK])
    check_rates(seen, backbone.norm, [PEAK])
    check_rates(seen, backbone.blocks[0], [0.5 * PEAK])
    check_rates(seen, backbone.patch_embed, [0.25 * PEAK])
    ways = {name: (weight.detach() - before[name]) / seen[weight][0] for name, weight in model.named_parameters()}
    norm = math.sqrt(sum(way.square().sum().item() for way in ways.values()))
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_a_head_at_rate_0_does_not_move() -> None:
    model = small()
    before = [weight.detach().clone() for weight in model.parameters()]
    train(Method(), model, a_recipe(head_lr=0))
    still = [torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True)]
    assert still == [False] * 4 + [True] * 2


def test_moments_are_taken_over_at_the_heads_rate() -> None:
    """Two windows of one schedule are the same training as the whole of it."""
    ends = []
    for parts in ((0.0, 1.0), (0.0, 0.5, 1.0)):
        torch.manual_seed(1)
        model, done, optimizer, recipe = small(), 0, None, a_recipe(head_lr=10)
        for start, stop in itertools.pairwise(parts):
            window = recipe.window(start, stop)
            stage = Stage(model, Method().loss, window, continues=start > 0)
            optimizer = fit(stage, noise(), start=done, previous=optimizer)
            done += window.last - window.first
        ends.append(model.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_a_protocol_gives_the_heads_factor_and_a_run_without_it_keeps_its_id() -> None:
    plain, same, faster = (
        read_protocol([("steps", 3, "x:1"), *given], "x:1")
        for given in ([], [("head_lr", 1, "x:2")], [("head_lr", 10, "x:2")])
    )
    assert plain == same != faster
    assert written(plain.recipe) == {"steps": 3}
    assert written(faster.recipe) == {"steps": 3, "head_lr": 10.0}
    with pytest.raises(InputError, match="head_lr"):
        read_protocol([("steps", 3, "x:1"), ("head_lr", -1, "x:2")], "x:1")
