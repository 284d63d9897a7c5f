"""Optimisers from recipes: which decay and which rate the weights of each family of backbones have."""

from __future__ import annotations

from typing import Any

import pytest
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2

from bench.backbones import Model
from bench.backbones.families import family_of
from bench.protocol import Recipe
from bench.training.optimizer import build_optimizer

VIT: dict[str, Any] = {"img_size": 12, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "depth": 2, "num_heads": 3}
SWIN: dict[str, Any] = {
    **{"img_size": 32, "patch_size": 4, "in_chans": 1, "window_size": 2},
    **{"embed_dim": 12, "depths": (2, 2), "num_heads": (2, 2)},
}
BACKBONES: dict[str, Any] = {
    "vit": lambda: VisionTransformer(num_classes=0, reg_tokens=1, **VIT),
    "beit": lambda: Beit(num_classes=0, use_abs_pos_emb=True, use_rel_pos_bias=True, **VIT),
    "shared": lambda: Beit(num_classes=0, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, **VIT),
    "swin": lambda: SwinTransformer(num_classes=0, **SWIN),
    "swin_v2": lambda: SwinTransformerV2(num_classes=0, **SWIN),
}


def groups(kind: str, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The optimiser's group of each parameter of a backbone with a head, and how many dimensions it has."""
    backbone = BACKBONES[kind]()
    model = Model(backbone, family_of(backbone), backbone.num_features, 3, [0.5], [0.25])
    optimizer = build_optimizer(model, model.named_parameters(), recipe.resolved(1, 1), None)
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: {**group, "ndim": parameter.ndim}
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize(
    ("kind", "undecayed"),
    [
        ("vit", {"cls_token", "pos_embed", "reg_token"}),
        ("beit", {"cls_token", "pos_embed"}),
        ("shared", {"cls_token"}),
        ("swin", {"relative_position_bias_table"}),
        ("swin_v2", {"logit_scale", "cpb_mlp.0.weight", "cpb_mlp.2.weight"}),
    ],
)
def test_what_has_no_decay_is_what_the_released_code_of_each_family_leaves_out(kind: str, undecayed: set[str]) -> None:
    """Embeddings (DeiT), not the position tables of a BEiT (its code, SimMIM, FD) but those of a Swin, and V2's MLP."""
    found = groups(kind, Recipe(steps=1, weight_decay=0.05))
    matrices = {name: group["weight_decay"] for name, group in found.items() if group["ndim"] > 1}
    for name, decay in matrices.items():
        assert decay == (0.0 if name.endswith(tuple(undecayed)) else 0.05), name
    assert {end for end in undecayed if any(name.endswith(end) for name in matrices)} == undecayed
    vectors = {group["weight_decay"] for group in found.values() if group["ndim"] <= 1}
    assert vectors == {0.0}


@pytest.mark.parametrize("kind", ["beit", "shared"])
def test_a_beits_position_tables_are_decayed(kind: str) -> None:
    found = groups(kind, Recipe(steps=1, weight_decay=0.05))
    tables = [group["weight_decay"] for name, group in found.items() if name.endswith("position_bias_table")]
    assert tables == [0.05] * (2 if kind == "beit" else 1)


@pytest.mark.parametrize("kind", ["swin", "swin_v2"])
def test_a_swins_downsampling_has_the_rate_of_the_block_before_it(kind: str) -> None:
    """Two stages of two blocks at decay .8: head and norm 1, blocks .8 to .8^4, of which .8^3 is before the merging."""
    found = groups(kind, Recipe(steps=1, layer_decay=0.8))
    factors = {
        "head.weight": 1.0,
        "backbone.norm.weight": 1.0,
        "backbone.layers.1.blocks.1.mlp.fc1.weight": 0.8,
        "backbone.layers.1.blocks.0.mlp.fc1.weight": 0.64,
        "backbone.layers.1.downsample.reduction.weight": 0.512,
        "backbone.layers.1.downsample.norm.weight": 0.512,
        "backbone.layers.0.blocks.1.mlp.fc1.weight": 0.512,
        "backbone.layers.0.blocks.0.mlp.fc1.weight": 0.4096,
        "backbone.patch_embed.proj.weight": 0.32768,
    }
    assert {name: found[name]["factor"] for name in factors} == pytest.approx(factors)
