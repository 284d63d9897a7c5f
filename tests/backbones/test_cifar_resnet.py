"""ResNets for CIFAR: their size, their shortcut, and the accuracy that published weights are known to have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.layers import DropPath

from bench.backbones import Model, build_model
from bench.backbones.build import build_source_head, input_size
from bench.backbones.cifar_resnet import CifarResNet, Shortcut
from bench.backbones.families import family_of
from bench.backbones.resnet import ResNet
from bench.cli import main
from bench.data import ArrayImages, Split, TrainingImages
from bench.errors import InputError
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.answers import predict

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(("depth", "weights"), [(20, 269_722), (56, 853_018)])
def test_with_its_classifier_it_has_as_many_weights_as_published(depth: int, weights: int) -> None:
    assert sum(weight.numel() for weight in CifarResNet(depth).parameters()) + 65 * 10 == weights


def test_the_shortcut_takes_every_second_pixel_and_adds_channels_of_zeros() -> None:
    images = torch.rand(2, 3, 5, 6)
    out = Shortcut(4)(images)
    assert out.shape == (2, 7, 3, 3)
    assert torch.equal(out[:, 2:5], images[:, :, [0, 2, 4]][..., [0, 2, 4]])
    assert not out[:, :2].any()
    assert not out[:, 5:].any()


def test_a_block_by_hand() -> None:
    torch.manual_seed(0)
    backbone = CifarResNet(8).eval()
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    block: Any = backbone.layer2[0]
    given = torch.randn(1, 16, 6, 6)
    branch = block.bn2(block.conv2(block.bn1(block.conv1(given)).relu()))
    padded = torch.zeros(1, 32, 3, 3)
    padded[:, 8:24] = given[:, :, ::2, ::2]
    torch.testing.assert_close(block(given), (branch + padded).relu())


def test_features_are_the_mean_of_the_grid_and_three_maps_can_be_read() -> None:
    model = build_model(Registry().backbone("cifar_resnet20@none"), 3).eval()
    assert isinstance(model.family, ResNet)
    assert input_size(model) == 32
    output = model(torch.rand(2, 3, 32, 32), probe=["grid", "conv_map_1", "conv_map_2", "conv_map_3"])
    torch.testing.assert_close(output["grid"].mean((2, 3)), output.features)
    assert [output[f"conv_map_{stage}"].shape[1:] for stage in (1, 2, 3)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    with pytest.raises(KeyError, match="conv_map_4"):
        model.probe(torch.rand(1, 3, 32, 32), "conv_map_4")
    assert model.family.layer("layer3.2.conv1.weight", model.backbone) == (9, 10)


def test_stochastic_depth_rises_over_the_blocks() -> None:
    rates = [
        module.drop_prob for module in CifarResNet(14, drop_path_rate=0.5).modules() if isinstance(module, DropPath)
    ]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_a_depth_of_no_number_of_blocks_is_refused(depth: int) -> None:
    with pytest.raises(InputError, match=rf"6 n \+ 2 layers .*, not {depth}$"):
        CifarResNet(depth)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the published weights and CIFAR-10's images are not in ../shared/data")
@pytest.mark.parametrize(("depth", "digest", "right"), [(20, "12fca82f", 915), (56, "4bfd9763", 926)])
def test_published_weights_reach_their_accuracy_on_the_first_1000_test_images(
    depth: int, digest: str, right: int, tmp_path: Path
) -> None:
    """Recorded on all 10,000: 91.78 % and 93.62 %; on these 1,000, by the code that published them: 91.5 and 92.6 %."""
    name, file = f"cifar_resnet{depth}", tmp_path / "w.safetensors"
    checkpoint = DATA / "weights-cifar10-small" / f"resnet{depth}-{digest}.th"
    assert main(["convert", name, str(checkpoint), str(file)]) == 0
    card = Registry().backbone(f"{name}@{file}")
    model = build_model(card, 10)
    model.head = build_source_head(card)  # the classes are those of the pre-training, so its head is the head
    folder = DATA / "cifar10-lossless-5k"
    pixels = np.asarray(Image.open(folder / "cifar10_batch_50.png").convert("RGB")).reshape(-1, 32, 32, 3)
    labels = np.loadtxt(folder / "labels_test_0_1000.txt", dtype=np.int64)
    split = Split(ArrayImages(pixels), labels)
    assert predict(model, split, some_data(model, split)).right.sum() == pytest.approx(right, abs=1)


def some_data(model: Model, split: Split) -> TrainingImages:
    """What the evaluation is told: the size of images, and how they are brought to it."""
    assert type(family_of(model.backbone)) is ResNet
    protocol = Protocol(recipe=Recipe(steps=1), augmentation="none", precision="fp32")
    device = torch.device("cpu")
    return TrainingImages(split, np.arange(len(split)), 10, protocol, input_size(model), 0, device)
