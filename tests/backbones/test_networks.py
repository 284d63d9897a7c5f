"""Checkpoints as training scripts write them, of a small network of timm's, into weights in its own names."""

from __future__ import annotations

import argparse
import functools
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers as hugging_face
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.backbones import build_model
from bench.backbones.build import build_source_head
from bench.backbones.checkpoints import read_checkpoint
from bench.backbones.convert import Converted, convert
from bench.cli import main
from bench.errors import InputError
from bench.registry import Registry

NAME = "timm:test_vit"
transformers: Any = hugging_face
State = dict[str, Tensor]


@functools.cache
def network(seed: int = 0, classes: int = 7) -> State:
    """The weights of a small ViT with a classifier."""
    torch.manual_seed(seed)
    return dict(timm.create_model("test_vit", num_classes=classes).state_dict())


def body(seed: int = 0) -> State:
    return {name: value for name, value in network(seed).items() if not name.startswith("head.")}


def behind(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


PROJECTOR = {"head.mlp.0.weight": torch.ones(2, 2), "head.last_layer.weight_g": torch.ones(2)}

ONE: dict[str, tuple[Callable[[], dict[str, Any]], str, str]] = {
    "torch.save of a state dict": (lambda: network(), "", ""),
    "timm's train.py": (lambda: {"arch": "x", "state_dict": network(), "optimizer": {"state": {}}}, "state_dict", ""),
    "DistributedDataParallel": (lambda: behind("module.", network()), "", "module."),
    "torch.compile": (lambda: {"model": behind("_orig_mod.", network())}, "model", "_orig_mod."),
    "both": (lambda: {"model": behind("module._orig_mod.", network())}, "model", "module._orig_mod."),
    "a part that is compiled": (
        lambda: {"model": behind("net._orig_mod.", network()) | {"loss.scale": torch.ones(1)}},
        "model",
        "net._orig_mod.",
    ),
    "Lightning": (
        lambda: {"state_dict": behind("model.", network()) | {"loss_fn.weight": torch.ones(3)}, "epoch": 3},
        "state_dict",
        "model.",
    ),
    "dictionaries in a dictionary": (lambda: {"state": {"net": behind("module.", network())}}, "state.net", "module."),
    "numbers, paths and settings beside it": (
        lambda: {
            "model": network(),
            "best": np.float64(91.5),
            "step": np.int64(3),
            "args": argparse.Namespace(lr=1, out=pathlib.Path("a") / "b"),
        },
        "model",
        "",
    ),
}
SEVERAL: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, int]]] = {
    "timm's train.py": (
        lambda: {"state_dict": network(0), "state_dict_ema": network(1)},
        {"state_dict": 0, "ema": 1},
    ),
    "timm's model_ema": (
        lambda: {"model": behind("module.", network(0)), "model_ema": behind("module.", network(1))},
        {"model": 0, "ema": 1},
    ),
    "DINO": (
        lambda: {
            "student": behind("module.", behind("backbone.", body(0)) | PROJECTOR),
            "teacher": behind("backbone.", body(1)) | PROJECTOR,
        },
        {"student": 0, "teacher": 1},
    ),
    "MoCo": (
        lambda: {"state_dict": behind("module.encoder_q.", body(0)) | behind("module.encoder_k.", body(1))},
        {"student": 0, "teacher": 1},
    ),
    "Lightning with two": (
        lambda: {"state_dict": behind("online.", body(0)) | behind("target.", body(1))},
        {"student": 0, "teacher": 1},
    ),
    "two of no role": (
        lambda: {"a": body(0), "b": body(1)},
        {"a": 0, "b": 1},
    ),
}


def made(content: dict[str, Any], folder: Path, which: str = "", name: str = NAME) -> Converted:
    torch.save(content, folder / "c.pth.tar")
    return convert(Registry().backbone(f"{name}@none"), folder / "c.pth.tar", which)


def refused(content: dict[str, Any], folder: Path, which: str = "") -> str:
    with pytest.raises(InputError) as caught:
        made(content, folder, which)
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


def are(weights: State, expected: State) -> bool:
    return all(torch.equal(weights[name], value) for name, value in expected.items())


class TestOneNetwork:
    @pytest.mark.parametrize("kind", ONE)
    def test_it_is_found_in_whatever_wrapping(self, kind: str, tmp_path: Path) -> None:
        content, entry, prefix = ONE[kind]
        found = made(content(), tmp_path)
        assert found.weights.keys() == network().keys()
        assert are(found.weights, network())
        assert (found.entry, found.prefix) == (entry, prefix)

    def test_what_belongs_to_the_training_alone_is_left_out_and_told(self, tmp_path: Path) -> None:
        extra = {
            "mask_token": torch.ones(1),
            "decoder_blocks.0.norm1.bias": torch.ones(1),
            "fc.0.weight": torch.ones(2),
        }
        found = made({"model": body() | extra}, tmp_path)
        assert set(found.dropped) == {"mask_token", "decoder_blocks.0.norm1.bias", "fc.0.weight"}
        assert found.weights.keys() == body().keys()

    @pytest.mark.parametrize("name", ["blocks.6.norm1.weight", "blocks.0.ls1.gamma", "norm_pre.weight", "dist_token"])
    def test_what_may_change_the_features_is_not_left_out(self, name: str, tmp_path: Path) -> None:
        assert refused({"model": body() | {name: torch.ones(1)}}, tmp_path).endswith(f"not fit; unexpected: {name}")

    def test_a_head_that_is_no_classifier_of_its_features(self, tmp_path: Path) -> None:
        found = made(body() | {"head.weight": torch.ones(3, 5), "head.bias": torch.ones(3)}, tmp_path)
        assert set(found.dropped) == {"head.weight", "head.bias"}

    def test_weights_that_lack(self, tmp_path: Path) -> None:
        state = body()
        del state["norm.weight"]
        assert refused({"m": behind("model.", state)}, tmp_path).endswith(
            "c.pth.tar does not fit; missing: norm.weight"
        )

    def test_another_network(self, tmp_path: Path) -> None:
        problem = refused({"state_dict": behind("model.", {"stem.conv.weight": torch.ones(1)})}, tmp_path)
        assert problem.startswith(
            f"{NAME}: c.pth.tar is of another network: 0 of the 78 weights of the backbone are in"
        )
        assert "it has state_dict; expected are blocks.0" in problem

    def test_names_of_transformers_are_refused_as_such(self, tmp_path: Path) -> None:
        sizes: dict[str, Any] = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3}
        config = transformers.ViTConfig(**sizes, intermediate_size=48, image_size=32, patch_size=8)
        transformers.ViTModel(config).save_pretrained(tmp_path)
        with pytest.raises(InputError, match=r"model\.safetensors is in the names of Hugging Face's transformers"):
            convert(Registry().backbone(f"{NAME}@none"), tmp_path / "model.safetensors")

    def test_no_network_at_all(self, tmp_path: Path) -> None:
        assert "c.pth.tar holds no tensors by name; it has epoch" in refused({"epoch": 3}, tmp_path)

    def test_a_whole_model_is_not_run(self, tmp_path: Path) -> None:
        torch.save(timm.create_model("test_vit"), tmp_path / "c.pth")
        with pytest.raises(InputError, match=r"it holds code .+ which is not run; .+ save model\.state_dict\(\)$"):
            read_checkpoint(tmp_path / "c.pth")

    def test_numbers_beside_the_weights_are_read_without_numpy_s_code(self, tmp_path: Path) -> None:
        values = {"a": np.float64(1.5), "b": np.int64(-3), "c": np.float32(0.5), "d": np.bool_(True)}
        torch.save(values, tmp_path / "c.pth")
        assert read_checkpoint(tmp_path / "c.pth") == {"a": 1.5, "b": -3, "c": 0.5, "d": True}


class TestSeveral:
    @pytest.mark.parametrize("kind", SEVERAL)
    def test_each_is_had_by_its_name(self, kind: str, tmp_path: Path) -> None:
        content, names = SEVERAL[kind]
        for name, seed in names.items():
            found = made(content(), tmp_path, name)
            assert are(found.weights, body(seed)), name
            assert found.network == name

    @pytest.mark.parametrize("kind", SEVERAL)
    def test_where_none_is_chosen_all_are_listed(self, kind: str, tmp_path: Path) -> None:
        content, names = SEVERAL[kind]
        told = refused(content(), tmp_path).partition("c.pth.tar holds 2 networks; choose by --network NAME: ")[2]
        assert [part.partition(" ")[0] for part in told.split(", ")] == list(names)

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        problem = refused(SEVERAL["DINO"][0](), tmp_path, "ema")
        assert problem.endswith("no network in it is called 'ema' (there are: student, teacher)")

    def test_one_that_is_not_whole_is_not_passed_over(self, tmp_path: Path) -> None:
        part = {name: value for name, value in body(1).items() if "norm" not in name}
        assert "holds 2 networks" in refused({"model": body(), "model_ema": part}, tmp_path)


class TestCommand:
    def test_it_writes_what_a_backbone_takes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source, out = tmp_path / "c.pth.tar", tmp_path / "of mine.safetensors"
        torch.save(SEVERAL["timm's train.py"][0](), source)
        assert main(["convert", NAME, str(source), str(out), "--network", "ema"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"{out}: 80 weights of c.pth.tar (under state_dict_ema)",
            "  classifier of the pre-training: 7 classes",
            f"  to be written as: '{NAME}@{out}'",
        ]
        card = Registry().backbone(f"{NAME}@{out}")
        assert are(build_model(card, 3).backbone.state_dict(), body(1))
        assert torch.equal(build_source_head(card).weight, network(1)["head.weight"])
        with safe_open(out, "pt") as opened:
            told = opened.metadata()
        assert (told["backbone"], told["network"], told["entry"]) == (NAME, "ema", "state_dict_ema")
        assert (told["made_of"], told["prefix"]) == ("c.pth.tar", "")
        assert len(told["made_of_sha256"]) == 64
        assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pth.tar", "of mine.safetensors"]

    def test_a_file_that_fits_already_gives_the_same_weights(self, tmp_path: Path) -> None:
        save_file(network(), tmp_path / "c.safetensors")
        assert main(["convert", NAME, str(tmp_path / "c.safetensors"), str(tmp_path / "o.safetensors")]) == 0
        assert are(load_file(tmp_path / "o.safetensors"), network())

    def test_a_name_that_timm_does_not_have(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        torch.save(network(), tmp_path / "c.pth")
        assert main(["convert", "timm:test_vitt", str(tmp_path / "c.pth"), str(tmp_path / "o.safetensors")]) == 2
        assert "has no model 'test_vitt'; the nearest names: test_vit" in capsys.readouterr().err.splitlines()[-1]

    def test_a_checkpoint_as_weights_is_sent_here(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Path("my c.pth.tar").write_bytes(b"x")
        assert main(["plan", "demo", "--backbones", f"{NAME}@my c.pth.tar"]) == 2
        hint = f"; bench convert {NAME} 'my c.pth.tar' OUT.safetensors makes one of a checkpoint"
        assert hint in capsys.readouterr().err

    @pytest.mark.slow
    @pytest.mark.parametrize("wrap", ["_orig_mod.", "module._orig_mod.", "model."])
    def test_published_layouts_in_a_wrapping(self, wrap: str, tmp_path: Path) -> None:
        network = timm.create_model("vit_small_patch16_224", num_classes=0, depth=12).state_dict()
        if wrap == "model.":
            content: dict[str, Any] = {"state_dict": behind(wrap, network)}
        else:
            content = {"teacher": behind(f"{wrap}backbone.", network) | behind(wrap, PROJECTOR)}
        found = made(content, tmp_path, name="dino_vit_small")
        assert are(found.weights, network)
        assert found.prefix == wrap
