"""Core-tuning's formulas against the same written out pair by pair, and what its stage makes of a batch."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.model import Family
from bench.data import ArrayImages, Split, TrainingImages
from bench.method import Batch, Stage, soft_targets
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import fit, set_modes
from bench.training.trial import run_trial
from tests.scenes import as_plain

core: Any = importlib.import_module("bench.methods.core_tuning")

DOUBLE = torch.float64
LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 3])
"""Classes 2 and 3 have one image each."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def unit(*shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return F.normalize(torch.randn(shape, dtype=dtype), dim=-1)


# ---- mining


def cosine(one: list[float], other: list[float]) -> float:
    return sum(map(float.__mul__, one, other)) / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "after a ReLU"])
def test_hardest_pairs_are_the_least_similar_positive_and_the_most_similar_negative(signed: bool) -> None:
    features = torch.randn(24, 5, dtype=DOUBLE)
    features = features if signed else features.abs()
    labels = torch.randint(0, 6, (24,))
    positive, negative, found = (answer.tolist() for answer in core.hardest_pairs(features, labels))
    rows, classes = features.tolist(), labels.tolist()
    assert sum(found) > 15
    for i in range(24):
        partners = [j for j in range(24) if j != i and classes[j] == classes[i]]
        strangers = [j for j in range(24) if classes[j] != classes[i]]
        assert found[i] == bool(partners)
        if partners:
            assert positive[i] == min(partners, key=lambda j: cosine(rows[i], rows[j]))
            assert negative[i] == max(strangers, key=lambda j: cosine(rows[i], rows[j]))


def test_length_of_features_does_not_matter_to_the_mining() -> None:
    features = torch.randn(len(LABELS), 5, dtype=DOUBLE)
    scaled = features * torch.rand(len(LABELS), 1, dtype=DOUBLE).add(0.1)
    for one, other in zip(core.hardest_pairs(features, LABELS), core.hardest_pairs(scaled, LABELS), strict=True):
        assert torch.equal(one, other)


def test_mining_finds_real_pairs_where_all_features_are_alike() -> None:
    positive, negative, found = core.hardest_pairs(torch.ones(len(LABELS), 4), LABELS)
    assert found.tolist() == [True, True, True, False, True, True, False]
    assert torch.equal(LABELS[positive][found], LABELS[found])
    assert (positive != torch.arange(len(LABELS)))[found].all()
    assert (LABELS[negative] != LABELS)[found].all()


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [4, 4, 4]], ids=["one image", "no positive pair", "one class"])
def test_mining_finds_nothing_where_there_is_nothing(labels: list[int]) -> None:
    positive, negative, found = core.hardest_pairs(torch.randn(len(labels), 4), torch.tensor(labels))
    assert not found.any()
    assert max(*positive.tolist(), *negative.tolist()) < len(labels)


@pytest.mark.parametrize("farther", [1, 2])
def test_mining_is_done_in_float32_under_autocast(farther: int) -> None:
    """Similarities to the first row that bf16 cannot tell apart."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.01], [1.0, 0.01], [0.0, 1.0]])
    features[farther, 1] = 0.02
    with torch.autocast("cpu", torch.bfloat16):
        positive, _, _ = core.hardest_pairs(features, torch.tensor([0, 0, 0, 1]))
    assert positive[0] == farther


def test_random_negatives_are_of_another_class_and_all_as_likely() -> None:
    counts = torch.zeros(len(LABELS), len(LABELS))
    for _ in range(2000):
        partner, found = core.random_negatives(LABELS)
        assert found.all()
        counts[torch.arange(len(LABELS)), partner] += 1
    same = LABELS[:, None] == LABELS
    assert counts[same].sum() == 0
    expected = 2000 / (~same).sum(1, keepdim=True)
    assert ((counts - expected)[~same].abs() < 5 * expected.sqrt().expand_as(counts)[~same]).all()


@pytest.mark.parametrize("labels", [[0], [4, 4, 4]])
def test_there_is_no_negative_in_a_batch_of_one_class(labels: list[int]) -> None:
    partner, found = core.random_negatives(torch.tensor(labels))
    assert not found.any()
    assert max(partner.tolist()) < len(labels)


@pytest.mark.parametrize("mine", [core.hardest_pairs, core.released_pairs])
@pytest.mark.parametrize("wrong", [(torch.zeros(3), 3), (torch.zeros(3, 2), 2)])
def test_mining_refuses_other_shapes(wrong: tuple[Tensor, int], mine: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        mine(wrong[0], torch.zeros(wrong[1], dtype=torch.long))


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "after a ReLU"])
def test_released_mining_takes_zeros_for_what_is_masked(signed: bool) -> None:
    features = torch.randn(24, 5, dtype=DOUBLE)
    features = features if signed else features.abs()
    labels = torch.randint(0, 6, (24,))
    positive, negative = (answer.tolist() for answer in core.released_pairs(features, labels))
    rows, classes = features.tolist(), labels.tolist()
    real = 0
    for i in range(24):
        near = [cosine(rows[i], rows[j]) if j != i and classes[j] == classes[i] else 0.0 for j in range(24)]
        far = [cosine(rows[i], rows[j]) if classes[j] != classes[i] else 0.0 for j in range(24)]
        assert positive[i] == (near.index(min(near)) or i)
        assert negative[i] == far.index(max(far))
        real += positive[i] != i and classes[positive[i]] == classes[i]
    assert (real > 0) == signed  # after a ReLU no real positive is ever found


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [4, 4, 4]], ids=["one image", "no positive pair", "one class"])
def test_released_mining_gives_every_image_a_pair(labels: list[int]) -> None:
    positive, negative = core.released_pairs(torch.rand(len(labels), 4), torch.tensor(labels))
    assert len(positive) == len(negative) == len(labels)
    assert max(*positive.tolist(), *negative.tolist()) < len(labels)


# ---- mixing


def test_mixed_rows_number_by_number() -> None:
    first, second, share = torch.randn(4, 3, dtype=DOUBLE), torch.randn(4, 3, dtype=DOUBLE), torch.rand(4, dtype=DOUBLE)
    found = core.mixed(first, second, share)
    for row in range(4):
        for column in range(3):
            part = share[row].item()
            by_hand = part * first[row, column].item() + (1 - part) * second[row, column].item()
            assert found[row, column].item() == pytest.approx(by_hand, rel=1e-12)
    inputs = (first.requires_grad_(), second.requires_grad_(), share.requires_grad_())
    assert torch.autograd.gradcheck(core.mixed, inputs)


def test_mixed_is_float32_for_half_precision_and_refuses_other_shapes() -> None:
    rows = torch.randn(2, 3).bfloat16()
    assert core.mixed(rows, rows, torch.rand(2)).dtype == torch.float32
    assert torch.equal(core.mixed(rows, -rows, torch.ones(2)), rows.float())
    with pytest.raises(ValueError, match="must be"):
        core.mixed(rows, rows[:, :2], torch.rand(2))
    with pytest.raises(ValueError, match="must be"):
        core.mixed(rows, rows, torch.rand(3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [4, 100, 150])
def test_soft_labels_are_alike_only_where_all_entries_are(classes: int, smoothing: float) -> None:
    """Over 63 classes too, where the released code's hash overflows."""
    labels = torch.cat([torch.arange(classes), torch.arange(classes)])
    targets = soft_targets(labels, classes, smoothing)
    shares = torch.tensor([0.8, 0.8, 0.9] * classes)[: 2 * classes]
    targets = torch.cat([targets, core.mixed(targets, targets.roll(1, 0), shares)])
    found = core.alike(targets)
    for i in range(0, len(targets), 7):
        assert found[i].tolist() == [torch.equal(targets[i], other) for other in targets]
    assert torch.equal(found[: 2 * classes, : 2 * classes], labels[:, None] == labels)


def code_by_hand(row: list[float]) -> float:
    """With the powers of ten that NumPy's 64-bit integers give, in single precision."""
    total = np.float32(0)
    for k, entry in enumerate(row):
        wrapped = np.array(pow(10, k, 2**64), dtype=np.uint64).astype(np.int64)
        total = np.float32(total + np.float32(np.float32(entry) * np.float32(wrapped)))
    return float(total)


@pytest.mark.parametrize("classes", [4, 10, 70, 100])
def test_released_labels_are_alike_where_their_codes_are(classes: int) -> None:
    one_hot = torch.eye(classes)
    halves = (one_hot + one_hot.roll(1, 0)) / 2
    targets = torch.cat([one_hot, halves, one_hot[: classes // 2]])
    codes = [code_by_hand(row) for row in targets.tolist()]
    expected = torch.tensor([[one == other for other in codes] for one in codes])
    found = core.released_alike(targets)
    assert torch.equal(found, expected)
    assert torch.equal(found, core.alike(targets)) == (classes <= 10)


def test_released_labels_merge_the_classes_above_63() -> None:
    found = core.released_alike(torch.eye(100))
    assert found[64:, 64:].all()
    assert not (found ^ torch.eye(100, dtype=torch.bool))[:64, :64].any()


def test_released_labels_lose_a_small_share_of_a_low_class() -> None:
    mixtures = core.mixed(torch.eye(10)[[9, 9, 5, 5]], torch.eye(10)[[0, 1, 3, 4]], torch.full((4,), 0.8))
    assert core.released_alike(mixtures).tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    with torch.autocast("cpu", torch.bfloat16):
        assert not core.released_alike(mixtures)[2, 3]


# ---- the focal contrast


def focal_by_hand(z: Tensor, positives: Tensor, temperature: float, over_rows: bool) -> Tensor:
    count, anchors = len(z), []
    for i in range(count):
        partners = [j for j in range(count) if j != i and positives[i, j]]
        if not partners:
            continue
        total = torch.stack([torch.exp(z[i] @ z[a] / temperature) for a in range(count) if a != i]).sum()
        loss = z.new_zeros(())
        for j in partners:
            p = torch.exp(z[i] @ z[j] / temperature) / total
            loss = loss - (1 - p) * torch.log(p)
        anchors.append(loss / (count if over_rows else len(partners)))
    return torch.stack(anchors).mean()


@pytest.mark.parametrize("over_rows", [False, True])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_focal_contrastive_pair_by_pair(temperature: float, over_rows: bool) -> None:
    z = unit(len(LABELS), 6).requires_grad_()
    positives = LABELS[:, None] == LABELS
    found = core.focal_contrastive(z, positives, temperature, over_rows=over_rows)
    expected = focal_by_hand(z, positives, temperature, over_rows)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    one, other = (torch.autograd.grad(value, z)[0] for value in (found, expected))
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-12)


def test_gradient_of_the_focal_contrast() -> None:
    z, positives = unit(len(LABELS), 4).requires_grad_(), LABELS[:, None] == LABELS
    assert torch.autograd.gradcheck(lambda given: core.focal_contrastive(given, positives, 0.3), (z,), rtol=1e-6)


@pytest.mark.parametrize("count", [2, 5])
def test_features_all_alike_are_at_the_uniform_share(count: int) -> None:
    z = F.normalize(torch.ones(count, 3, dtype=DOUBLE), dim=1)
    found = core.focal_contrastive(z, torch.ones(count, count, dtype=torch.bool), 0.07)
    assert found.item() == pytest.approx((1 - 1 / (count - 1)) * math.log(count - 1), rel=1e-9)


@pytest.mark.parametrize("labels", [[0], [0, 1, 2]], ids=["one image", "no positive pair"])
def test_focal_contrast_without_a_positive_is_zero_in_the_graph(labels: list[int]) -> None:
    z, classes = unit(len(labels), 4).requires_grad_(), torch.tensor(labels)
    found = core.focal_contrastive(z, classes[:, None] == classes, 0.07)
    assert found.item() == 0
    assert torch.equal(torch.autograd.grad(found, z)[0], torch.zeros_like(z))


def test_anchors_without_a_positive_are_skipped_but_remain_candidates() -> None:
    z, positives = unit(5, 4), torch.zeros(5, 5, dtype=torch.bool)
    positives[0, 3] = True
    p = math.exp(z[0] @ z[3] / 0.2) / sum(math.exp(z[0] @ z[a] / 0.2) for a in range(1, 5))
    assert core.focal_contrastive(z, positives, 0.2).item() == pytest.approx(-(1 - p) * math.log(p), rel=1e-9)


def test_focal_contrast_is_computed_in_float32_under_autocast() -> None:
    z, positives = unit(len(LABELS), 6, dtype=torch.float32).bfloat16().requires_grad_(), LABELS[:, None] == LABELS
    with torch.autocast("cpu", torch.bfloat16):
        found = core.focal_contrastive(z, positives, 0.07)
    assert found.dtype == torch.float32
    exact = focal_by_hand(z.double(), positives, 0.07, False).item()
    assert found.item() == pytest.approx(exact, rel=1e-5)
    assert torch.autograd.grad(found, z)[0].isfinite().all()


@pytest.mark.parametrize(("z", "positives"), [((3,), (3, 3)), ((3, 2), (3, 2))])
def test_focal_contrast_refuses_other_shapes(z: tuple[int, ...], positives: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        core.focal_contrastive(torch.zeros(z), torch.zeros(positives, dtype=torch.bool), 0.1)


# ---- the stage


def flat_model() -> Model:
    """The features are the pixels."""
    return Model(nn.Flatten(), Family(), 16, 4, [0.0], [1.0])


def linear_model() -> Model:
    return Model(nn.Sequential(nn.Flatten(), nn.Linear(16, 8)), Family(), 8, 4, [0.5], [0.25])


def noise(batch_size: int = 12, smoothing: float = 0.0) -> TrainingImages:
    state = np.random.RandomState(0)
    split = Split(ArrayImages(state.randint(0, 256, (40, 4, 4, 1)).astype(np.uint8)), state.randint(0, 4, 40))
    protocol = Protocol(batch_size=batch_size, augmentation="none", label_smoothing=smoothing)
    return TrainingImages(split, np.arange(40), 4, protocol, 4, seed=5, device=torch.device("cpu"))


def staged(model: Model, data: TrainingImages, steps: int = 6, **hypers: Any) -> Stage:
    recipe = Recipe(steps=steps, lr=1e-2).resolved(len(data), data.protocol.batch_size)
    (stage,) = core.CoreTuning(**hypers).stages(model, recipe, data)
    set_modes(stage)
    assert isinstance(stage, Stage)
    return stage


def batch_of(labels: Tensor, smoothing: float = 0.1) -> Batch:
    return Batch(torch.rand(len(labels), 1, 4, 4), labels, soft_targets(labels, 4, smoothing), 0.0)


def test_a_batch_is_enlarged_by_the_hard_pairs_of_images_that_have_them() -> None:
    features, batch = torch.randn(len(LABELS), 5), batch_of(LABELS)
    rows, targets = core.CoreTuning().enlarged(features, batch)
    positive, negative, found = core.hardest_pairs(features, LABELS)
    count, hard = len(LABELS), int(found.sum())
    assert rows.shape == (2 * count + hard, 5)
    assert targets.shape == (2 * count + hard, 4)
    assert torch.equal(rows[:count], features)
    assert torch.equal(targets[:count], batch.targets)
    torch.testing.assert_close(targets.sum(1), torch.ones(len(targets)))
    for at, i in enumerate(found.nonzero()[:, 0].tolist(), start=count):
        share = share_of(rows[at], features[positive[i]], features[negative[i]])
        assert 0 <= share <= 1
        mixture = share * batch.targets[positive[i]] + (1 - share) * batch.targets[negative[i]]
        torch.testing.assert_close(targets[at], mixture, rtol=1e-4, atol=1e-5)


def share_of(row: Tensor, first: Tensor, second: Tensor) -> float:
    """λ of a row on the line between two others; fails where it is not on it."""
    line = first - second
    share = float((row - second) @ line / (line @ line))
    torch.testing.assert_close(row, share * first + (1 - share) * second, rtol=1e-4, atol=1e-5)
    return share


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_semi_hard_negatives_are_mostly_an_image_of_another_class(alpha: float) -> None:
    features, batch = torch.eye(len(LABELS)), batch_of(LABELS, smoothing=0.0)
    shares = []
    for _ in range(50):
        rows, targets = core.CoreTuning(alpha=alpha).enlarged(features, batch)
        for i, row in enumerate(rows[-len(LABELS) :]):
            other = int(row.argmax())
            shares.append(float(row[other]))
            assert LABELS[other] != LABELS[i]
            assert row[i].item() == pytest.approx(1 - shares[-1], abs=1e-6)
            expected = shares[-1] * batch.targets[other] + (1 - shares[-1]) * batch.targets[i]
            torch.testing.assert_close(targets[len(rows) - len(LABELS) + i], expected)
    assert min(shares) == pytest.approx(0.8)
    assert max(shares) <= 1
    exactly = sum(share < 0.8 + 1e-6 for share in shares) / len(shares)
    below = torch.distributions.Beta(alpha, alpha).sample((4000,)).lt(0.8).double().mean().item()
    assert exactly == pytest.approx(below, abs=0.1)


def test_shares_have_the_moments_of_the_beta_distribution() -> None:
    drawn = core.CoreTuning(alpha=0.5).shares(torch.zeros(20000, 1))
    assert drawn.shape == (20000,)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.02)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * 0.5 + 1)), rel=0.05)


def test_released_partners_are_any_image_and_each_has_one() -> None:
    features, batch = torch.eye(len(LABELS)), batch_of(LABELS, smoothing=0.0)
    same_class = 0
    for _ in range(30):
        rows, _ = core.CoreTuning(variant="released").enlarged(features, batch)
        partners = rows[-len(LABELS) :].argmax(1)
        assert sorted(partners.tolist()) == list(range(len(LABELS)))
        same_class += int((LABELS[partners] == LABELS).sum())
    assert same_class > 0


@pytest.mark.parametrize(
    ("hypers", "detached"),
    [
        ({}, False),
        ({"variant": "released"}, True),
        ({"originals": "detached"}, True),
        ({"variant": "released", "originals": "attached"}, False),
    ],
)
def test_detached_originals_pass_no_gradient_by_themselves(hypers: dict[str, str], detached: bool) -> None:
    features = torch.randn(len(LABELS), 5, requires_grad=True)
    rows, _ = core.CoreTuning(**hypers).enlarged(features, batch_of(LABELS))
    count = len(LABELS)
    (originals,) = torch.autograd.grad(rows[:count].sum(), features, retain_graph=True, allow_unused=True)
    assert (originals.abs().sum() == 0) == detached
    (mixtures,) = torch.autograd.grad(rows[count:].sum(), features)
    assert mixtures.abs().sum() > 0


def test_terms_are_those_of_the_enlarged_batch() -> None:
    data = noise(smoothing=0.1)
    model, batch = flat_model(), data.batch(0)
    stage = staged(model, data, eta=0.3, temperature=0.2)
    projector = next(item for item in stage.train if item is not model)
    assert isinstance(projector, nn.Sequential)
    torch.manual_seed(3)
    terms = stage.loss(model, batch)
    torch.manual_seed(3)
    rows, targets = core.CoreTuning().enlarged(model(batch.images).features, batch)
    log_share = model.head(rows).detach().log_softmax(1)
    total = sum(float(-(targets[i] * log_share[i]).sum()) for i in range(len(rows)))
    assert terms["ce"].item() == pytest.approx(total / len(rows), rel=1e-5)
    z = F.normalize(projector(rows).detach(), dim=1).double()
    positives = torch.stack([torch.stack([(one == other).all() for other in targets]) for one in targets])
    assert terms["focal"].item() == pytest.approx(0.3 * focal_by_hand(z, positives, 0.2, False).item(), rel=1e-4)
    assert len(rows) > 30


def test_released_terms_are_those_of_three_rows_an_image() -> None:
    """Its mining, its equality of labels, its divisor; the rows are drawn again from the same seed."""
    data = noise()
    model, batch = flat_model(), data.batch(0)
    method = core.CoreTuning(variant="released", eta=0.3, temperature=0.2)
    stage = staged(model, data, variant="released", eta=0.3, temperature=0.2)
    projector = next(item for item in stage.train if item is not model)
    assert isinstance(projector, nn.Sequential)
    torch.manual_seed(3)
    terms = stage.loss(model, batch)
    torch.manual_seed(3)
    features = model(batch.images).features
    rows, targets = method.enlarged(features, batch)
    assert len(rows) == 3 * len(batch.labels)
    positive, negative = core.released_pairs(features, batch.labels)
    for i, row in enumerate(rows[len(features) : 2 * len(features)]):
        assert 0 <= share_of(row, features[positive[i]], features[negative[i]]) <= 1
    codes = [code_by_hand(row) for row in targets.tolist()]
    positives = torch.tensor([[one == other for other in codes] for one in codes])
    z = F.normalize(projector(rows).detach(), dim=1).double()
    assert terms["focal"].item() == pytest.approx(0.3 * focal_by_hand(z, positives, 0.2, True).item(), rel=1e-4)


def test_projector_has_two_layers() -> None:
    stage = staged(linear_model(), noise(), projection=32)
    projector = next(item for item in stage.train if isinstance(item, nn.Sequential))
    layers = [layer for layer in projector if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(8, 8), (8, 32)]


CASES: dict[str, Callable[[], Batch]] = {
    "one image": lambda: batch_of(torch.tensor([2])),
    "no positive pair": lambda: batch_of(torch.tensor([0, 1, 2])),
    "one class": lambda: batch_of(torch.tensor([1, 1, 1])),
    "all alike": lambda: Batch(torch.full((7, 1, 4, 4), 0.7), LABELS, soft_targets(LABELS, 4, 0.0), 0.0),
}


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_finite(case: str, half: bool, variant: str) -> None:
    model, data = linear_model(), noise()
    stage, batch = staged(model, data, variant=variant), CASES[case]()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        terms = stage.loss(model, batch)
    assert all(term.dtype == torch.float32 and math.isfinite(term.item()) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert len(gradients) == 4
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_the_same_seed_gives_the_same_weights_and_the_projector_moves() -> None:
    ends = []
    for _ in range(2):
        torch.manual_seed(7)
        model, data = linear_model(), noise()
        stage = staged(model, data)
        projector = next(item for item in stage.train if isinstance(item, nn.Sequential))
        start = [weight.detach().clone() for weight in projector.parameters()]
        fit(stage, data, start=0, stops=lambda _: False, at_stop=lambda _: None)
        assert not any(torch.equal(now, then) for now, then in zip(projector.parameters(), start, strict=True))
        ends.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    assert torch.equal(ends[0], ends[1])


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["core_tuning", "core_tuning(variant=released)"])
def test_it_learns_the_digits(settings: str) -> None:
    overrides = Overrides(settings, rates="15", seeds="1", settings=("steps=40", "warmup=4", "evaluations=2"))
    registry = Registry()
    (spec,) = read_plan("digits", registry, overrides).unique.values()
    curve = as_plain(run_trial(spec, registry, torch.device("cpu")).record)["curve"]
    assert curve[-1]["test"]["top1"] > 40
