"""Bi-tuning's formulas against the same written out pair by pair; its queue and its key encoder step by step."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backbones import Model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Batch, Stage, soft_targets
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.answers import predict
from bench.training.fit import fit, set_modes
from bench.training.trial import run_trial
from tests.scenes import as_plain

bi: Any = importlib.import_module("bench.methods.bi_tuning")

DOUBLE = torch.float64
CLASSES, KEYS, DIM = 4, 3, 5
LABELS = torch.tensor([0, 1, 0, 3, 1, 0])
"""Class 3 has one image, class 2 none."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def unit(*shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return F.normalize(torch.randn(shape, dtype=dtype), dim=-1)


# ---- the contrasts


def contrast_by_hand(score_own: Callable[[int], Tensor], score: Callable[[int, int, int], Tensor]) -> Tensor:
    """The mean over the batch of cross-entropy against uniform targets, key by key; scores divided by τ."""
    losses = []
    for i, label in enumerate(LABELS.tolist()):
        total = torch.exp(score_own(i))
        for c in range(CLASSES):
            for k in range(KEYS):
                total = total + torch.exp(score(i, c, k))
        loss = -torch.log(torch.exp(score_own(i)) / total)
        for k in range(KEYS):
            loss = loss - torch.log(torch.exp(score(i, label, k)) / total)
        losses.append(loss / (KEYS + 1))
    return torch.stack(losses).mean()


def dot(one: Tensor, other: Tensor) -> Tensor:
    return torch.stack([one[d] * other[d] for d in range(len(one))]).sum()


def check_against(found: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    one, other = torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs)
    for mine, by_hand in zip(one, other, strict=True):
        torch.testing.assert_close(mine, by_hand, rtol=1e-6, atol=1e-12)


def test_uniform_contrast_key_by_key() -> None:
    own = torch.randn(len(LABELS), dtype=DOUBLE, requires_grad=True)
    others = torch.randn(len(LABELS), CLASSES, KEYS, dtype=DOUBLE, requires_grad=True)
    expected = contrast_by_hand(lambda i: own[i], lambda i, c, k: others[i, c, k])
    check_against(bi.uniform_contrast(own, others, LABELS), expected, own, others)
    assert torch.autograd.gradcheck(lambda *scores: bi.uniform_contrast(*scores, LABELS), (own, others), rtol=1e-6)


def test_uniform_contrast_is_the_divergence_of_the_released_code_plus_a_constant() -> None:
    own, others = torch.randn(len(LABELS), dtype=DOUBLE), torch.randn(len(LABELS), CLASSES, KEYS, dtype=DOUBLE)
    targets = torch.zeros(len(LABELS), 1 + CLASSES * KEYS, dtype=DOUBLE)
    targets[:, 0] = 1 / (KEYS + 1)
    for i, label in enumerate(LABELS.tolist()):
        targets[i, 1 + label * KEYS : 1 + (label + 1) * KEYS] = 1 / (KEYS + 1)
    log_share = torch.cat([own[:, None], others.flatten(1)], 1).log_softmax(1)
    divergence = F.kl_div(log_share, targets, reduction="batchmean").item()
    assert bi.uniform_contrast(own, others, LABELS).item() == pytest.approx(divergence + math.log(KEYS + 1), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_classifier_contrast_key_by_key(temperature: float) -> None:
    queries, weights = unit(len(LABELS), DIM).requires_grad_(), unit(CLASSES, DIM).requires_grad_()
    keys = unit(CLASSES, KEYS, DIM)
    expected = contrast_by_hand(
        lambda i: dot(weights[LABELS[i]], queries[i]) / temperature,
        lambda i, c, k: dot(weights[LABELS[i]], keys[c, k]) / temperature,
    )
    check_against(bi.classifier_contrast(queries, keys, weights, LABELS, temperature), expected, queries, weights)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_categorical_contrast_key_by_key(temperature: float) -> None:
    queries, own, keys = unit(len(LABELS), DIM).requires_grad_(), unit(len(LABELS), DIM), unit(CLASSES, KEYS, DIM)
    expected = contrast_by_hand(
        lambda i: dot(queries[i], own[i]) / temperature, lambda i, c, k: dot(queries[i], keys[c, k]) / temperature
    )
    check_against(bi.categorical_contrast(queries, own, keys, LABELS, temperature), expected, queries)


def test_gradients_of_the_contrasts() -> None:
    queries, weights = unit(len(LABELS), DIM).requires_grad_(), unit(CLASSES, DIM).requires_grad_()
    own, keys = unit(len(LABELS), DIM), unit(CLASSES, KEYS, DIM)
    assert torch.autograd.gradcheck(lambda q, w: bi.classifier_contrast(q, keys, w, LABELS, 0.3), (queries, weights))
    assert torch.autograd.gradcheck(lambda q: bi.categorical_contrast(q, own, keys, LABELS, 0.3), (queries,))


@pytest.mark.parametrize("count", [1, 6])
def test_where_all_is_alike_the_contrasts_are_at_the_uniform_share(count: int) -> None:
    rows = F.normalize(torch.ones(count, DIM, dtype=DOUBLE), dim=1)
    keys = rows[0].expand(CLASSES, KEYS, DIM)
    weights, labels, chance = rows[0].expand(CLASSES, DIM), LABELS[:count], math.log(1 + CLASSES * KEYS)
    assert bi.classifier_contrast(rows, keys, weights, labels, 0.07).item() == pytest.approx(chance, rel=1e-9)
    assert bi.categorical_contrast(rows, rows, keys, labels, 0.07).item() == pytest.approx(chance, rel=1e-9)


def test_contrasts_are_computed_in_float32_under_autocast() -> None:
    queries, own, keys, weights = (
        part.bfloat16() for part in (unit(6, DIM), unit(6, DIM), unit(CLASSES, KEYS, DIM), unit(CLASSES, DIM))
    )
    with torch.autocast("cpu", torch.bfloat16):
        halves = (
            bi.classifier_contrast(queries, keys, weights, LABELS, 0.07),
            bi.categorical_contrast(queries, own, keys, LABELS, 0.07),
        )
    exact = (
        bi.classifier_contrast(queries.double(), keys.double(), weights.double(), LABELS, 0.07),
        bi.categorical_contrast(queries.double(), own.double(), keys.double(), LABELS, 0.07),
    )
    for half, whole in zip(halves, exact, strict=True):
        assert half.dtype == torch.float32
        assert half.item() == pytest.approx(whole.item(), rel=1e-5)


def test_contrasts_refuse_other_shapes() -> None:
    q, keys, w = torch.zeros(6, DIM), torch.zeros(CLASSES, KEYS, DIM), torch.zeros(CLASSES, DIM)
    with pytest.raises(ValueError, match="must be"):
        bi.uniform_contrast(torch.zeros(5), torch.zeros(6, CLASSES, KEYS), LABELS)
    with pytest.raises(ValueError, match="must be"):
        bi.uniform_contrast(torch.zeros(6), torch.zeros(6, CLASSES * KEYS), LABELS)
    with pytest.raises(ValueError, match="must be"):
        bi.classifier_contrast(q[:, :2], keys, w, LABELS, 0.07)
    with pytest.raises(ValueError, match="must be"):
        bi.classifier_contrast(q, keys, w[:2], LABELS, 0.07)
    with pytest.raises(ValueError, match="one shape"):
        bi.categorical_contrast(q, q[:, :2], keys, LABELS, 0.07)


def test_augmented_vectors_carry_the_bias_in_their_cosine() -> None:
    head, features = nn.Linear(DIM, CLASSES).double(), torch.randn(6, DIM, dtype=DOUBLE)
    cosines = bi.augmented(features) @ bi.augmented(head.weight, head.bias).T
    lengths = (features.square().sum(1) + 1).sqrt()[:, None] * (head.weight.square().sum(1) + head.bias**2).sqrt()
    torch.testing.assert_close(cosines * lengths, head(features), rtol=1e-9, atol=1e-12)
    assert bi.augmented(features.bfloat16()).dtype == torch.float32
    assert torch.autograd.gradcheck(bi.augmented, (head.weight, head.bias))


# ---- the queue


class Lists:
    """The queue as plain lists: the oldest first."""

    def __init__(self, queue: Tensor) -> None:
        self.rows = [[key.tolist() for key in keys] for keys in queue]

    def add(self, keys: Tensor, labels: Tensor) -> None:
        for key, label in zip(keys.tolist(), labels.tolist(), strict=True):
            self.rows[label] = [*self.rows[label][1:], key]


def in_order(queue: Tensor, position: Tensor) -> list[list[list[float]]]:
    """The keys of each class, the oldest first."""
    return [torch.roll(keys, -int(at), 0).tolist() for keys, at in zip(queue, position, strict=True)]


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("batch", [1, 5, 40])
def test_queue_holds_the_last_keys_of_each_class_in_order(size: int, batch: int) -> None:
    """Also where a batch has more of a class than the queue is long."""
    queue, position = torch.randn(CLASSES, size, 2), torch.zeros(CLASSES, dtype=torch.long)
    lists = Lists(queue)
    for _ in range(12):
        keys, labels = torch.randn(batch, 2), torch.randint(0, CLASSES, (batch,))
        given, copied = queue, queue.clone()
        queue, position = bi.enqueued(queue, position, keys, labels)
        assert torch.equal(given, copied)
        lists.add(keys, labels)
        assert in_order(queue, position) == lists.rows
        assert position.min() >= 0
        assert position.max() < size


class Places(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the indices at which anything is written."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.written: list[list[int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "index_put" in str(func):
            self.written += torch.stack(list(args[1]), 1).tolist()
        return func(*args, **(kwargs or {}))


def test_no_slot_is_written_twice() -> None:
    """On a GPU it would be left to chance which of two keys stays."""
    with Places() as places:
        bi.enqueued(
            torch.randn(2, 3, 2), torch.tensor([0, 2]), torch.randn(9, 2), torch.tensor([0, 1, 0, 0, 0, 1] + [0] * 3)
        )
    assert sorted(places.written) == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 2]]


def test_queue_starts_with_random_unit_keys_and_is_made_of_buffers() -> None:
    queue = bi.Queue(CLASSES, 6, DIM, 2)
    assert {name: tuple(value.shape) for name, value in queue.named_buffers()} == {
        "features": (CLASSES, 6, DIM + 1),
        "projections": (CLASSES, 6, 2),
        "position": (CLASSES,),
    }
    assert not list(queue.parameters())
    for kept in (queue.features, queue.projections):
        torch.testing.assert_close(kept.norm(dim=2), torch.ones(CLASSES, 6))
    queue.add(unit(6, DIM + 1, dtype=torch.float32), unit(6, 2, dtype=torch.float32), LABELS)
    assert set(queue.state_dict()) == {"features", "projections", "position"}
    assert queue.position.tolist() == [3, 2, 0, 1]


# ---- the key encoder


def test_move_is_an_exact_moving_average_of_parameters() -> None:
    average, module = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    start, target = average.weight.tolist(), module.weight.tolist()
    bi.move(average, module, 0.9)
    for row in range(2):
        for column in range(3):
            by_hand = 0.9 * start[row][column] + (1 - 0.9) * target[row][column]
            assert average.weight[row, column].item() == pytest.approx(by_hand, rel=1e-14)
    assert module.weight.tolist() == target
    with pytest.raises(ValueError, match="zip"):
        bi.move(nn.Linear(3, 2, bias=False), module, 0.9)


def test_move_leaves_buffers_alone() -> None:
    average, module = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    module.running_mean = torch.ones(2)
    bi.move(average, module, 0.0)
    assert isinstance(average.running_mean, Tensor)
    assert average.running_mean.tolist() == [0, 0]


# ---- the stage


class Normed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8))


def small_model() -> Model:
    return Model(Normed(), Family(), 8, CLASSES, [0.5], [0.25])


def noise(batch_size: int = 8) -> TrainingImages:
    state = np.random.RandomState(0)
    split = Split(ArrayImages(state.randint(0, 256, (40, 4, 4, 1)).astype(np.uint8)), state.randint(0, CLASSES, 40))
    protocol = Protocol(batch_size=batch_size, augmentation="shift", label_smoothing=0.1)
    return TrainingImages(split, np.arange(40), CLASSES, protocol, 4, seed=5, device=torch.device("cpu"))


def staged(model: Model, data: TrainingImages, steps: int = 6, **hypers: Any) -> tuple[Stage, Any, Any, Any, Any]:
    """The stage, the projector, the key model, the key projector and the queue."""
    recipe = Recipe(steps=steps, lr=1e-2).resolved(len(data), data.protocol.batch_size)
    (stage,) = bi.BiTuning(**{"keys": KEYS, **hypers}).stages(model, recipe, data)
    set_modes(stage)
    (projector,) = (item for item in stage.train if item is not model)
    return (stage, projector, *stage.state)


def test_stage_lists_what_is_trained_and_what_is_kept() -> None:
    model = small_model()
    stage, projector, key_model, key_projector, queue = staged(model, noise(), projection=3)
    assert stage.views == 2
    assert isinstance(projector, nn.Linear)
    assert (projector.in_features, projector.out_features) == (8, 3)
    assert queue.features.shape == (CLASSES, KEYS, 9)
    assert queue.projections.shape == (CLASSES, KEYS, 3)
    for own, key in ((model, key_model), (projector, key_projector)):
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), key.parameters(), strict=True))
        assert not any(a is b for a, b in zip(own.parameters(), key.parameters(), strict=True))
        assert not any(weight.requires_grad for weight in key.parameters())


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_terms_follow_the_formulas_step_after_step(variant: str) -> None:
    """Key encoder, keys, queue and losses of several steps, each made again from what was there before the step."""
    model, data = small_model(), noise()
    stage, projector, key_model, key_projector, queue = staged(
        model, data, variant=variant, momentum=0.9, trade_off=0.5, temperature=0.2
    )
    optimizer = torch.optim.SGD([*model.parameters(), *projector.parameters()], lr=0.1)
    features_list, projections_list = Lists(queue.features), Lists(queue.projections)
    for step in range(5):
        batch = data.batch(step, 2)
        query, head = copy.deepcopy(model), copy.deepcopy(projector)
        key, key_head = copy.deepcopy(key_model), copy.deepcopy(key_projector)
        before, before_projections = queue.features.clone(), queue.projections.clone()
        terms = stage.loss(model, batch)
        with torch.no_grad():
            for averages, moving in ((key, query), (key_head, head)):
                for kept, weight in zip(averages.parameters(), moving.parameters(), strict=True):
                    kept.copy_(0.9 * kept + (1 - 0.9) * weight)
            for mine, by_hand in ((key_model, key), (key_projector, key_head)):
                for one, other in zip(mine.parameters(), by_hand.parameters(), strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
            seen = key(batch.images[1]).features
            keys, projected = bi.augmented(seen), F.normalize(key_head(seen), dim=1)
            output = query(batch.images[0])
            asked = F.normalize(head(output.features), dim=1)
            queued = queue.features if variant == "released" else before
            weights = bi.augmented(query.head.weight, query.head.bias)
            cce = bi.classifier_contrast(bi.augmented(output.features), queued, weights, batch.labels, 0.2)
            ccl = bi.categorical_contrast(asked, projected, before_projections, batch.labels, 0.2)
        assert terms["ce"].item() == pytest.approx(batch.cross_entropy(output).item(), rel=1e-5)
        assert terms["cce"].item() == pytest.approx(0.5 * cce.item(), rel=1e-5)
        assert terms["ccl"].item() == pytest.approx(0.5 * ccl.item(), rel=1e-5)
        features_list.add(keys, batch.labels)
        projections_list.add(projected, batch.labels)
        for kept, lists in ((queue.features, features_list), (queue.projections, projections_list)):
            np.testing.assert_allclose(in_order(kept, queue.position), lists.rows, rtol=1e-5, atol=1e-6)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert not torch.equal(next(key_model.parameters()), next(model.parameters()))


@pytest.mark.parametrize(("variant", "reached"), [("paper", True), ("released", False)])
def test_gradient_of_the_classifier_contrast_reaches_the_head_in_the_paper_alone(variant: str, reached: bool) -> None:
    model, data = small_model(), noise()
    stage, projector, key_model, key_projector, _ = staged(model, data, variant=variant)
    terms = stage.loss(model, data.batch(0, 2))
    (gradient,) = torch.autograd.grad(terms["cce"], [model.head.weight], retain_graph=True, allow_unused=True)
    assert (gradient is not None) == reached
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in (*model.parameters(), *projector.parameters()))
    assert all(weight.grad is None for weight in (*key_model.parameters(), *key_projector.parameters()))


def test_key_encoder_stays_in_training_mode_and_keeps_its_own_statistics() -> None:
    """Through points of the curve too, at which the model is put in eval mode."""
    model, data = small_model(), noise()
    stage, _, key_model, _, _ = staged(model, data)
    start = key_model.backbone[2].running_mean.clone()
    modes = []

    def at_stop(_: object) -> None:
        predict(model, Split(data.split.images, data.split.labels), data)
        modes.append(key_model.training)

    fit(stage, data, start=0, stops=lambda step: step % 2 == 0, at_stop=at_stop)
    assert modes == [True, True, True]
    assert all(module.training for module in key_model.modules())
    assert not torch.equal(key_model.backbone[2].running_mean, start)
    assert not torch.equal(key_model.backbone[2].running_mean, model.backbone[2].running_mean)  # type: ignore[index]
    assert not any(weight.requires_grad for weight in key_model.parameters())


CASES: dict[str, Callable[[], Batch]] = {
    "one image": lambda: batch_of(torch.tensor([2])),
    "classes of one image": lambda: batch_of(torch.tensor([0, 1, 2])),
    "more of a class than keys": lambda: batch_of(torch.tensor([1, 1, 1, 1, 1])),
    "all alike": lambda: Batch(torch.full((2, 6, 1, 4, 4), 0.7), LABELS, soft_targets(LABELS, CLASSES, 0.0), 0.0),
}


def batch_of(labels: Tensor) -> Batch:
    return Batch(torch.rand(2, len(labels), 1, 4, 4), labels, soft_targets(labels, CLASSES, 0.1), 0.0)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_finite(case: str, half: bool, variant: str) -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    model = Model(backbone, Family(), 8, CLASSES, [0.5], [0.25])
    stage, _, _, _, queue = staged(model, noise(), variant=variant)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        terms = stage.loss(model, CASES[case]())
    assert all(term.dtype == torch.float32 and math.isfinite(term.item()) for term in terms.values())
    assert queue.features.dtype == queue.projections.dtype == torch.float32
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_the_same_seed_gives_the_same_weights() -> None:
    ends = []
    for _ in range(2):
        torch.manual_seed(7)
        model, data = small_model(), noise()
        stage, *_ = staged(model, data)
        fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
        ends.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("settings", ["bi_tuning", "bi_tuning(variant=released)"])
@pytest.mark.slow
def test_it_learns_the_digits(settings: str) -> None:
    overrides = Overrides(settings, rates="15", seeds="1", settings=("steps=40", "warmup=4", "evaluations=2"))
    registry = Registry()
    (spec,) = read_plan("digits", registry, overrides).unique.values()
    curve = as_plain(run_trial(spec, registry, torch.device("cpu")).record)["curve"]
    assert curve[-1]["test"]["top1"] > 40
