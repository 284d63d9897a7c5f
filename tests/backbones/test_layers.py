"""What every kind of backbone gives layer by layer, pooled over places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from bench.backbones import Model
from bench.backbones.cifar_resnet import CifarResNet
from bench.backbones.families import family_of
from bench.backbones.layers import layers_of, pooled_layers
from tests.backbones.test_interface import BLOCKS, model_of, some_images

STAGES = {
    "swin": {"layers.0": 8, "layers.1": 16},
    "swin v2": {"layers.0": 8, "layers.1": 16},
    "cvt": {"cvt.encoder.stages.0": 8, "cvt.encoder.stages.1": 12, "cvt.encoder.stages.2": 16},
    "cvt, mean": {"cvt.encoder.stages.0": 8, "cvt.encoder.stages.1": 12, "cvt.encoder.stages.2": 16},
    "resnet": {"act1": 8, "layer1": 8, "layer2": 8, "layer3": 16, "layer4": 16},
}


@pytest.mark.parametrize("name", BLOCKS)
def test_of_a_transformer_with_blocks_they_are_the_means_over_its_tokens(name: str) -> None:
    model = model_of(name)
    images = some_images(model)
    with torch.no_grad():
        layers, output = pooled_layers(model, images), model(images, probe="block_output")
    assert [*layers] == ["blocks.0", "blocks.1", "blocks.2", "features"]
    for number, tokens in enumerate(output["block_output"]):
        assert torch.equal(layers[f"blocks.{number}"], tokens.mean(1))
    assert torch.equal(layers["features"], output.features)


@pytest.mark.parametrize("name", STAGES)
def test_of_stages_they_have_the_width_of_each(name: str) -> None:
    model = model_of(name)
    images = some_images(model)
    with torch.no_grad():
        layers = pooled_layers(model, images)
    widths = {layer: pooled.shape[1] for layer, pooled in layers.items()}
    assert widths == {**STAGES[name], "features": model.dim}
    assert all(len(pooled) == len(images) for pooled in layers.values())


def test_the_last_stage_of_a_network_that_pools_it_is_its_features() -> None:
    for name in ("resnet", "cvt, mean"):
        model = model_of(name)
        with torch.no_grad():
            layers = pooled_layers(model, some_images(model))
        *_, last, features = layers.values()
        assert torch.allclose(last, features)


def test_a_resnet_for_cifar() -> None:
    backbone: Any = CifarResNet(8)
    model = Model(backbone, family_of(backbone), 64, 5, [0.5] * 3, [0.5] * 3).eval()
    with torch.no_grad():
        layers = pooled_layers(model, torch.rand(2, 3, 16, 16))
    assert {layer: pooled.shape[1] for layer, pooled in layers.items()} == {
        **{"layer1": 16, "layer2": 32, "layer3": 64},
        "features": 64,
    }


def test_a_network_that_does_not_say_its_layers() -> None:
    with pytest.raises(KeyError, match="Linear does not say which modules are its layers"):
        layers_of(nn.Linear(2, 2))


def test_an_output_of_another_width_is_refused() -> None:
    model = model_of("vit")
    backbone: Any = model.backbone
    backbone.feature_info = [{"module": "blocks.0.attn.qkv", "num_chs": 12}]
    with torch.no_grad(), pytest.raises(KeyError, match=r"blocks\.0\.attn\.qkv of VisionTransformer gives is neither"):
        pooled_layers(model, some_images(model))
