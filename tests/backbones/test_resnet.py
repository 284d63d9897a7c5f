"""ResNets: probes and parts against timm's own forward pass, what names promise, input sizes, the micro ResNet."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.build import build_source_head, input_size
from bench.backbones.families import family_of
from bench.backbones.resnet import ResNet, build_resnet
from bench.cards.backbone import file_sha256
from bench.cards.offers import RESNET_OFFERS, timm_offers
from bench.data.clutter import clutter_glyphs, cut_fragments, to_grey
from bench.data.letters import read_bank
from bench.errors import InputError
from bench.protocol import Recipe
from bench.registry import Registry
from bench.training.optimizer import build_optimizer, set_learning_rate
from tests.backbones.bare import bare

MAPS = ("conv_map_1", "conv_map_2", "conv_map_3", "conv_map_4")
PARTS = ("batch_norm", "norms", "last_convs")
ALL = ("grid", *MAPS)


def built(name: str, image_size: int = 0, drop_path: float = 0.0) -> Model:
    torch.manual_seed(0)
    return build_model(Registry().backbone(name), 5, image_size, drop_path)


@pytest.fixture(scope="module", params=["micro_resnet@none", "timm:resnet18@none", "timm:resnet50@none"])
def model(request: pytest.FixtureRequest) -> Model:
    return built(request.param, 0 if request.param.startswith("micro") else 64).eval()


def some_images(model: Model, count: int = 2) -> Tensor:
    side = input_size(model)
    return torch.rand(count, len(model.mean), side, side, generator=torch.Generator().manual_seed(1))


class TestProbes:
    def test_the_grid_is_the_map_whose_mean_is_the_features(self, model: Model) -> None:
        with torch.no_grad():
            output = model(some_images(model), probe="grid")
        assert output["grid"].shape[:2] == (2, model.dim)
        torch.testing.assert_close(output["grid"].mean((2, 3)), output.features)

    def test_the_last_block_goes_from_the_conv_map_to_the_end_of_its_stage(self, model: Model) -> None:
        """Batch norm and residual, done by hand on what the probe gives, make what the stage puts out."""
        ends: dict[str, tuple[Tensor, Tensor]] = {}
        backbone: Any = model.backbone
        stages = [backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4]
        hooks = [
            stage[-1].register_forward_hook(
                lambda _, given, output, name=name: ends.update({name: (given[0].clone(), output.clone())})
            )
            for name, stage in zip(MAPS, stages, strict=True)
        ]
        with torch.no_grad():
            output = model(some_images(model), probe=MAPS)
            for hook in hooks:
                hook.remove()
            for name, stage in zip(MAPS, stages, strict=True):
                block, (given, made) = stage[-1], ends[name]
                norm = block.bn3 if hasattr(block, "conv3") else block.bn2
                shortcut = given if block.downsample is None else block.downsample(given)
                torch.testing.assert_close((norm(output[name]) + shortcut).relu(), made)

    def test_one_probe_alone_is_the_same(self, model: Model) -> None:
        images = some_images(model)
        with torch.no_grad():
            together = model(images, probe=ALL)
            for name in ALL:
                assert torch.equal(model.probe(images, name), together[name])

    def test_gradients_flow_through_a_probe(self) -> None:
        model = built("micro_resnet@none").eval()
        model.probe(some_images(model), "conv_map_1").square().sum().backward()  # type: ignore[no-untyped-call]
        backbone: Any = model.backbone
        assert backbone.conv1.weight.grad.abs().sum() > 0
        assert backbone.layer1[-1].bn2.weight.grad is None
        assert backbone.layer2[0].conv1.weight.grad is None

    @pytest.mark.parametrize("name", ["conv_map_0", "conv_map_5", "conv_map_", "1", "tokens", "cls_attention"])
    def test_others_are_refused(self, name: str) -> None:
        model = built("micro_resnet@none")
        with pytest.raises(KeyError, match=name):
            model.probe(some_images(model), name)


class TestParts:
    def test_batch_norms_are_all_that_there_are(self, model: Model) -> None:
        found = model.part("batch_norm")
        assert all(isinstance(norm, nn.BatchNorm2d) for norm in found)
        names = {name.rpartition(".")[0] for name in model.backbone.state_dict() if name.endswith("running_mean")}
        assert {id(norm) for norm in found} == {id(model.backbone.get_submodule(name)) for name in names}

    def test_the_last_convolutions_make_the_conv_maps(self, model: Model) -> None:
        seen: list[Tensor] = []
        hooks = [
            part.register_forward_hook(lambda _, given, output: seen.append(output))
            for part in model.part("last_convs")
            if isinstance(part, nn.Conv2d)
        ]
        with torch.no_grad():
            output = model(some_images(model), probe=MAPS)
        for hook in hooks:
            hook.remove()
        assert len(seen) == 4
        assert all(torch.equal(made, output[name]) for made, name in zip(seen, MAPS, strict=True))

    def test_others_are_refused(self) -> None:
        with pytest.raises(KeyError, match="attention"):
            built("micro_resnet@none").part("attention")


class TestLayers:
    def test_layers_of_resnet18_by_hand(self) -> None:
        backbone = timm.create_model("resnet18", num_classes=0)
        layer = {name: ResNet().layer(name, backbone) for name, _ in backbone.named_parameters()}
        assert {top for _, top in layer.values()} == {9}
        expected = {
            **{"conv1.weight": 0, "bn1.weight": 0, "layer1.0.conv1.weight": 1, "layer1.1.bn2.bias": 2},
            **{"layer2.0.downsample.0.weight": 3, "layer2.1.conv2.weight": 4, "layer3.0.bn1.weight": 5},
            **{"layer3.1.conv1.weight": 6, "layer4.0.downsample.1.bias": 7, "layer4.1.conv2.weight": 8},
        }
        assert {name: layer[name][0] for name in expected} == expected

    def test_layer_wise_decay_scales_learning_rates(self) -> None:
        model = built("micro_resnet@none")
        recipe = Recipe(steps=4, lr=1.0, layer_decay=0.5).resolved(8, 4)
        optimizer = build_optimizer(model, model.named_parameters(), recipe, None)
        set_learning_rate(optimizer, 0)
        rate = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
        backbone: Any = model.backbone
        assert rate[id(model.head.weight)] == 1.0
        assert rate[id(backbone.layer4[0].conv1.weight)] == 0.5
        assert rate[id(backbone.layer1[0].conv1.weight)] == pytest.approx(0.5**4)
        assert rate[id(backbone.conv1.weight)] == pytest.approx(0.5**5)


class TestNames:
    def test_the_names_are_those_of_timm_s_resnets(self) -> None:
        promised = {name for name in timm.list_models() if "conv_map_1" in timm_offers(name)}
        assert promised == set(timm.list_models(module="resnet"))
        assert promised >= {"resnet18", "resnet26", "resnet34", "resnet50", "resnet101", "resnet152"}
        assert promised >= {"resnext50_32x4d", "wide_resnet50_2", "seresnet50", "resnetaa50", "resnetrs50"}

    def test_no_offer_without_its_like_in_the_family(self, model: Model) -> None:
        for name in RESNET_OFFERS - set(PARTS):
            assert model.probe(some_images(model), name).ndim == 4
        assert all(model.part(name) for name in PARTS)

    @pytest.mark.parametrize(
        "name", ["resnetv2_50", "skresnet18", "res2net50_26w_4s", "resnest14d", "resnet50_clip", "resnext26ts"]
    )
    def test_models_that_only_sound_alike(self, name: str) -> None:
        """Other classes, or timm's ResNet of other blocks."""
        assert not timm_offers(name) & {*MAPS, "batch_norm", "last_convs"}
        with bare():
            assert not isinstance(family_of(timm.create_model(name, num_classes=0)), ResNet)

    def test_without_batch_norm_none_is_offered(self) -> None:
        assert timm_offers("resnet50_gn") == RESNET_OFFERS - {"batch_norm"}

    def test_tags_of_weights_change_nothing(self) -> None:
        assert timm_offers("resnet50.a1_in1k") == timm_offers("resnet50") == RESNET_OFFERS


class TestInputSize:
    @pytest.mark.parametrize(("name", "own"), [("micro_resnet@none", 12), ("timm:resnet18@none", 224)])
    def test_any_size_is_taken(self, name: str, own: int) -> None:
        assert input_size(built(name)) == own
        model = built(name, 40).eval()
        assert input_size(model) == 40
        with torch.no_grad():
            assert model(some_images(model)).features.shape == (2, model.dim)

    def test_the_size_changes_no_weight(self) -> None:
        one, other = built("timm:resnet18@none").state_dict(), built("timm:resnet18@none", 32).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_stochastic_depth_is_taken(self) -> None:
        model = built("micro_resnet@none", drop_path=0.5).train()
        for norm in model.part("batch_norm"):
            nn.init.ones_(norm.weight)  # type: ignore[union-attr, arg-type]  # zero at the end of each branch before
        images = some_images(model, 8)
        first, second = (model(images).features for _ in range(2))
        assert not torch.equal(first, second)

    @pytest.mark.parametrize("image_size", [0, 64])
    def test_an_argument_that_there_is_not_is_refused_with_and_without_a_size(self, image_size: int) -> None:
        card = dataclasses.replace(Registry().backbone("timm:resnet18@none"), arguments={"no_such_thing": 1})
        with pytest.raises(InputError, match="no_such_thing"):
            build_model(card, 5, image_size)


class TestBuildResNet:
    def test_the_stem_leaves_the_size_as_it_is(self) -> None:
        backbone: Any = build_resnet("Bottleneck", 6, 3, 16, layers=(1, 1, 1, 1), channels=(4, 4, 8, 8))
        images = torch.rand(2, 3, 16, 16)
        assert backbone.maxpool(backbone.act1(backbone.bn1(backbone.conv1(images)))).shape == (2, 6, 16, 16)
        assert backbone(images).shape == (2, 32)
        deviation = math.sqrt(2 / (9 * 6))  # He et al. (2015), counted over what goes out
        assert float(backbone.conv1.weight.detach().std()) == pytest.approx(deviation, rel=0.3)

    def test_other_blocks_are_refused(self) -> None:
        with pytest.raises(InputError, match="did you mean 'Bottleneck'"):
            build_resnet("Botleneck", 6, 3, 16)


class TestMicroResNet:
    def test_the_card_promises_what_the_family_has(self) -> None:
        assert Registry().backbone("micro_resnet@none").offers == RESNET_OFFERS

    def test_size(self) -> None:
        assert 100_000 <= sum(weight.numel() for weight in built("micro_resnet@none").backbone.parameters()) <= 200_000

    def test_its_weights_are_those_of_its_card_and_tell_letters_apart(self) -> None:
        card = Registry().backbone("micro_resnet")
        assert file_sha256(Path(card.weights)) == card.sha256
        model = build_model(card, 26)
        model.head = build_source_head(card)
        bank, variants = read_bank(), read_bank().shape[1]
        levels = clutter_glyphs(bank.reshape(-1, 8, 8), cut_fragments(bank), np.random.RandomState(7), transparent=True)
        images = torch.from_numpy(to_grey(levels)).float()[:, None] / 255
        with torch.no_grad():
            found = model.eval()(images).logits.argmax(1)
        assert float((found == torch.arange(26).repeat_interleave(variants)).float().mean()) > 0.85

    def test_running_statistics_come_with_the_weights(self) -> None:
        card = Registry().backbone("micro_resnet")
        given, loaded = load_file(card.weights), build_model(card, 5).backbone.state_dict()
        assert {name for name in given if not name.startswith("head.")} == set(loaded)
        assert all(torch.equal(value, given[name]) for name, value in loaded.items())
        assert not torch.equal(loaded["bn1.running_mean"], torch.zeros(16))
