"""CvT against transformers' own classifier, and what methods ask of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from timm.layers import DropPath
from torch import nn

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.errors import InputError
from bench.registry import Registry

SIZES: dict[str, Any] = {"embed_dim": [8, 12, 16], "num_heads": [1, 2, 4], "depth": [1, 2, 3], "mlp_ratio": [2, 2, 2]}
CARD = f"""title: a tiny CvT
model: cvt
arguments: {{img_size: 32, embed_dim: {SIZES["embed_dim"]}, num_heads: {SIZES["num_heads"]}, depth: [1, 2, 3],
            mlp_ratio: [2, 2, 2]}}
offers: [grid, attention, ffn, position]
published: nowhere
"""


def tiny(pooling: str = "cls", **arguments: Any) -> Model:
    torch.manual_seed(0)
    backbone = ConvolutionalViT(32, pooling=pooling, **SIZES, **arguments)
    model = Model(backbone, family_of(backbone), 16, 5, [0.5] * 3, [0.25] * 3)
    with torch.no_grad():  # norms that do something
        for name, value in backbone.state_dict().items():
            if "norm" in name and value.is_floating_point():
                value.add_(torch.rand_like(value))
    return model.eval()


def published(with_cls: bool = True) -> Any:
    """transformers' classifier of the same sizes."""
    torch.manual_seed(1)
    sizes = {**SIZES, "mlp_ratio": [2.0, 2.0, 2.0], "drop_path_rate": [0.0, 0.0, 0.0]}
    library: Any = transformers
    config = library.CvtConfig(**sizes, cls_token=[False, False, with_cls], num_labels=7)
    return library.CvtForImageClassification(config).eval()


class TestPublishedModel:
    def test_cvt_13_has_20_million_weights(self) -> None:
        backbone = ConvolutionalViT()
        assert round((sum(p.numel() for p in backbone.parameters()) + 385 * 1000) / 1e6, 2) == 20.0

    def test_a_published_file_fits_as_it_is_and_gives_the_same_logits(self, tmp_path: Path) -> None:
        (tmp_path / "backbones").mkdir()
        (tmp_path / "backbones" / "tiny_cvt.yaml").write_text(CARD, encoding="utf-8")
        theirs, file = published(), tmp_path / "model.safetensors"
        save_file(theirs.state_dict(), file)
        model = build_model(Registry([tmp_path]).backbone(f"tiny_cvt@{file}"), 3).eval()
        images = torch.rand(2, 3, 32, 32)
        logits = theirs(model.normalised(images)).logits
        torch.testing.assert_close(theirs.classifier(model(images).features), logits, rtol=1e-6, atol=1e-6)
        assert input_size(model) == 32

    def test_without_class_token_it_is_the_mean_of_the_last_map(self) -> None:
        theirs = published(with_cls=False)
        model = tiny("mean")
        model.backbone.load_state_dict(
            {name: value for name, value in theirs.state_dict().items() if name.startswith("cvt.")}
        )
        images = torch.rand(2, 3, 32, 32)
        expected = theirs.cvt(model.normalised(images)).last_hidden_state.mean((2, 3))
        torch.testing.assert_close(model(images).features, expected)
        assert not any("cls_token" in name for name in model.backbone.state_dict())

    def test_another_pooling_is_refused(self) -> None:
        with pytest.raises(InputError, match=r"^CvT: pooling = 'max' is not allowed; it is 'cls' or 'mean'$"):
            ConvolutionalViT(pooling="max")

    def test_without_transformers_one_line_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(InputError) as caught:
            build_model(Registry().backbone("cvt_13@none"), 3)
        assert caught.value.problems == ("CvT needs transformers: pip install 'finetune-bench[transformers]'",)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("batch", [1, 3])
class TestProbes:
    def test_the_grid_is_the_last_stages_map(self, pooling: str, batch: int) -> None:
        model, images = tiny(pooling), torch.rand(batch, 3, 64, 64)
        backbone: Any = model.backbone
        by_hand, cls_token = model.normalised(images), None
        for stage in backbone.cvt.encoder.stages:
            by_hand, cls_token = stage(by_hand)
        output = model(images, probe="grid")
        assert output["grid"].shape == (batch, 16, 4, 4)
        assert torch.equal(output["grid"], by_hand)
        assert torch.equal(output["grid"], backbone.cvt(model.normalised(images)).last_hidden_state)
        if pooling == "cls":
            torch.testing.assert_close(output.features, backbone.layernorm(cls_token)[:, 0])

    def test_a_probe_alone_is_the_same(self, pooling: str, batch: int) -> None:
        model, images = tiny(pooling), torch.rand(batch, 3, 32, 32)
        assert torch.equal(model.probe(images, "grid"), model(images, probe="grid")["grid"])


class TestStochasticDepth:
    def test_it_rises_over_the_blocks_of_the_last_stage(self) -> None:
        backbone: Any = tiny(drop_path_rate=0.2).backbone
        rates = [
            [module.drop_prob for module in block.modules() if isinstance(module, DropPath)]
            for stage in backbone.cvt.encoder.stages
            for block in stage.layers
        ]
        assert rates == [[], [], [], [0.0, 0.0], pytest.approx([0.1, 0.1]), pytest.approx([0.2, 0.2])]
        assert not any("DropPath" in type(module).__name__ for module in tiny().backbone.modules())

    def test_a_dropped_block_leaves_its_input_as_it_is(self) -> None:
        """transformers' own drops the residual with the branch, so that nothing of the image is left."""
        torch.manual_seed(0)
        backbone: Any = tiny(drop_path_rate=1 - 1e-6).backbone.train()
        block = backbone.cvt.encoder.stages[2].layers[2]
        tokens = torch.randn(4, 1 + 4, 16)
        assert torch.equal(block(tokens, 2, 2), tokens)
        block.eval()
        assert not torch.allclose(block(tokens, 2, 2), tokens, atol=1e-3)


class TestParts:
    def test_attention_and_ffn_are_the_two_branches_of_every_block(self) -> None:
        model = tiny(drop_path_rate=0.2)
        names = {parameter: name for name, parameter in model.backbone.named_parameters()}
        marks = {"attention": (".attention.",), "ffn": (".intermediate.", "output.dense")}
        for part, kept in marks.items():
            modules = [module for module in model.part(part) if isinstance(module, nn.Module)]
            expected = {name for name in names.values() if ".layers." in name and any(mark in name for mark in kept)}
            if part == "ffn":
                expected -= {name for name in expected if ".attention." in name}
            assert {names[p] for module in modules for p in module.parameters()} == expected
            drops = [m for module in modules for m in module.modules() if isinstance(m, DropPath)]
            assert len(drops) == 3
        assert model.part("position") == []
        with pytest.raises(KeyError):
            model.part("last_convs")

    def test_layers_are_counted_by_block_through_the_stages(self) -> None:
        model = tiny()
        layers: dict[str, set[int]] = {}
        for name, _ in model.backbone.named_parameters():
            layer, top = model.family.layer(name, model.backbone)
            assert top == 7
            place = name.removeprefix("cvt.encoder.").split(".")
            layers.setdefault(".".join(place[: 4 if "layers" in place else 3]), set()).add(layer)
        assert layers == {
            "stages.0.embedding": {0},
            "stages.0.layers.0": {1},
            "stages.1.embedding": {2},
            "stages.1.layers.0": {2},
            "stages.1.layers.1": {3},
            "stages.2.cls_token": {4},
            "stages.2.embedding": {4},
            "stages.2.layers.0": {4},
            "stages.2.layers.1": {5},
            "stages.2.layers.2": {6},
            "layernorm.weight": {7},
            "layernorm.bias": {7},
        }
