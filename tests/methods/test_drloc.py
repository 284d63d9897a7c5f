"""DRLoc against the same written out pair by pair, and its variants."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bench.methods.drloc import (
    DRLoc,
    Locator,
    chosen_pooling,
    class_distance,
    distance_targets,
    l1_distance,
    pooled_grid,
    ramp_and_decay,
    regressed_class_distance,
)
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.backbones.t2t import T2TViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import Progress, fit
from bench.training.trial import run_trial
from tests.scenes import as_plain, left_out


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


@pytest.mark.parametrize(
    ("variant", "side", "expected"),
    [
        *(("paper", 14, "2x2"), ("released", 14, "3x3")),  # T2T, CvT
        *(("paper", 7, "none"), ("released", 7, "none")),  # Swin, ResNet
        *(("paper", 8, "none"), ("released", 13, "none"), ("paper", 15, "2x2"), ("released", 24, "3x3")),
    ],
)
def test_only_fine_grids_are_pooled(variant: str, side: int, expected: str) -> None:
    assert chosen_pooling("variant", variant, side) == expected
    assert {chosen_pooling(asked, variant, side) for asked in ("2x2", "3x3", "none")} == {"2x2", "3x3", "none"}


@pytest.mark.parametrize("side", [3, 7, 8, 14, 15])
@pytest.mark.parametrize("pooling", ["2x2", "3x3", "none"])
def test_pooling_place_by_place(pooling: str, side: int) -> None:
    grid = torch.randn(2, 3, side, side, dtype=torch.float64)
    pooled = pooled_grid(grid, pooling)
    k = side if pooling == "none" else (side + 1) // 2
    assert pooled.shape == (2, 3, k, k)
    first, last = {"2x2": (0, 2), "3x3": (-1, 2), "none": (0, 1)}[pooling]
    for row in range(k):
        for column in range(k):
            step = side if pooling == "none" else 2
            top, left = (row, column) if pooling == "none" else (step * row, step * column)
            part = grid[..., max(0, top + first) : top + last, max(0, left + first) : left + last]
            torch.testing.assert_close(pooled[..., row, column], part.mean((-2, -1)))


@pytest.mark.parametrize(("height", "width", "pooling"), [(4, 5, "none"), (1, 1, "none"), (2, 2, "2x2"), (8, 6, "3x3")])
def test_a_grid_without_distances_or_not_square_is_refused(height: int, width: int, pooling: str) -> None:
    with pytest.raises(ValueError, match=r"^drloc needs a square grid of at least 2 x 2 places, not \d x \d"):
        pooled_grid(torch.randn(2, 3, height, width), pooling)


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
    outputs = {"l1": 2, "ce": 2 * (11 if signed else 6), "cbr": 2 * (11 if signed else 6)}
    assert gradients[-1] is not None
    assert len(gradients[-1]) == outputs[form]  # a 6 x 6 grid, not pooled


def test_on_a_backbone_without_a_grid_it_is_left_out() -> None:
    overrides = Overrides(methods="ce,drloc", backbones="timm:xcit_nano_12_p16_224@none", rates="15", seeds="1")
    plan = read_plan("demo", Registry(), overrides)
    assert [cell.reason.startswith("drloc needs grid") for cell in left_out(plan)] == [True]


SWIN = {"img_size": 64, "embed_dim": 8, "depths": (1, 2, 2), "num_heads": (1, 2, 4), "window_size": 4, "num_classes": 0}
CVT: dict[str, Any] = {
    "embed_dim": (8, 12, 16),
    "num_heads": (1, 2, 4),
    "depth": (1, 2, 3),
    "mlp_ratio": (2.0, 2.0, 2.0),
}
T2T = {"embed_dim": 16, "depth": 2, "num_heads": 2, "token_dim": 8}

GRIDS: dict[str, tuple[int, int, Callable[[], nn.Module]]] = {
    "swin": (64, 4, lambda: SwinTransformer(drop_path_rate=0.2, **SWIN)),
    "swin_v2": (64, 4, lambda: SwinTransformerV2(drop_path_rate=0.2, **SWIN)),
    "t2t": (64, 4, lambda: T2TViT(64, drop_path_rate=0.2, **T2T)),
    "t2t_fine": (224, 7, lambda: T2TViT(224, **T2T)),
    "cvt": (64, 4, lambda: ConvolutionalViT(64, drop_path_rate=0.2, **CVT)),
    "cvt_mean": (64, 4, lambda: ConvolutionalViT(64, pooling="mean", **CVT)),
    "cvt_odd": (80, 5, lambda: ConvolutionalViT(80, **CVT)),
    "resnet": (64, 2, lambda: ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0, channels=(8, 8, 12, 16))),
}
"""Pixels a side, places a side on which pairs are drawn, and the backbone, 16 to 32 wide."""


def on_grid(name: str) -> tuple[Model, TrainingImages]:
    """A small model of a kind of backbone, in training mode as it is built, and images for it."""
    size, _, build = GRIDS[name]
    torch.manual_seed(0)
    backbone: Any = build()
    family, dim = family_of(backbone), backbone.num_features
    pixels = torch.randint(256, (8, size, size, 3), dtype=torch.uint8).numpy()
    labels, indices = torch.arange(8).numpy() % 4, torch.arange(8).numpy()
    protocol = Protocol(recipe=Recipe(steps=2, lr=1e-2, weight_decay=0.0), batch_size=4, augmentation="none")
    split = Split(ArrayImages(pixels), labels)
    data = TrainingImages(split, indices, 4, protocol, size, 0, torch.device("cpu"))
    return Model(backbone, family, dim, 4, [0.5] * 3, [0.25] * 3), data


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("name", GRIDS)
def test_it_trains_on_the_grid_of_every_backbone(name: str, variant: str) -> None:
    model, data = on_grid(name)
    before = copy.deepcopy(model)
    method = DRLoc(variant=variant, form="ce", schedule="constant", m=8, hidden=16)
    (stage,) = method.stages(model, data.protocol.recipe.resolved(8, 4), data)
    locator = next(module for module in stage.train if isinstance(module, Locator))
    assert (locator.classes, locator.layers[0].in_features) == (GRIDS[name][1], 2 * model.dim)
    progress: list[Progress] = []
    fit(stage, data, start=0, stops=lambda step: step == 2, at_stop=progress.append)
    assert set(progress[0].terms) == {"ce", "drloc"}
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before.get_parameter(key))}
    unmoved = {key for key, _ in model.named_parameters()} - moved
    # a bias of keys (Swin, CvT) or one behind it has no gradient but rounding; whatever else there is, moves
    assert {key for key in unmoved if not key.endswith("bias")} == set()
    fixed = [key for key, _ in model.named_buffers() if key.endswith((".pos_embed", ".w"))]
    assert all(torch.equal(model.get_buffer(key), before.get_buffer(key)) for key in fixed)
    assert len(fixed) == (3 if "t2t" in name else 0)


@pytest.mark.parametrize("name", ["cvt", "resnet", "swin"])
def test_looking_at_the_grid_leaves_the_model_as_it_was(name: str) -> None:
    model, data = on_grid(name)
    before = copy.deepcopy(model.state_dict())
    next(iter(DRLoc().stages(model, data.protocol.recipe.resolved(8, 4), data)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


def test_the_released_l1_is_the_mean_over_both_coordinates() -> None:
    torch.manual_seed(0)
    places, guessed = torch.randint(7, (2, 3, 5, 2)), torch.randn(3, 5, 2)
    steps = (places[0] - places[1]).abs().float()
    released = DRLoc(variant="released").error(guessed, places, 7)
    torch.testing.assert_close(released, torch.nn.functional.l1_loss(guessed, steps))
    torch.testing.assert_close(DRLoc(target="raw").error(guessed, places, 7), 2 * released)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["drloc", "drloc(variant=released)", "drloc(form=ce)"])
def test_it_trains_on_digits(method: str) -> None:
    registry = Registry()
    settings = ("steps=60", "warmup=6", "evaluations=1")
    plan = read_plan("digits", registry, Overrides(methods=method, rates="100", seeds="1", settings=settings))
    record = as_plain(run_trial(next(iter(plan.unique.values())), registry, torch.device("cpu")).record)
    assert record["curve"][-1]["test"]["top1"] > 60
