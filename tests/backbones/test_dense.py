"""Decoders on backbones: their maps, what a pass gives, and that methods find what they use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn
from transformers.models.upernet import modeling_upernet
from transformers.models.upernet.configuration_upernet import UperNetConfig

from bench.backbones import build_model
from bench.backbones.build import input_size
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.dense import MAPS, DenseModel, build_dense
from bench.backbones.families import family_of
from bench.backbones.pyramid import blocks_read, maps_of, rescaling
from bench.backbones.student import build_student
from bench.backbones.t2t import T2TViT
from bench.data import ArrayImages, Split, TrainingImages
from bench.device.chunks import chunked
from bench.errors import InputError
from bench.method import Batch, frozen
from bench.protocol import Protocol, Recipe
from bench.registry import Registry
from bench.training.fit import set_modes
from bench.training.optimizer import build_optimizer

CLASSES = 5
SIZES: dict[str, Any] = {"img_size": 16, "patch_size": 4, "in_chans": 1, "embed_dim": 24, "num_heads": 3}
STAGES: dict[str, Any] = {"window_size": 4, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
BACKBONES: dict[str, Any] = {
    "vit": lambda: VisionTransformer(num_classes=0, depth=4, mlp_ratio=2, reg_tokens=2, **SIZES),
    "beit": lambda: Beit(num_classes=0, depth=4, mlp_ratio=2, **SIZES),
    "swin": lambda: SwinTransformer(num_classes=0, img_size=32, patch_size=2, in_chans=1, **STAGES),
    "swin_v2": lambda: SwinTransformerV2(num_classes=0, img_size=32, patch_size=2, in_chans=1, **STAGES),
}


def dense(kind: str, **channels: int) -> DenseModel:
    torch.manual_seed(0)
    backbone = BACKBONES[kind]()
    channels = {"hidden": 8, "auxiliary": 4, **channels}
    return DenseModel(backbone, family_of(backbone), backbone.num_features, CLASSES, [0.4], [0.3], **channels)


def built(name: str, size: int) -> DenseModel:
    torch.manual_seed(0)
    return build_dense(Registry().backbone(name), CLASSES, size, hidden=8, auxiliary=4)


def images(model: DenseModel, count: int = 2) -> Tensor:
    side = input_size(model)
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "size", "first", "last"),
    [
        ("micro_vit", 12, (48, 6), (48, 6)),
        ("micro_vit", 16, (48, 8), (48, 8)),
        ("timm:vit_tiny_patch16_224@none", 64, (192, 4), (192, 4)),
        ("timm:swin_tiny_patch4_window7_224@none", 64, (96, 16), (768, 2)),
        ("micro_resnet", 16, (16, 16), (64, 2)),
    ],
)
def test_a_card_is_built_for_a_size_of_crops(name: str, size: int, first: Any, last: Any) -> None:
    model = built(name, size).eval()
    output = model(torch.rand(2, 3, size, size), probe=MAPS)
    assert output.logits.shape == (2, CLASSES, size, size)
    assert output.features.shape == (2, model.dim)
    assert output.auxiliary is None
    (width, places), (deep, fewest) = first, last
    assert output["map_1"].shape == (2, width, places, places)
    assert output["map_4"].shape == (2, deep, fewest, fewest)


def test_its_size_is_known_without_values() -> None:
    with torch.device("meta"):
        sketched = build_dense(
            Registry().backbone("timm:vit_tiny_patch16_224@none"), CLASSES, 64, hidden=8, auxiliary=4
        )
    shapes = {name: value.shape for name, value in sketched.state_dict().items()}
    whole = built("timm:vit_tiny_patch16_224@none", 64)
    assert shapes == {name: value.shape for name, value in whole.state_dict().items()}


def test_blocks_are_those_of_the_recipe() -> None:
    assert blocks_read(12) == (4, 6, 8, 12)
    assert blocks_read(24) == (8, 12, 16, 24)
    assert blocks_read(4) == (1, 2, 3, 4)
    assert blocks_read(2) == (1, 1, 1, 2)


@pytest.mark.parametrize(("patch", "side"), [(16, 14), (16, 32), (8, 28)])
def test_the_pyramid_has_strides_of_4_to_32(patch: int, side: int) -> None:
    levels = rescaling(6, patch)(4 * [torch.rand(2, 6, side, side)])
    assert [patch * side / level.shape[-1] for level in levels] == [4, 8, 16, 32]


def test_maps_of_a_vit_are_the_patches_in_their_places() -> None:
    model = dense("vit").eval()
    output = model(images(model), probe=["block_output", *MAPS])
    for number, name in enumerate(MAPS):  # of four blocks each is read; [cls] and two registers are left out
        tokens = output["block_output"][number, :, 3:]
        assert torch.equal(output[name][:, :, 1, 2], tokens[:, 6])
        assert torch.equal(output[name].flatten(2).mT, tokens)


def test_maps_of_a_swin_are_its_stages_each_with_a_norm() -> None:
    model = dense("swin").eval()
    x = images(model)
    seen = model(x, probe=[*MAPS, "grid"])
    stages = model.backbone.forward_intermediates(model.normalised(x), intermediates_only=True)  # type: ignore[operator]
    for name, stage in zip(MAPS, stages, strict=True):
        assert torch.equal(seen[name], stage)
    assert torch.equal(seen["map_4"], seen["grid"])
    with torch.no_grad():
        for level in model.head.levels:
            level.weight.fill_(2.0)  # type: ignore[operator]
    for level in model.head.levels([seen[name] for name in MAPS]):
        assert torch.allclose(level.mean(1), torch.zeros(()), atol=1e-5)
        assert torch.allclose(level.square().mean(1), torch.tensor(4.0), rtol=0.05)


@pytest.mark.parametrize("training", [True, False])
def test_the_heads_are_those_of_transformers(training: bool) -> None:
    model = dense("swin").train(training)
    config = UperNetConfig(hidden_size=8, auxiliary_channels=4, num_labels=CLASSES)
    widths = (8, 16, 32, 64)
    decoder = modeling_upernet.UperNetHead(config, in_channels=widths)
    auxiliary = modeling_upernet.UperNetFCNHead(config, in_channels=widths)
    for theirs, ours in ((decoder, model.head.decoder), (auxiliary, model.head.auxiliary)):
        dropout, _ = ours.classifier  # type: ignore[misc]
        assert (type(dropout), dropout.p) == (nn.Dropout2d, 0.1)
        dropout.p = 0.0
        theirs.classifier = nn.Sequential(nn.Identity(), theirs.classifier)
    decoder.load_state_dict(model.head.decoder.state_dict())
    auxiliary.load_state_dict(model.head.auxiliary.state_dict())
    x = images(model)
    output = model(x, probe=MAPS)
    levels = model.head.levels([output[name] for name in MAPS])
    for head, logits in ((decoder, output.logits), (auxiliary, output.auxiliary)):
        head.train(training)
        expected = nn.functional.interpolate(head(levels), size=x.shape[2:], mode="bilinear", align_corners=False)
        if logits is not None:
            assert torch.equal(logits, expected)
    assert (output.auxiliary is None) is not training


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_gradient_reaches_all_but_the_final_norm(kind: str) -> None:
    """Which is behind the maps: it is of the pooled features alone."""
    model = dense(kind)
    for name, value in model.named_parameters():
        if kind == "swin_v2" and "norm" in name and name.endswith("weight"):
            nn.init.ones_(value)  # its branches start at 0
    output = model(images(model))
    assert output.auxiliary is not None
    (output.logits.square().mean() + 0.4 * output.auxiliary.square().mean()).backward()
    unreached = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    norm = "backbone.fc_norm" if kind == "beit" else "backbone.norm"
    # a batch norm takes away the biases that the pyramid of BEiT adds: their gradient is 0 but for rounding
    unreached -= {f"head.levels.{place}.bias" for place in ("0.0", "0.3", "1")}
    assert unreached == {f"{norm}.weight", f"{norm}.bias"}


@pytest.mark.parametrize("kind", BACKBONES)
def test_an_image_is_for_itself_at_evaluation(kind: str) -> None:
    model = dense(kind)
    x = images(model, 3)
    model(x)  # running statistics that do something
    model.eval()
    assert torch.allclose(model(x).logits[:1], model(x[:1]).logits, atol=1e-5)
    assert not model.per_image


def test_one_seed_draws_the_same_weights() -> None:
    first, second = dense("vit").state_dict(), dense("vit").state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert float(first["head.decoder.classifier.1.weight"].std()) == pytest.approx(0.01, rel=0.5)
    fan_out = 9 * 8  # of a 3 × 3 convolution with 8 channels
    assert float(first["head.decoder.fpn_bottleneck.conv.weight"].std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)


@pytest.mark.parametrize("probe", ["cls_attention", "attention_maps", "tokens", "grid", "block_output"])
def test_probes_are_those_of_the_plain_model(probe: str) -> None:
    card = Registry().backbone("micro_vit")
    model, plain = built("micro_vit", 12).eval(), build_model(card, CLASSES, 12).eval()
    x = torch.rand(3, 1, 12, 12)
    output, expected = model(x, probe=probe), plain(x, probe=probe)
    assert list(output.probes) == [probe]
    assert torch.equal(output[probe], expected[probe])
    # the plain model computes its last block for the class token alone, where nothing else is read
    assert torch.allclose(output.features, expected.features, rtol=0, atol=1e-5)
    assert torch.equal(model.probe(x, probe), plain.probe(x, probe))
    assert torch.equal(frozen(model).probe(x, probe), plain.probe(x, probe))
    with model.watching(probe):
        assert torch.equal(model(x)[probe], expected[probe])


@pytest.mark.parametrize("count", [2, 4])
def test_chunks_of_a_batch_give_the_same(count: int) -> None:
    """Batch norms of the decoder see the whole batch, whatever the chunks."""
    whole, parts = dense("vit").double(), dense("vit").double()
    x = images(whole, 4).double()
    torch.manual_seed(7)
    with chunked(count):
        output = parts(x)
        output.logits.square().sum().backward()
    torch.manual_seed(7)
    expected = whole(x)
    expected.logits.square().sum().backward()
    assert torch.allclose(output.logits, expected.logits, atol=1e-12)
    for (name, first), second in zip(whole.named_parameters(), parts.parameters(), strict=True):
        if first.grad is not None:
            assert second.grad is not None, name
            assert torch.allclose(first.grad, second.grad, atol=1e-12), name
    for first_buffer, second_buffer in zip(whole.buffers(), parts.buffers(), strict=True):
        assert torch.allclose(first_buffer, second_buffer, atol=1e-12)


def test_the_decoder_is_the_head_of_the_optimiser() -> None:
    model = dense("vit")
    recipe = Recipe(steps=10, lr=1.0, weight_decay=0.1, layer_decay=0.5, head_lr=10.0)
    optimizer = build_optimizer(model, model.named_parameters(), recipe, None)
    factor = {weight: group["factor"] for group in optimizer.param_groups for weight in group["params"]}
    assert model.part("head") == [model.head]
    assert {factor[weight] for weight in model.head.parameters()} == {10.0}
    assert factor[model.backbone.get_parameter("blocks.0.attn.qkv.weight")] == 0.5**4
    bare = [group for group in optimizer.param_groups if not group["weight_decay"]]
    assert model.head.decoder.bottleneck.batch_norm.weight in {  # type: ignore[union-attr]
        weight for group in bare for weight in group["params"]
    }


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_student_has_a_decoder_of_its_teachers_kind(kind: str) -> None:
    model = dense(kind)
    student = build_student(model)
    assert isinstance(student, DenseModel)
    student.head.load_state_dict(model.head.state_dict())
    student.eval()
    assert student(images(model)).logits.shape == model(images(model)).logits.shape


METHODS: dict[str, Any] = {
    "gta": ("GTA", {}, {"ce", "gta"}),
    "l2sp": ("L2SP", {}, {"ce", "l2sp", "l2"}),
    "attention_only": ("AttentionOnly", {}, {"ce"}),
    "feature_distillation": ("FeatureDistillation", {"share": 0.5}, {"distil", "ce"}),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_train_it_as_they_are(name: str) -> None:
    """The loss of each of their stages has its terms, and only what the stage trains is given a gradient."""
    class_name, settings, terms = METHODS[name]
    method = getattr(importlib.import_module(f"bench.methods.{name}"), class_name)(**settings)
    recipe = Recipe(steps=6, lr=1e-2).resolved(8, 4)
    seen: set[str] = set()
    for stage in method.stages(dense("vit"), recipe, training_images()):
        set_modes(stage)
        assert isinstance(stage.model, DenseModel)
        loss = stage.loss(stage.model, drawn_batch())
        torch.autograd.backward(torch.stack(list(loss.values())).sum())
        seen |= loss.keys()
        trained = {name for name, value in stage.model.named_parameters() if value.requires_grad}
        reached = {name for name, value in stage.model.named_parameters() if value.grad is not None}
        assert reached <= trained
        assert any(each.startswith("head.decoder.") for each in reached) == ("ce" in loss)
        stage.model.zero_grad()
    assert seen == terms


def drawn_batch() -> Batch:
    masks = torch.randint(CLASSES, (4, 16, 16))
    return Batch(torch.rand(4, 1, 16, 16), masks, nn.functional.one_hot(masks, CLASSES).movedim(3, 1).float(), 0.5)


def training_images() -> TrainingImages:
    state = np.random.RandomState(0)
    images = ArrayImages(state.randint(0, 256, (8, 16, 16, 1)).astype(np.uint8))
    split = Split(images, state.randint(0, CLASSES, 8))
    protocol = Protocol(batch_size=4, augmentation="none")
    return TrainingImages(split, np.arange(8), CLASSES, protocol, 16, seed=5, device=torch.device("cpu"))


def test_a_single_image_is_refused_in_training_in_one_line() -> None:
    model = dense("vit")
    with pytest.raises(InputError, match="take 2 images or more") as refusal:
        model(images(model, 1))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cifar_resnet20@none", "this ResNet for CIFAR has 3 stages, not 4"),
        ("timm:vit_tiny_patch16_224@none", "make image_size 32 or more"),
    ],
)
def test_a_backbone_without_maps_is_refused_in_one_line(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as refusal:
        build_dense(Registry().backbone(name), CLASSES, 16)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(name)


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [
        (partial(T2TViT, 32, embed_dim=8, depth=1, num_heads=2), "a T2T-ViT has no published recipe"),
        (
            partial(ConvolutionalViT, 32, embed_dim=[8], num_heads=[1], depth=[1], mlp_ratio=[2]),
            "a CvT has no published",
        ),
        (partial(nn.Linear, 2, 2), "Linear is of no kind whose maps can be read"),
    ],
    ids=["t2t", "cvt", "unknown"],
)
def test_a_kind_without_maps_is_refused_with_what_has_them(backbone: Callable[[], nn.Module], reason: str) -> None:
    network = backbone()
    with pytest.raises(KeyError, match=f"maps: {reason}.*takes a ViT, a Beit, a Swin or a ResNet"):
        maps_of(network, family_of(network))


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers.models.upernet.modeling_upernet", None)
    with pytest.raises(
        InputError, match=r"^a decoder needs transformers: pip install 'finetune-bench\[transformers\]'$"
    ):
        dense("vit")


def test_features_are_not_normed_before_a_decoder() -> None:
    with pytest.raises(InputError, match="not before a decoder"):
        dense("vit").norm_features()
