"""VPT against a ViT written out in plain torch: its formula, what it leaves to probes, and its number of weights."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.backbones import Model
from bench.backbones.dense import MAPS, DenseModel
from bench.backbones.vit import ViT
from bench.method import frozen
from bench.training.fit import set_modes
from tests.methods.by_hand import (
    CLASSES,
    DEPTH,
    DIM,
    RECIPE,
    ByHand,
    begun,
    blocks_of,
    small,
    some_images,
    trained_of_vit_base,
)

vpt: Any = importlib.import_module("bench.methods.vpt")


class Prompted(ByHand):
    """[x, P, E] before the first block (eq. 4); before each one, P being new there, with ``deep`` (eq. 7)."""

    def __init__(self, model: Model, count: int) -> None:
        super().__init__(model)
        self.count = count

    def entering(self, number: int, tokens: Tensor) -> Tensor:
        prompts = self.weights.get(f"blocks.{number}.prompts.values")
        if prompts is None:
            return tokens
        classes, patches = tokens[:, :1], tokens[:, 1 if number == 0 else 1 + self.count :]
        return torch.cat((classes, torch.stack([prompts] * len(tokens)), patches), 1)


@pytest.mark.parametrize("depth", ["deep", "shallow"])
def test_prompts_stand_between_the_class_token_and_the_patches(depth: str) -> None:
    model = small()
    plain = ByHand(model)
    begun(vpt.VPT(depth=depth, prompts=2), model)
    by_hand = Prompted(model, 2)
    assert len([name for name in by_hand.weights if "prompts" in name]) == (DEPTH if depth == "deep" else 1)
    expected = by_hand(some_images())
    assert (expected - plain(some_images())).abs().max() > 0.01
    torch.testing.assert_close(model(some_images()).features, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("arguments", [{}, {"reg_tokens": 2}, {"class_token": True, "global_pool": "avg"}])
def test_what_is_read_of_the_patches_has_no_prompts_in_it(arguments: dict[str, Any]) -> None:
    """Attention maps are of all keys, whose softmax the prompts share; the patches are the last nine of them."""
    model = small(**arguments)
    prefix = int(model.backbone.num_prefix_tokens)  # type: ignore[arg-type]
    begun(vpt.VPT(prompts=2), model)
    images = some_images()
    output = model(images, ["tokens", "grid", "cls_attention", "cls_attention_map", "attention_maps"])
    assert output["tokens"].shape == (3, prefix + 2 + 9, DIM)
    assert torch.equal(output["grid"].flatten(2).transpose(1, 2), output["tokens"][:, -9:])
    maps = output["attention_maps"]
    assert maps.shape[-1] == prefix + 2 + 9
    torch.testing.assert_close(output["cls_attention_map"], maps[-1, :, :, 0, -9:])
    torch.testing.assert_close(
        output["cls_attention"].softmax(-1), maps[:, :, :, 0, -9:] / maps[..., 0, -9:].sum(-1, True)
    )
    if arguments.get("global_pool") == "avg":
        backbone: Any = model.backbone
        tokens = backbone.forward_features(model.normalised(images))
        torch.testing.assert_close(output.features, backbone.fc_norm(tokens[:, -9:].mean(1)))


def test_maps_of_a_decoder_are_of_the_patches_alone() -> None:
    plain = small(img_size=16)
    model = DenseModel(plain.backbone, ViT(), DIM, CLASSES, [0.5] * 3, [0.25] * 3, 8, 8).double().eval()
    begun(vpt.VPT(prompts=2), model)
    images = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    output = model(images, ["block_output", *MAPS])
    assert output.logits.shape == (2, CLASSES, 16, 16)
    for name, block in zip(MAPS, (0, 1, 1, 2), strict=True):
        patches = output["block_output"][block][:, 1 + 2 :]
        assert torch.equal(output[name].flatten(2).transpose(1, 2), patches)


def test_the_gradient_goes_to_prompts_and_head_alone_and_the_backbone_is_in_eval_mode() -> None:
    model = small(drop_path_rate=0.5)
    stage, _ = begun(vpt.VPT(prompts=2), model)
    set_modes(stage)
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    prompts = {f"backbone.blocks.{number}.prompts.values" for number in range(DEPTH)}
    assert names == prompts | {"head.weight", "head.bias"}
    logits = model(some_images()).logits
    assert torch.equal(model(some_images()).logits, logits)
    logits.sum().backward()
    weights = dict(model.named_parameters())
    assert all(weights[name].grad.abs().sum() > 0 for name in prompts)  # type: ignore[union-attr]


def test_a_prompt_has_the_layer_of_its_block_for_layer_wise_decay() -> None:
    model = small()
    begun(vpt.VPT(), model)
    layers = [model.family.layer(f"blocks.{number}.prompts.values", model.backbone)[0] for number in range(DEPTH)]
    assert layers == [1, 2, 3]


def test_dropout_is_of_the_prompts_and_in_training_alone() -> None:
    model = small()
    stage, _ = begun(vpt.VPT(dropout=0.5), model)
    images = some_images()
    assert torch.equal(model(images).logits, model(images).logits)
    set_modes(stage)
    assert not torch.equal(model(images).logits, model(images).logits)


def test_prompts_are_drawn_uniformly_by_the_size_of_a_patch() -> None:
    """Glorot's bound of the released code for 16 inputs a channel of a 4 × 4 patch and 24 outputs."""
    torch.manual_seed(0)
    model = small()
    (*prompts, _) = next(vpt.VPT(prompts=500).stages(model, RECIPE, None)).train
    values = torch.cat([each.values for each in prompts])
    bound = math.sqrt(6 / (3 * 16 + 24))
    assert values.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not torch.equal(prompts[0].values, prompts[1].values)


def test_a_copy_is_a_model_of_its_own() -> None:
    model = small()
    begun(vpt.VPT(), model)
    copied, logits = frozen(model), model(some_images()).logits
    with torch.no_grad():
        for block in blocks_of(model):
            block.prompts.values.zero_()
    assert torch.equal(copied(some_images()).logits, logits)
    assert not torch.equal(model(some_images()).logits, logits)


def test_an_export_takes_any_number_of_images() -> None:
    prompts = vpt.Prompts(torch.randn(2, DIM), 1, 0, 0.0).eval()
    jit: Any = torch.jit
    traced = jit.trace(prompts, torch.randn(2, 10, DIM))
    tokens = torch.randn(5, 10, DIM)
    assert torch.equal(traced(tokens), prompts(tokens))


@pytest.mark.parametrize(
    ("depth", "count", "numbers"), [("shallow", 50, 38_400), ("deep", 50, 460_800), ("deep", 1, 9_216)]
)
def test_it_trains_a_vector_for_each_prompt_and_layer(depth: str, count: int, numbers: int) -> None:
    assert trained_of_vit_base(vpt.VPT(depth=depth, prompts=count)) == numbers
