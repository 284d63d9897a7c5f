"""Methods whose parts learn at rates of their own: what the optimiser is given at every step."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from bench.backbones import Model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Method, Stage
from bench.protocol import Protocol, Recipe
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


# ---- a slower backbone


@pytest.mark.parametrize("warmup", [0, 3])
def test_bss_gives_the_backbone_its_share_of_the_heads_rate_at_every_step(warmup: int) -> None:
    model = small()
    seen, _ = train(bss.BSS(backbone_factor=0.1), model, a_recipe(warmup=warmup))
    whole = [PEAK * (step + 1) / 3 for step in range(warmup)] + cosine(12 - warmup)
    check_rates(seen, model.head, whole)
    check_rates(seen, model.backbone, [0.1 * rate for rate in whole])


def test_bi_tuning_gives_backbone_and_projector_their_shares() -> None:
    model = small()
    seen, (stage,) = train(bi.BiTuning(keys=2, backbone_factor=0.1, projector_factor=0.5), model, a_recipe())
    (projector,) = (item for item in stage.train if item is not model)
    assert isinstance(projector, nn.Linear)
    check_rates(seen, model.head, cosine(12))
    check_rates(seen, model.backbone, [0.1 * rate for rate in cosine(12)])
    check_rates(seen, projector, [0.5 * rate for rate in cosine(12)])


@pytest.mark.parametrize("method", [bss.BSS(), bi.BiTuning(keys=2)], ids=["bss", "bi_tuning"])
def test_by_default_all_learn_at_the_protocols_rate(method: Method) -> None:
    seen, (stage,) = train(method, small(), a_recipe())
    assert len(seen) == len(list(trained(stage)))
    assert all(rates == pytest.approx(cosine(12), rel=1e-12) for rates in seen.values())


def test_a_backbone_at_rate_0_does_not_move() -> None:
    model = small()
    before = [weight.detach().clone() for weight in model.parameters()]
    train(bss.BSS(backbone_factor=0), model, a_recipe())
    still = [torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True)]
    assert still == [True] * 4 + [False] * 2
