"""The plain baselines: their formulas against the same written out by hand, and what each does to a run."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Method, Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import Progress, fit
from bench.training.trial import TrainedRun, run_trial
from tests.scenes import as_plain

CLASSES, SIDE = 3, 6

l2: Any = importlib.import_module("bench.methods.l2")
linear: Any = importlib.import_module("bench.methods.linear")
mix_and_match: Any = importlib.import_module("bench.methods.mix_and_match")
noisy_tune: Any = importlib.import_module("bench.methods.noisy_tune")
rifle: Any = importlib.import_module("bench.methods.rifle")
wise_ft: Any = importlib.import_module("bench.methods.wise_ft")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def small() -> Model:
    """A convolution with batch norm, some statistics of which are already known, and a head."""
    backbone = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)
    )
    model = Model(backbone, Family(), 4, CLASSES, [0.5], [0.25]).train()
    model(torch.rand(8, 1, SIDE, SIDE))
    return model


def noise(count: int = 40, batch_size: int = 8) -> TrainingImages:
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (count, SIDE, SIDE, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, count))
    protocol = Protocol(batch_size=batch_size, augmentation="none")
    return TrainingImages(split, np.arange(count), CLASSES, protocol, SIDE, seed=5, device=torch.device("cpu"))


def a_recipe(steps: int = 12, **changes: Any) -> Recipe:
    return Recipe(steps=steps, **{"lr": 1e-2, "weight_decay": 0.0, **changes}).resolved(1, 1)


def trained_stages(
    method: Method, model: Model, recipe: Recipe, data: TrainingImages
) -> Iterator[tuple[Stage, torch.optim.Optimizer, list[Progress]]]:
    """Each stage after its training, with the optimiser and where every step stood."""
    done, optimizer = 0, None
    for stage in method.stages(model, recipe, data):
        seen: list[Progress] = []
        optimizer = fit(stage, data, start=done, stops=lambda _: True, at_stop=seen.append, previous=optimizer)
        done += stage.recipe.last - stage.recipe.first
        yield stage, optimizer, seen


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- linear


def test_linear_leaves_the_backbone_as_it_is_batch_norm_statistics_included() -> None:
    model = small()
    backbone, head = state(model.backbone), state(model.head)
    ((stage, _, seen),) = trained_stages(linear.LinearProbe(), model, a_recipe(), noise())
    assert len(seen) == 12
    assert same(backbone, state(model.backbone))
    assert {"1.running_mean", "1.num_batches_tracked"} <= backbone.keys()
    assert not any(torch.equal(value, head[name]) for name, value in model.head.state_dict().items())
    assert not any(module.training for module in model.backbone.modules())
    assert all(weight.grad is None for weight in model.backbone.parameters())
    assert list(stage.train) == [model.head]


def test_what_moves_the_batch_norm_statistics_is_training_them() -> None:
    """So that the test above can fail."""
    model = small()
    before = state(model.backbone)
    list(trained_stages(Method(), model, a_recipe(), noise()))
    assert not torch.equal(before["1.running_mean"], model.state_dict()["backbone.1.running_mean"])


# ---- L2


def test_squared_norm_is_half_the_sum_of_squares_and_its_gradient_the_weights() -> None:
    shapes: list[tuple[int, ...]] = [(3, 4), (5,), ()]
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    total = 0.0
    for weight in weights:
        for value in weight.detach().flatten().tolist():
            total += value**2 / 2
    assert l2.squared_norm(weights).item() == pytest.approx(total, rel=1e-12)
    for gradient, weight in zip(torch.autograd.grad(l2.squared_norm(weights), weights), weights, strict=True):
        torch.testing.assert_close(gradient, weight.detach(), rtol=1e-12, atol=0)
    with pytest.raises(RuntimeError):
        l2.squared_norm([])


def test_squared_norm_of_half_precision_is_computed_in_float32() -> None:
    found = l2.squared_norm([torch.full((5000,), 0.1, dtype=torch.bfloat16)])
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(2500 * torch.tensor(0.1, dtype=torch.bfloat16).item() ** 2, rel=1e-5)


def test_l2_penalises_backbone_and_head_in_the_place_of_weight_decay() -> None:
    model, data = small().double(), noise()
    (stage,) = l2.L2(alpha=0.3, beta=0.7).stages(model, a_recipe(weight_decay=0.05), data)
    assert stage.recipe == a_recipe(weight_decay=0.0)
    terms = stage.loss(model, data.batch(0))
    assert set(terms) == {"ce", "l2", "l2_head"}
    for name, weight, part in (("l2", 0.3, model.backbone), ("l2_head", 0.7, model.head)):
        total = 0.0
        for parameter in part.parameters():
            for value in parameter.detach().flatten().tolist():
                total += value**2 / 2
        assert terms[name].item() == pytest.approx(weight * total, rel=1e-10)
        gradients = torch.autograd.grad(terms[name], list(part.parameters()), retain_graph=True)
        for gradient, parameter in zip(gradients, part.parameters(), strict=True):
            torch.testing.assert_close(gradient, weight * parameter.detach())


# ---- RIFLE


@pytest.mark.parametrize("resets", [0, 1, 2, 3])
def test_periods_are_equal_and_cover_training(resets: int) -> None:
    found = rifle.periods(resets)
    assert len(found) == resets + 1
    assert found[0][0] == 0
    assert found[-1][1] == 1
    assert all(one[1] == other[0] for one, other in itertools.pairwise(found))
    assert all(stop - start == pytest.approx(1 / (resets + 1)) for start, stop in found)


@pytest.mark.parametrize(("resets", "spans"), [(0, [12]), (1, [6, 6]), (2, [4, 4, 4]), (4, [2, 3, 2, 3, 2])])
def test_rifle_draws_only_the_head_anew_and_only_between_periods(resets: int, spans: list[int]) -> None:
    model, data, recipe = small(), noise(), a_recipe()
    optimizer, done, previous = None, 0, state(model)
    first = previous
    for number, stage in enumerate(rifle.RIFLE(resets=resets).stages(model, recipe, data)):
        now = state(model)
        assert same({k: v for k, v in now.items() if "head" not in k}, {k: previous[k] for k in now if "head" not in k})
        fresh = all(not torch.equal(now[k], previous[k]) for k in now if "head" in k)
        assert fresh is (number > 0)
        bound = 1 / math.sqrt(model.dim)
        assert not fresh or all(now[k].abs().max() <= bound for k in now if "head" in k)
        assert stage.recipe.last - stage.recipe.first == spans[number]
        optimizer = fit(stage, data, start=done, stops=lambda _: False, at_stop=lambda _: None, previous=optimizer)
        done, previous = done + spans[number], state(model)
    assert done == recipe.steps
    assert not any(torch.equal(first[k], previous[k]) for k in first if "head" in k)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_rifle_keeps_the_moments_of_everything(kind: str) -> None:
    model, data = small(), noise()
    recipe, kept, optimizer, done = a_recipe(optimizer=kind), [], None, 0
    key = "exp_avg" if kind == "adamw" else "momentum_buffer"
    for stage in rifle.RIFLE(resets=1).stages(model, recipe, data):
        assert stage.continues is (done > 0)
        if optimizer is not None:
            kept = [(weight, copy.deepcopy(optimizer.state[weight])) for weight in model.parameters()]
            last = fit(rewound(stage), data, start=done, stops=never, at_stop=nothing, previous=optimizer)
            for weight, before in kept:
                torch.testing.assert_close(last.state[weight][key], before[key], rtol=0, atol=0)
                assert float(before[key].abs().sum()) > 0
        optimizer = fit(stage, data, start=done, stops=never, at_stop=nothing, previous=optimizer)
        done += stage.recipe.last - stage.recipe.first
    assert len(kept) == len(list(model.parameters()))
    if kind == "adamw":
        assert {float(optimizer.state[weight]["step"]) for weight in model.parameters()} == {12.0}  # type: ignore[union-attr]


def never(_: int) -> bool:
    return False


def nothing(_: Progress) -> None:
    return None


def rewound(stage: Stage) -> Stage:
    """The stage without a step, to see what its optimiser starts with."""
    recipe = stage.recipe
    return Stage(stage.model, stage.loss, Recipe(**{**vars(recipe), "last": recipe.first}), continues=stage.continues)


def test_rifle_has_one_cosine_over_all_periods() -> None:
    recipe = a_recipe(warmup=3)
    rates = [
        progress.learning_rate
        for _, _, seen in trained_stages(rifle.RIFLE(resets=2), small(), recipe, noise())
        for progress in seen
    ]
    cosine = [0.01 * 0.5 * (1 + math.cos(math.pi * step / 9)) for step in range(9)]
    assert rates == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, *cosine], rel=1e-12)


def test_rifle_without_resets_is_plain_fine_tuning_bit_for_bit() -> None:
    found = []
    for method in (Method(), rifle.RIFLE(resets=0), rifle.RIFLE(resets=1)):
        torch.manual_seed(3)
        model = small()
        list(trained_stages(method, model, a_recipe(), noise()))
        found.append(state(model))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


# ---- Noisy-Tune


def test_perturbed_is_the_weight_and_its_share_of_noise() -> None:
    weight = torch.randn(3, 4, dtype=torch.float64)
    noise = torch.rand(3, 4, dtype=torch.float64) - 0.5
    found = noisy_tune.perturbed(weight, noise, 0.3)
    values = weight.flatten().tolist()
    mean = sum(values) / 12
    std = math.sqrt(sum((value - mean) ** 2 for value in values) / 11)
    for made, value, drawn in zip(found.flatten().tolist(), values, noise.flatten().tolist(), strict=True):
        assert made == pytest.approx(value + 0.3 * drawn * std, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(
    "weight",
    [torch.ones(5), torch.full((3, 3), 0.1), torch.tensor([2.5]), torch.tensor(2.5), torch.zeros(0), torch.zeros(4)],
    ids=["ones", "a tenth", "one element", "scalar", "empty", "zeros"],
)
def test_perturbed_leaves_what_has_no_spread(weight: Tensor) -> None:
    assert torch.equal(noisy_tune.perturbed(weight, torch.full_like(weight, 0.5), 0.15), weight)


def test_perturbed_keeps_the_type_and_refuses_another_shape() -> None:
    half = torch.randn(8).to(torch.bfloat16)
    assert noisy_tune.perturbed(half, torch.zeros(8), 0.15).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="one shape"):
        noisy_tune.perturbed(torch.zeros(4), torch.zeros(1), 0.15)


def begun(intensity: float, model: Model, seed: int = 0) -> Model:
    """The model when the first stage is about to be trained."""
    torch.manual_seed(seed)
    next(noisy_tune.NoisyTune(intensity=intensity).stages(model, a_recipe(), noise()))
    return model


def wide() -> Model:
    """Wide enough to see a distribution; with a constant and a single weight."""
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 400), nn.BatchNorm1d(400), nn.PReLU())
    return Model(backbone, Family(), 400, CLASSES, [0.5], [0.25])


def test_noise_is_uniform_and_scaled_by_each_tensor() -> None:
    model = wide()
    with torch.no_grad():
        model.backbone.get_parameter("1.bias").mul_(30)
    before = state(model)
    after = state(begun(0.15, model))
    for name in ("backbone.1.weight", "backbone.1.bias"):
        std = statistics.stdev(before[name].flatten().tolist())
        share = (after[name] - before[name]) / std
        assert share.abs().max() <= 0.075 * (1 + 1e-3)
        assert share.abs().max() > 0.07
        assert float(share.mean()) == pytest.approx(0, abs=0.01)
        assert float(share.std()) == pytest.approx(0.15 / math.sqrt(12), rel=0.1)
    untouched = {name for name in before if torch.equal(before[name], after[name])}
    assert untouched == before.keys() - {"backbone.1.weight", "backbone.1.bias"}
    assert {"backbone.2.weight", "backbone.2.running_mean", "backbone.3.weight", "head.weight"} <= untouched


def test_noise_is_that_of_the_seed_and_drawn_once() -> None:
    start = wide()
    one, again, other = (state(begun(0.15, copy.deepcopy(start), seed)) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)
    assert same(state(begun(0.0, copy.deepcopy(start))), state(start))
    torch.manual_seed(1)
    seen = []
    for stage in noisy_tune.NoisyTune(inner=rifle.RIFLE(resets=2)).stages(start, a_recipe(), noise()):
        seen.append(state(stage.model.backbone))
    assert len(seen) == 3
    assert all(same(seen[0], later) for later in seen[1:])
    assert same(seen[0], {name.removeprefix("backbone."): one[name] for name in one if name.startswith("backbone.")})


def test_noise_comes_before_the_method_looks_at_the_weights() -> None:
    @torch.no_grad()
    def total(model: Model) -> float:
        return sum(float(weight.sum()) for weight in model.backbone.parameters())

    class Looks(Method):
        def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
            seen.append(total(model))
            yield Stage(model, self.loss, recipe)

    seen: list[float] = []
    model = small()
    before = total(model)
    (stage,) = noisy_tune.NoisyTune(inner=Looks()).stages(model, a_recipe(), noise())
    assert stage.model is model
    assert seen == [total(model)] != [before]


# ---- mix and match


def triplet_by_hand(features: Tensor, positives: list[int], negatives: list[int], margin: float) -> float:
    unit = []
    for row in features.tolist():
        length = math.sqrt(sum(value**2 for value in row))
        unit.append([value / length for value in row])
    total = 0.0
    for anchor, positive, negative in zip(range(len(unit)), positives, negatives, strict=True):
        near = sum((a - p) ** 2 for a, p in zip(unit[anchor], unit[positive], strict=True))
        far = sum((a - n) ** 2 for a, n in zip(unit[anchor], unit[negative], strict=True))
        total += max(0.0, margin + near - far)
    return total / (2 * len(unit))


@pytest.mark.parametrize("margin", [0.2, 2.1])
@pytest.mark.parametrize(
    ("positives", "negatives"),
    [([1, 0, 3, 2, 4], [2, 3, 0, 1, 0]), ([1, 0, 0, 3, 4], [4, 4, 4, 0, 1]), ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])],
    ids=["pairs", "classes of one", "no partners"],
)
def test_triplet_loss_and_its_gradient_by_hand(margin: float, positives: list[int], negatives: list[int]) -> None:
    features = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    rows = torch.tensor(positives), torch.tensor(negatives)
    found = mix_and_match.triplet_loss(features, *rows, margin)
    assert found.item() == pytest.approx(
        triplet_by_hand(features.detach(), positives, negatives, margin), rel=1e-10, abs=1e-12
    )
    (gradient,) = torch.autograd.grad(found, [features])
    for at in itertools.product(range(5), range(3)):
        step = torch.zeros_like(gradient)
        step[at] = 1e-6
        up, down = (triplet_by_hand(features.detach() + sign * step, positives, negatives, margin) for sign in (1, -1))
        assert gradient[at].item() == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-8)


def test_triplet_loss_knows_no_length_and_refuses_a_row_that_is_not_there() -> None:
    features, rows = torch.randn(4, 3, dtype=torch.float64), torch.tensor([1, 0, 3, 2])
    found = mix_and_match.triplet_loss(features, rows, rows.flip(0), 2.1)
    longer = features * torch.tensor([[0.1], [2.0], [30.0], [4.0]])
    torch.testing.assert_close(mix_and_match.triplet_loss(longer, rows, rows.flip(0), 2.1), found)
    assert mix_and_match.triplet_loss(features.to(torch.bfloat16), rows, rows, 2.1).dtype == torch.float32
    with pytest.raises(IndexError):
        mix_and_match.triplet_loss(features, rows + 1, rows, 2.1)


def test_triplet_loss_of_a_batch_of_one_is_half_the_margin_without_a_gradient() -> None:
    features = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    positives, negatives = mix_and_match.random_links(torch.tensor([7]))
    assert (positives.tolist(), negatives.tolist()) == ([0], [0])
    found = mix_and_match.triplet_loss(features, positives, negatives, 2.1)
    assert found.item() == pytest.approx(1.05, rel=1e-12)
    assert torch.equal(torch.autograd.grad(found, [features])[0], torch.zeros_like(features))


def test_links_lead_to_the_same_and_to_another_class() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    seen: list[set[int]] = [set() for _ in range(12)]
    for _ in range(200):
        positives, negatives = mix_and_match.random_links(labels)
        for row, found in enumerate([*positives.tolist(), *negatives.tolist()]):
            seen[row].add(found)
    assert seen[:6] == [{1, 2}, {0, 2}, {0, 1}, {4}, {3}, {5}]
    assert seen[6:] == [{3, 4, 5}, {3, 4, 5}, {3, 4, 5}, {0, 1, 2, 5}, {0, 1, 2, 5}, {0, 1, 2, 3, 4}]


def test_links_go_back_in_one_random_order_where_they_can() -> None:
    """With one class all but the first image in the order are linked to an earlier one: a tree and one arc back."""
    for _ in range(50):
        positives, negatives = (rows.tolist() for rows in mix_and_match.random_links(torch.zeros(6, dtype=torch.int64)))
        assert negatives == list(range(6))
        orders = [
            order
            for order in itertools.permutations(range(6))
            if all(order.index(positives[row]) < order.index(row) for row in order[1:])
        ]
        assert orders


def test_links_are_those_of_the_seed() -> None:
    labels = torch.arange(12) % 3
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append([rows.tolist() for rows in mix_and_match.random_links(labels)])
    assert drawn[0] == drawn[1] != drawn[2]


def test_mix_and_match_trains_the_backbone_and_then_everything() -> None:
    model = small()
    head, found = state(model.head), []
    for stage, _, seen in trained_stages(mix_and_match.MixAndMatch(share=0.25), model, a_recipe(), noise()):
        found.append((len(seen), seen[0].learning_rate, sorted(seen[0].terms), same(head, state(model.head))))
        assert not stage.continues
    assert found == [(3, 0.01, ["triplet"], True), (9, 0.01, ["ce"], False)]


# ---- WiSE-FT


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_interpolated_is_the_weighted_mean(alpha: float) -> None:
    start, tuned = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    found = wise_ft.interpolated(start, tuned, alpha)
    for made, one, other in zip(
        found.flatten().tolist(), start.flatten().tolist(), tuned.flatten().tolist(), strict=True
    ):
        assert made == pytest.approx((1 - alpha) * one + alpha * other, rel=1e-12)
    assert alpha != 0 or torch.equal(found, start)
    assert alpha != 1 or torch.equal(found, tuned)


def test_interpolated_does_not_average_counts_keeps_the_type_and_refuses_another_shape() -> None:
    assert wise_ft.interpolated(torch.tensor(3), torch.tensor(8), 0.5).item() == 8
    assert wise_ft.interpolated(*torch.randn(2, 4).to(torch.bfloat16), 0.5).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="one shape"):
        wise_ft.interpolated(torch.zeros(4), torch.zeros(1), 0.5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_wise_ft_ends_between_the_probed_and_the_tuned_model(alpha: float) -> None:
    model, data = small(), noise()
    pretrained, ends = state(model), []
    stages = trained_stages(wise_ft.WiSEFT(alpha=alpha, share=0.25), model, a_recipe(), data)
    for _, _, seen in stages:
        ends.append((len(seen), state(model)))
    (probing, start), (tuning, tuned) = ends
    assert (probing, tuning) == (3, 9)
    assert {name for name in start if not torch.equal(start[name], pretrained[name])} == {"head.weight", "head.bias"}
    assert not any(torch.equal(start[name], tuned[name]) for name in start)
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert torch.equal(value, tuned[name])
        else:
            torch.testing.assert_close(value, (1 - alpha) * start[name] + alpha * tuned[name])


# ---- runs


def run(methods: str, *changed: str) -> TrainedRun:
    settings = ("steps=60", "warmup=5", "image_size=8", *changed)
    overrides = Overrides(methods, rates="100", seeds="1", settings=settings)
    (spec,) = read_plan("digits", Registry(), overrides).unique.values()
    return run_trial(spec, Registry(), torch.device("cpu"))


STEPS = {
    "linear": [60],
    "l2": [60],
    "rifle": [30, 30],
    "noisy_tune": [60],
    "rifle+noisy_tune": [30, 30],
    "mix_and_match": [12, 48],
    "wise_ft": [12, 48],
}


@pytest.mark.parametrize("methods", STEPS)
@pytest.mark.slow
def test_learns_digits_within_the_budget(methods: str) -> None:
    made = run(methods, "evaluations=1")
    assert [stage["steps"] for stage in as_plain(made.record)["stages"]] == STEPS[methods]
    last = as_plain(made.record)["curve"][-1]
    assert last["step"] == 60
    assert last["test"]["top1"] > (30 if methods == "linear" else 50)


@pytest.mark.slow
def test_the_last_point_of_wise_ft_is_that_of_the_interpolated_weights() -> None:
    probed, tuned = run("wise_ft(alpha=0)", "evaluations=1"), run("wise_ft(alpha=1)", "evaluations=1")
    linear_probe = run("wise_ft(share=1, alpha=1)", "steps=12", "warmup=1", "evaluations=1")
    assert not np.array_equal(probed.predictions["test"], tuned.predictions["test"])
    assert np.array_equal(probed.predictions["test"], linear_probe.predictions["test"])
