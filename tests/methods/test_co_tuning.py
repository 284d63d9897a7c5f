"""Co-Tuning: the relation of source and target classes by both ways, the loss, and what a run with it does."""

from __future__ import annotations

import copy
import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages, hold_out
from bench.method import Method, Stage
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit
from bench.training.trial import run_trial
from tests.scenes import as_plain, left_out

co: Any = importlib.import_module("bench.methods.co_tuning")

DOUBLE = torch.float64
CLASSES, SOURCE = 4, 5
NOTHING = np.arange(0)
LABELS = torch.tensor([0, 1, 0, 3, 1, 0])  # class 3 has one image, class 2 none


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def shares(*shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return (2 * torch.randn(shape, dtype=dtype)).softmax(-1)


# ---- the direct relation


def test_direct_relation_is_the_mean_of_each_class() -> None:
    probabilities = shares(len(LABELS), SOURCE)
    found = co.direct_relation([(probabilities[:4], LABELS[:4]), (probabilities[4:], LABELS[4:])], CLASSES)
    assert found.shape == (CLASSES, SOURCE)
    for label in range(CLASSES):
        rows = [row for row, of in zip(probabilities.tolist(), LABELS.tolist(), strict=True) if of == label]
        rows = rows or probabilities.tolist()
        for s in range(SOURCE):
            assert found[label, s].item() == pytest.approx(sum(row[s] for row in rows) / len(rows), rel=1e-12)
    assert co.direct_relation([(probabilities.bfloat16(), LABELS)], CLASSES).dtype == torch.float32


@pytest.mark.parametrize("batches", [[], [(torch.zeros(0, SOURCE), torch.zeros(0, dtype=torch.long))]])
def test_direct_relation_needs_an_image(batches: list[tuple[Tensor, Tensor]]) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        co.direct_relation(batches, CLASSES)


# ---- the reverse relation


def test_bayes_entry_by_entry() -> None:
    weights, marginal = np.random.RandomState(0).randn(CLASSES, SOURCE), shares(SOURCE).numpy()
    found = co.bayes(weights, marginal)
    joint = np.zeros((CLASSES, SOURCE))
    for s in range(SOURCE):
        total = sum(math.exp(weights[t, s]) for t in range(CLASSES))
        for t in range(CLASSES):
            joint[t, s] = math.exp(weights[t, s]) / total * marginal[s]
    for t in range(CLASSES):
        for s in range(SOURCE):
            assert found[t, s] == pytest.approx(joint[t, s] / sum(joint[t].tolist()), rel=1e-10)


def test_bayes_where_no_source_class_points_at_a_target_class_or_one_is_never_predicted() -> None:
    weights = np.array([[1e4, 1e4 - 2], [0.0, 0.0]])
    found = co.bayes(weights, np.array([0.5, 0.5]))
    np.testing.assert_allclose(found.sum(1), 1)
    assert found[1, 1] / found[1, 0] == pytest.approx(math.exp(2))
    found = co.bayes(np.random.RandomState(0).randn(3, 3), np.array([0.25, 0.0, 0.75]))
    np.testing.assert_allclose(found.sum(1), 1)
    assert found[:, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("true", [0.03, 0.4, 1.0, 7.0])
def test_calibrating_scale_finds_the_least_cross_entropy(true: float) -> None:
    """Labels drawn from scaled logits; compared with a grid, and the slope there is none."""
    logits = torch.randn(3000, CLASSES, dtype=DOUBLE) / true
    labels = torch.multinomial((logits * true).softmax(1), 1)[:, 0]
    found = co.calibrating_scale(logits.numpy(), labels.numpy())
    least = min(F.cross_entropy(logits * scale, labels).item() for scale in np.geomspace(0.01, 100, 400))
    assert F.cross_entropy(logits * found, labels).item() <= least + 1e-12
    scale = torch.tensor(found, dtype=DOUBLE, requires_grad=True)
    F.cross_entropy(logits * scale, labels).backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert abs(scale.grad.item()) * found < 1e-4


def test_calibrating_scale_is_bounded_on_both_sides() -> None:
    logits, right = np.eye(3), np.arange(3)
    assert 1 < co.calibrating_scale(logits, right) <= 100
    assert co.calibrating_scale(logits, (right + 1) % 3) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_target_classifier_is_at_the_least_of_the_penalised_cross_entropy(classes: int) -> None:
    """With nothing held out, of strength 1: the gradient, image by image, vanishes."""
    x, y = shares(40, SOURCE).numpy(), np.arange(40) % classes
    weights = co.target_classifier(x, y, x[:0], y[:0])
    assert weights.shape == (classes, SOURCE)
    gradient = weights.copy()
    for row, label in zip(x, y, strict=True):
        odds = np.exp(weights @ row)
        gradient += np.outer(odds / odds.sum() - np.eye(classes)[label], row)
    free = gradient if classes > 2 else gradient[1:]  # of two classes the first one's weights are fixed at 0
    assert np.abs(free).max() < 5e-3  # scikit-learn stops at 1e-4 of an image
    assert np.abs(weights).max() > 0.1


def test_target_classifier_is_the_first_of_the_best_on_what_is_held_out() -> None:
    state = np.random.RandomState(3)
    y = state.randint(0, 3, 90)
    x = np.exp(state.randn(90, 30) + 0.8 * state.randn(3, 30)[y])
    x /= x.sum(1, keepdims=True)
    fits = [LogisticRegression(C=c, fit_intercept=False, max_iter=5000).fit(x[:45], y[:45]) for c in co.STRENGTHS]
    right = [int((fitted.predict(x[45:]) == y[45:]).sum()) for fitted in fits]
    best = right.index(max(right))
    assert 0 < best < len(right) - 1
    found = co.target_classifier(x[:45], y[:45], x[45:], y[45:])
    np.testing.assert_allclose(found, fits[best].coef_, rtol=1e-6)


def test_where_the_source_is_certain_both_ways_agree() -> None:
    """With one-hot predictions the classifier can learn p(y_t | y_s) by counting, and Bayes' rule gives the means."""
    state = np.random.RandomState(0)
    counts = np.array([[40, 8, 4], [8, 60, 12], [4, 8, 80]])
    pairs = np.repeat(np.argwhere(counts), counts[counts > 0], axis=0)
    one_hot, labels = torch.eye(3, dtype=DOUBLE)[pairs[:, 1]], torch.from_numpy(pairs[:, 0])
    held_out = np.concatenate(
        [state.permutation(np.flatnonzero((pairs == pair).all(1)))[::4] for pair in np.ndindex(3, 3)]
    )
    reverse = co.reverse_relation(one_hot, labels, 3, np.sort(held_out))
    direct = co.direct_relation([(one_hot, labels)], 3)
    torch.testing.assert_close(reverse, direct, rtol=0, atol=0.01)
    torch.testing.assert_close(direct, torch.from_numpy(counts / counts.sum(1, keepdims=True)))


def test_reverse_relation_prefers_the_source_class_that_tells_the_target_class() -> None:
    """A source class that is often predicted for every target class says little of any; class means keep it."""
    target = torch.arange(60) % 3
    probabilities = torch.full((60, 4), 0.05, dtype=DOUBLE)
    probabilities[:, 3] = 0.6
    probabilities[torch.arange(60), target] = 0.3
    _, held_out = hold_out(target.numpy(), 0.25, 0)
    reverse = co.reverse_relation(probabilities, target, 3, held_out)
    direct = co.direct_relation([(probabilities, target)], 3)
    own = torch.arange(3)
    assert (reverse[own, own] / reverse[:, 3] > direct[own, own] / direct[:, 3]).all()
    assert (reverse.sum(1) - 1).abs().max() < 1e-12


CASES = {
    "one image": (torch.tensor([2]), NOTHING),
    "one class": (torch.tensor([1, 1, 1, 1]), np.array([0])),
    "two classes": (torch.tensor([0, 3, 0, 3, 3, 0]), np.array([0, 1])),
    "classes of one image": (torch.tensor([0, 1, 2, 3]), NOTHING),
    "held out what is not fitted": (torch.tensor([0, 1, 0, 1, 2]), np.array([4])),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, DOUBLE])
@pytest.mark.parametrize("case", CASES)
def test_reverse_relation_is_a_distribution_in_every_row(case: str, dtype: torch.dtype) -> None:
    labels, held_out = CASES[case]
    probabilities = shares(len(labels), SOURCE).to(dtype)
    found = co.reverse_relation(probabilities, labels, CLASSES, held_out)
    assert found.dtype == (DOUBLE if dtype == DOUBLE else torch.float32)
    assert found.shape == (CLASSES, SOURCE)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(CLASSES, dtype=found.dtype))
    alike = co.reverse_relation(probabilities[:1].expand_as(probabilities), labels, CLASSES, held_out)
    torch.testing.assert_close(alike, alike[:1].expand_as(alike))
    fitted = set(np.delete(labels.numpy(), held_out).tolist())
    mean = probabilities.to(found.dtype).mean(0)
    for label in range(CLASSES):
        if label not in fitted or len(fitted) == 1:
            torch.testing.assert_close(found[label], mean / mean.sum())


def test_reverse_relation_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="not held out"):
        co.reverse_relation(shares(2, SOURCE), torch.tensor([0, 1]), CLASSES, np.arange(2))
    co.check_fit(500_000, 1000, 200)
    with pytest.raises(ValueError, match=r"10000 target to 21000 source .* 44 GB .*variant=released needs 0\.8"):
        co.check_fit(10_000, 21_000, 10_000)
    with pytest.raises(ValueError, match="by 1000000 images"):
        co.check_fit(1_000_000, 21_000, 10)


# ---- the loss


def by_hand(logits: Tensor, translated: Tensor) -> Tensor:
    losses = []
    for row, targets in zip(logits, translated, strict=True):
        total = torch.stack([torch.exp(value) for value in row]).sum()
        losses.append(
            -torch.stack([t * torch.log(torch.exp(v) / total) for v, t in zip(row, targets, strict=True)]).sum()
        )
    return torch.stack(losses).sum() / len(losses)


@pytest.mark.parametrize("count", [1, 6])
def test_translated_cross_entropy_entry_by_entry(count: int) -> None:
    logits, translated = torch.randn(count, SOURCE, dtype=DOUBLE, requires_grad=True), shares(count, SOURCE)
    found, expected = co.translated_cross_entropy(logits, translated), by_hand(logits, translated)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    one, other = torch.autograd.grad(found, logits)[0], torch.autograd.grad(expected, logits)[0]
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)
    assert torch.autograd.gradcheck(lambda given: co.translated_cross_entropy(given, translated), (logits,))
    assert found.item() == pytest.approx(F.cross_entropy(logits, translated).item(), rel=1e-10)


def test_translated_cross_entropy_is_least_at_the_translated_labels() -> None:
    translated = shares(6, SOURCE)
    entropy = -(translated * translated.log()).sum(1).mean().item()
    assert co.translated_cross_entropy(translated.log(), translated).item() == pytest.approx(entropy, rel=1e-10)
    assert co.translated_cross_entropy(torch.randn(6, SOURCE, dtype=DOUBLE), translated).item() > entropy
    with pytest.raises(ValueError, match="one shape"):
        co.translated_cross_entropy(torch.zeros(6, SOURCE + 1), translated)


def test_translated_cross_entropy_is_computed_in_float32_under_autocast() -> None:
    logits, translated = (20 * torch.randn(6, SOURCE)).bfloat16(), shares(6, SOURCE, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = co.translated_cross_entropy(logits, translated)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_hand(logits.double(), translated.double()).item(), rel=1e-5)


# ---- the stage


class Watched(ArrayImages):
    """Images that remember which of them were asked for."""

    def __init__(self, pixels: Any) -> None:
        super().__init__(pixels)
        self.seen: set[int] = set()

    def take(self, indices: Any) -> Any:
        self.seen |= set(indices.tolist())
        return super().take(indices)


def noise() -> TrainingImages:
    """Forty images of sixty, of four classes."""
    state = np.random.RandomState(0)
    images = Watched(state.randint(0, 256, (60, 4, 4, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, 60).astype(np.int64))
    protocol = Protocol(batch_size=8, augmentation="shift", label_smoothing=0.1)
    return TrainingImages(split, np.arange(10, 50), CLASSES, protocol, 4, seed=5, device=torch.device("cpu"))


def small_model(dropout: float = 0.0) -> Model:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.GELU(), nn.Dropout(dropout))
    model = Model(backbone, Family(), 8, CLASSES, [0.5], [0.25])
    model.source_head = nn.Linear(8, SOURCE)
    return model


def staged(model: Model, data: TrainingImages, steps: int = 6, **hypers: Any) -> Stage:
    (stage,) = co.CoTuning(**hypers).stages(model, Recipe(steps=steps, lr=1e-2, last=steps), data)
    assert isinstance(stage, Stage)
    return stage


def trained(stage: Stage, data: TrainingImages) -> None:
    fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)


@pytest.mark.parametrize("scale", [1.0, 0.884])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_relation_is_that_of_the_model_before_training_on_plain_sampled_images(variant: str, scale: float) -> None:
    """In eval mode, though the model may come in training mode; the model and torch's generator are left alone."""
    model, data = small_model(dropout=0.5).train(), noise()
    assert model.source_head is not None
    state, before = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    found = co.CoTuning(variant=variant, source_scale=scale).relation(model, data)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(data.split.images, Watched)
    assert data.split.images.seen == set(range(10, 50))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    labels = torch.from_numpy(data.split.labels[data.indices])
    pixels = torch.stack([data.split.images.take(np.array([i]))[0] for i in data.indices]).float() / 255
    logits = model.source_head(model.eval()(pixels).features.detach()).detach()
    probabilities = (scale * logits).softmax(1)
    if variant == "released":
        expected = torch.stack([probabilities[labels == label].mean(0) for label in range(CLASSES)])
    else:
        _, held_out = hold_out(labels.numpy(), 0.25, data.seed)
        assert len(held_out) > 5
        expected = co.reverse_relation(probabilities, labels, CLASSES, held_out)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_held_out_images_depend_on_the_seed_of_the_run() -> None:
    model, data = small_model(), noise()
    relations = [co.CoTuning().relation(model, TrainingImages(**{**vars(data), "seed": seed})) for seed in (5, 5, 6)]
    assert torch.equal(relations[0], relations[1])
    assert not torch.equal(relations[0], relations[2])


def test_too_large_a_relation_is_refused_before_an_image_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise()
    monkeypatch.setattr(co, "LARGEST_FIT", 1000)
    with pytest.raises(ValueError, match="variant=released"):
        staged(small_model(), data)
    assert isinstance(data.split.images, Watched)
    assert not data.split.images.seen
    staged(small_model(), data, variant="released")


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_terms_are_the_two_cross_entropies(variant: str) -> None:
    model, data = small_model(), noise()
    relation = co.CoTuning(variant=variant).relation(model, data)
    stage, batch = staged(model, data, variant=variant, trade_off=0.7), data.batch(0)
    trained(stage, data)
    assert model.source_head is not None
    terms, output = stage.loss(model, batch), model(batch.images)
    translated = by_hand(model.source_head(output.features).double(), relation[batch.labels].double())
    assert list(terms) == ["ce", "co"]
    assert terms["ce"].item() == pytest.approx(batch.cross_entropy(output).item(), rel=1e-6)
    assert terms["co"].item() == pytest.approx(0.7 * translated.item(), rel=1e-5)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
def test_gradients_reach_backbone_and_both_heads(half: bool) -> None:
    model, data = small_model(), noise()
    stage = staged(model, data)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        terms = stage.loss(model, data.batch(0))
    assert all(term.dtype == torch.float32 and math.isfinite(term.item()) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_source_head_is_needed_trained_and_learns_the_translated_labels() -> None:
    model, data = small_model(), noise()
    stage, batch = staged(model, data, steps=60), data.batch(0)
    before, start = copy.deepcopy(model.state_dict()), stage.loss(model, batch)["co"].item()
    trained(stage, data)
    assert not any(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert stage.loss(model, batch)["co"].item() < start
    model.source_head = None
    with pytest.raises(ValueError, match="pre-trained with"):
        staged(model, data)


def test_switched_off_it_is_plain_fine_tuning_bit_for_bit() -> None:
    ends = []
    for method in (Method(), co.CoTuning(trade_off=0.0)):
        torch.manual_seed(7)
        model, data = small_model(dropout=0.2), noise()
        (stage,) = method.stages(model, Recipe(steps=12, lr=1e-2, last=12), data)
        trained(stage, data)
        ends.append({**model.backbone.state_dict(), **model.head.state_dict(prefix="head.")})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


# ---- plans and runs


@pytest.mark.parametrize("backbone", ["micro_vit@none", "timm:vit_small_patch16_224.dino"])
def test_a_backbone_without_a_source_head_is_left_out_with_the_reason(backbone: str) -> None:
    plan = read_plan("digits", Registry(), Overrides("ce,co_tuning", backbones=f"micro_vit,{backbone}"))
    reasons = {(cell.axes["method"], cell.axes["backbone"]): cell.reason for cell in left_out(plan)}
    assert list(reasons) == [("co_tuning", backbone)]
    assert reasons["co_tuning", backbone] == f"co_tuning needs source_head, which {backbone} lacks"
    assert {spec.backbone.name for spec in plan.unique.values() if spec.method.name == "co_tuning"} == {"micro_vit"}


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["co_tuning", "co_tuning(variant=released)"])
def test_it_learns_the_digits(settings: str) -> None:
    overrides = Overrides(settings, rates="15", seeds="1", settings=("steps=40", "warmup=4", "evaluations=2"))
    registry = Registry()
    (spec,) = read_plan("digits", registry, overrides).unique.values()
    curve = as_plain(run_trial(spec, registry, torch.device("cpu")).record)["curve"]
    assert curve[-1]["test"]["top1"] > 40
