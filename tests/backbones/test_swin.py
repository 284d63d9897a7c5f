"""What methods ask of timm's Swin and Swin V2, against what timm computes itself."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2

from bench.backbones import Model, build_model
from bench.backbones.families import family_of
from bench.backbones.swin import Swin
from bench.cards.kinds import SWIN, SWIN_V2
from bench.cards.timm_names import kind_of_timm
from bench.registry import Registry

VERSIONS = [SwinTransformer, SwinTransformerV2]
TINY = {"img_size": 32, "patch_size": 2, "embed_dim": 8, "depths": (1, 2, 2), "num_heads": (1, 2, 4), "window_size": 2}
"""Grids of 16, 8 and 4 places a side, of width 8, 16 and 32."""


def tiny(version: Any, **arguments: Any) -> Model:
    torch.manual_seed(0)
    backbone = version(num_classes=0, **TINY, **arguments)
    return Model(backbone, family_of(backbone), 32, 5, [0.5] * 3, [0.5] * 3).eval()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("batch", [1, 3])
class TestProbes:
    def test_the_tokens_are_timms_features_row_by_row(self, version: Any, batch: int) -> None:
        model, images = tiny(version), torch.rand(batch, 3, 32, 32)
        output = model(images, probe="tokens")
        backbone: Any = model.backbone
        features = backbone.forward_features(model.normalised(images))
        assert output["tokens"].shape == (batch, 16, 32)
        for row in range(4):
            for column in range(4):
                assert torch.equal(output["tokens"][:, 4 * row + column], features[:, row, column])
        torch.testing.assert_close(output.features, output["tokens"].mean(1))

    def test_the_grid_is_what_the_last_stage_gives_before_the_norm(self, version: Any, batch: int) -> None:
        model, images = tiny(version), torch.rand(batch, 3, 32, 32)
        output = model(images, probe=["grid", "tokens"])
        backbone: Any = model.backbone
        by_hand = backbone.patch_embed(model.normalised(images))
        for stage in backbone.layers:
            by_hand = stage(by_hand)
        assert output["grid"].shape == (batch, 32, 4, 4)
        assert torch.equal(output["grid"], by_hand.permute(0, 3, 1, 2))
        normed = backbone.norm(output["grid"].flatten(2).transpose(1, 2))
        torch.testing.assert_close(normed, output["tokens"])
        assert not torch.allclose(output["grid"].flatten(2).transpose(1, 2), output["tokens"])

    @pytest.mark.parametrize("name", ["grid", "tokens"])
    def test_a_probe_alone_is_the_same(self, version: Any, batch: int, name: str) -> None:
        model, images = tiny(version), torch.rand(batch, 3, 32, 32)
        assert torch.equal(model.probe(images, name), model(images, probe=name)[name])


@pytest.mark.parametrize("version", VERSIONS)
class TestParts:
    def test_attention_and_ffn_are_the_two_branches_of_every_block(self, version: Any) -> None:
        model = tiny(version, drop_path_rate=0.3)
        names = {parameter: name for name, parameter in model.backbone.named_parameters()}
        depths = []
        for part, mark in (("attention", ".attn."), ("ffn", ".mlp.")):
            modules = [module for module in model.part(part) if isinstance(module, torch.nn.Module)]
            assert {names[p] for module in modules for p in module.parameters()} == {
                name for name in names.values() if mark in name
            }
            depths.append([module.drop_prob for module in modules if isinstance(module, DropPath)])
        expected = [0.3 * number / 4 for number in range(1, 5)]  # the first block has none
        assert depths == [pytest.approx(expected), pytest.approx(expected)]

    def test_position_is_what_the_relative_bias_comes_from(self, version: Any) -> None:
        model = tiny(version)
        names = {parameter: name for name, parameter in model.backbone.named_parameters()}
        parts = [
            names[p]
            for item in model.part("position")
            for p in ([item] if isinstance(item, torch.nn.Parameter) else item.parameters())
        ]
        kept = ["relative_position_bias_table"]
        if version is SwinTransformerV2:
            kept = ["cpb_mlp.0.weight", "cpb_mlp.0.bias", "cpb_mlp.2.weight"]
        blocks = ["0.blocks.0", "1.blocks.0", "1.blocks.1", "2.blocks.0", "2.blocks.1"]
        assert parts == [f"layers.{block}.attn.{name}" for block in blocks for name in kept]

    def test_layers_are_counted_by_block_through_the_stages(self, version: Any) -> None:
        model = tiny(version)
        layers: dict[str, set[int]] = {}
        for name, _ in model.backbone.named_parameters():
            layer, top = model.family.layer(name, model.backbone)
            assert top == 6
            place = name.split(".")
            length = 1 if place[0] != "layers" else 3 if place[2] == "downsample" else 4
            layers.setdefault(".".join(place[:length]), set()).add(layer)
        assert layers == {
            "patch_embed": {0},
            "layers.0.blocks.0": {1},
            "layers.1.downsample": {1},
            "layers.1.blocks.0": {2},
            "layers.1.blocks.1": {3},
            "layers.2.downsample": {3},
            "layers.2.blocks.0": {4},
            "layers.2.blocks.1": {5},
            "norm": {6},
        }


def test_timms_names_of_swins() -> None:
    served = [name for name in timm.list_models("*swin*") if kind_of_timm(name) in (SWIN, SWIN_V2)]
    assert len(served) >= 20
    assert "swinv2_cr_tiny_224" not in served


def test_what_a_card_offers_the_family_has() -> None:
    model = tiny(SwinTransformer)
    offered = Registry().backbone("timm:swin_tiny_patch4_window7_224.ms_in1k@none").offers
    assert offered == {"grid", "tokens", "attention", "ffn", "norms", "embeddings", "position", "linears"}
    for name in offered - {"grid", "tokens"}:
        assert model.part(name)
    for name in ("grid", "tokens"):
        assert model.probe(torch.rand(1, 3, 32, 32), name).shape[0] == 1
    with pytest.raises(KeyError):
        model.part("batch_norm")
    with pytest.raises(KeyError):
        model.probe(torch.rand(1, 3, 32, 32), "cls_attention")


@pytest.mark.slow
@pytest.mark.parametrize("drop_path", [0.0, 0.2])
def test_a_timm_swin_is_built_with_the_protocols_stochastic_depth(drop_path: float) -> None:
    """timm's own default is 0.1."""
    card = Registry().backbone("timm:swin_tiny_patch4_window7_224@none")
    model = build_model(card, 3, drop_path=drop_path)
    assert isinstance(model.family, Swin)
    rates = [module.drop_prob for module in model.backbone.modules() if isinstance(module, DropPath)]
    assert max(rates, default=0.0) == pytest.approx(drop_path)
    assert model.eval().probe(torch.rand(1, 3, 224, 224), "grid").shape == (1, 768, 7, 7)
