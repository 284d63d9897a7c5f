"""What timm's Beit offers to methods: tokens and their grid, parts, and layers."""

from __future__ import annotations

import re
from typing import Any

import pytest
import timm
import torch
from timm.models.beit import Beit
from torch import nn

from bench.backbones.beit import BEiT
from bench.backbones.families import family_of
from bench.backbones.model import Model
from bench.cards import offers
from bench.cards.kinds import BEIT
from bench.cards.timm_names import kind_of_timm
from tests.backbones.bare import bare

POSITIONS: dict[str, dict[str, bool]] = {
    "absolute": {"use_abs_pos_emb": True},
    "shared": {"use_abs_pos_emb": False, "use_shared_rel_pos_bias": True},
    "non-shared": {"use_abs_pos_emb": False, "use_rel_pos_bias": True},
}


def beit(position: str = "non-shared", **changes: Any) -> Model:
    """A Beit of width 24 and depth 3 on images of 8 × 16 pixels, every weight random."""
    torch.manual_seed(0)
    arguments: dict[str, Any] = {"img_size": (8, 16), "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 3}
    backbone = Beit(num_heads=3, num_classes=0, init_values=0.1, **{**arguments, **POSITIONS[position], **changes})
    model = Model(backbone, family_of(backbone), 24, 5, [0.4], [0.3]).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
    return model


@pytest.mark.parametrize("pooling", ["avg", "token"])
def test_tokens_are_those_after_the_last_block_and_the_norm_where_there_is_one(pooling: str) -> None:
    model, images = beit(global_pool=pooling), torch.rand(2, 1, 8, 16).double()
    seen: dict[str, torch.Tensor] = {}
    backbone: Any = model.backbone
    hook = backbone.blocks[-1].register_forward_hook(lambda _, given, output: seen.update(last=output))
    tokens = model.probe(images, "tokens")
    hook.remove()
    expected = seen["last"]
    assert isinstance(backbone.norm, nn.LayerNorm) == (pooling == "token")
    if pooling == "token":
        expected = (expected - expected.mean(-1, keepdim=True)) / (expected.var(-1, correction=0) + 1e-6).sqrt()[
            ..., None
        ]
        expected = backbone.norm.weight * expected + backbone.norm.bias
    assert tokens.shape == (2, 9, 24)
    torch.testing.assert_close(tokens, expected, rtol=1e-9, atol=1e-12)
    assert torch.equal(tokens, model(images, probe="tokens")["tokens"])


def test_pooled_features_are_the_normed_mean_of_the_patches_alone() -> None:
    model, images = beit(), torch.rand(2, 1, 8, 16).double()
    backbone: Any = model.backbone
    output = model(images, probe="tokens")
    pooled = output["tokens"][:, 1:].mean(1)
    torch.testing.assert_close(output.features, backbone.fc_norm(pooled), rtol=1e-9, atol=1e-12)


def test_the_grid_has_every_patch_in_its_place() -> None:
    model, images = beit(), torch.rand(2, 1, 8, 16).double()
    tokens, grid = model.probe(images, "tokens"), model.probe(images, "grid")
    assert grid.shape == (2, 24, 2, 4)
    for row in range(2):
        for column in range(4):
            assert torch.equal(grid[..., row, column], tokens[:, 1 + 4 * row + column])


@pytest.mark.parametrize("name", ["tokens", "grid"])
def test_probes_leave_nothing_behind_and_carry_gradients(name: str) -> None:
    model, images = beit(), torch.rand(2, 1, 8, 16).double()
    before = model(images).logits
    model.probe(images, name).square().sum().backward()  # type: ignore[no-untyped-call]
    assert model.backbone.patch_embed.proj.weight.grad.abs().sum() > 0  # type: ignore[union-attr,operator]
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(model(images).logits, before)


PARTS = {
    ("attention", "shared"): r"blocks\.\d\.attn\.(qkv\.weight|q_bias|v_bias|proj\.(weight|bias))",
    ("attention", "non-shared"): r"blocks\.\d\.attn\.(qkv\.weight|._bias|proj\.\w+|relative_position_bias_table)",
    ("ffn", "shared"): r"blocks\.\d\.mlp\.fc[12]\.(weight|bias)",
    ("position", "absolute"): r"pos_embed",
    ("position", "shared"): r"rel_pos_bias\.relative_position_bias_table",
    ("position", "non-shared"): r"blocks\.\d\.attn\.relative_position_bias_table",
}


@pytest.mark.parametrize(("part", "position"), PARTS)
def test_parts_are_these_weights(part: str, position: str) -> None:
    model = beit(position)
    found = set()
    for item in model.part(part):
        found |= set(item.parameters()) if isinstance(item, nn.Module) else {item}
    names = {name for name, weight in model.backbone.named_parameters() if weight in found}
    assert names
    assert names == {n for n, _ in model.backbone.named_parameters() if re.fullmatch(PARTS[part, position], n)}


def test_the_parts_of_the_branches_hold_their_stochastic_depth() -> None:
    model = beit(drop_path_rate=0.3)
    backbone: Any = model.backbone
    assert backbone.blocks[2].drop_path1 in model.part("attention")
    assert backbone.blocks[2].drop_path2 in model.part("ffn")


LAYERS = {
    "patch_embed.proj.weight": 0,
    "cls_token": 0,
    "pos_embed": 0,
    "blocks.0.attn.qkv.weight": 1,
    "blocks.2.attn.relative_position_bias_table": 3,
    "blocks.2.gamma_2": 3,
    "rel_pos_bias.relative_position_bias_table": 4,
    "fc_norm.weight": 4,
    "norm.bias": 4,
}


@pytest.mark.parametrize("parameter", LAYERS)
def test_layers_are_those_of_beit(parameter: str) -> None:
    assert BEiT().layer(parameter, beit().backbone) == (LAYERS[parameter], 4)


@pytest.mark.parametrize("position", POSITIONS)
def test_every_parameter_has_a_layer_that_never_falls_on_the_way_up(position: str) -> None:
    backbone = beit(position).backbone
    for name, _ in backbone.named_parameters():
        layer, top = BEiT().layer(name, backbone)
        assert 0 <= layer <= top == 4
        assert (layer == 0) == name.startswith(("patch_embed", "cls_token", "pos_embed"))


def test_what_it_does_not_have_is_a_key_error() -> None:
    backbone = beit().backbone
    with pytest.raises(KeyError, match="conv_map_1"):
        BEiT().probe("conv_map_1", backbone)
    with pytest.raises(KeyError, match="no_such_part"):
        BEiT().part("no_such_part", backbone)


@pytest.mark.parametrize("name", timm.list_models("*beit*"))
def test_the_names_that_offer_it_are_those_of_the_class(name: str) -> None:
    with bare():
        backbone = timm.create_model(name, num_classes=0)
    assert isinstance(backbone, Beit) == (kind_of_timm(name) is BEIT)
    if isinstance(backbone, Beit):
        assert isinstance(family_of(backbone), BEiT)
        assert all(family_of(backbone).part(part, backbone) for part in BEIT.offers & offers.PARTS)
