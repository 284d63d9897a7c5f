"""What methods may ask of every kind of backbone: attention against the softmax itself, parts that share no weight."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers import RmsNorm, SwiGLU
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.backbones.resnet import build_resnet
from bench.backbones.t2t import T2TViT

PLAIN: dict[str, Any] = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 0}
WINDOWS: dict[str, Any] = {"img_size": 32, "embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "num_classes": 0}
TURNED: dict[str, Any] = {"use_rot_pos_emb": True}
DINOV3: dict[str, Any] = {
    **TURNED,
    **{"rope_type": "dinov3", "rope_rotate_half": True, "rope_temperature": 100, "use_abs_pos_emb": False},
    **{"num_reg_tokens": 4, "qkv_bias": False, "init_values": 0.1, "global_pool": "token", "dynamic_img_size": True},
}
PE: dict[str, Any] = {**TURNED, "attn_type": "rope", "global_pool": "map", "use_pre_transformer_norm": True}
SAPIENS: dict[str, Any] = {
    **{**DINOV3, "attn_type": "rope", "qk_norm": True, "qkv_fused": False, "num_kv_heads": 2},
    **{"attn_only_layer_scale": True, "global_pool": "token"},
}
AIM: dict[str, Any] = {
    **{"class_token": False, "global_pool": "avg", "qkv_bias": False, "norm_layer": RmsNorm},
    **{"mlp_layer": SwiGLU, "final_norm": True},
}
CVT: dict[str, Any] = {"embed_dim": [8, 12, 16], "num_heads": [1, 2, 4], "depth": [1, 2, 3], "mlp_ratio": [2, 2, 2]}


def backbone_of(name: str) -> Any:
    """A small network, every weight random so that none is without effect."""
    torch.manual_seed(0)
    made: dict[str, Any] = {
        "vit": lambda: VisionTransformer(**PLAIN),
        "vit, clip": lambda: VisionTransformer(**PLAIN, pre_norm=True, init_values=0.1, reg_tokens=2, qk_norm=True),
        "vit, mean": lambda: VisionTransformer(**PLAIN, global_pool="avg"),
        "beit": lambda: Beit(**PLAIN, init_values=0.1, use_abs_pos_emb=False, use_rel_pos_bias=True),
        "beit, shared": lambda: Beit(**PLAIN, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, global_pool="token"),
        "beit, no bias": lambda: Beit(**PLAIN, qkv_bias=False),
        "eva": lambda: Eva(**PLAIN, use_post_norm=True, scale_attn_inner=True, init_values=None),
        "eva02": lambda: Eva(**PLAIN, **TURNED, qkv_fused=False, swiglu_mlp=True, scale_mlp=True),
        "dinov3": lambda: Eva(**PLAIN, **DINOV3),
        "dinov3, mean": lambda: Eva(**PLAIN, **{**DINOV3, "global_pool": "avg", "use_fc_norm": False}),
        "rope-vit": lambda: Eva(**PLAIN, **TURNED, rope_type="mixed", attn_type="rope", global_pool="token"),
        "pe": lambda: Eva(**PLAIN, **PE),
        "pe, no class": lambda: Eva(**PLAIN, **{**PE, "class_token": False}),
        "sapiens": lambda: Eva(**{**PLAIN, "embed_dim": 16, "num_heads": 4}, **SAPIENS),
        "siglip": lambda: VisionTransformer(**PLAIN, class_token=False, global_pool="map"),
        "vit, no class": lambda: VisionTransformer(**PLAIN, class_token=False, global_pool="avg", reg_tokens=2),
        "aimv2": lambda: VisionTransformer(**PLAIN, **AIM),
        "t2t": lambda: T2TViT(32, embed_dim=12, depth=3, num_heads=3, token_dim=8),
        "swin": lambda: SwinTransformer(**WINDOWS, window_size=4, patch_size=2),
        "swin v2": lambda: SwinTransformerV2(**WINDOWS, window_size=4, patch_size=2),
        "cvt": lambda: ConvolutionalViT(32, **CVT),
        "cvt, mean": lambda: ConvolutionalViT(32, pooling="mean", **CVT),
        "resnet": lambda: build_resnet("BasicBlock", 8, 3, 16, layers=[1, 1, 1, 1], channels=[8, 8, 16, 16]),
    }
    backbone = made[name]()
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    return backbone


def model_of(name: str) -> Model:
    backbone = backbone_of(name)
    return Model(backbone, family_of(backbone), backbone.num_features, 5, [0.5] * 3, [0.5] * 3).double().eval()


RESNET_NORMS = [f"layer{stage}.{norm}" for stage in (1, 2, 3, 4) for norm in ("bn1", "bn2")] + [
    *(f"layer{stage}.downsample" for stage in (2, 3, 4))
]
BLOCKS = ["vit", "vit, clip", "vit, mean", "beit", "beit, shared", "beit, no bias", "t2t"]
ROTARY = ["eva", "eva02", "dinov3", "dinov3, mean", "rope-vit", "pe", "sapiens"]
CLASSLESS = ["siglip", "vit, no class", "aimv2", "pe, no class"]
OF_CLASS = [*BLOCKS, *ROTARY]
TRANSFORMERS = [*OF_CLASS, *CLASSLESS, "swin", "swin v2", "cvt", "cvt, mean"]


def some_images(model: Model) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    side = 32 if isinstance(model.backbone, (T2TViT, SwinTransformer, SwinTransformerV2, ConvolutionalViT)) else 8
    return torch.rand(2, 3, side, side, generator=generator).double()


@pytest.mark.parametrize("name", OF_CLASS)
class TestAttention:
    def softmaxed(self, model: Model, images: Tensor) -> Tensor:
        """(L, B, H, T, T): what the library's own unfused attention hands to its dropout."""
        seen: list[Tensor] = []
        hooks = []
        backbone: Any = model.backbone
        for block in backbone.blocks:
            block.attn.fused_attn = False
            hooks.append(block.attn.attn_drop.register_forward_hook(lambda _, given, output: seen.append(given[0])))
        model(images)
        for hook, block in zip(hooks, backbone.blocks, strict=True):
            hook.remove()
            block.attn.fused_attn = True
        return torch.stack(seen)

    def test_attention_maps_are_what_the_softmax_gives(self, name: str) -> None:
        model = model_of(name)
        images = some_images(model)
        maps = model(images, probe="attention_maps")["attention_maps"]
        torch.testing.assert_close(maps, self.softmaxed(model, images), rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))

    def test_the_map_of_cls_is_its_row_over_the_patches_in_the_last_block(self, name: str) -> None:
        model = model_of(name)
        images = some_images(model)
        prefix = model.backbone.num_prefix_tokens
        row = self.softmaxed(model, images)[-1, :, :, 0, prefix:]
        found = model.probe(images, "cls_attention_map")
        torch.testing.assert_close(found, row, rtol=1e-8, atol=1e-12)

    def test_the_logits_of_cls_are_the_logarithm_of_its_row_but_for_a_constant(self, name: str) -> None:
        model = model_of(name)
        images = some_images(model)
        prefix = model.backbone.num_prefix_tokens
        row = self.softmaxed(model, images)[:, :, :, 0, prefix:]
        logits = model.probe(images, "cls_attention")
        assert logits.shape == row.shape
        torch.testing.assert_close(logits.softmax(-1), row / row.sum(-1, keepdim=True), rtol=1e-8, atol=1e-12)

    @pytest.mark.parametrize("probe", ["cls_attention", "attention_maps", "msa_output", "block_output"])
    def test_a_probe_alone_is_the_same_leaves_nothing_behind_and_carries_gradients(self, name: str, probe: str) -> None:
        model = model_of(name)
        images = some_images(model)
        found = model.probe(images, probe)
        assert torch.equal(found, model(images, probe=probe)[probe])
        found.square().sum().backward()  # type: ignore[no-untyped-call]
        first: Any = next(model.part("embeddings")[0].parameters())  # type: ignore[union-attr]
        assert first.grad.abs().sum() > 0
        assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", BLOCKS)
class TestBlocks:
    def test_the_logits_of_cls_are_scaled_products_of_its_query_and_the_keys(self, name: str) -> None:
        """Position bias on top: constant over the patches for [cls], so differences show the products alone."""
        model = model_of(name)
        images = some_images(model)
        block = model.backbone.blocks[1].attn  # type: ignore[index,union-attr]
        given: list[Tensor] = []
        hook = block.register_forward_hook(lambda _, inputs, output: given.append(inputs[0]))
        logits = model(images, probe="cls_attention")["cls_attention"][1]
        hook.remove()
        (tokens,), heads, prefix = given, block.num_heads, model.backbone.num_prefix_tokens
        bias = block.qkv.bias
        if getattr(block, "q_bias", None) is not None:
            bias = torch.cat([block.q_bias, torch.zeros_like(block.q_bias), block.v_bias])
        qkv = nn.functional.linear(tokens, block.qkv.weight, bias)
        query, key = (part.view(*tokens.shape[:2], heads, -1) for part in qkv.chunk(3, -1)[:2])
        if not isinstance(model.backbone, Beit):
            query, key = block.q_norm(query), block.k_norm(key)
        for image in range(len(tokens)):
            for head in range(heads):
                expected = key[image, prefix:, head] @ query[image, 0, head] / query.shape[-1] ** 0.5
                found = logits[image, head]
                torch.testing.assert_close(found - found[0], expected - expected[0], rtol=1e-8, atol=1e-10)

    def test_outputs_of_blocks_are_what_each_adds_up_to(self, name: str) -> None:
        model = model_of(name)
        images = some_images(model)
        output = model(images, probe=["block_output", "msa_output", "tokens"])
        backbone: Any = model.backbone
        for number in (1, 2):
            block, before = backbone.blocks[number], output["block_output"][number - 1]
            attended = output["msa_output"][number]
            if isinstance(backbone, Beit):
                scales = [1 if gain is None else gain for gain in (block.gamma_1, block.gamma_2)]
                after = before + scales[0] * attended
                after = after + scales[1] * block.mlp(block.norm2(after))
            else:
                after = before + (block.ls1(attended) if hasattr(block, "ls1") else attended)
                fed = block.mlp(block.norm2(after))
                after = after + (block.ls2(fed) if hasattr(block, "ls2") else fed)
            torch.testing.assert_close(output["block_output"][number], after, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(output["tokens"], backbone.norm(output["block_output"][-1]))


@pytest.mark.parametrize("name", OF_CLASS)
def test_attention_is_read_under_bf16_too(name: str) -> None:
    model = model_of(name).float()
    images = some_images(model).float()
    names = ["cls_attention_map", "attention_maps"]
    exact = model(images, probe=names)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(images, probe=names)
    for probe in names:
        torch.testing.assert_close(rough[probe].float(), exact[probe], rtol=0, atol=0.1)
        assert (rough[probe].float() - exact[probe]).abs().mean() < 0.01


class TestParts:
    @pytest.mark.parametrize("name", TRANSFORMERS)
    def test_four_parts_hold_every_weight_once(self, name: str) -> None:
        model = model_of(name)
        names = {weight: name for name, weight in model.backbone.named_parameters()}
        held: dict[str, list[str]] = {}
        for part in ("attention", "ffn", "norms", "embeddings"):
            weights = []
            for item in model.part(part):
                weights += list(item.parameters()) if isinstance(item, nn.Module) else [item]
            held[part] = [names[weight] for weight in weights]
            assert held[part], part
        assert sorted(name for found in held.values() for name in found) == sorted(names.values())
        assert all(word not in name for name in held["norms"] for word in ("qkv", "mlp", "proj."))

    @pytest.mark.parametrize(
        ("name", "norms"),
        [
            ("vit", {"blocks.norm1", "blocks.norm2", "norm"}),
            ("vit, clip", {"norm_pre", "blocks.norm1", "blocks.norm2", "blocks.ls1.gamma", "blocks.ls2.gamma", "norm"}),
            ("vit, mean", {"blocks.norm1", "blocks.norm2", "fc_norm"}),
            ("beit", {"blocks.norm1", "blocks.norm2", "blocks.gamma_1", "blocks.gamma_2", "fc_norm"}),
            ("t2t", {"blocks.norm1", "blocks.norm2", "norm"}),
            (
                "swin",
                {"patch_embed.norm", "layers.blocks.norm1", "layers.blocks.norm2", "layers.downsample.norm", "norm"},
            ),
            ("resnet", {"bn1", *RESNET_NORMS}),
        ],
    )
    def test_norms(self, name: str, norms: set[str]) -> None:
        model = model_of(name)
        names = {weight: name for name, weight in model.backbone.named_parameters()}
        found = set()
        for item in model.part("norms"):
            for weight in item.parameters() if isinstance(item, nn.Module) else [item]:
                place = [word for word in names[weight].split(".") if not word.isdigit()]
                found.add(".".join(word for word in place if word not in ("weight", "bias")))
        assert found == norms

    @pytest.mark.parametrize("name", [*TRANSFORMERS, "resnet"])
    def test_the_head_is_the_new_one(self, name: str) -> None:
        model = model_of(name)
        assert model.part("head") == [model.head]


REFUSED = [
    ("siglip", "cls_attention", "it has no class token"),
    ("pe, no class", "cls_attention_map", "it has no class token"),
    ("swin", "cls_attention", "a Swin has no class token"),
    ("swin v2", "msa_output", "the stages of a Swin differ"),
    ("cvt", "cls_attention_map", "the keys of a CvT are strided"),
    ("resnet", "tokens", "a ResNet has no tokens; ask for the grid"),
]


@pytest.mark.parametrize(("name", "probe", "reason"), REFUSED)
def test_what_a_kind_cannot_have_is_refused_with_the_reason(name: str, probe: str, reason: str) -> None:
    model = model_of(name)
    with pytest.raises(KeyError, match=f"{probe}: {reason}"):
        model.probe(some_images(model), probe)


def test_a_part_of_other_kinds_is_refused_with_the_reason() -> None:
    with pytest.raises(KeyError, match="ffn: a ResNet has no attention and no FFN"):
        model_of("resnet").part("ffn")
