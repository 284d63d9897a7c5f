"""ViTs with rotary positions: what of their places is read, of the networks that timm has."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from bench.backbones import Model, build_model
from bench.backbones.families import family_of
from bench.backbones.layer_groups import timm_layer
from bench.backbones.rotary import Rotary
from bench.registry import Registry

NAMES = [
    ("vit_small_patch16_dinov3", {}),
    ("vit_small_patch16_dinov3_qkvb", {}),
    ("eva02_tiny_patch14_224", {}),
    ("vit_pe_core_tiny_patch16_384", {}),
    ("vit_small_patch16_rope_mixed_ape_224", {}),
    ("vit_base_patch16_sapiens2", {"embed_dim": 192, "num_heads": 4, "num_kv_heads": 2}),
]


def model_of(name: str, **changes: Any) -> Model:
    """Random weights, two blocks, images of 4 × 4 patches; queries and keys are made to differ from place to place."""
    torch.manual_seed(0)
    size = 64 if "patch16" in name else 56
    backbone = timm.create_model(name, num_classes=0, depth=2, img_size=size, **changes)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.05)
    return Model(backbone, family_of(backbone), backbone.num_features, 5, [0.5] * 3, [0.5] * 3).eval()


def explicit_row(model: Model, images: Tensor) -> Tensor:
    """What timm's explicit attention gives its dropout: (L, B, H, N), the row of [cls] over the patches."""
    seen: list[Tensor] = []
    backbone: Any = model.backbone
    for block in backbone.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda _, given, output: seen.append(given[0]))
    with torch.no_grad():
        model(images)
    return torch.stack(seen)[:, :, :, 0, backbone.num_prefix_tokens :]


@pytest.mark.parametrize(("name", "changes"), NAMES, ids=[name for name, _ in NAMES])
def test_the_row_of_cls_is_that_of_timm_s_explicit_attention(name: str, changes: dict[str, Any]) -> None:
    model = model_of(name, **changes)
    assert isinstance(model.family, Rotary)
    side = 64 if "patch16" in name else 56
    images = torch.rand(2, 3, side, side)
    with torch.no_grad():
        logits = model.probe(images, "cls_attention")
        last = model.probe(images, "cls_attention_map")
    row = explicit_row(model, images)
    assert logits.shape == (2, 2, row.shape[2], 16)
    torch.testing.assert_close(logits.softmax(-1), row / row.sum(-1, keepdim=True), rtol=0, atol=1e-5)
    torch.testing.assert_close(last, row[-1], rtol=0, atol=1e-5)


def test_keys_that_are_not_turned_give_another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = model_of("vit_small_patch16_dinov3"), torch.rand(1, 3, 64, 64)
    turned = model.probe(images, "cls_attention").softmax(-1)
    monkeypatch.setattr("bench.backbones.rotary._turned", lambda attention, heads, rope, first: heads)
    straight = model.probe(images, "cls_attention").softmax(-1)
    assert (turned - straight).abs().max() > 1e-3


def test_angles_that_training_varies_are_those_of_the_same_pass() -> None:
    model = model_of("vit_small_patch16_dinov3", rope_shift_coords=0.5, rope_jitter_coords=2.0).train()
    images = torch.rand(1, 3, 64, 64)
    model.backbone.blocks[0].attn.fused_attn = False  # type: ignore[index,union-attr]
    seen: list[Tensor] = []
    hook = lambda _, given, output: seen.append(given[0])  # noqa: E731
    model.backbone.blocks[0].attn.attn_drop.register_forward_hook(hook)  # type: ignore[index,union-attr]
    with torch.no_grad():
        maps = model(images, probe="attention_maps")["attention_maps"][0]
    torch.testing.assert_close(maps, seen[0], rtol=0, atol=1e-5)


def test_layers_are_those_of_timm_but_for_the_last_norm() -> None:
    """Which is of the head's layer here, as in BEiT's released code, and of the last block's in timm."""
    backbone: Any = model_of("vit_small_patch16_dinov3").backbone
    for name, _ in backbone.named_parameters():
        layer, top = Rotary().layer(name, backbone)
        timms, timms_top = timm_layer(name, backbone)
        assert (top, timms_top) == (3, 3)
        assert layer == (timms + 1 if name.startswith("norm.") else timms), name


def test_the_card_of_dinov3_pools_the_class_token() -> None:
    model = build_model(Registry().backbone("dinov3_vit_small@none"), 3, image_size=32).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 32, 32), probe="tokens")
    torch.testing.assert_close(output.features, output["tokens"][:, 0])
