"""Backbones without values, and the weights that timm fetches."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from bench.backbones import build_model
from bench.backbones.build import fetch_weights, sketch, weights_source
from bench.cards import BackboneCard
from bench.errors import InputError
from bench.registry import Registry

SMALL = "test_vit.r160_in1k"


def card(name: str) -> BackboneCard:
    return Registry().backbone(name)


def refused(name: str, image_size: int = 0) -> str:
    with pytest.raises(InputError) as caught:
        sketch(card(name), image_size)
    (problem,) = caught.value.problems
    return problem


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's, with no hub behind it."""

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(timm.models, "load_state_dict_from_hf", unreachable)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    return tmp_path


def keep(cache: Path, seed: int = 0) -> Any:
    """Put weights of the small network into the cache, as the hub's library does."""
    torch.manual_seed(seed)
    network = timm.create_model(SMALL)
    folder = cache / f"models--timm--{SMALL}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    save_file(network.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    return network


class TestSketch:
    @pytest.mark.parametrize("name", ["micro_vit", "deit_small", "timm:resnet18@none", "swin_tiny", "cvt_13@none"])
    def test_it_is_the_model_in_no_memory(self, name: str) -> None:
        found = sketch(card(name))
        assert all(weight.is_meta for weight in found.backbone.parameters())
        bare = build_model(dataclasses.replace(card(name), weights="none"), 1)
        assert [value.shape for value in found.state_dict().values()] == [
            value.shape for value in bare.state_dict().values()
        ]
        assert not any(weight.is_meta for weight in bare.parameters()), "later models are built without values too"

    def test_an_architecture_that_needs_values_is_built_with_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        create = timm.create_model

        def needs_values(*arguments: Any, **named: Any) -> Any:
            torch.zeros(1).item()
            return create(*arguments, **named)

        monkeypatch.setattr(timm, "create_model", needs_values)
        assert not next(sketch(card("timm:resnet18@none")).backbone.parameters()).is_meta

    def test_a_misspelt_name_is_told_with_the_nearest(self) -> None:
        told = f"timm:vit_tinny_patch16_224: timm {timm.__version__} has no model 'vit_tinny_patch16_224'"
        assert refused("timm:vit_tinny_patch16_224").startswith(f"{told}; the nearest names: vit_tiny_patch16_224, ")

    @pytest.mark.parametrize(("name", "meant"), [("DeiT_tiny", "deit_tiny_patch16_224"), ("resnet_18", "resnet18")])
    def test_what_was_meant_is_among_them(self, name: str, meant: str) -> None:
        assert meant in refused(f"timm:{name}@none").partition("the nearest names: ")[2].split(", ")

    @pytest.mark.parametrize("model", ["resnet", "vision_transformer", "t2t_vit"])
    def test_a_name_that_only_the_suite_s_cards_give(self, model: str) -> None:
        assert f"has no model '{model}'; " in refused(f"timm:{model}@none")

    def test_a_name_like_none(self) -> None:
        assert refused("timm:zzzz").endswith("has no model 'zzzz'; none has a name like it")

    @pytest.mark.parametrize("weights", ["", "@none"])
    def test_weights_that_there_are_not_are_told_with_those_that_there_are(self, weights: str) -> None:
        name = f"timm:vit_tiny_patch16_224.augreg{weights}"
        told = "timm's vit_tiny_patch16_224 has no weights 'augreg'; it has augreg_in21k, augreg_in21k_ft_in1k"
        assert refused(name) == f"{name}: {told}"

    def test_an_image_smaller_than_a_patch(self) -> None:
        assert refused("deit_small", 8) == (
            "deit_small: images of 8 pixels a side are smaller than its patches, of 16; "
            "make image_size larger, or --set image_size=0 for its own"
        )
        with pytest.raises(InputError, match="smaller than its patches"):
            build_model(card("deit_small@none"), 3, image_size=8)


class TestWeightsOfTimm:
    def test_where_they_come_from(self) -> None:
        source = weights_source(sketch(card("deit_small")).backbone)
        assert source == "timm/deit_small_patch16_224.fb_in1k of the Hugging Face hub"

    def test_a_model_without_any(self, cache: Path) -> None:
        (name,) = [name for name in ("resnet26", "vit_giant_patch14_224") if not timm.list_pretrained(f"{name}.*")]
        with pytest.raises(InputError) as caught:
            fetch_weights(card(f"timm:{name}"), sketch(card(f"timm:{name}")).backbone)
        assert caught.value.problems == (
            f"timm:{name}: timm has no pre-trained weights of it; give a file (timm:{name}@FILE.safetensors) "
            f"or train from scratch (timm:{name}@none)",
        )

    def test_a_connection_that_fails(self, cache: Path) -> None:
        with pytest.raises(InputError, match=r"its pre-trained weights could not be fetched \(OSError\); give a file"):
            fetch_weights(card(f"timm:{SMALL}"), sketch(card(f"timm:{SMALL}")).backbone)

    def test_those_that_are_here_are_read_without_the_hub(self, cache: Path) -> None:
        given = keep(cache)
        fetch_weights(card(f"timm:{SMALL}"), sketch(card(f"timm:{SMALL}")).backbone)
        found = build_model(card(f"timm:{SMALL}"), 3).backbone.state_dict()
        expected = {name: value for name, value in given.state_dict().items() if not name.startswith("head.")}
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())

    def test_they_are_those_that_timm_reads_itself(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given = keep(cache)
        ours = build_model(card(f"timm:{SMALL}"), 3, image_size=64).backbone.state_dict()
        monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(given.state_dict()))
        theirs = timm.create_model(SMALL, pretrained=True, num_classes=0, img_size=64).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())

    def test_a_file_that_does_not_fit_is_not_called_unfetched(self, cache: Path) -> None:
        keep(cache)
        path = cache / f"models--timm--{SMALL}" / "snapshots" / "abc" / "model.safetensors"
        save_file({"cls_token": torch.zeros(1, 1, 3)}, path)
        with pytest.raises(InputError) as caught:
            build_model(card(f"timm:{SMALL}"), 3)
        assert str(caught.value).startswith(f"timm:{SMALL}: timm cannot build it with the weights in {path}: ")

    def test_those_of_a_url(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        backbone = SimpleNamespace(pretrained_cfg={"url": "https://example.org/w-abc.pth"})
        asked: list[str] = []
        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **_: asked.append(url))
        fetch_weights(card("timm:resnet18"), backbone)
        assert asked == ["https://example.org/w-abc.pth"]

    def test_those_that_timm_reads_in_a_way_of_its_own(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        backbone = SimpleNamespace(pretrained_cfg={"url": "https://example.org/w.npz", "custom_load": True})
        built: list[tuple[str, bool]] = []
        monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **_: built.append((name, pretrained)))
        fetch_weights(card("timm:resnet18"), backbone)
        assert built == [("resnet18", True)]
