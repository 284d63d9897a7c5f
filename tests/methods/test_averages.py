"""EMA and SWA: the average against one written out by hand from the weights after every step."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Shared, Stage
from bench.protocol import Recipe
from bench.training.fit import fit
from tests.methods.test_baselines import a_recipe, noise, same, small, state, trained_stages

ema: Any = importlib.import_module("bench.methods.ema")
rifle: Any = importlib.import_module("bench.methods.rifle")
swa: Any = importlib.import_module("bench.methods.swa")
wise_ft: Any = importlib.import_module("bench.methods.wise_ft")

Weights = dict[str, Tensor]
STEPS = 12


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def path(method: Method, start: Model) -> tuple[list[list[Weights]], Weights]:
    """The weights that each stage begins with and those after each of its steps; and those at the method's end."""
    torch.manual_seed(1)
    model, data = copy.deepcopy(start), noise()
    done, optimizer, stages = 0, None, list[list[Weights]]()
    for stage in method.stages(model, a_recipe(STEPS), data):
        seen = [state(stage.model)]

        def keep(_: object, seen: list[Weights] = seen) -> None:
            seen.append(state(model))

        optimizer = fit(stage, data, start=done, stops=lambda _: True, at_stop=keep, previous=optimizer)
        done += stage.recipe.last - stage.recipe.first
        stages.append(seen)
    return stages, state(model)


def averaged(weights: Sequence[Weights], decay: float, ramp: int) -> Weights:
    """Update by update, in float64."""
    average = {name: value.double() for name, value in weights[0].items()}
    for taken, now in enumerate(weights[1:], start=1):
        kept = min(taken / (taken + ramp - 1), decay)
        average = {name: kept * value + (1 - kept) * now[name].double() for name, value in average.items()}
    return average


def close(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name].double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("decay", "ramp"), [(0.9999, 10), (0.9999, 2), (0.5, 1), (0.8, 10), (0.0, 10)])
def test_ema_evaluates_the_average_and_leaves_the_training_as_it_is(decay: float, ramp: int) -> None:
    start = small()
    ((plain,), end) = path(Method(), start)
    ((beside,), average) = path(ema.EMA(decay=decay, ramp=ramp), start)
    assert all(map(same, plain, beside))
    assert len(plain) == STEPS + 1
    close(average, averaged(plain, decay, ramp))
    assert average["backbone.1.num_batches_tracked"] == end["backbone.1.num_batches_tracked"]
    assert same(average, end) == (decay == 0)


def test_a_ramp_of_two_is_the_mean_of_all_weights() -> None:
    ((beside,), average) = path(ema.EMA(decay=1.0, ramp=2), small())
    mean = {name: torch.stack([each[name].double() for each in beside]).mean(0) for name in average}
    close(average, mean)


def test_each_stage_has_an_average_of_its_own() -> None:
    (before, last), average = path(ema.EMA(inner=rifle.RIFLE(resets=1), decay=0.7), small())
    assert same(before[-1] | {name: last[0][name] for name in last[0] if "head" in name}, last[0])
    close(average, averaged(last, 0.7, 10))


def test_what_a_method_does_at_its_end_is_done_to_the_average() -> None:
    (_, tuning), end = path(ema.EMA(inner=wise_ft.WiSEFT(alpha=0.3, share=0.25), decay=0.7), small())
    average = averaged(tuning, 0.7, 10)
    close(end, {name: 0.7 * tuning[0][name].double() + 0.3 * average[name] for name in end})


def test_weights_are_taken_once_a_step_also_where_a_batch_is_computed_in_parts() -> None:
    for parts in (1, 3):
        model, data = small(), noise()
        stage = next(ema.EMA().stages(model, a_recipe(STEPS), data))
        fit(stage, data, start=0, parts=parts)
        (average,) = stage.state
        assert int(average.n_averaged) == STEPS, "the last step is taken when the stage has ended"


def test_a_source_that_others_share_is_not_averaged() -> None:
    model, recipe = small(), a_recipe(STEPS)
    shared = Stage(model, Method().loss, recipe.share(0.5), shared=Shared(depends={}, seed=1))

    class Sharing(Method):
        def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
            yield from (shared, Stage(model, self.loss, recipe.rest(0.5)))

    first, second = ema.EMA(inner=Sharing()).stages(model, recipe, noise())
    assert first is shared
    assert [type(item).__name__ for item in second.state] == ["AveragedModel"]


# ---- SWA


@pytest.mark.parametrize(("every", "taken"), [(1, [0, 1, 2, 3]), (2, [0, 2]), (3, [0, 3]), (0, [0, 3])])
def test_swa_is_the_mean_of_the_weights_at_each_interval(every: int, taken: list[int]) -> None:
    """40 images in batches of 8 are 5 steps, more than the stage of 3 has: 0 takes its beginning and end."""
    (before, stage), end = path(swa.SWA(every=every), small())
    assert (len(before), len(stage)) == (10, 4)
    chosen = [stage[step] for step in taken]
    for name, value in end.items():
        if "running" not in name and "tracked" not in name:
            mean = torch.stack([each[name].double() for each in chosen]).mean(0)
            torch.testing.assert_close(value.double(), mean, rtol=1e-5, atol=1e-6)


def test_swa_has_the_protocols_schedule_down_to_a_rate_that_stays() -> None:
    rates = [
        progress.learning_rate
        for _, _, seen in trained_stages(swa.SWA(rate=0.4), small(), a_recipe(STEPS), noise())
        for progress in seen
    ]
    cosine = [0.004 + 0.5 * 0.006 * (1 + math.cos(math.pi * step / 9)) for step in range(9)]
    assert rates == pytest.approx([*cosine, 0.004, 0.004, 0.004], rel=1e-12)


def test_swa_keeps_the_optimiser_and_begins_as_plain_training_with_a_floor() -> None:
    stages = list(trained_stages(swa.SWA(), small(), a_recipe(STEPS), noise()))
    assert [stage.continues for stage, _, _ in stages] == [False, True]
    assert {float(values["step"]) for values in stages[1][1].state.values()} == {float(STEPS)}


def test_batch_norms_take_the_statistics_of_a_pass_through_the_average() -> None:
    torch.manual_seed(1)
    model, data = small(), noise()
    list(trained_stages(swa.SWA(), model, a_recipe(STEPS), data))
    convolution, norm = model.backbone[0], model.backbone[1]  # type: ignore[index]
    with torch.no_grad():
        seen = [convolution(model.normalised(data.batch(number).images)) for number in range(5)]
    mean = torch.stack([each.mean((0, 2, 3)) for each in seen]).mean(0)
    variance = torch.stack([each.var((0, 2, 3), correction=1) for each in seen]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == 0.1
