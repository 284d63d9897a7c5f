"""AdaptFormer against a ViT written out in plain torch, and its number of weights against the paper's."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from timm.models.beit import Beit
from torch import Tensor

from bench.backbones import Model
from bench.backbones.beit import BEiT
from bench.method import frozen
from bench.training.fit import set_modes
from tests.methods.by_hand import RECIPE, ByHand, begun, blocks_of, shaken, small, some_images, trained_of_vit_base

adaptformer: Any = importlib.import_module("bench.methods.adaptformer")


class Adapted(ByHand):
    """Eq. 3 and 4: s · ReLU(LN(x') W_down) W_up beside the MLP; of x' itself as released."""

    def __init__(self, model: Model, scale: float, released: bool) -> None:
        super().__init__(model)
        self.scale, self.released = scale, released

    def mlp(self, name: str, tokens: Tensor) -> Tensor:
        x = tokens if self.released else self.norm(f"{name}.norm2", tokens)
        middle = self.linear(f"{name}.adapter.down", x)
        middle = torch.where(middle > 0, middle, 0)
        return super().mlp(name, tokens) + self.scale * self.linear(f"{name}.adapter.up", middle)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_a_bottleneck_is_added_beside_the_mlp(variant: str) -> None:
    model = small()
    plain = ByHand(model)
    begun(adaptformer.AdaptFormer(variant=variant, middle=4, scale=0.7), model)
    expected = Adapted(model, 0.7, variant == "released")(some_images())
    assert (expected - plain(some_images())).abs().max() > 0.1
    torch.testing.assert_close(model(some_images()).features, expected, rtol=0, atol=1e-10)


def test_training_begins_at_the_pre_trained_network() -> None:
    model = small()
    logits = model(some_images()).logits
    next(adaptformer.AdaptFormer().stages(model, RECIPE, None))
    # all tokens go through the last block now, and no longer [cls] alone: sums are in another order
    torch.testing.assert_close(model.eval()(some_images()).logits, logits, rtol=1e-12, atol=1e-13)


def test_layer_scale_and_dropped_paths_are_of_the_mlp_alone() -> None:
    """With all paths dropped and no layer scale left, a block still adds its bottleneck."""
    model = small(init_values=1e-5, drop_path_rate=0.999999)
    with torch.no_grad():
        for block in blocks_of(model):
            block.ls2.gamma.zero_()
    stage, _ = begun(adaptformer.AdaptFormer(middle=4, scale=1.0), model)
    set_modes(stage)
    *_, last = blocks_of(model)
    tokens = torch.randn(2, 5, 24, dtype=torch.float64)
    added = last.adapter.up(torch.relu(last.adapter.down(last.norm2(tokens))))
    torch.testing.assert_close(last(tokens), tokens + added)


@pytest.mark.parametrize(("variant", "draw"), [("paper", "normal"), ("released", "uniform")])
def test_the_projections_start_as_said(variant: str, draw: str) -> None:
    torch.manual_seed(0)
    branch = adaptformer.AdaptMLP(384, 512, 0.1, 0.0, variant == "released")
    assert not any(weight.any() for weight in (branch.down.bias, branch.up.weight, branch.up.bias))
    largest, sd = branch.down.weight.abs().max().item(), branch.down.weight.std().item()
    if draw == "normal":
        assert sd == pytest.approx(math.sqrt(2 / 384), rel=0.02)
        assert largest > 4 * sd
    else:
        assert largest == pytest.approx(math.sqrt(1 / 384), rel=1e-3)
        assert sd == pytest.approx(largest / math.sqrt(3), rel=0.02)


def test_only_the_released_variant_drops_in_the_middle_unless_it_is_said() -> None:
    assert [adaptformer.AdaptFormer(variant=variant).dropout for variant in ("paper", "released")] == [0.0, 0.1]
    branch = adaptformer.AdaptMLP(24, 1000, 1.0, 0.1, True)
    with torch.no_grad():
        branch.down.bias.fill_(1.0)
        branch.down.weight.zero_()
        branch.up.weight.fill_(1.0)
    share = branch.train()(torch.zeros(1, 50, 24))[..., 0] * 0.9 / 1000
    assert share.mean().item() == pytest.approx(0.9, abs=0.01)
    assert branch.eval()(torch.zeros(1, 1, 24))[0, 0, 0].item() == pytest.approx(1000)


def test_a_copy_is_a_model_of_its_own() -> None:
    model = small()
    begun(adaptformer.AdaptFormer(middle=4), model)
    copied, logits = frozen(model), model(some_images()).logits
    with torch.no_grad():
        for block in blocks_of(model):
            block.adapter.up.weight.zero_()
    assert torch.equal(copied(some_images()).logits, logits)
    assert not torch.equal(model(some_images()).logits, logits)


def test_a_beit_has_them_too() -> None:
    torch.manual_seed(0)
    size: dict[str, Any] = {"img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3}
    model = Model(Beit(num_classes=0, init_values=0.1, **size), BEiT(), 24, 5, [0.5] * 3, [0.25] * 3).eval()
    shaken(model)
    images = some_images(2, torch.float32)
    logits = model(images).logits
    begun(adaptformer.AdaptFormer(middle=4), model)
    assert not torch.allclose(model(images).logits, logits, atol=1e-3)


def test_it_trains_as_many_numbers_as_in_the_paper() -> None:
    """AdaptFormer-64: 1.19 M of a ViT-B/16."""
    assert trained_of_vit_base(adaptformer.AdaptFormer()) == 12 * (2 * 768 * 64 + 64 + 768) == 1_189_632
