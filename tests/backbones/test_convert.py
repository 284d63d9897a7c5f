"""Checkpoints as they are published, small, against the networks that they come from."""

from __future__ import annotations

import json
import os
import re
import sys
import types
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from timm.models import VisionTransformer
from timm.models.beit import Beit
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import Tensor, nn

from bench.backbones import build_model
from bench.backbones.build import build_source_head
from bench.backbones.checkpoints import read_checkpoint
from bench.backbones.cifar_resnet import CifarResNet
from bench.backbones.convert import Converted, convert, save
from bench.backbones.layouts import LAYOUTS
from bench.backbones.t2t import T2TViT
from bench.backbones.vit import ViT
from bench.cards import BackboneCard
from bench.cli import main
from bench.errors import InputError
from bench.registry import Registry

State = dict[str, Tensor]

VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3}
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2]}
CVT: dict[str, Any] = {"embed_dim": [8, 12, 16], "num_heads": [1, 2, 4], "depth": [1, 2, 3]}
DATA2VEC: dict[str, Any] = {
    **{"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48, "image_size": 32},
    **{"patch_size": 8, "use_shared_relative_position_bias": True, "use_mask_token": True, "layer_norm_eps": 1e-6},
}
HUGGING_FACE: Any = transformers


@dataclass
class Case:
    """A published checkpoint, small.

    Attributes:
        convert: the layout that the card names.
        model: architecture of the card.
        arguments: of the card.
        file: what ``torch.save`` is given.
        entry: where its weights lie.
        features: the pooled features that the source network gives for normalised images.
        head: classes of the classifier that comes along.
        side: of the images.
    """

    convert: str
    model: str
    arguments: dict[str, Any]
    file: dict[str, Any]
    entry: str
    features: Callable[[Tensor], Tensor]
    head: int = 0
    side: int = 32
    network: str = ""

    @property
    def weights(self) -> State:
        """The tensors in the file."""
        found: State = self.file[self.entry] if self.entry else self.file
        return found


def randomised(network: Any) -> Any:
    """Every weight and running statistic random, so that none is without effect."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) if name.endswith("var") else torch.randn_like(value), alpha=0.2)
    return network.eval()


def prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def others(*names: str) -> State:
    return {name: torch.ones(2, 2) for name in names}


def swins_own(state: State) -> State:
    """timm's names of a Swin in those of its own code, with the buffers that it saves."""

    def back(found: re.Match[str]) -> str:
        return f"layers.{int(found[1]) - 1}.downsample"

    renamed = {re.sub(r"layers\.(\d+)\.downsample", back, name): value for name, value in state.items()}
    renamed = {name.replace("head.fc.", "head."): value for name, value in renamed.items()}
    return renamed | others("layers.0.blocks.0.attn.relative_position_index", "layers.1.blocks.1.attn_mask")


def dino() -> Case:
    network = randomised(VisionTransformer(num_classes=0, **VIT))
    return Case("dino", "vision_transformer", VIT, dict(network.state_dict()), "", network)


def dino_full(which: str) -> Case:
    networks = {name: VisionTransformer(num_classes=0, **VIT) for name in ("student", "teacher")}
    randomised(networks["teacher"])
    states = {name: prefixed("backbone.", net.state_dict()) for name, net in networks.items()}
    states = {name: state | others("head.mlp.0.weight", "head.last_layer.weight_g") for name, state in states.items()}
    file = {**states, "student": prefixed("module.", states["student"]), "epoch": 3, "args": Namespace(lr=0.1)}
    return Case("dino", "vision_transformer", VIT, file, which, networks[which].eval(), network=which)


def ibot() -> Case:
    network = randomised(VisionTransformer(num_classes=0, **VIT))
    file = {"state_dict": {**network.state_dict(), **others("masked_embed")}}
    return Case("dino", "vision_transformer", VIT, file, "state_dict", network)


def mae() -> Case:
    network = randomised(VisionTransformer(num_classes=0, **VIT))

    def features(images: Tensor) -> Tensor:
        """As MAE fine-tunes: the mean of the patches after the last block, behind a norm that has learned nothing."""
        seen: list[Tensor] = []
        hook = network.blocks[-1].register_forward_hook(lambda _, given, output: seen.append(output))
        network(images)
        hook.remove()
        return nn.functional.layer_norm(seen[0][:, 1:].mean(1), (12,), eps=1e-6)

    file = {
        "model": {**network.state_dict(), **others("mask_token", "decoder_pos_embed", "decoder_blocks.0.norm1.bias")}
    }
    return Case("mae", "vision_transformer", {**VIT, "global_pool": "avg"}, file, "model", features)


def mae_fine_tuned() -> Case:
    network = randomised(VisionTransformer(num_classes=7, global_pool="avg", **VIT))
    features = lambda images: network.forward_head(network.forward_features(images), pre_logits=True)  # noqa: E731
    arguments = {**VIT, "global_pool": "avg"}
    return Case("mae", "vision_transformer", arguments, {"model": network.state_dict()}, "model", features, 7)


def moco() -> Case:
    network = randomised(torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1]))
    mlp = others("fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias")
    body = {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    state = prefixed("encoder_q.", body | mlp) | prefixed("encoder_k.", body | mlp) | others("queue", "queue_ptr")
    network.fc = nn.Identity()
    file = {"epoch": 800, "arch": "resnet50", "state_dict": prefixed("module.", state), "optimizer": {"state": {}}}
    return Case("moco", "resnet50", {"layers": [1, 1, 1, 1]}, file, "state_dict", network, side=64)


def torchvisions_resnet() -> Case:
    network = randomised(torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=7))
    file = dict(network.state_dict())
    network.fc = nn.Identity()
    return Case("plain", "resnet50", {"layers": [1, 1, 1, 1]}, file, "", network, 7, side=64)


BEIT = {**VIT, "init_values": 0.1}


def shared_beit() -> Any:
    """Relative positions shared by all blocks; the norm of the pooled features has learned nothing."""
    network = Beit(num_classes=0, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, **BEIT)
    fresh = {name: value.clone() for name, value in network.fc_norm.state_dict().items()}
    randomised(network).fc_norm.load_state_dict(fresh)
    return network


def beits_state(network: Any) -> State:
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("fc_norm.")}
    return state | others("mask_token", "norm.weight", "norm.bias", "rel_pos_bias.relative_position_index")


def beit(layout: str = "beit", entry: str = "model") -> Case:
    network = shared_beit()
    file = {entry: beits_state(network) | others("lm_head.weight", "lm_head.bias"), "args": Namespace(seed=0)}
    return Case(layout, "beit_base_patch16_224", BEIT, file, entry, network)


def beit_fine_tuned(layout: str = "beit") -> Case:
    network = randomised(Beit(num_classes=7, use_abs_pos_emb=False, use_rel_pos_bias=True, **BEIT))
    features = lambda images: network.forward_head(network.forward_features(images), pre_logits=True)  # noqa: E731
    state = network.state_dict() | others("blocks.0.attn.relative_position_index")
    return Case(layout, "beit_base_patch16_224", BEIT, {"model": state}, "model", features, 7)


def simmim() -> Case:
    network = shared_beit()
    state = prefixed("encoder.", beits_state(network)) | others("decoder.0.weight", "decoder.0.bias")
    return Case("simmim", "beit_base_patch16_224", BEIT, {"model": state}, "model", network)


def distilled_vit() -> Case:
    """As feature distillation's code saves it: the student as encoder, its last norm, the projection, the teacher."""
    network = shared_beit()
    state = {name: value for name, value in beits_state(network).items() if name != "mask_token"}
    teacher = others("feature_model.blocks.0.norm1.weight", "feature_model.visual.ln_post.bias")
    file = {"model": prefixed("encoder.", state) | others("decoder.0.weight", "decoder.0.bias") | teacher, "epoch": 299}
    return Case("feature_distillation", "beit_base_patch16_224", BEIT, file, "model", network)


def distilled_here() -> Case:
    """As ``bench export`` writes the linear probe of a student: timm's names, biases that are shared, and a head."""
    network = randomised(Beit(num_classes=7, use_abs_pos_emb=False, use_shared_rel_pos_bias=True, **BEIT))
    features = lambda images: network.forward_head(network.forward_features(images), pre_logits=True)  # noqa: E731
    file = dict(network.state_dict())
    return Case("feature_distillation", "beit_base_patch16_224", BEIT, file, "", features, 7)


def distilled_swin() -> Case:
    """A SwinV2 whose positions' networks are called otherwise; patches are merged at the end of a stage."""
    network = randomised(SwinTransformerV2(img_size=32, patch_size=4, window_size=4, num_classes=0, **SWIN))
    own = swins_own(network.state_dict())
    state = {name.replace(".cpb_mlp.", ".rpe_mlp."): value for name, value in own.items()}
    buffers = others("layers.0.blocks.0.attn.relative_coords_table", "layers.0.blocks.0.attn.relative_position_index")
    file = {"model": prefixed("encoder.", state | buffers) | others("decoder.0.weight", "feature_model.norm.weight")}
    features = lambda images: network.forward_head(network.forward_features(images), pre_logits=True)  # noqa: E731
    arguments = {"img_size": 32, "window_size": 4, **SWIN}
    return Case("feature_distillation", "swinv2_tiny_window8_256", arguments, file, "model", features)


def data2vec_of_transformers() -> Case:
    config = HUGGING_FACE.Data2VecVisionConfig(**DATA2VEC, use_mean_pooling=True)
    network = randomised(HUGGING_FACE.Data2VecVisionModel(config, add_pooling_layer=True))
    file = dict(network.state_dict())
    features = lambda images: network(images).pooler_output  # noqa: E731
    return Case("data2vec", "beit_base_patch16_224", BEIT, file, "", features)


def data2vec_fine_tuned() -> Case:
    changes = {"use_shared_relative_position_bias": False, "use_relative_position_bias": True, "num_labels": 7}
    config = HUGGING_FACE.Data2VecVisionConfig(**{**DATA2VEC, **changes}, use_mean_pooling=True)
    network = randomised(HUGGING_FACE.Data2VecVisionForImageClassification(config))
    features = lambda images: network.data2vec_vision(images).pooler_output  # noqa: E731
    return Case("data2vec", "beit_base_patch16_224", BEIT, dict(network.state_dict()), "", features, 7)


def swin(head: int = 7) -> Case:
    network = randomised(SwinTransformer(img_size=32, patch_size=4, window_size=4, num_classes=head, **SWIN))
    features = lambda images: network.forward_head(network.forward_features(images), pre_logits=True)  # noqa: E731
    arguments = {"img_size": 32, "window_size": 4, **SWIN}
    file = {"model": swins_own(network.state_dict())}
    return Case("swin", "swin_tiny_patch4_window7_224", arguments, file, "model", features, head)


def simmim_swin() -> Case:
    case = swin(0)
    state = prefixed("encoder.", case.weights | others("mask_token")) | others("decoder.0.weight", "decoder.0.bias")
    return Case("simmim_swin", case.model, case.arguments, {"model": state}, "model", case.features)


def esvit(which: str, prefix: str = "") -> Case:
    case, other = swin(0), swins_own(SwinTransformer(img_size=32, window_size=4, num_classes=0, **SWIN).state_dict())
    heads = others("head.mlp.0.weight", "head_dense.last_layer.weight_v")
    states = {"student": other, "teacher": other, which: case.weights}
    file = {name: prefixed("module.", prefixed(prefix, state) | heads) for name, state in states.items()}
    return Case("esvit", case.model, case.arguments, file, which, case.features, network=which)


def t2t() -> Case:
    sizes = {"img_size": 32, "embed_dim": 12, "depth": 2, "num_heads": 3, "mlp_ratio": 2, "token_dim": 8}
    network: Any = randomised(T2TViT(**sizes, num_classes=7))
    file = {"state_dict_ema": prefixed("module.", network.state_dict()), "state_dict": {}, "epoch": 309}
    network.head = nn.Identity()
    return Case("t2t", "t2t_vit", sizes, file, "state_dict_ema", network, 7)


def cvt() -> Case:
    sizes = {**CVT, "mlp_ratio": [2.0, 2.0, 2.0], "drop_path_rate": [0.0, 0.0, 0.0]}
    network = randomised(HUGGING_FACE.CvtForImageClassification(HUGGING_FACE.CvtConfig(**sizes, num_labels=7)))
    features = lambda images: network.layernorm(network.cvt(images).cls_token_value)[:, 0]  # noqa: E731
    return Case(
        "cvt", "cvt", {"img_size": 32, **CVT, "mlp_ratio": [2, 2, 2]}, dict(network.state_dict()), "", features, 7
    )


def cifar() -> Case:
    network = randomised(CifarResNet(8))
    state = {name: value for name, value in network.state_dict().items() if "tracked" not in name}
    state |= {"linear.weight": torch.randn(7, 64), "linear.bias": torch.randn(7)}
    file = {"state_dict": prefixed("module.", state), "best_prec1": 91.0}
    return Case("cifar_resnet", "cifar_resnet", {"depth": 8}, file, "state_dict", network, 7)


CASES: dict[str, Callable[[], Case]] = {
    "dino": dino,
    "dino, teacher": lambda: dino_full("teacher"),
    "dino, student": lambda: dino_full("student"),
    "ibot": ibot,
    "mae": mae,
    "mae, fine-tuned": mae_fine_tuned,
    "moco": moco,
    "torchvision": torchvisions_resnet,
    "beit": beit,
    "beit, fine-tuned": beit_fine_tuned,
    "simmim": simmim,
    "simmim, fine-tuned": lambda: beit_fine_tuned("simmim"),
    "distilled vit": distilled_vit,
    "distilled vit, exported": distilled_here,
    "distilled swin": distilled_swin,
    "data2vec": lambda: beit("data2vec"),
    "data2vec, module": lambda: beit("data2vec", "module"),
    "data2vec, transformers": data2vec_of_transformers,
    "data2vec, fine-tuned": data2vec_fine_tuned,
    "swin": swin,
    "simmim swin": simmim_swin,
    "esvit, student": lambda: esvit("student"),
    "esvit, teacher": lambda: esvit("teacher"),
    "esvit, wrapped": lambda: esvit("student", "backbone."),
    "t2t": t2t,
    "cvt": cvt,
    "cifar": cifar,
}
NAMES = list(CASES)


def card_of(case: Case, folder: Path, weights: str = "none") -> BackboneCard:
    """A card of the case's architecture, whose pixels are not normalised."""
    (folder / "backbones").mkdir(exist_ok=True)
    facts = {
        **{"title": "small", "model": case.model, "arguments": case.arguments, "convert": case.convert},
        **{"pixels": {"mean": [0.0] * 3, "std": [1.0] * 3}, "published": "somewhere"},
        **({"network": "teacher"} if case.network else {}),
    }
    (folder / "backbones" / "small.yaml").write_text(json.dumps(facts), encoding="utf-8")
    return Registry([folder]).backbone(f"small@{weights}")


def converted(case: Case, folder: Path) -> Converted:
    torch.save(case.file, folder / "c.pth")
    return convert(card_of(case, folder), folder / "c.pth", case.network)


def refused(case: Case, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        converted(case, folder)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize("name", NAMES)
class TestEveryLayout:
    def test_the_model_computes_what_the_source_does(self, name: str, tmp_path: Path) -> None:
        case = CASES[name]()
        file, images = tmp_path / "w.safetensors", torch.rand(2, 3, case.side, case.side)
        save(converted(case, tmp_path), card_of(case, tmp_path), tmp_path / "c.pth", file)
        card = card_of(case, tmp_path, str(file))
        model = build_model(card, 3).eval()
        with torch.no_grad():
            expected, features = case.features(images), model(images).features
        assert expected.std() > 0.01
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
        assert ("source_head" in card.offers) == bool(case.head)
        if case.head:
            assert build_source_head(card).weight.shape == (case.head, model.dim)

    def test_a_weight_that_is_missing_is_told_by_its_name(self, name: str, tmp_path: Path) -> None:
        case = CASES[name]()
        gone = next(key for key in case.weights if re.search(r"(norm1|layernorm_before|bn1)\.weight$", key))
        del case.weights[gone]
        problem = refused(case, tmp_path)
        assert "c.pth does not fit; missing: " in problem
        assert re.search(r"(norm1|layernorm_before|bn1)\.weight", problem)
        assert "unexpected" not in problem

    def test_a_weight_that_nobody_knows_is_told_by_its_name(self, name: str, tmp_path: Path) -> None:
        case = CASES[name]()
        ddp = all(key.startswith("module.") for key in case.weights)
        case.weights[f"{'module.' if ddp else ''}odd.weight"] = torch.zeros(1)
        problem = refused(case, tmp_path)
        assert re.search(r"c\.pth does not fit; unexpected: (\(outside \w+\.\) )?odd\.weight$", problem)

    def test_a_weight_of_another_shape_is_told_with_both(self, name: str, tmp_path: Path) -> None:
        case = CASES[name]()
        key = next(key for key in case.weights if re.search(r"(norm1|layernorm_before|bn1)\.bias$", key))
        case.weights[key] = torch.zeros(5)
        assert re.search(r"of another shape: .+\.?(bias) is \(5,\), not \(\d+,\)$", refused(case, tmp_path))


def test_a_distilled_swin_is_read_as_it_is_exported_too(tmp_path: Path) -> None:
    """In timm's own names, with a head."""
    network = randomised(SwinTransformerV2(img_size=32, patch_size=4, window_size=4, num_classes=7, **SWIN))
    published = distilled_swin()
    case = Case(published.convert, published.model, published.arguments, dict(network.state_dict()), "", network, 7)
    made = converted(case, tmp_path)
    assert (made.dropped, made.fresh) == ((), ())
    body = {name: value for name, value in network.state_dict().items() if not name.startswith("head.")}
    assert all(torch.equal(made.weights[name], value) for name, value in body.items())
    assert made.weights["head.weight"].shape == (7, 16)


def test_every_layout_is_tried() -> None:
    assert {CASES[name]().convert for name in NAMES} == set(LAYOUTS)


class TestWhatBecomesOfTheWeights:
    def test_a_table_that_is_shared_becomes_one_of_each_block(self, tmp_path: Path) -> None:
        case = simmim()
        made = converted(case, tmp_path).weights
        table = case.weights["encoder.rel_pos_bias.relative_position_bias_table"]
        for number in range(2):
            assert torch.equal(made[f"blocks.{number}.attn.relative_position_bias_table"], table)
        assert "rel_pos_bias.relative_position_bias_table" not in made

    def test_what_is_dropped_and_what_starts_anew_is_told(self, tmp_path: Path) -> None:
        found = converted(simmim(), tmp_path)
        assert set(found.dropped) == {
            *("encoder.mask_token", "encoder.norm.weight", "encoder.norm.bias", "decoder.0.weight", "decoder.0.bias"),
            "encoder.rel_pos_bias.relative_position_index",
        }
        assert found.fresh == ("fc_norm.weight", "fc_norm.bias")
        assert found.entry == "model"

    def test_where_a_classifier_comes_along_nothing_may_start_anew(self, tmp_path: Path) -> None:
        case = beit_fine_tuned()
        del case.weights["fc_norm.weight"]
        assert "missing: fc_norm.weight" in refused(case, tmp_path)

    def test_tables_of_windows_are_resized_to_those_of_the_card(self, tmp_path: Path) -> None:
        case = simmim_swin()
        case.arguments = {**case.arguments, "img_size": 64, "window_size": 8}
        made = converted(case, tmp_path).weights
        table = made["layers.1.blocks.0.attn.relative_position_bias_table"]
        given = case.weights["encoder.layers.1.blocks.0.attn.relative_position_bias_table"]
        assert (tuple(given.shape), tuple(table.shape)) == ((49, 2), (225, 2))
        assert torch.allclose(table[112], given[24], atol=1e-6), "no distance is in the middle of both"

    def test_position_embeddings_are_resized_to_those_of_the_card(self, tmp_path: Path) -> None:
        case = dino()
        case.arguments = {**case.arguments, "img_size": 64}
        assert converted(case, tmp_path).weights["pos_embed"].shape == (1, 65, 12)

    def test_merging_of_patches_moves_to_the_next_stage(self, tmp_path: Path) -> None:
        case = swin()
        made = converted(case, tmp_path).weights
        reduction = case.weights["layers.0.downsample.reduction.weight"]
        assert torch.equal(made["layers.1.downsample.reduction.weight"], reduction)

    def test_the_network_is_the_one_that_is_asked_for(self, tmp_path: Path) -> None:
        made = {}
        for which in ("student", "teacher", ""):
            case = dino_full(which or "teacher")
            torch.save(case.file, tmp_path / "c.pth")
            made[which] = convert(card_of(case, tmp_path), tmp_path / "c.pth", which).weights["cls_token"]
        assert not torch.equal(made["student"], made["teacher"])
        assert torch.equal(made[""], made["teacher"])

    def test_a_network_that_the_file_does_not_hold_is_refused(self, tmp_path: Path) -> None:
        case = dino()
        case.network = "student"
        assert "no network in it is called 'student' (there are: file)" in refused(case, tmp_path)

    def test_a_card_of_one_network_takes_no_choice(self, tmp_path: Path) -> None:
        torch.save(mae().file, tmp_path / "c.pth")
        with pytest.raises(InputError, match=r"no network in it is called 'teacher' \(there are: model\)"):
            convert(card_of(mae(), tmp_path), tmp_path / "c.pth", "teacher")

    def test_the_generator_of_torch_is_left_as_it_is(self, tmp_path: Path) -> None:
        case = dino()
        torch.save(case.file, tmp_path / "c.pth")
        torch.manual_seed(3)
        before = torch.rand(2)
        torch.manual_seed(3)
        convert(card_of(case, tmp_path), tmp_path / "c.pth")
        assert torch.equal(torch.rand(2), before)

    def test_a_checkpoint_of_another_backbone(self, tmp_path: Path) -> None:
        case = cifar()
        case.file = dino().file
        problem = refused(case, tmp_path)
        assert "is in no known layout; it has cls_token, pos_embed, " in problem
        assert problem.endswith("expected is layer1.* under 'state_dict' or layer1.*")

    def test_safetensors_are_read_too(self, tmp_path: Path) -> None:
        case = cvt()
        save_file({name: value.contiguous() for name, value in case.file.items()}, tmp_path / "c.safetensors")
        assert "head.weight" in convert(card_of(case, tmp_path), tmp_path / "c.safetensors").weights


class Evil:
    """Runs a command when it is unpickled as Python would."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class TestReading:
    def refused(self, file: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_checkpoint(file)
        (problem,) = caught.value.problems
        assert "\n" not in problem
        return problem

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_checkpoint_is_named_and_does_not_run(self, tmp_path: Path, zipped: bool) -> None:
        file, marker = tmp_path / "c.pth", tmp_path / "ran"
        torch.save({"model": Evil(marker)}, file, _use_new_zipfile_serialization=zipped)
        name = f"{os.system.__module__}.system"
        assert self.refused(file) == (
            f"{file}: it holds code ({name}), which is not run; only tensors and plain settings are read"
        )
        assert not marker.exists()
        torch.load(file, weights_only=False)  # Python itself would have run it
        assert marker.exists()

    def test_settings_beside_the_weights_are_read_without_their_library(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module: Any = types.ModuleType("yacs.config")
        module.CfgNode = type("CfgNode", (dict,), {"__module__": "yacs.config"})
        monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        monkeypatch.setitem(sys.modules, "yacs.config", module)
        settings = module.CfgNode({"LR": 0.1})
        settings.frozen = True
        torch.save({"model": {"x": torch.ones(1)}, "config": settings, "args": Namespace(a=1)}, tmp_path / "c.pth")
        monkeypatch.delitem(sys.modules, "yacs.config")
        monkeypatch.delitem(sys.modules, "yacs")
        found = read_checkpoint(tmp_path / "c.pth")
        assert found["config"] == {"LR": 0.1}
        assert found["args"] == Namespace(a=1)
        assert torch.equal(found["model"]["x"], torch.ones(1))

    @pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04 no archive", b"\x80\x02}q\x00."])
    @pytest.mark.parametrize("suffix", ["pth", "safetensors"])
    def test_files_that_are_none(self, tmp_path: Path, content: bytes, suffix: str) -> None:
        file = tmp_path / f"c.{suffix}"
        file.write_bytes(content)
        assert self.refused(file).startswith(f"{file}: cannot be read as ")

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path / "c.pth") == f"{tmp_path / 'c.pth'}: there is no such file"

    def test_a_tensor_alone(self, tmp_path: Path) -> None:
        torch.save(torch.ones(2), tmp_path / "c.pth")
        assert self.refused(tmp_path / "c.pth").endswith("it holds a Tensor, not tensors by name")


class TestCommand:
    def run(self, *arguments: str | Path) -> int:
        return main(["convert", *map(str, arguments)])

    def prepared(self, folder: Path) -> tuple[Path, str]:
        case = simmim()
        card_of(case, folder)
        torch.save(case.file, folder / "c.pth")
        return folder / "c.pth", f"--plugin={folder}"

    def test_it_writes_a_file_that_a_backbone_takes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        file, plugin = self.prepared(tmp_path)
        assert self.run("small", file, plugin) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"{tmp_path}/data/weights/small.safetensors: 37 weights of c.pth (under model)",
            "  left out: encoder (4), decoder (2)",
            "  not in it, as in a new network: fc_norm (2)",
            "  classifier of the pre-training: none",
            "  to be written as: small",
        ]
        assert build_model(Registry([tmp_path]).backbone("small"), 3)
        with safe_open("data/weights/small.safetensors", "pt") as opened:
            told = opened.metadata()
        assert (told["backbone"], told["made_of"], told["entry"]) == ("small", "c.pth", "model")
        assert len(told["made_of_sha256"]) == 64

    def test_a_file_that_exists_is_left_alone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file, plugin = self.prepared(tmp_path)
        out = tmp_path / "out.safetensors"
        out.write_bytes(b"mine")
        assert self.run("small", file, out, plugin) == 2
        assert capsys.readouterr().err == f"bench: {out}: exists already; name another file, or remove it\n"
        assert out.read_bytes() == b"mine"

    def test_a_folder_that_is_not_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file, plugin = self.prepared(tmp_path)
        assert self.run("small", file, tmp_path / "no" / "out.safetensors", plugin) == 2
        assert "there is no folder" in capsys.readouterr().err

    def test_a_backbone_whose_weights_nobody_looks_for_needs_a_place(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.run("micro_vit", tmp_path / "c.pth") == 2
        assert "OUT is missing: bench convert micro_vit" in capsys.readouterr().err


def test_a_family_serves_what_was_converted(tmp_path: Path) -> None:
    case = ibot()
    save(converted(case, tmp_path), card_of(case, tmp_path), tmp_path / "c.pth", tmp_path / "w.safetensors")
    model = build_model(card_of(case, tmp_path, str(tmp_path / "w.safetensors")), 3)
    assert isinstance(model.family, ViT)
    assert model.probe(torch.rand(1, 3, 32, 32), "cls_attention").shape == (2, 1, 3, 16)
