"""SSF against a ViT written out in plain torch, its merged weights, and its number of weights against the paper's."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.swin import Swin
from bench.method import frozen
from tests.methods.by_hand import ByHand, begun, shaken, small, some_images, trained_of_vit_base
from tests.methods.of_eva import require_trained_and_merged

ssf: Any = importlib.import_module("bench.methods.ssf")


class Scaled(ByHand):
    """y = γ ⊙ x + β behind each operation."""

    def __init__(self, model: Model, plain: ByHand) -> None:
        super().__init__(model)
        self.plain = plain

    def after(self, name: str, y: Tensor) -> Tensor:
        scaled: Tensor = self.weights[f"{name}.scale"] * y + self.weights[f"{name}.shift"]
        return scaled

    def linear(self, name: str, x: Tensor) -> Tensor:
        return self.after(name, self.plain.linear(name, x))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return self.after(name, self.plain.norm(name, x))


def swin(dtype: torch.dtype) -> Model:
    """A Swin of two stages, so with a merging of patches, which has no bias."""
    torch.manual_seed(0)
    backbone = SwinTransformer(
        img_size=16, patch_size=2, embed_dim=12, depths=(1, 1), num_heads=(2, 2), window_size=4, num_classes=0
    )
    model = Model(backbone, Swin(), 24, 5, [0.5] * 3, [0.25] * 3).to(dtype)
    shaken(model)
    return model.eval()


def test_every_operation_is_scaled_and_shifted() -> None:
    model = small()
    plain = ByHand(model)
    begun(ssf.SSF(), model)
    expected = Scaled(model, plain)(some_images())
    assert (expected - plain(some_images())).abs().max() > 0.1
    torch.testing.assert_close(model(some_images()).features, expected, rtol=0, atol=1e-10)


def test_an_eva_is_scaled_trained_and_merged() -> None:
    """Of rotary positions and no biases, as a DINOv3: nothing but scales, shifts and the head moves."""
    require_trained_and_merged(ssf.SSF(), 1e-10)


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
@pytest.mark.parametrize("build", [small, swin])
def test_merged_weights_give_the_same_logits(build: Any, dtype: torch.dtype, apart: float) -> None:
    model = build(dtype)
    images = torch.rand(4, 3, 16, 16).to(dtype) if build is swin else some_images(4, dtype)
    types = [type(module) for module in model.modules()]
    _, stages = begun(ssf.SSF(), model)
    asked = frozen(model)
    kept, before = model.scored_state(), model(images).logits
    assert list(stages) == []
    after = model(images).logits
    assert [type(module) for module in model.modules()] == types
    torch.testing.assert_close(after, before, rtol=0, atol=apart)
    assert kept.keys() == model.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert torch.equal(asked(images).logits, before)  # a copy of it is left alone


def test_the_merged_network_of_a_vit_has_the_weights_of_the_plain_one() -> None:
    model = small()
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    _, stages = begun(ssf.SSF(), model)
    assert list(stages) == []
    assert {name: value.shape for name, value in model.state_dict().items()} == shapes


def test_nothing_but_scales_shifts_and_the_head_is_trained() -> None:
    stage, _ = begun(ssf.SSF(), small())
    names = {name for name, weight in stage.model.named_parameters() if weight.requires_grad}
    assert {name.rpartition(".")[2] for name in names if name.startswith("backbone.")} == {"scale", "shift"}
    assert names > {"head.weight", "head.bias"}
    assert all(weight.ndim == 1 for name, weight in stage.model.named_parameters() if name in names - {"head.weight"})


def test_it_trains_as_many_numbers_as_in_the_paper() -> None:
    """Per block two norms, qkv, proj, fc1 and fc2; the patch embedding and the last norm: 0.205 M of a ViT-B/16."""
    block = 768 * (1 + 3 + 1 + 1 + 4 + 1)
    assert trained_of_vit_base(ssf.SSF()) == 2 * (12 * block + 2 * 768) == 205_824


def test_scales_are_drawn_about_1_and_shifts_about_0() -> None:
    torch.manual_seed(0)
    scaled = ssf.Scaled(nn.Linear(2, 40_000), 0.02)
    for values, mean in ((scaled.scale, 1.0), (scaled.shift, 0.0)):
        assert values.mean().item() == pytest.approx(mean, abs=1e-3)
        assert values.std().item() == pytest.approx(0.02, rel=0.05)
    plain = ssf.Scaled(nn.Linear(2, 3), 0.0)
    assert torch.equal(plain.scale, torch.ones(3))
    assert torch.equal(plain.shift, torch.zeros(3))


def test_maps_are_scaled_channel_by_channel() -> None:
    scaled = ssf.Scaled(nn.Conv2d(3, 4, 2), 0.5)
    images = torch.rand(2, 3, 5, 5)
    with torch.no_grad():
        expected = (scaled.operation(images).movedim(1, -1) * scaled.scale + scaled.shift).movedim(-1, 1)
        torch.testing.assert_close(scaled(images), expected)
        torch.testing.assert_close(scaled.merged()(images), expected)
