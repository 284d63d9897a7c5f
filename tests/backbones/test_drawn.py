"""Backbones with drawn weights, whole or of few layers, at the smallest size that a rehearsal gives them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bench.backbones import build_model
from bench.backbones.build import build_source_head, sketch
from bench.cards.patches import least_size
from bench.registry import Registry

CARDS = [
    *("deit_small", "clip_vit_large_336", "beit_base", "micro_vit"),
    *("swin_tiny", "esvit_swin_base", "swinv2_base", "timm:swin_tiny_patch4_window7_224"),
    *("resnet50", "timm:resnet18", "cifar_resnet20", "micro_resnet"),
    *("t2t_vit_14", "cvt_13"),
]
"""One or two of each architecture."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_a_small_backbone_has_few_layers_and_sees_a_grid_of_four_places(name: str) -> None:
    card, size = Registry().backbone(f"{name}@small"), least_size(Registry().backbone(name))
    model = build_model(card, 2, size).eval()
    whole = sketch(Registry().backbone(f"{name}@none"), size)
    assert len([*model.parameters()]) <= len([*whole.parameters()])
    facts: Any = getattr(model.backbone, "pretrained_cfg", None)
    channels = int(facts["input_size"][0]) if facts else len(model.mean.flatten())
    with torch.no_grad():
        output = model(torch.zeros(1, channels, size, size), probe="grid")
    assert output.logits.shape == (1, 2)
    assert output["grid"].shape[-2:] == (2, 2)


def test_drawn_weights_come_with_a_drawn_head() -> None:
    card = Registry().backbone("deit_small@small")
    torch.manual_seed(3)
    model = build_model(card, 5, 32)
    state = torch.get_rng_state()
    head = build_source_head(card)
    assert head.weight.shape == (100, model.dim)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_drawn_network_is_the_one_of_random_weights() -> None:
    drawn, random = (sketch(Registry().backbone(f"deit_small@{weights}")) for weights in ("drawn", "none"))
    assert drawn.state_dict().keys() == random.state_dict().keys()
