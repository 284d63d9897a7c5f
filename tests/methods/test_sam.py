"""SAM and ASAM: two passes a step against the papers' formulas by hand, and what the second one must leave alone."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.conformance import STEPS, Examined, find_examined
from bench.device import distributed
from bench.method import Batch, Method, Stage, Terms
from bench.protocol import Recipe
from bench.registry import Registry
from bench.training.checkpoint import Checkpoint
from bench.training.feed import fed
from bench.training.fit import fit
from bench.training.passes import Passes
from tests.methods.test_baselines import a_recipe, noise, same, small, state
from tests.training.test_checkpoint import stopped_every

sam: Any = importlib.import_module("bench.methods.sam")

REGISTRY = Registry()
SGD = a_recipe(3, optimizer="sgd", momentum=0.0, schedule="constant", lr=0.1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# ---- the formulas


def stepped(policy: Any, weights: list[nn.Parameter], loss: Callable[[], Tensor]) -> tuple[float, list[int]]:
    """One step of a loss of some weights: the loss that is logged, and how often each half was asked for."""
    model: Any = nn.Module()
    stage = Stage(model, Method().loss, Recipe(), train=tuple(weights))
    calls = [0, 0]

    def gradients() -> Terms:
        for weight in weights:
            weight.grad = None
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        calls[0] += 1
        return {"loss": value.detach()}

    def update() -> None:
        calls[1] += 1

    terms = policy.sharpened(stage)(gradients, update)
    return float(terms["loss"]), calls


def test_of_a_quadratic_it_has_the_gradient_at_the_worst_point_nearby() -> None:
    """½ (3 x² + y²) at (1, 4): g = (3, 4), ε = ρ (.6, .8), and the gradient there is (3 (1 + .6 ρ), 4 + .8 ρ)."""
    x, y = (nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in (1.0, 4.0))
    loss, calls = stepped(sam.SAM(rho=0.5), [x, y], lambda: (1.5 * x**2 + 0.5 * y**2).sum())
    assert loss == 1.5 + 8
    assert calls == [2, 1]
    assert (x.item(), y.item()) == (1.0, 4.0)
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == pytest.approx((3 * 1.3, 4.4), rel=1e-11)


def test_asam_weighs_each_number_by_its_size() -> None:
    """T = (1 + η, 4 + η), ε = ρ T² g / ‖T g‖."""
    x, y = (nn.Parameter(torch.tensor([value], dtype=torch.float64)) for value in (-1.0, 4.0))
    stepped(sam.SAM(form="asam", rho=0.5, eta=0.25), [x, y], lambda: (1.5 * x**2 + 0.5 * y**2).sum())
    (a, b), length = (1.25, 4.25), math.hypot(1.25 * -3, 4.25 * 4)
    expected = 3 * (-1 + 0.5 * a**2 * -3 / length), 4 + 0.5 * b**2 * 4 / length
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.item(), y.grad.item()) == pytest.approx(expected, rel=1e-11)


def test_a_gradient_of_zero_moves_nothing() -> None:
    x = nn.Parameter(torch.zeros(2))
    stepped(sam.SAM(), [x], lambda: x.square().sum())
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros(2))


def test_the_radius_is_each_papers() -> None:
    assert (sam.SAM().rho, sam.SAM(form="asam").rho, sam.SAM(form="asam", rho=2.0).rho) == (0.05, 0.5, 2.0)


def by_hand(model: nn.Module, batches: list[Batch], rho: float) -> dict[str, Tensor]:
    """Three steps of gradient descent of algorithm 1, with a copy of the network at w + ε."""
    for batch in batches:
        far: Any = copy.deepcopy(model)
        weights: list[Any] = list(model.parameters())
        gradients = torch.autograd.grad(batch.cross_entropy(model(batch.images)), weights)
        length = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
        with torch.no_grad():
            for weight, gradient in zip(far.parameters(), gradients, strict=True):
                weight += rho * gradient / length
        at_far = torch.autograd.grad(batch.cross_entropy(far(batch.images)), list(far.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(weights, at_far, strict=True):
                weight -= 0.1 * gradient
    return state(model)


@pytest.mark.parametrize("rho", [0.05, 0.5])
def test_a_network_is_trained_by_algorithm_1(rho: float) -> None:
    """The running statistics of its batch norm are those of the first pass, once a step."""
    model, data = small().double(), noise()
    expected = by_hand(copy.deepcopy(model), [data.batch(number) for number in range(3)], rho)
    (stage,) = sam.SAM(rho=rho).stages(model, SGD, data)
    fit(stage, data, start=0)
    found = state(model)
    for name, value in found.items():
        # logits become float32 in the loss, as in every run
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)
    assert int(found["backbone.1.num_batches_tracked"]) == int(expected["backbone.1.num_batches_tracked"]) == 4


# ---- what the second pass must leave alone


class Sharpened(Examined):
    """A method under examination with SAM acting on it, with this radius; without, for a negative one."""

    rho = 0.0

    def built(self) -> Method:
        method = super().built()
        return sam.SAM(inner=method, rho=self.rho) if self.rho >= 0 else method


def ends(name: str, rho: float) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The weights at the end of a short training of a method, and what its stages keep beside them."""
    examined = find_examined(REGISTRY.method(name), REGISTRY)
    subject = Sharpened(examined.card, examined.backbone, REGISTRY)
    object.__setattr__(subject, "rho", rho)
    data, done, kept, optimizer, model = subject.data(), 0, [], None, subject.model()
    for planned in subject.stages(model, data):
        stage, images = fed(planned, data)
        optimizer = fit(stage, images, start=done, previous=optimizer)
        done += stage.recipe.last - stage.recipe.first
        kept += [state(module) for module in stage.state]
        model = stage.model
    return state(model), kept


@pytest.mark.parametrize("name", ["ce", "bi_tuning", "stochnorm", "transmix", "ema", "core_tuning"])
def test_without_a_radius_it_is_the_method_alone_to_the_bit(name: str) -> None:
    """Of batch norms, a queue with a momentum encoder, draws in a loss, an average."""
    plain, plain_kept = ends(name, -1.0)
    sharp, sharp_kept = ends(name, 0.0)
    assert same(plain, sharp)
    assert len(plain_kept) == len(sharp_kept)
    assert all(map(same, plain_kept, sharp_kept))


def seen_by(stage: Stage, seen: list[float]) -> Stage:
    """The stage, with what its loss drew noted at each pass."""

    def loss(model: Any, batch: Batch) -> Terms:
        with distributed.own_draws(nn.Identity()):
            seen.append(torch.rand(()).item())
        seen.append(torch.rand(()).item())
        return stage.loss(model, batch)

    return replace(stage, loss=loss)


@pytest.mark.parametrize("processes", [1, 2])
def test_both_passes_draw_the_same_and_the_next_step_draws_anew(
    processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, stochastic depth, what a loss draws; what each of several processes draws for itself too."""
    seen: list[float] = []
    (stage,) = sam.SAM().stages(small(), SGD, noise())
    stage, batch = seen_by(replace(stage, loss=lambda model, batch: {}), seen), noise().batch(0)
    monkeypatch.setattr(distributed, "ranks", lambda: processes)
    monkeypatch.setattr(distributed, "rank", lambda: processes - 1)
    for _ in range(2):
        passes = Passes(stage, lambda: stage.loss(stage.model, batch))
        passes()
        passes()
    first, again, then, once_more = (tuple(seen[start : start + 2]) for start in range(0, 8, 2))
    assert len(seen) == 8
    assert first == again
    assert then == once_more
    assert first[0] != then[0]
    assert first[1] != then[1]


def test_the_loss_is_asked_twice_a_step_so_a_measured_step_takes_twice_the_time() -> None:
    seen: list[float] = []
    (stage,) = sam.SAM().stages(small(), SGD, noise())
    fit(seen_by(stage, seen), noise(), start=0)
    assert len(seen) == 2 * 2 * 3


def test_the_gradient_of_the_second_pass_is_the_one_that_is_clipped() -> None:
    model, data = small(), noise()
    (stage,) = sam.SAM(rho=0.5).stages(model, replace(SGD, clip_norm=1e-3, lr=1.0, steps=1, last=1), data)
    before = [weight.detach().clone() for weight in model.parameters()]
    fit(stage, data, start=0)
    moved = [weight.detach() - start for weight, start in zip(model.parameters(), before, strict=True)]
    assert float(torch.cat([each.flatten() for each in moved]).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_with_a_radius_it_is_not() -> None:
    assert not same(ends("ce", 0.0)[0], ends("ce", 0.5)[0])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_batch_in_parts_has_the_worst_point_of_the_whole_batch(precision: str) -> None:
    examined = find_examined(REGISTRY.method("ce"), REGISTRY)
    found = []
    for parts in (1, 4):
        model, data = examined.model(), examined.data()
        data = replace(data, protocol=replace(data.protocol, precision=precision))
        (stage,) = sam.SAM(rho=0.5).stages(model, SGD, data)
        fit(stage, data, start=0, parts=parts)
        found.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    tolerance = 1e-5 if precision == "fp32" else 1e-2
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=tolerance)


@pytest.mark.slow
def test_a_run_that_is_taken_up_ends_in_the_same_bits(tmp_path: Any) -> None:
    """With a queue and a momentum encoder under it, and an average over it."""
    ema: Any = importlib.import_module("bench.methods.ema")

    def trained(keeper: Checkpoint | None) -> dict[str, Tensor]:
        examined = find_examined(REGISTRY.method("bi_tuning"), REGISTRY)
        model, data = examined.model(), examined.data()
        torch.manual_seed(1)
        recipe = Recipe(steps=STEPS, lr=1e-3).resolved(len(data), data.protocol.batch_size)
        for number, stage in enumerate(
            ema.EMA(inner=sam.SAM(inner=examined.built(), rho=0.3)).stages(model, recipe, data)
        ):
            if not (keeper and keeper.enter(number, stage)):
                fit(stage, data, start=0, keeper=keeper)
        return state(model)

    whole = trained(None)
    taken_up, stops = stopped_every(2, trained, tmp_path)
    assert stops == STEPS / 2
    assert same(whole, taken_up)


def test_a_stage_that_runs_share_is_left_as_it_is() -> None:
    examined = find_examined(REGISTRY.method("feature_distillation"), REGISTRY)
    subject = Sharpened(examined.card, examined.backbone, REGISTRY)
    alone, sharp = (
        [stage.step for stage in method.stages(subject.model(), a_recipe(STEPS), subject.data())]
        for method in (examined.built(), subject.built())
    )
    assert alone[0] is sharp[0]
    assert alone[1] is not sharp[1]


@pytest.mark.parametrize("inner", ["inside", "outside"])
def test_it_composes_with_another_step(inner: str) -> None:
    """What a method does after its update is done once a step, and what it does to its gradients twice."""
    asked: list[str] = []

    def noted(gradients: Callable[[], Terms], update: Callable[[], None]) -> Terms:
        terms = gradients()
        update()
        asked.append("after")
        return terms

    x = nn.Parameter(torch.ones(1))
    model: Any = nn.Module()
    stage = Stage(model, Method().loss, Recipe(), train=(x,), step=noted)
    step = sam.SAM().sharpened(stage)
    if inner == "outside":
        step = sam.SAM().sharpened(replace(stage, step=step))

    def gradients() -> Terms:
        asked.append("gradients")
        x.grad = torch.ones(1)
        return {}

    step(gradients, lambda: asked.append("update"))
    passes = 2 if inner == "inside" else 4
    assert asked == ["gradients"] * passes + ["update", "after"]
