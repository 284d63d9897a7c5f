"""Channels last: on a GPU, of backbones that are convolutional; nowhere else, and never in another number."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from bench.backbones import build_model
from bench.backbones.build import sketch
from bench.device import memory_format
from bench.device.memory_format import laid_out, wants_channels_last
from bench.registry import Registry

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("backbone", "convolutional"),
    [
        ("micro_resnet", True),
        ("timm:resnet50@none", True),
        ("timm:convnext_tiny@none", True),
        ("cvt_13", True),
        ("micro_vit", False),
        ("timm:vit_small_patch16_224@none", False),
        ("timm:swin_tiny_patch4_window7_224@none", False),
    ],
)
def test_backbones_whose_windows_overlap_want_it_on_a_gpu_alone(backbone: str, convolutional: bool) -> None:
    network = sketch(Registry().backbone(backbone)).backbone
    assert wants_channels_last(network, GPU) is convolutional
    assert not wants_channels_last(network, CPU)


def test_images_are_laid_out_before_every_pass_and_numbers_stay() -> None:
    model = build_model(Registry().backbone("micro_resnet"), 5).eval()
    images, seen = torch.rand(2, len(model.mean), 16, 16), list[bool]()
    assert laid_out(model.backbone, images) is images
    plain = model(images).features
    first = next(layer for layer in model.backbone.modules() if isinstance(layer, torch.nn.Conv2d))
    first.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    with mock.patch.object(memory_format, "wants_channels_last", return_value=True):
        torch.testing.assert_close(model(images).features, plain)
        model.probe(images, "conv_map_1")
    assert seen == [True, True]
