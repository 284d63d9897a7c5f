"""Every architecture that timm has: what its name says of it, what it gives, and in which layers its weights are."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
import timm
import torch
from timm.models import _registry
from timm.optim import param_groups_layer_decay
from torch import nn

from bench.backbones import Model
from bench.backbones.beit import BEiT
from bench.backbones.families import family_of
from bench.backbones.layer_groups import timm_layer
from bench.backbones.model import Family
from bench.backbones.pooled_maps import PooledMaps
from bench.backbones.resnet import ResNet
from bench.backbones.rotary import BiasedRotary, ClasslessBiasedRotary, ClasslessRotary, Rotary
from bench.backbones.swin import Swin
from bench.backbones.vit import Classless, ViT
from bench.cards.kinds import (
    BEIT,
    BIASED_ROTARY,
    CLASSLESS,
    CLASSLESS_BIASED_ROTARY,
    CLASSLESS_ROTARY,
    GROUP_NORM_RESNET,
    POOLED_MAPS,
    RESNET,
    ROTARY,
    ROTARY_APART,
    SWIN,
    SWIN_V2,
    VIT,
    BackboneKind,
)
from bench.cards.offers import PARTS, head_offers, timm_offers
from bench.cards.timm_names import is_ungrouped, kind_of_timm, unserved_by_name
from tests.backbones.bare import bare

FAMILIES: list[tuple[type[Family], list[BackboneKind]]] = [
    (BEiT, [BEIT]),
    (ClasslessBiasedRotary, [CLASSLESS_BIASED_ROTARY]),
    (BiasedRotary, [BIASED_ROTARY]),
    (ClasslessRotary, [CLASSLESS_ROTARY]),
    (Rotary, [ROTARY, ROTARY_APART]),
    (Classless, [CLASSLESS]),
    (ViT, [VIT]),
    (ResNet, [RESNET, GROUP_NORM_RESNET]),
    (Swin, [SWIN, SWIN_V2]),
    (PooledMaps, [POOLED_MAPS]),
]
"""The family that serves models of each kind, the narrower one first."""

PRETRAINED = timm.list_pretrained()
SMALL = re.compile(r"test_|atto|femto|nano|_xx?s|xxtiny|tiny|_s0|_b0|_t0|_t8|_m1|small|_5m|_050|_12_|_9_|18|26|34")
SLOW_TO_RUN = {"cait", "crossvit", "efficientvim", "sequencer", "mobilenetv5", "vision_transformer_sam"}
"""Modules of timm's whose smallest model takes long to go through, even without values."""


def by_module() -> dict[str, list[str]]:
    modules: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        modules[_registry._model_to_module[name]].append(name)
    return modules


def one_of_each() -> list[str]:
    """A small model of each of timm's modules."""
    return [min(names, key=lambda name: (not SMALL.search(name), len(name))) for names in by_module().values()]


@cache
def built(name: str) -> Any:
    with bare():
        return timm.create_model(name, num_classes=0).eval()


def kinds_of(family: Family) -> list[BackboneKind | None]:
    """The kinds whose models a family serves; none of the family that knows nothing."""
    return [*next((kinds for kind, kinds in FAMILIES if isinstance(family, kind)), [None])]


def test_every_name_with_weights_is_recognised() -> None:
    unknown = [name for name in PRETRAINED if not kind_of_timm(name) and not unserved_by_name(name)]
    assert unknown == []
    assert kind_of_timm("vit_of_next_year") is None
    assert unserved_by_name("vit_of_next_year") == ""


def test_no_head_is_promised_where_timm_has_none() -> None:
    promised = [name for name in PRETRAINED if head_offers(name, "pretrained")]
    assert [name for name in promised if not timm.get_pretrained_cfg(name).num_classes] == []
    assert len(promised) > 1300


def test_what_is_served_of_the_weights_of_today() -> None:
    """By family: if fewer are served than once were, a name was lost."""
    counts = {"cls_attention": 300, "tokens": 480, "grid": 1500}
    for probe, least in counts.items():
        assert sum(probe in timm_offers(name) for name in PRETRAINED) >= least, probe


@pytest.mark.parametrize("name", one_of_each())
class TestOneOfEachModule:
    def test_its_name_says_what_it_is(self, name: str) -> None:
        assert kind_of_timm(name) in kinds_of(family_of(built(name)))

    def test_every_weight_has_a_layer(self, name: str) -> None:
        backbone = built(name)
        family = family_of(backbone)
        names = [name for name, _ in backbone.named_parameters()]
        if is_ungrouped(name):
            with pytest.raises(KeyError, match="does not say which of its weights are of one layer"):
                family.layer(names[0], backbone)
            return
        layers, tops = zip(*(family.layer(each, backbone) for each in names), strict=True)
        assert len({*tops}) == 1
        assert min(layers) == 0
        assert max(layers) in (tops[0], tops[0] - 1)
        assert len({*layers}) > 2


EVAS = [
    *("vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb", "vit_pe_core_tiny_patch16_384"),
    *("eva02_tiny_patch14_224", "eva02_base_patch14_224", "vit_mediumd_patch16_rope_reg1_gap_256"),
]


@pytest.mark.parametrize("name", EVAS)
def test_linear_layers_of_an_eva_are_offered_where_each_is_called_and_has_the_name_of_a_vit_s(name: str) -> None:
    with bare():
        backbone = timm.create_model(name, num_classes=0, depth=1, img_size=64 if "patch16" in name else 56).eval()
    layers = {name: layer for name, layer in backbone.named_modules() if isinstance(layer, nn.Linear)}
    called = set[str]()
    for layer_name, layer in layers.items():
        layer.register_forward_hook(lambda *_, layer_name=layer_name: called.add(layer_name))
    side = 64 if "patch16" in name else 56
    with torch.no_grad():
        backbone.to("meta")(torch.zeros(1, 3, side, side, device="meta"))
    all_called = called == {*layers}
    kind = kind_of_timm(name)
    assert kind
    assert ("linears" in kind.lacks) is not all_called
    assert ("linears" in kind.offers) is (all_called and "blocks.0.attn.qkv" in layers)
    family = family_of(backbone)
    if all_called:
        assert set(family.part("linears", backbone)) == {
            layer for layer_name, layer in layers.items() if layer_name.startswith("blocks.")
        }
    else:
        with pytest.raises(KeyError, match="linears: its queries and values have biases of their own"):
            family.part("linears", backbone)


def with_grid() -> list[str]:
    """Of those the ones that have a grid and are quickly gone through."""
    with_one = [name for name in one_of_each() if "grid" in timm_offers(name)]
    return [name for name in with_one if _registry._model_to_module[name] not in SLOW_TO_RUN]


@pytest.mark.parametrize("name", with_grid())
def test_the_grid_is_a_map(name: str) -> None:
    backbone = built(name)
    size = backbone.pretrained_cfg["input_size"]
    model = Model(backbone, family_of(backbone), backbone.num_features, 3, [0.5] * 3, [0.5] * 3).to("meta").eval()
    with torch.no_grad():
        grid = model.probe(torch.zeros(2, *size, device="meta"), "grid")
    assert (grid.ndim, len(grid)) == (4, 2)
    assert 1 < grid.shape[2] == grid.shape[3] < size[1]


def test_the_grid_of_a_convnext_is_what_it_pools() -> None:
    backbone = timm.create_model("convnext_atto", num_classes=0, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)).eval()
    model = Model(backbone, family_of(backbone), 16, 3, [0.5] * 3, [0.5] * 3).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        output = model(images, probe="grid")
        assert output["grid"].shape == (2, 16, 2, 2)
        torch.testing.assert_close(output["grid"], backbone.forward_features(model.normalised(images)))
        torch.testing.assert_close(output.features, backbone.head(output["grid"]))


def test_the_grid_of_a_hiera_is_in_the_order_of_places() -> None:
    small = {"img_size": 64, "stages": (1, 1, 1, 1), "embed_dim": 8, "num_heads": 1}
    backbone = timm.create_model("hiera_tiny_224", num_classes=0, **small).eval()
    model = Model(backbone, family_of(backbone), backbone.num_features, 3, [0.5] * 3, [0.5] * 3).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        grid = model.probe(images, "grid")
        _, maps = backbone.forward_features(model.normalised(images), return_intermediates=True)
    torch.testing.assert_close(grid, maps[-1].permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    "name", ["convnext_atto", "hiera_tiny_224", "fastvit_t8", "efficientnet_b0", "xcit_nano_12_p16_224"]
)
def test_layers_are_those_by_which_timm_decays(name: str) -> None:
    with bare():
        whole = timm.create_model(name)
    backbone = built(name)
    factors = {
        weight: group["lr_scale"]
        for group in param_groups_layer_decay(whole, layer_decay=0.5)
        for weight in group["params"]
    }
    expected = {name: factors[weight] for name, weight in whole.named_parameters()}
    for weight, _ in backbone.named_parameters():
        layer, top = timm_layer(weight, backbone)
        assert 0.5 ** (top - layer) == expected[weight], weight


def test_a_network_of_nobody_has_no_layers() -> None:
    with pytest.raises(KeyError, match="Linear does not say which of its weights are of one layer"):
        Family().layer("weight", nn.Linear(2, 2))


@pytest.mark.slow
def test_every_name_says_what_its_model_is() -> None:
    wrong = {}
    for name in timm.list_models():
        with bare():
            backbone = timm.create_model(name, num_classes=0)
        kind, family = kind_of_timm(name), family_of(backbone)
        if kind not in kinds_of(family):
            wrong[name] = (kind and kind.title, type(family).__name__)
        elif kind is not None:
            assert all(family.part(part, backbone) is not None for part in kind.offers & PARTS), name
            assert isinstance(family, ResNet) == (kind in (RESNET, GROUP_NORM_RESNET)), name
            if isinstance(family, ResNet):
                assert len(family.part("last_convs", backbone)) == 4, name
                assert bool(family.part("batch_norm", backbone)) == ("batch_norm" in kind.offers), name
    assert wrong == {}
