"""Attention as it is read, and its distances, similarities and averages against what is known of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.cvt import ConvolutionalViT
from bench.backbones.families import family_of
from bench.data.dataset import ArrayImages, Split
from bench.measure import CannotMeasure
from bench.measures import attention_distance, attention_map, head_similarity
from bench.measures.attention_distance import distances_of
from bench.measures.head_similarity import BETWEEN, similarity_of
from bench.models.attention import AT_ONCE, blocks_of, grid_places, watch
from bench.models.subject import Subject
from bench.records.kept import ModelFacts
from bench.registry import Registry

CPU = torch.device("cpu")
SIDE = 32


class Facts:
    """Of a model, what a measure of attention reads."""

    image_size, augmentation, precision, classes = SIDE, "none", "fp32", ("a", "b", "c", "d", "e")


def wrapped(backbone: Any, width: int) -> Model:
    """With weights so large that no head attends to everything alike."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.5)
    return Model(backbone, family_of(backbone), width, 5, [0.5] * 3, [0.25] * 3).eval()


def network(name: str) -> Model:
    """A small network of each kind that attends, of drawn weights, for images of 32 pixels."""
    from timm.models.beit import Beit
    from timm.models.swin_transformer import SwinTransformer
    from timm.models.swin_transformer_v2 import SwinTransformerV2
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"img_size": SIDE, "num_classes": 0, "embed_dim": 12}
    if name == "vit":
        return wrapped(VisionTransformer(**sizes, patch_size=8, depth=3, num_heads=3), 12)
    if name == "beit":
        beit = Beit(**sizes, patch_size=8, depth=2, num_heads=3, use_rel_pos_bias=True)
        return wrapped(beit, 12)
    if name == "cvt":
        settings: dict[str, Any] = {"embed_dim": [8, 12, 16], "num_heads": [1, 2, 4], "depth": [1, 2, 3]}
        return wrapped(ConvolutionalViT(SIDE, mlp_ratio=[2, 2, 2], **settings), 16)
    kind = {"swin": SwinTransformer, "swin_v2": SwinTransformerV2}[name]
    swin = kind(**sizes, patch_size=2, window_size=4, depths=(2, 2), num_heads=(2, 3))
    return wrapped(swin, 24)


def subject_of(model: Model, images: int = 6, **options: Any) -> Subject:
    pixels = np.random.RandomState(0).randint(0, 256, (images, SIDE, SIDE, 3)).astype(np.uint8)
    split = Split(ArrayImages(pixels), np.zeros(images, np.int64))
    return Subject(model, cast(ModelFacts, Facts), cast(Any, None), split, images, CPU, options=options)


def watched(model: Model, images: int = 6) -> list[list[Tensor]]:
    """The maps of each block, by batch."""
    blocks = blocks_of(model, SIDE)
    maps: list[list[Tensor]] = [[] for _ in blocks]
    watch(subject_of(model, images), lambda number, seen: maps[number].append(seen), blocks)
    return maps


def softmaxes(model: Model, images: int = 6) -> Iterator[Tensor]:
    """The maps that timm's own attention gives to its dropout once its kernel is not fused."""
    seen: list[Tensor] = []
    attentions: list[Any] = [m for m in model.backbone.modules() if hasattr(m, "attn_drop") and hasattr(m, "proj")]
    hooks = [a.attn_drop.register_forward_hook(lambda _m, _i, output: seen.append(output)) for a in attentions]
    for attention in attentions:
        attention.fused_attn = False
    with torch.no_grad():
        for pictures, _ in subject_of(model, images).batches():
            model.backbone(model.normalised(pictures))
    for hook in hooks:
        hook.remove()
    yield from seen


# ---- what is read


@pytest.mark.parametrize("name", ["vit", "beit", "swin", "swin_v2"])
def test_maps_beside_a_fused_kernel_are_the_explicit_softmax(name: str) -> None:
    maps = [batch for (batch,) in watched(network(name))]
    explicit = list(softmaxes(network(name)))
    assert len(maps) == len(explicit) > 1
    for read, known in zip(maps, explicit, strict=True):
        assert float((read - known).abs().max()) < 1e-5


def test_a_fused_kernel_is_fused_again() -> None:
    model = network("swin")
    attentions: list[Any] = [m for m in model.backbone.modules() if hasattr(m, "fused_attn")]
    for attention in attentions:
        attention.fused_attn = True
    watched(model)
    assert all(attention.fused_attn for attention in attentions)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("name", ["vit", "beit", "swin", "swin_v2", "cvt"])
def test_rows_add_up_to_one_and_every_key_has_a_place(name: str) -> None:
    model = network(name)
    for block, (maps,) in zip(blocks_of(model, SIDE), watched(model), strict=True):
        assert torch.allclose(maps.sum(-1), torch.ones(()), atol=1e-5)
        queries, keys = maps.shape[2] - block.prefix, maps.shape[3] - block.prefix
        assert block.distances.shape == (queries, keys)


def test_one_batch_of_one_block_is_in_memory_at_a_time() -> None:
    images = AT_ONCE + 2
    shapes = [[len(batch) for batch in block] for block in watched(network("vit"), images)]
    assert shapes == [[AT_ONCE, 2]] * 3


def test_a_network_without_attention_is_refused() -> None:
    model = build_model(Registry().backbone("micro_resnet"), 5, 12, 0.0)
    with pytest.raises(CannotMeasure, match="has no attention"):
        blocks_of(model, 12)


def test_windows_that_reach_beyond_the_grid_are_refused() -> None:
    from timm.models.swin_transformer import SwinTransformer

    sizes: dict[str, Any] = {"img_size": 40, "patch_size": 2, "embed_dim": 12, "num_classes": 0}
    model = wrapped(SwinTransformer(**sizes, window_size=8, depths=(1,), num_heads=(2,)), 12)
    with pytest.raises(CannotMeasure, match="windows of 8 × 8 reach beyond its grid of 20 × 20"):
        blocks_of(model, 40)


# ---- distances


def test_attention_that_is_the_same_everywhere_has_116_49_pixels_in_a_vit_of_224() -> None:
    places = grid_places(14, 14, 16)
    maps = torch.full((2, 3, 197, 197), 1 / 197, dtype=torch.float64)
    distance, raw = distances_of(maps, torch.cdist(places, places), 1)
    assert distance.tolist() == [[pytest.approx(116.49, abs=0.005)] * 3] * 2
    assert raw.tolist() == [[pytest.approx(115.90, abs=0.005)] * 3] * 2
    without_cls = distances_of(maps[:, :, 1:, 1:] * 197 / 196, torch.cdist(places, places), 0)
    assert without_cls.flatten().tolist() == [pytest.approx(116.49, abs=0.005)] * 12


def test_attention_to_oneself_is_at_no_distance_and_to_a_neighbour_at_a_patch() -> None:
    places = grid_places(1, 4, 16)
    oneself = torch.eye(4, dtype=torch.float64)
    right = torch.roll(oneself, 1, dims=1)  # the last looks at the first, three patches away
    distances = distances_of(torch.stack([oneself, right])[None], torch.cdist(places, places), 0)[0, 0]
    assert distances.tolist() == [0, pytest.approx((16 * 3 + 48) / 4)]


def test_what_goes_to_cls_is_taken_out_of_a_row_or_counted_at_no_distance() -> None:
    places = grid_places(1, 2, 10)
    maps = torch.tensor([[[1, 0, 0], [0.5, 0.25, 0.25], [0.9, 0.1, 0]]], dtype=torch.float64)[None]
    distance, raw = distances_of(maps, torch.cdist(places, places), 1)
    assert float(distance) == pytest.approx((5 + 10) / 2)
    assert float(raw) == pytest.approx((2.5 + 1) / 2)


@pytest.mark.parametrize("name", ["vit", "swin", "cvt"])
def test_distances_by_head_and_layer_are_those_of_the_whole_maps(name: str) -> None:
    model = network(name)
    found = attention_distance.measure(subject_of(model, AT_ONCE + 3))
    blocks = blocks_of(model, SIDE)
    for number, (block, batches) in enumerate(zip(blocks, watched(model, AT_ONCE + 3), strict=True)):
        seen = torch.cat(batches).double()[:, :, block.prefix :, block.prefix :]
        seen = seen / seen.sum(-1, keepdim=True)
        known = (seen * block.distances).sum(-1).mean((0, 2)).numpy()
        assert found.arrays["distance"][number, : len(known)] == pytest.approx(known, rel=1e-4)
        assert np.isnan(found.arrays["distance"][number, len(known) :]).all()
    layers = np.nanmean(found.arrays["distance"], axis=1)
    assert found.numbers["attention_distance"] == pytest.approx(layers.mean())
    assert 0 < found.numbers["attention_spread"] < found.numbers["attention_distance"]


def test_uniform_windows_of_a_swin_are_as_wide_as_their_stage() -> None:
    model = network("swin")
    found = []
    for block in blocks_of(model, SIDE):
        size = block.distances.shape[0]
        found.append(float(distances_of(torch.full((1, 1, size, size), 1 / size), block.distances.float(), 0)[0]))
    assert found[0] == found[1] == pytest.approx(found[2] / 2) == pytest.approx(found[3] / 2)


def test_a_strided_key_of_a_cvt_stands_where_its_convolution_is_centred() -> None:
    first = blocks_of(network("cvt"), SIDE)[0]  # 8 x 8 tokens of 4 pixels, 4 x 4 keys
    assert first.distances.shape == (64, 16)
    assert float(first.distances[0, 0]) == float(first.distances[2, 1]) == float(first.distances[16, 4]) == 0
    assert float(first.distances[1, 0]) == 4


# ---- similarity


@pytest.mark.parametrize("between", BETWEEN)
def test_heads_that_are_the_same_have_similarity_1(between: str) -> None:
    one = torch.rand(2, 1, 5, 5, dtype=torch.float64).softmax(-1)
    assert similarity_of(one.expand(-1, 4, -1, -1), between).tolist() == [pytest.approx(1)] * 2
    assert all(map(math.isnan, similarity_of(one, between).tolist()))


@pytest.mark.parametrize("between", BETWEEN)
def test_similarity_is_the_mean_cosine_of_pairs(between: str) -> None:
    torch.manual_seed(0)
    maps = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    cosines = []
    for one, two in ((0, 1), (0, 2), (1, 2)):
        a, b = maps[0, one], maps[0, two]
        if between == "maps":
            cosines.append(float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)))
        else:
            cosines.append(float(nn.functional.cosine_similarity(a, b, dim=0 if between == "columns" else 1).mean()))
    assert float(similarity_of(maps, between)) == pytest.approx(np.mean(cosines))


def test_heads_that_look_elsewhere_have_similarity_0() -> None:
    identity = torch.eye(4)
    assert float(similarity_of(torch.stack([identity, identity.flip(0)])[None])) == pytest.approx(0, abs=1e-6)


def test_similarity_by_layer() -> None:
    found = head_similarity.measure(subject_of(network("cvt"), between="columns"))
    similarity = found.arrays["similarity"]
    assert np.isnan(similarity[0])  # of one head
    assert ((similarity[1:] > 0) & (similarity[1:] <= 1)).all()
    assert found.numbers["head_similarity"] == pytest.approx(similarity[1:].mean())
    with pytest.raises(CannotMeasure, match="--option between=heads: it is columns, rows or maps"):
        head_similarity.measure(subject_of(network("vit"), between="heads"))


# ---- maps


def test_average_maps_and_the_view_of_cls_are_those_of_the_probes() -> None:
    model, images = network("vit"), AT_ONCE + 3
    subject = subject_of(model, images, pictures=4)
    found = attention_map.measure(subject)
    maps = torch.stack([torch.cat(batches) for batches in watched(model, images)])
    assert found.arrays["average"] == pytest.approx(maps[:, :, :, 1:, 1:].mean((1, 2)).numpy(), abs=1e-6)
    chosen = subject.spread_out(4)
    assert chosen.tolist() == [4, 13, 21, 30]
    pixels = np.asarray(cast(ArrayImages, subject.split.images).pixels)[chosen]
    assert np.array_equal(found.arrays["pictures"], pixels)
    pictures = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        known = model.probe(pictures, "cls_attention_map").mean(1)
    assert found.arrays["cls"].reshape(4, -1) == pytest.approx(known.numpy(), abs=1e-6)


def test_fewer_images_than_pictures_and_none() -> None:
    assert subject_of(network("vit"), 2).spread_out(6).tolist() == [0, 1]
    assert {*attention_map.measure(subject_of(network("vit"), pictures=0)).arrays} == {"average"}
