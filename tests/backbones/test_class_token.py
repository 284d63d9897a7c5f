"""The last block for the class token alone: the same numbers, and only where nothing else of it is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from timm.layers import Attention, GlobalResponseNormMlp
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.build import sketch
from bench.backbones.class_token import class_token_alone, narrowed
from bench.backbones.student import set_drop_path
from bench.backbones.vit import ViT
from bench.conformance import find_examined
from bench.device.chunks import chunked
from bench.protocol import Recipe
from bench.registry import Registry
from bench.training.feed import fed
from bench.training.fit import fit
from tests.backbones.test_interface import PLAIN, TRANSFORMERS, model_of, some_images

REGISTRY = Registry()
NARROW = {"vit", "vit, clip", "t2t", "dinov3", "rope-vit"}
"""Of the small networks those that pool their class token by attention that is read."""

PROBES = ["tokens", "grid", "cls_attention", "cls_attention_map", "attention_maps", "msa_output", "block_output"]


@contextmanager
def plainly() -> Iterator[None]:
    """Inside, passes compute all of every block."""
    kept = ViT.pooling
    ViT.pooling = lambda self, backbone: nullcontext()  # type: ignore[method-assign]
    try:
        yield
    finally:
        ViT.pooling = kept  # type: ignore[method-assign]


def micro() -> Model:
    torch.manual_seed(0)
    return build_model(REGISTRY.backbone("micro_vit"), 10).eval()


def images_of(model: Model, count: int = 32) -> Tensor:
    return torch.rand(count, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def seen_by_last_mlp(model: Model, run: Callable[[], Any]) -> list[int]:
    """How many tokens the last MLP was given, pass by pass; by its function, since a hook would change the answer."""
    layer, counts = last(model).mlp, list[int]()
    kept = type(layer).forward

    def count(self: nn.Module, tokens: Tensor) -> Tensor:
        if self is layer:
            counts.append(tokens.shape[1])
        out: Tensor = kept(self, tokens)
        return out

    type(layer).forward = count
    try:
        run()
    finally:
        type(layer).forward = kept
    return counts


def last(model: Model) -> Any:
    backbone: Any = model.backbone
    return backbone.blocks[-1]


class TestSame:
    @pytest.mark.parametrize("name", sorted(NARROW))
    def test_logits_and_gradients_of_all_parameters_in_float64(self, name: str) -> None:
        model, gradients = model_of(name).train(), list[dict[str, Any]]()
        images = some_images(model)
        for how in (nullcontext, plainly):
            torch.manual_seed(2)  # T2T-ViT drops units, before its blocks
            with how():
                output = model(images)
            loss = output.logits.square().sum() + output.features.sin().sum()
            model.zero_grad()
            loss.backward()
            named = {name: weight.grad for name, weight in model.named_parameters()}
            assert all(gradient is not None for gradient in named.values())
            gradients.append({"loss": loss.detach(), **named})
        for key, value in gradients[1].items():
            scale = max(1.0, float(value.abs().max()))
            assert float((gradients[0][key] - value).abs().max()) / scale <= 1e-12, key

    def test_logits_of_the_micro_vit_and_of_a_vit_tiny_in_single_precision(self) -> None:
        model = micro()
        torch.manual_seed(0)
        tiny = build_model(REGISTRY.backbone("timm:vit_tiny_patch16_224@none"), 10, 64).eval()
        for network, images in ((model, images_of(model)), (tiny, torch.rand(4, 3, 64, 64))):
            with torch.inference_mode():
                found = network(images).logits
                with plainly():
                    expected = network(images).logits
            assert float((found - expected).abs().max()) <= 1e-6

    def test_explicit_attention_has_them_too(self) -> None:
        model = model_of("vit")
        for block in model.backbone.blocks:  # type: ignore[union-attr]
            block.attn.fused_attn = False
        images = some_images(model)
        with plainly():
            expected = model(images).logits
        torch.testing.assert_close(model(images).logits, expected, rtol=1e-12, atol=1e-13)

    def test_stochastic_depth_draws_the_same(self) -> None:
        model = micro().double().train()
        set_drop_path(model.backbone, 0.5)
        images, found = images_of(model).double(), list[Tensor]()
        for how in (nullcontext, plainly):
            torch.manual_seed(3)
            with how():
                found += [model(images).logits, torch.rand(3)]
        torch.testing.assert_close(found[0], found[2], rtol=1e-12, atol=1e-13)
        assert torch.equal(found[1], found[3])

    def test_a_pass_in_chunks_that_is_computed_again_on_the_way_back(self) -> None:
        model, found = micro().double(), list[Tensor]()
        images = images_of(model).double()
        for how in (nullcontext, plainly):
            model.zero_grad()
            with how(), chunked(4):
                model(images).logits.square().sum().backward()
            found.append(last(model).attn.qkv.weight.grad.clone())
        torch.testing.assert_close(found[0], found[1], rtol=1e-11, atol=1e-13)

    @pytest.mark.parametrize("probe", PROBES)
    def test_each_probe_is_the_same_bit_for_bit(self, probe: str) -> None:
        model = micro()
        images = images_of(model)
        found = model(images, probe=probe)[probe]
        with plainly():
            assert torch.equal(found, model(images, probe=probe)[probe])
        assert torch.equal(found, model.probe(images, probe))


class TestUsed:
    @pytest.mark.parametrize("name", TRANSFORMERS)
    def test_by_every_network_that_pools_its_class_token_and_by_no_other(self, name: str) -> None:
        model = model_of(name)
        assert (narrowed(model.backbone) is not None) is (name in NARROW)

    @pytest.mark.parametrize(
        "name",
        [
            *("deit_small", "dino_vit_small", "clip_vit_base", "ibot_vit_small", "vit_base", "micro_vit", "t2t_vit_14"),
            *("dinov3_vit_small", "timm:vit_small_patch14_reg4_dinov2@none", "timm:deit3_small_patch16_224@none"),
            "timm:eva02_base_patch16_clip_224@none",
        ],
    )
    def test_by_the_backbones_of_the_field(self, name: str) -> None:
        assert narrowed(sketched(name).backbone) is not None

    @pytest.mark.parametrize(
        "name",
        [
            *("mae_vit_base", "beit_base", "swin_tiny", "timm:vit_base_patch16_siglip_224@none"),
            *("timm:deit_small_distilled_patch16_224@none", "timm:vit_medium_patch16_gap_240@none"),
        ],
    )
    def test_not_by_those_that_pool_anything_else(self, name: str) -> None:
        assert narrowed(sketched(name).backbone) is None

    def test_in_training_evaluation_and_features(self) -> None:
        model = micro()
        images = images_of(model)
        for run in (lambda: model.train()(images), lambda: model.eval()(images), lambda: model.pooled(images)):
            assert seen_by_last_mlp(model, run) == [1]
        with plainly():
            assert seen_by_last_mlp(model, lambda: model(images)) == [37]

    def test_the_attention_that_gta_reads_leaves_it_on(self) -> None:
        model = micro()
        images = images_of(model)
        assert seen_by_last_mlp(model, lambda: model(images, probe="cls_attention")) == [1]
        with model.watching("cls_attention_map"):
            assert seen_by_last_mlp(model, lambda: model(images)) == [1]
        for probe in ("tokens", "grid", "msa_output", "block_output"):
            assert seen_by_last_mlp(model, lambda probe=probe: model(images, probe=probe)) == [37]  # type: ignore[misc]

    def test_whoever_calls_the_backbone_without_a_model_has_all_of_it(self) -> None:
        model = micro()
        backbone: Any = model.backbone
        images = model.normalised(images_of(model))
        assert seen_by_last_mlp(model, lambda: backbone.forward_features(images)) == [37]
        assert seen_by_last_mlp(model, lambda: backbone(images)) == [37]

    def test_features_of_the_last_blocks_have_all_tokens(self) -> None:
        model = micro()
        model.read_last_blocks(2)
        assert seen_by_last_mlp(model, lambda: model.pooled(images_of(model))) == [37]

    def test_a_hook_on_any_part_that_would_be_given_less_turns_it_off(self) -> None:
        model = micro()
        block, backbone = last(model), model.backbone
        parts: dict[str, nn.Module] = dict(block.named_modules()) | {"norm": backbone.norm, "blocks": backbone.blocks}
        for name, part in parts.items():
            for register in (part.register_forward_hook, part.register_forward_pre_hook):
                hook = register(lambda *_: None)
                on = name in ("norm1", "attn.qkv", "attn.k_norm")
                assert (narrowed(backbone) is not None) is on, name
                hook.remove()
        assert narrowed(backbone) is block

    def test_dropped_units_turn_it_off_while_they_are_dropped(self) -> None:
        for arguments in ({"attn_drop_rate": 0.1}, {"proj_drop_rate": 0.1}):
            backbone = VisionTransformer(**PLAIN, **arguments)
            assert narrowed(backbone.train()) is None
            assert narrowed(backbone.eval()) is not None

    def test_a_layer_that_may_look_at_other_tokens_turns_it_off(self) -> None:
        class Mixing(nn.Module):
            def forward(self, tokens: Tensor) -> Tensor:
                return tokens - tokens.mean(1, keepdim=True)

        for name in ("norm2", "mlp", "ls1", "drop_path2"):
            backbone = VisionTransformer(**PLAIN)
            setattr(backbone.blocks[-1], name, Mixing())
            assert narrowed(backbone) is None
        backbone = VisionTransformer(**PLAIN)
        backbone.norm = Mixing()
        assert narrowed(backbone) is None
        backbone = VisionTransformer(**PLAIN)
        backbone.blocks[-1].mlp = GlobalResponseNormMlp(12, 48)
        assert narrowed(backbone) is None

    @pytest.mark.parametrize(
        "arguments",
        [{"qkv_bias": False}, {"qk_norm": True}, {"scale_attn_norm": True}, {"init_values": 0.1}, {"reg_tokens": 3}],
    )
    def test_other_attention_of_timms_is_computed_as_timm_does(self, arguments: dict[str, Any]) -> None:
        torch.manual_seed(0)
        backbone = VisionTransformer(**PLAIN, **arguments).double().eval()
        assert narrowed(backbone) is not None
        images = torch.rand(2, 3, 8, 8).double()
        expected = backbone(images)
        with class_token_alone(backbone):
            torch.testing.assert_close(backbone(images), expected, rtol=1e-12, atol=1e-13)

    def test_gated_attention_and_blocks_computed_again_are_left_alone(self) -> None:
        gated = VisionTransformer(**PLAIN)
        gated.blocks[-1].attn = Attention(12, 3, gated=True)
        again = VisionTransformer(**PLAIN)
        again.set_grad_checkpointing(True)
        assert narrowed(gated) is narrowed(again) is None

    @pytest.mark.slow
    def test_methods_that_join_the_last_block_have_all_of_it_and_layers_in_the_place_of_linear_ones_do_not(
        self,
    ) -> None:
        found = {}
        for name in ("adaptformer", "vpt", "ssf", "peft", "bitfit", "ce"):
            examined = find_examined(REGISTRY.method(name), REGISTRY)
            model, data = examined.model(), examined.data()
            next(iter(examined.stages(model, data)))
            found[name] = narrowed(model.train().backbone) is not None
        assert found == {"adaptformer": False, "vpt": False, "ssf": True, "peft": True, "bitfit": True, "ce": True}


class TestLeavesNothing:
    def test_copies_states_and_files_are_those_of_the_plain_network(self, tmp_path: Any) -> None:
        model = micro()
        names = list(model.state_dict())
        model(images_of(model))
        assert "forward" not in vars(last(model))
        again = copy.deepcopy(model)
        torch.save(model.backbone, tmp_path / "backbone.pt")
        loaded = torch.load(tmp_path / "backbone.pt", weights_only=False)
        images = images_of(model)
        assert names == list(model.state_dict())
        assert torch.equal(again(images).logits, model(images).logits)
        assert torch.equal(loaded(model.normalised(images)), model.backbone(model.normalised(images)))

    def test_an_error_in_a_pass_leaves_the_block_as_it_was(self) -> None:
        model = micro()
        last(model).norm2 = nn.LayerNorm(7)
        with pytest.raises(RuntimeError):
            model(images_of(model))
        assert "forward" not in vars(last(model))

    @pytest.mark.slow
    def test_a_compiled_backbone_is_traced_once_for_all_passes(self) -> None:
        model = micro()
        traced = list[Any]()

        def backend(graph: Any, inputs: Any) -> Any:
            traced.append(graph)
            return graph.forward

        torch._dynamo.reset()
        model.backbone.compile(backend=backend)
        images = images_of(model)
        first, again = model(images).logits, model(images).logits
        assert len(traced) == 1
        assert torch.equal(first, again)


def sketched(name: str) -> Model:
    return sketch(REGISTRY.backbone(name))


OF_MICRO_VIT = [
    name
    for name in sorted(REGISTRY.method_files)
    if find_examined(REGISTRY.method(name), REGISTRY).backbone.name == "micro_vit"
]
"""Methods that can be tried on it; the others are for convolutional networks, or for a text tower."""


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_MICRO_VIT)
def test_every_method_trains_three_steps_to_the_same_losses(name: str) -> None:
    with plainly():
        expected = losses(name)
    found = losses(name)
    assert len(found) == len(expected)
    for terms, plain in zip(found, expected, strict=True):
        assert terms == {key: pytest.approx(value, abs=1e-5, rel=1e-5) for key, value in plain.items()}


def losses(name: str) -> list[dict[str, float]]:
    """The terms of each step of a training of three, by plain SGD: Adam makes whole steps of what is rounding alone.

    So LwF's, whose distance to its source begins at nothing.
    """
    examined, found, done, previous = find_examined(REGISTRY.method(name), REGISTRY), list[dict[str, float]](), 0, None
    model, data = examined.model(), examined.data()
    torch.manual_seed(1)
    recipe = Recipe(steps=3, lr=1e-2, optimizer="sgd").resolved(len(data), data.protocol.batch_size)
    for planned in examined.built().stages(model, recipe, data):
        stage, images = fed(planned, data)
        at_stop: Any = lambda progress: found.append(progress.terms)  # noqa: E731
        previous = fit(stage, images, start=done, stops=lambda step: True, at_stop=at_stop, previous=previous)
        done += stage.recipe.last - stage.recipe.first
    return found
