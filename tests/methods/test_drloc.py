"""DRLoc against the same written out pair by pair, and its variants."""

from __future__ import annotations

import math

import pytest
import torch
from bench.methods.drloc import (
    DRLoc,
    class_distance,
    distance_targets,
    l1_distance,
    pooled_grid,
    ramp_and_decay,
    regressed_class_distance,
)
from torch import Tensor

from bench.backbones import Model, build_model
from bench.data import ArrayImages, Split, TrainingImages
from bench.experiment import Overrides, read_experiment
from bench.grid import expand
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.trial import run_trial


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone("micro_vit@none"), 10)


@pytest.fixture
def data() -> TrainingImages:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (16, 12, 12, 1), generator=generator, dtype=torch.uint8).numpy()
    labels = torch.randint(10, (16,), generator=generator).numpy()
    protocol = Protocol(recipe=Recipe(steps=4, lr=1e-3), batch_size=8, augmentation="none")
    indices = torch.arange(16).numpy()
    return TrainingImages(Split(ArrayImages(pixels), labels), indices, 10, protocol, 12, 0, torch.device("cpu"))


@pytest.mark.parametrize("target", ["normalised", "raw"])
@pytest.mark.parametrize("signed", [False, True])
def test_l1_pair_by_pair(target: str, signed: bool) -> None:
    torch.manual_seed(0)
    places = torch.randint(7, (2, 3, 5, 2))
    guessed = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    targets = distance_targets(places[0], places[1], 7, target, signed).double()
    total = 0.0
    for image in range(3):
        for pair in range(5):
            for axis in range(2):
                step = int(places[0, image, pair, axis]) - int(places[1, image, pair, axis])
                aim = (step if signed else abs(step)) / (7 if target == "normalised" else 1)
                total += abs(aim - float(guessed.detach()[image, pair, axis]))
    assert float(l1_distance(guessed.detach(), targets)) == pytest.approx(total / 15, rel=1e-6)
    assert torch.autograd.gradcheck(lambda g: l1_distance(g, targets), guessed)


def test_class_losses_pair_by_pair() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    steps = torch.randint(4, (2, 3, 2))
    ce = cbr = 0.0
    for image in range(2):
        for pair in range(3):
            for axis in range(2):
                row = [math.exp(float(value)) for value in logits.detach()[image, pair, axis]]
                share = [value / sum(row) for value in row]
                aim = int(steps[image, pair, axis])
                ce -= math.log(share[aim])
                mean = sum(index * value for index, value in enumerate(share))
                variance = sum((index - mean) ** 2 * value for index, value in enumerate(share)) + 1e-8
                cbr += (mean - aim) ** 2 / variance + 0.001 * math.log(variance)
    assert float(class_distance(logits.detach(), steps)) == pytest.approx(ce / 6, rel=1e-9)
    assert float(regressed_class_distance(logits.detach(), steps)) == pytest.approx(cbr / 6, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: class_distance(x, steps), logits)
    assert torch.autograd.gradcheck(lambda x: regressed_class_distance(x, steps), logits)


def test_raw_l1_of_a_constant_guess_is_what_the_released_log_starts_from() -> None:
    """On a 7 x 7 grid the expected distance along an axis is 16/7 = 2.286 steps, so 0 guessed costs twice that."""
    rows = torch.arange(7)
    first, second = torch.meshgrid(rows, rows, indexing="ij")
    places = torch.stack([first.flatten(), second.flatten()])[..., None].expand(2, 49, 2)[:, None]
    targets = distance_targets(places[0], places[1], 7, "raw", False)
    assert float(l1_distance(torch.zeros(1, 49, 2), targets)) == pytest.approx(2 * 16 / 7, rel=1e-6)


@pytest.mark.parametrize(("pooling", "side"), [("2x2", 7), ("3x3", 7), ("none", 14)])
def test_pooling(pooling: str, side: int) -> None:
    grid = torch.randn(2, 3, 14, 14)
    pooled = pooled_grid(grid, pooling)
    assert pooled.shape == (2, 3, side, side)
    if pooling == "2x2":
        torch.testing.assert_close(pooled[..., 0, 1], grid[..., 0:2, 2:4].mean((-2, -1)))
    if pooling == "3x3":
        torch.testing.assert_close(pooled[..., 0, 1], grid[..., 0:2, 1:4].mean((-2, -1)))


def test_the_weight_of_the_released_code_ramps_and_decays() -> None:
    at = {epoch: ramp_and_decay(epoch / 300) for epoch in (0, 1, 20, 25, 97, 300)}
    expected = {0: 0.0, 1: 0.05, 20: 1.0, 25: 0.98214, 97: 0.725, 300: 0.0}
    assert at == {epoch: pytest.approx(value, abs=1e-5) for epoch, value in expected.items()}


def test_the_grid_has_every_patch_in_its_place(model: Model) -> None:
    images = torch.rand(2, 1, 12, 12)
    model.eval()
    tokens, grid = model.probe(images, "tokens"), model.probe(images, "grid")
    assert grid.shape == (2, 48, 6, 6)
    for row in range(6):
        for column in range(6):
            assert torch.equal(grid[..., row, column], tokens[:, 1 + 6 * row + column])


@pytest.mark.parametrize("form", ["l1", "ce", "cbr"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("variant", ["paper", "released"])
def test_every_form_gives_a_term_that_reaches_backbone_and_locator(
    model: Model, data: TrainingImages, form: str, signed: bool, variant: str
) -> None:
    method = DRLoc(form=form, signed=signed, variant=variant, m=8)
    (stage,) = method.stages(model, data.protocol.recipe.resolved(16, 8), data)
    terms = stage.loss(model, data.batch(0, progress=0.5))
    terms["drloc"].backward()
    locator = next(module for module in stage.train if module is not model)
    gradients: list[Tensor | None] = [p.grad for p in locator.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    assert model.head.weight.grad is None
    first = next(p for name, p in model.backbone.named_parameters() if name == "patch_embed.proj.weight")
    assert first.grad is not None
    assert first.grad.abs().sum() > 0
    outputs = {"l1": 2, "ce": 2 * (5 if signed else 3), "cbr": 2 * (5 if signed else 3)}
    assert gradients[-1] is not None
    assert len(gradients[-1]) == outputs[form]  # a 6 x 6 grid, pooled to 3 x 3


def test_on_a_backbone_without_a_grid_it_is_left_out() -> None:
    overrides = Overrides(methods="ce,drloc", backbones="timm:resnet18@none", rates="15", seeds="1")
    plan = expand(read_experiment("demo", Registry(), overrides))
    assert [cell.reason.startswith("drloc needs grid") for cell in plan.excluded] == [True]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["drloc", "drloc(variant=released)", "drloc(form=ce)"])
def test_it_trains_on_digits(method: str) -> None:
    registry = Registry()
    settings = ("steps=60", "warmup=6", "evaluations=1")
    plan = expand(
        read_experiment("digits", registry, Overrides(methods=method, rates="100", seeds="1", settings=settings))
    )
    record = run_trial(plan.runs[0].spec, registry, torch.device("cpu")).record
    assert record["curve"][-1]["test"]["top1"] > 60
