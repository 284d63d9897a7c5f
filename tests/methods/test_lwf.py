"""LwF: the distillation entry by entry, and what is kept, trained and left alone."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Method, Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit
from bench.training.trial import run_trial
from tests.scenes import as_plain, left_out

lwf: Any = importlib.import_module("bench.methods.lwf")

DOUBLE = torch.float64
CLASSES, SOURCE = 4, 5


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# ---- the distillation


def softened(row: Tensor, temperature: float) -> list[Tensor]:
    total = torch.stack([torch.exp(value / temperature) for value in row]).sum()
    return [torch.exp(value / temperature) / total for value in row]


def by_hand(logits: Tensor, source: Tensor, temperature: float) -> Tensor:
    losses = []
    for row, target in zip(logits, source, strict=True):
        pairs = zip(softened(row, temperature), softened(target, temperature), strict=True)
        losses.append(torch.stack([q * torch.log(q / p) for p, q in pairs]).sum())
    return torch.stack(losses).sum() / len(losses)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 6])
def test_distillation_entry_by_entry(count: int, temperature: float) -> None:
    logits = torch.randn(count, SOURCE, dtype=DOUBLE, requires_grad=True)
    source = 3 * torch.randn(count, SOURCE, dtype=DOUBLE)
    found, expected = lwf.distillation(logits, source, temperature), by_hand(logits, source, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    (one,), (other,) = torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)
    assert torch.autograd.gradcheck(lambda given: lwf.distillation(given, source, temperature), (logits,))


def test_distillation_is_the_papers_cross_entropy_less_a_constant() -> None:
    """Of recorded probabilities, sharpened by the power 1/T and normalised; value and gradient."""
    logits = torch.randn(6, SOURCE, dtype=DOUBLE, requires_grad=True)
    source, temperature = torch.randn(6, SOURCE, dtype=DOUBLE), 2.0
    recorded = source.softmax(1) ** (1 / temperature)
    q = recorded / recorded.sum(1, keepdim=True)
    p = logits.softmax(1) ** (1 / temperature)
    p = p / p.sum(1, keepdim=True)
    papers = -(q * p.log()).sum(1).mean()
    entropy = -(q * q.log()).sum(1).mean()
    found = lwf.distillation(logits, source, temperature)
    torch.testing.assert_close(found, papers - entropy, rtol=1e-9, atol=0)
    (one,), (other,) = torch.autograd.grad(found, logits), torch.autograd.grad(papers, logits)
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(one, (p - q).detach() / (temperature * len(q)), rtol=1e-9, atol=1e-15)


def test_distillation_is_nothing_where_both_agree() -> None:
    logits = torch.randn(6, SOURCE, dtype=DOUBLE, requires_grad=True)
    found = lwf.distillation(logits, logits.detach().clone(), 3.0)
    (gradient,) = torch.autograd.grad(found, logits)
    assert found.item() == 0
    assert gradient.abs().max() < 1e-16
    assert lwf.distillation(logits, logits + 5, 3.0).item() == pytest.approx(0, abs=1e-15)
    assert lwf.distillation(logits, logits.roll(1, 1), 3.0).item() > 0


def test_distillation_is_computed_in_float32_under_autocast() -> None:
    logits, source = (10 * torch.randn(6, SOURCE)).bfloat16(), (10 * torch.randn(6, SOURCE)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = lwf.distillation(logits, source, 3.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_hand(logits.double(), source.double(), 3.0).item(), rel=1e-5)


def test_distillation_of_certain_predictions_is_finite() -> None:
    logits = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    found = lwf.distillation(logits, logits.detach().flip(1), 0.5)
    (gradient,) = torch.autograd.grad(found, logits)
    assert found.item() == pytest.approx(800)
    assert gradient.isfinite().all()


def test_distillation_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match="one shape"):
        lwf.distillation(torch.zeros(6, SOURCE), torch.zeros(1, SOURCE), 3.0)


# ---- the stages


def noise() -> TrainingImages:
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (40, 4, 4, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, 40).astype(np.int64))
    protocol = Protocol(batch_size=8, augmentation="shift", label_smoothing=0.1)
    return TrainingImages(split, np.arange(40), CLASSES, protocol, 4, seed=5, device=torch.device("cpu"))


def small_model(dropout: float = 0.0) -> Model:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(dropout))
    model = Model(backbone, Family(), 8, CLASSES, [0.5], [0.25])
    model.source_head = nn.Linear(8, SOURCE)
    return model


def without_norm() -> Model:
    """A linear backbone whose source predicts with confidence, so that there is something to forget."""
    first, head = nn.Linear(16, 8), nn.Linear(8, SOURCE)
    nn.init.normal_(head.weight)
    model = Model(nn.Sequential(nn.Flatten(), first), Family(), 8, CLASSES, [0.5], [0.25])
    model.source_head = head
    return model


def a_recipe(steps: int, **changes: Any) -> Recipe:
    return Recipe(steps=steps, lr=1e-2, last=steps, **changes)


def trained(method: Method, model: Model, data: TrainingImages, recipe: Recipe) -> list[Stage]:
    """The stages, after each has been trained in its turn."""
    done, stages = 0, []
    for stage in method.stages(model, recipe, data):
        fit(stage, data, start=done, stops=lambda _: False, at_stop=lambda _: None)
        done += stage.recipe.last - stage.recipe.first
        stages.append(stage)
    assert done == recipe.steps
    return stages


def moved(model: Model, before: Mapping[str, Tensor]) -> set[str]:
    """The parts of a model that are not bitwise what they were."""
    return {name.partition(".")[0] for name, value in model.named_parameters() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
def test_terms_compare_with_the_model_before_training_on_the_same_images(half: bool) -> None:
    model, data = small_model(), noise()
    start = copy.deepcopy(model).eval()
    (stage,) = trained(lwf.LwF(weight=0.5, temperature=2.0), model, data, a_recipe(12))
    batch = data.batch(3)
    model.eval()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        terms, output, then = stage.loss(model, batch), model(batch.images), start(batch.images)
        assert model.source_head is not None
        assert start.source_head is not None
        now, source = model.source_head(output.features), start.source_head(then.features)
    kept = by_hand(now.double(), source.double(), 2.0).item()
    assert list(terms) == ["ce", "lwf"]
    assert all(term.dtype == torch.float32 for term in terms.values())
    assert kept > 1e-4
    assert terms["lwf"].item() == pytest.approx(0.5 * kept, rel=1e-4)
    assert terms["ce"].item() == pytest.approx(batch.cross_entropy(output).item(), rel=1e-6)


def test_there_is_nothing_to_keep_before_the_first_step() -> None:
    model, data = small_model().eval(), noise()
    (stage,) = lwf.LwF().stages(model, a_recipe(6), data)
    assert stage.loss(model, data.batch(0))["lwf"].item() == 0


@pytest.mark.parametrize(
    ("variant", "parts"), [("paper", {"backbone", "head", "source_head"}), ("released", {"backbone", "head"})]
)
def test_source_head_moves_in_the_paper_alone(variant: str, parts: set[str]) -> None:
    model, data = small_model(), noise()
    before = copy.deepcopy(model.state_dict())
    trained(lwf.LwF(variant=variant), model, data, a_recipe(6))
    assert moved(model, before) == parts


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_gradient_of_the_distillation_reaches_the_backbone_and_not_the_new_head(variant: str) -> None:
    model, data = small_model().train(), noise()
    (stage,) = lwf.LwF(variant=variant).stages(model, a_recipe(6), data)
    model.requires_grad_(True)
    stage.loss(model, data.batch(0))["lwf"].backward()
    assert model.head.weight.grad is None
    gradients = [weight.grad for weight in model.backbone.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def test_warm_up_trains_the_new_head_alone_and_then_everything() -> None:
    model, data = small_model().eval(), noise()
    before = copy.deepcopy(model.state_dict())
    stages = lwf.LwF(warmup=0.5).stages(model, a_recipe(9, warmup=2), data)
    first = next(stages)
    assert (first.recipe.steps, first.recipe.first, first.recipe.last, first.recipe.warmup) == (4, 0, 4, 1)
    assert list(first.loss(model, data.batch(0))) == ["ce"]
    fit(first, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
    assert moved(model, before) == {"head"}
    second = next(stages)
    assert (second.recipe.steps, second.recipe.first, second.recipe.last, second.recipe.warmup) == (5, 0, 5, 1)
    assert second.loss(model.eval(), data.batch(4))["lwf"].item() == 0
    fit(second, data, start=4, stops=lambda _: False, at_stop=lambda _: None)
    assert moved(model, before) == {"backbone", "head", "source_head"}
    assert next(stages, None) is None


def test_it_forgets_less_than_plain_fine_tuning() -> None:
    """Measured by the divergence of the source head's predictions on the training images."""
    start, data = without_norm(), noise()
    forgotten = []
    for method in (Method(), lwf.LwF(variant="released")):
        model = copy.deepcopy(start)
        trained(method, model, data, a_recipe(40))
        total = 0.0
        with torch.no_grad():
            for batch in data.plain():
                now, then = model.eval()(batch.images).features, start.eval()(batch.images).features
                assert model.source_head is not None
                p, q = model.source_head(now).log_softmax(1), model.source_head(then).softmax(1)
                total += F.kl_div(p, q, reduction="batchmean").item()
        forgotten.append(total)
    assert 0 < forgotten[1] < 0.2 * forgotten[0]


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_switched_off_it_is_plain_fine_tuning_bit_for_bit(variant: str) -> None:
    ends = []
    for method in (Method(), lwf.LwF(weight=0.0, variant=variant)):
        torch.manual_seed(7)
        model, data = small_model(dropout=0.2), noise()
        trained(method, model, data, a_recipe(12))
        ends.append({**model.backbone.state_dict(), **model.head.state_dict(prefix="head.")})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_batch_of_one_image() -> None:
    model, data = without_norm(), noise()
    (stage,) = lwf.LwF().stages(model, a_recipe(6), data)
    nn.init.normal_(next(model.backbone.parameters()))
    whole = data.batch(0)
    one = type(whole)(whole.images[:1], whole.labels[:1], whole.targets[:1], 0.0)
    terms = stage.loss(model, one)
    assert all(math.isfinite(term.item()) and term.item() > 0 for term in terms.values())


def test_a_model_without_a_source_head_is_refused() -> None:
    model = small_model()
    model.source_head = None
    with pytest.raises(ValueError, match="pre-trained with"):
        next(lwf.LwF().stages(model, a_recipe(6), noise()))


# ---- plans and runs


@pytest.mark.parametrize("backbone", ["micro_vit@none", "timm:vit_small_patch16_224.dino"])
def test_a_backbone_without_a_source_head_is_left_out_with_the_reason(backbone: str) -> None:
    plan = read_plan("digits", Registry(), Overrides("ce,lwf", backbones=f"micro_vit,{backbone}"))
    reasons = {(cell.axes["method"], cell.axes["backbone"]): cell.reason for cell in left_out(plan)}
    assert list(reasons) == [("lwf", backbone)]
    assert reasons["lwf", backbone] == f"lwf needs source_head, which {backbone} lacks"
    assert {spec.backbone.name for spec in plan.unique.values() if spec.method.name == "lwf"} == {"micro_vit"}


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["lwf", "lwf(variant=released)", "lwf(warmup=0.25)"])
def test_it_learns_the_digits(settings: str) -> None:
    overrides = Overrides(settings, rates="15", seeds="1", settings=("steps=40", "warmup=4", "evaluations=2"))
    registry = Registry()
    (spec,) = read_plan("digits", registry, overrides).unique.values()
    curve = as_plain(run_trial(spec, registry, torch.device("cpu")).record)["curve"]
    assert curve[-1]["test"]["top1"] > 30
