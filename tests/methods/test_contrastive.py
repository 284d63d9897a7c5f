"""Contrastive methods: formulas against double loops and another library's, stages, and that they learn."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones import Model, build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.losses import in_sets, supervised_contrastive
from bench.method import Batch, Method
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes, trained
from bench.training.trial import run_trial
from tests.scenes import as_plain

REGISTRY = Registry()
CLASSES, SIDE = 10, 12

simclr: Any = importlib.import_module("bench.methods.simclr")
npair: Any = importlib.import_module("bench.methods.npair")

LABELS: dict[str, list[int]] = {
    "pairs": [0, 1, 2, 0, 1, 2],
    "a class of one sample": [0, 1, 1, 4, 0, 1, 1],
    "one class": [3, 3, 3, 3],
    "no positive pair": [0, 1, 2, 3],
    "one row": [5],
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def data() -> TrainingImages:
    """Forty images of noise."""
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (50, SIDE, SIDE, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, 50))
    protocol = Protocol(batch_size=16, augmentation="shift")
    return TrainingImages(split, np.arange(40), CLASSES, protocol, SIDE, seed=5, device=torch.device("cpu"))


def micro_vit() -> Model:
    return build_model(REGISTRY.backbone("micro_vit@none"), CLASSES)


def built(name: str, **given: object) -> Method:
    card = REGISTRY.method(name)
    method = REGISTRY.load_method(card)(**dict(card.resolve(given)))
    assert isinstance(method, Method)
    return method


def a_recipe(steps: int = 6, **changes: Any) -> Recipe:
    return Recipe(steps=steps, **{"lr": 1e-3, **changes}).resolved(40, 16)


def train(method: Method, model: Model, recipe: Recipe, data: TrainingImages) -> Model:
    done, optimizer = 0, None
    for stage in method.stages(model, recipe, data):
        optimizer = fit(stage, data, start=done, stops=lambda _: False, at_stop=lambda _: None, previous=optimizer)
        done, model = done + stage.recipe.last - stage.recipe.first, stage.model
    return model


def unit(count: int, dim: int = 5) -> Tensor:
    return F.normalize(torch.randn(count, dim, dtype=torch.float64), dim=1).requires_grad_()


# ---- formulas, written out


def contrast_by_hand(
    z: Tensor,
    labels: list[int],
    temperature: float,
    self_positive: bool = False,
    over_batch: bool = False,
    paired_only: bool = False,
) -> Tensor:
    """Pair by pair, in float64; the gradient is autograd's of these very loops."""
    rows, anchors = range(len(labels)), []
    for i in rows:
        others = [torch.exp((z[i] * z[a]).sum() / temperature) for a in rows if a != i]
        if not others:
            continue
        total, found = z.new_zeros(()), 0
        for p in rows:
            if labels[p] == labels[i] and (self_positive or p != i):
                total = total - torch.log(torch.exp((z[i] * z[p]).sum() / temperature) / sum(others))
                found += 1
        if found:
            anchors.append(total / (len(labels) if over_batch else found))
    return sum(anchors, z.sum() * 0) / (max(1, len(anchors)) if paired_only else len(labels))


def n_pair_by_hand(anchors: Tensor, positives: Tensor, l2_reg: float) -> Tensor:
    total, rows = 0 * (anchors.sum() + positives.sum()), range(len(anchors))
    for i in rows:
        inside = anchors.new_ones(())
        for j in rows:
            if j != i:
                inside = inside + torch.exp((anchors[i] * positives[j]).sum() - (anchors[i] * positives[i]).sum())
        total = total + torch.log(inside) + l2_reg * ((anchors[i] ** 2).sum() + (positives[i] ** 2).sum())
    return total / max(1, len(anchors))


def check_same(found: Tensor, expected: Tensor, *given: Tensor) -> None:
    """Value and gradient."""
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    for one, other in zip(torch.autograd.grad(found, given), torch.autograd.grad(expected, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


SWITCHES = ("self_positive", "over_batch", "paired_only")


@pytest.mark.parametrize("switched", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("case", LABELS)
def test_supervised_contrastive_is_the_double_loop(case: str, switched: tuple[bool, ...]) -> None:
    labels, switches = LABELS[case], dict(zip(SWITCHES, switched, strict=True))
    z = unit(len(labels))
    found = supervised_contrastive(z, torch.tensor(labels), 0.3, **switches)
    check_same(found, contrast_by_hand(z, labels, 0.3, **switches), z)
    single = supervised_contrastive(z.float(), torch.tensor(labels), 0.3, **switches)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(found.item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", ["no positive pair", "one row"])
def test_without_a_positive_pair_contrast_is_a_zero_that_is_part_of_the_graph(case: str) -> None:
    z = unit(len(LABELS[case]))
    loss = supervised_contrastive(z, torch.tensor(LABELS[case]), 0.1)
    (gradient,) = torch.autograd.grad(loss, [z])
    assert loss.item() == 0
    assert not gradient.any()


def test_anchors_without_a_positive_count_as_zero_in_the_mean_or_not_at_all() -> None:
    z, labels = unit(5), torch.tensor([0, 0, 0, 0, 1])
    terms = [-torch.log_softmax(torch.cat([z[i] @ z[:i].T, z[i] @ z[i + 1 :].T]) / 0.5, 0)[:3].mean() for i in range(4)]
    total = torch.stack(terms).sum().item()
    assert supervised_contrastive(z, labels, 0.5).item() == pytest.approx(total / 5, rel=1e-9)
    assert supervised_contrastive(z, labels, 0.5, paired_only=True).item() == pytest.approx(total / 4, rel=1e-9)


@pytest.mark.parametrize("temperature", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rows_all_alike_give_the_log_of_the_candidates(dtype: torch.dtype, temperature: float) -> None:
    z = torch.zeros(8, 3, dtype=dtype)
    z[:, 0] = 1
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 1])
    assert supervised_contrastive(z, labels, temperature).item() == pytest.approx(math.log(7), rel=1e-6)


def test_contrast_is_finite_where_exponentials_overflow() -> None:
    z = (unit(6).detach().float() * 100).requires_grad_()
    loss = supervised_contrastive(z, torch.tensor([0, 0, 1, 1, 2, 3]), 0.01)
    (gradient,) = torch.autograd.grad(loss, [z])
    assert math.isfinite(loss.item())
    assert gradient.isfinite().all()


def test_nt_xent_is_the_double_loop_over_both_views() -> None:
    z = unit(8).detach().reshape(2, 4, 5).requires_grad_()
    check_same(simclr.nt_xent(z, 0.2), contrast_by_hand(z.reshape(8, 5), [0, 1, 2, 3] * 2, 0.2), z)
    assert simclr.nt_xent(z[:, :1], 0.2).item() == 0


@pytest.mark.parametrize("count", [0, 1, 5])
def test_n_pair_is_the_double_loop(count: int) -> None:
    anchors, positives = (torch.randn(count, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = npair.n_pair(anchors, positives, 0.02)
    check_same(found, n_pair_by_hand(anchors, positives, 0.02), anchors, positives)


def test_n_pair_of_long_features_does_not_overflow() -> None:
    anchors = torch.full((3, 768), 3.0, requires_grad=True)
    positives = torch.randn(3, 768) * 10
    loss = npair.n_pair(anchors, positives, 0.0)
    products = anchors.detach().double() @ positives.double().T
    exact = (products - products.diagonal()[:, None]).logsumexp(1).mean()
    assert products.abs().max() > 100
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert torch.autograd.grad(loss, [anchors])[0].isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    labels, z = torch.tensor([0, 1, 1, 0, 2]), unit(5, 3)
    for switches in ({}, {"self_positive": True, "over_batch": True}):
        assert torch.autograd.gradcheck(lambda z, s=switches: supervised_contrastive(z, labels, 0.3, **s), (z,))
    views = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: simclr.nt_xent(z, 0.5), (views,))
    assert torch.autograd.gradcheck(lambda z: npair.n_pair(z[0], z[1], 0.02), (views,))


FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "supervised contrastive": lambda z: supervised_contrastive(z, torch.arange(len(z)) % 3, 0.1),
    "nt_xent": lambda z: simclr.nt_xent(z.reshape(2, 6, -1), 0.1),
    "n_pair": lambda z: npair.n_pair(*z.chunk(2), 0.02),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FORMULAS)
def test_formula_is_computed_in_float32_under_autocast(name: str, dtype: torch.dtype) -> None:
    z = unit(12, 64).detach().to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        found = FORMULAS[name](z)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(FORMULAS[name](z.double()).item(), rel=1e-5)


def test_formulas_refuse_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(N, D\) and \(N,\)"):
        supervised_contrastive(torch.zeros(2, 3, 4), torch.zeros(2), 0.1)
    with pytest.raises(ValueError, match=r"\(N, D\) and \(N,\)"):
        supervised_contrastive(torch.zeros(4, 3), torch.zeros(2), 0.1)
    with pytest.raises(ValueError, match=r"must be \(2, B, D\)"):
        simclr.nt_xent(torch.zeros(3, 4, 5), 0.1)
    with pytest.raises(ValueError, match=r"must be one \(n, D\)"):
        npair.n_pair(torch.zeros(3, 4), torch.zeros(2, 4), 0.0)


# ---- the same from pytorch-metric-learning


def oracle(name: str, **arguments: Any) -> Any:
    module, _, attribute = name.partition(".")
    return getattr(importlib.import_module(f"pytorch_metric_learning.{module}"), attribute)(**arguments)


@pytest.mark.parametrize("case", ["pairs", "a class of one sample"])
def test_supervised_contrastive_is_that_of_pytorch_metric_learning(case: str) -> None:
    labels = torch.tensor(LABELS[case])
    features = torch.randn(len(labels), 5, dtype=torch.float64, requires_grad=True)
    found = supervised_contrastive(F.normalize(features), labels, 0.3, paired_only=True)
    check_same(found, oracle("losses.SupConLoss", temperature=0.3)(features, labels), features)


def test_nt_xent_is_that_of_pytorch_metric_learning() -> None:
    features = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    expected = oracle("losses.NTXentLoss", temperature=0.2)(features.flatten(0, 1), torch.arange(4).repeat(2))
    check_same(simclr.nt_xent(F.normalize(features, dim=2), 0.2), expected, features)


def test_n_pair_is_that_of_pytorch_metric_learning() -> None:
    features, rows = torch.randn(8, 5, dtype=torch.float64, requires_grad=True), torch.arange(4)
    loss = oracle("losses.NPairsLoss", distance=oracle("distances.DotProductSimilarity", normalize_embeddings=False))
    expected = loss(features, rows.repeat(2), (rows, rows + 4, rows[:0], rows[:0]))
    check_same(npair.n_pair(features[:4], features[4:], 0.0), expected, features)


# ---- pairs


def test_pairs_are_two_rows_of_each_class_that_has_them() -> None:
    labels = torch.tensor([4, 1, 0, 1, 4, 4, 2])
    drawn = [npair.draw_pairs(labels) for _ in range(600)]
    for pairs in drawn:
        assert labels[pairs].tolist() == [[1, 4], [1, 4]]
        assert (pairs[0] != pairs[1]).all()
    seen = Counter(tuple(pairs[:, 1].tolist()) for pairs in drawn)
    assert set(seen) == {(0, 4), (4, 0), (0, 5), (5, 0), (4, 5), (5, 4)}
    assert min(seen.values()) > 60


@pytest.mark.parametrize("labels", [[3], [0, 1, 2]])
def test_no_pairs_where_no_class_has_two_rows(labels: list[int]) -> None:
    assert npair.draw_pairs(torch.tensor(labels)).shape == (2, 0)


# ---- stages


def test_coin_cuts_one_cosine_in_two_and_keeps_projector_and_moments(data: TrainingImages) -> None:
    recipe = a_recipe(steps=100, lr=0.01)
    first, second = built("coin").stages(micro_vit(), recipe, data)
    assert (first.recipe.first, first.recipe.last, second.recipe.first, second.recipe.last) == (0, 70, 70, 100)
    assert second.recipe.learning_rate(second.recipe.first) == pytest.approx(0.00206, abs=5e-6)
    assert all(
        stage.recipe.learning_rate(step) == recipe.learning_rate(step)
        for stage in (first, second)
        for step in (0, 69, 70, 99)
    )
    assert (first.views, second.views) == (1, 1)
    assert second.continues
    assert list(first.train)[1] is list(second.train)[1]


def test_coin_first_trains_encoder_and_projector_but_not_the_head(data: TrainingImages) -> None:
    model = micro_vit()
    stages = built("coin").stages(model, a_recipe(steps=10), data)
    first = next(stages)
    _, projector = first.train
    assert not isinstance(projector, torch.nn.Parameter)
    set_modes(first)
    first.loss(model, data.batch(0))["con"].backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None and weight.grad.any() for weight in projector.parameters())
    assert all(weight.grad is None for weight in model.head.parameters())
    before = [weight.detach().clone() for weight in (*model.head.parameters(), *projector.parameters())]
    optimizer = fit(first, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
    now = [*model.head.parameters(), *projector.parameters()]
    assert [torch.equal(one, other) for one, other in zip(now, before, strict=True)] == [True] * 2 + [False] * 4
    second = next(stages)
    optimizer = fit(second, data, start=7, stops=lambda _: False, at_stop=lambda _: None, previous=optimizer)
    assert not torch.equal(model.head.weight, before[0])
    taken = {optimizer.state[weight]["step"].item() for weight in projector.parameters()}
    assert taken == {10}
    assert optimizer.state[model.head.weight]["step"].item() == 3


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_coin_without_its_first_stage_is_scl_bit_for_bit(variant: str, data: TrainingImages) -> None:
    weights = []
    for method in (built("scl", variant=variant), built("coin", variant=variant, alpha=0), built("coin", alpha=0.5)):
        torch.manual_seed(3)
        weights.append(train(method, micro_vit(), a_recipe(), data).state_dict())
    scl, coin, other = weights
    assert all(torch.equal(scl[key], coin[key]) for key in scl)
    assert not torch.equal(scl["head.weight"], other["head.weight"])


@pytest.mark.parametrize("name", ["scl", "coin"])
@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("anchors", ["all", "paired"])
def test_coin_and_scl_contrast_projected_features_of_unit_length(
    name: str, variant: str, anchors: str, data: TrainingImages
) -> None:
    model, batch = micro_vit().eval(), data.batch(0)
    *_, stage = built(name, variant=variant, anchors=anchors).stages(model, a_recipe(), data)
    terms, projector = stage.loss(model, batch), list(stage.train)[1]
    assert isinstance(projector, torch.nn.Sequential)
    z = F.normalize(projector(model(batch.images).features).double(), dim=1)
    released = variant == "released"
    expected = 0.1 * contrast_by_hand(z, batch.labels.tolist(), 0.3, released, released, anchors == "paired")
    assert z.shape == (16, 256)
    assert terms["con"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["ce"].item() == pytest.approx(batch.cross_entropy(model(batch.images)).item(), rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.9, 1.0])
def test_scl_as_gunel_weighs_and_contrasts_the_encoders_output(weight: float, data: TrainingImages) -> None:
    model, batch = micro_vit().eval(), data.batch(0)
    (stage,) = built("scl", weight=weight, weighting="convex").stages(model, a_recipe(), data)
    terms, output = stage.loss(model, batch), model(batch.images)
    z = F.normalize(output.features.double(), dim=1)
    contrast = contrast_by_hand(z, batch.labels.tolist(), 0.3)
    assert terms["ce"].item() == pytest.approx((1 - weight) * batch.cross_entropy(output).item(), rel=1e-6)
    assert terms["con"].item() == pytest.approx(weight * contrast.item(), rel=1e-5)
    assert {name for name, _ in trained(stage)} == {name for name, _ in model.named_parameters()}


def test_scl_refuses_a_negative_weight_of_cross_entropy(data: TrainingImages) -> None:
    (stage,) = built("scl", weight=2.0).stages(micro_vit(), a_recipe(), data)
    assert stage.views == 1
    with pytest.raises(ValueError, match=r"weight is 2\.0; with weighting=convex it must be at most 1"):
        next(iter(built("scl", weight=2.0, weighting="convex").stages(micro_vit(), a_recipe(), data)))


@pytest.mark.parametrize("name", ["lacvit", "simclr"])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_first_stage_contrasts_two_views(name: str, variant: str, data: TrainingImages) -> None:
    model = micro_vit().eval()
    stage = next(iter(built(name, variant=variant).stages(model, a_recipe(), data)))
    batch, projector = data.batch(0, stage.views), list(stage.train)[1]
    assert isinstance(projector, torch.nn.Sequential)
    assert not torch.equal(batch.images[0], batch.images[1])
    z = torch.cat([F.normalize(projector(model(view).features).double(), dim=1) for view in batch.images])
    same = batch.labels.tolist() if name == "lacvit" else list(range(16))
    scale = 0.1 / 0.07 if variant == "released" else 1
    assert z.shape == (32, 128)
    found = stage.loss(model, batch)["con"].item()
    assert found == pytest.approx(scale * contrast_by_hand(z, same * 2, 0.1).item(), rel=1e-5)
    unlabelled = stage.loss(model, dataclasses.replace(batch, labels=batch.labels.flip(0)))["con"].item()
    assert (unlabelled == found) is (name == "simclr")


def test_npair_is_taken_of_the_features_as_they_are(data: TrainingImages, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = micro_vit().eval(), data.batch(0)
    stage = next(iter(built("npair").stages(model, a_recipe(), data)))
    pairs = npair.draw_pairs(batch.labels)
    monkeypatch.setattr(npair, "draw_pairs", lambda _: pairs)
    features = model(batch.images).features.double()
    expected = n_pair_by_hand(features[pairs[0]], features[pairs[1]], 0.02)
    assert pairs.shape[1] >= 3
    assert stage.loss(model, batch)["npair"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["lacvit", "simclr", "npair"])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_second_stage_has_cross_entropy_alone_and_trains_all_or_the_head(
    name: str, variant: str, data: TrainingImages
) -> None:
    model = micro_vit()
    first, second = built(name, variant=variant, share=0.5).stages(model, a_recipe(steps=8), data)
    assert (first.views, second.views) == (1 if name == "npair" else 2, 1)
    head = model.head.weight.detach().clone()
    fit(first, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
    assert torch.equal(model.head.weight, head)
    before = {key: weight.clone() for key, weight in model.state_dict().items()}
    assert list(second.loss(model, data.batch(0))) == ["ce"]
    fit(second, data, start=4, stops=lambda _: False, at_stop=lambda _: None)
    moved = {key for key, weight in model.state_dict().items() if not torch.equal(weight, before[key])}
    assert moved == ({"head.weight", "head.bias"} if variant == "released" else set(before))


@pytest.mark.parametrize("steps", [6, 7, 60, 100, 333])
@pytest.mark.parametrize("share", [0.1, 0.7, 0.83, 0.9])
@pytest.mark.parametrize("name", ["coin", "lacvit", "simclr", "npair"])
def test_stages_use_the_budget(name: str, share: float, steps: int, data: TrainingImages) -> None:
    """To the last step; COIN's two windows lie in one schedule, the others have two."""
    given = {"alpha" if name == "coin" else "share": share}
    first, second = built(name, **given).stages(micro_vit(), a_recipe(steps=steps, warmup=3), data)
    spans = [stage.recipe.last - stage.recipe.first for stage in (first, second)]
    assert abs(spans[0] - share * steps) < 1
    assert sum(spans) == steps
    assert [stage.recipe.steps for stage in (first, second)] == ([steps] * 2 if name == "coin" else spans)


@pytest.mark.parametrize("name", ["scl", "coin", "lacvit", "simclr", "npair"])
def test_loss_is_finite_in_half_precision_and_without_pairs(name: str, data: TrainingImages) -> None:
    """Under autocast, with a class a row and with a single row."""
    model = micro_vit()
    for stage in built(name).stages(model, a_recipe(), data):
        set_modes(stage)
        batch = data.batch(0, stage.views)
        for rows in (10, 1):
            images, labels = batch.images[..., :rows, :, :, :], torch.arange(rows)
            few = Batch(images, labels, F.one_hot(labels, CLASSES).float(), 0.0)
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.stack(list(stage.loss(model, few).values())).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            assert loss.dtype == torch.float32
            assert loss.isfinite()
            assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


# ---- training


LEARNS = {
    "scl": 60,
    "scl(variant=released)": 60,
    "coin": 150,
    "coin(variant=released)": 150,
    "lacvit": 60,
    "lacvit(variant=released)": 60,
    "simclr": 60,
    "npair(share=0.5)": 60,
}
"""Steps by method: COIN's head is trained in the last 30 % of them, at less than a fifth of the learning rate."""


@pytest.mark.parametrize("method", LEARNS)
@pytest.mark.slow
def test_learns_digits(method: str) -> None:
    """Far above chance, which is 10 %."""
    settings = (f"steps={LEARNS[method]}", "warmup=5", "evaluations=1")
    overrides = Overrides(method, rates="100", seeds="1", settings=settings)
    (spec,) = read_plan("digits", REGISTRY, overrides).unique.values()
    outcome = run_trial(spec, REGISTRY, torch.device("cpu"))
    assert as_plain(outcome.record)["curve"][-1]["test"]["top1"] > 40


# ---- sets of a batch that do not see each other, as released codes add up gradients


def test_sets_of_a_batch_are_as_batches_of_their_own() -> None:
    z = torch.randn(2, 10, 4, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 2, 2, 0, 0, 1, 1])

    def loss(z: Tensor, labels: Tensor) -> Tensor:
        return supervised_contrastive(z.flatten(0, 1), labels.repeat(2), 0.5)

    parts = [loss(z[:, at : at + 4], labels[at : at + 4]) for at in (0, 4, 8)]
    assert in_sets(loss, 4, z, labels).item() == pytest.approx(sum(map(float, parts[:2])) * 0.4 + float(parts[2]) * 0.2)
    for size in (0, 10, 64):
        assert torch.equal(in_sets(loss, size, z, labels), loss(z, labels))


@pytest.mark.parametrize("name", ["coin", "scl", "lacvit", "simclr"])
def test_a_contrast_set_has_the_gradient_of_several_small_batches(name: str, data: TrainingImages) -> None:
    gradients = []
    for size, parts in ((8, 1), (0, 2)):
        torch.manual_seed(5)
        model = micro_vit()
        stage = next(built(name, contrast_set=size).stages(model, a_recipe(steps=10), data))
        set_modes(stage)
        batch = data.batch(0, stage.views)
        assert len(batch.labels) == 16
        pieces = batch.divided(2) if parts == 2 else [batch]
        for piece in pieces:
            (stage.loss(model, piece)["con"] / parts).backward()  # type: ignore[no-untyped-call]
        gradients.append([weight.grad.clone() for weight in model.backbone.parameters() if weight.grad is not None])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*gradients, strict=True))
