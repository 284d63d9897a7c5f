"""Every backbone that the suite names: its card, and that the model it builds has what it offers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from bench.backbones import Model, build_model
from bench.backbones.build import input_size
from bench.backbones.families import family_of
from bench.backbones.layouts import LAYOUTS
from bench.cards.backbone import TO_BE_GIVEN
from bench.cards.kinds import BEIT
from bench.cards.offers import OWN_OFFERS, PARTS, head_offers, timm_offers
from bench.errors import InputError
from bench.reading.document import read_document
from bench.registry import Registry
from tests.backbones.bare import bare

FILES = Registry().backbone_files
NAMES = sorted(FILES)
OF_TIMM = [name for name in NAMES if read_document(FILES[name]).get("weights") == "timm"]
PUBLISHED = [name for name in NAMES if "published" in read_document(FILES[name])]
SHIPPED = ["micro_resnet", "micro_vit"]
DRAWN = ["micro_clip"]

OF_THE_PAPERS = {
    "gta": {"ibot_vit_small", "dino_vit_small", "deit_small"},
    "drloc": {"swin_tiny", "t2t_vit_14", "cvt_13", "resnet50"},
    "coin": {"moco_v2_resnet50", "mae_vit_base"},
    "lacvit": {"vit_base_in21k", "vit_base_in1k", "vit_large", "mae_vit_base", "simmim_vit_base", "data2vec_vit_base"},
    "fd": {
        *("beit_base", "mae_vit_base", "simmim_vit_base", "simmim_swin_base", "dino_vit_base", "deit_base"),
        *("esvit_swin_base", "clip_vit_base", "clip_vit_large", "clip_vit_large_336", "swinv2_base"),
        *("fd_dino_vit_base", "fd_deit_base", "fd_clip_vit_base", "fd_clip_vit_large", "fd_esvit_swin_base"),
    },
}
"""What the tables of each paper start from; SwinV2-B stands in for SwinV2-G, which cannot be had."""

KINDS = ("supervised", "self-supervised", "image-text", "none")


@cache
def built(name: str) -> Model:
    """A card's model without storage for its weights, but for T2T-ViT, whose Performer needs a real device.

    Of equal blocks in a row it keeps two: each is gone through many times, and the others are as these.
    """
    with torch.device("cpu") if name.startswith("t2t") else bare():
        model = build_model(Registry().backbone(f"{name}@none"), 3).eval()
    backbone: Any = model.backbone
    if isinstance(getattr(backbone, "blocks", None), (nn.Sequential, nn.ModuleList)):
        backbone.blocks = backbone.blocks[:2]
    return model


def facts(name: str) -> Any:
    return read_document(FILES[name])


class TestCards:
    @pytest.mark.parametrize("paper", OF_THE_PAPERS)
    def test_the_papers_backbones_have_names(self, paper: str) -> None:
        assert set(NAMES) >= OF_THE_PAPERS[paper]

    @pytest.mark.parametrize("name", NAMES)
    def test_weights_are_shipped_or_fetched_or_published(self, name: str) -> None:
        assert [name in SHIPPED, name in OF_TIMM, name in PUBLISHED, name in DRAWN].count(True) == 1
        card = Registry().backbone(name)
        own, others = str(FILES[name].with_suffix(".safetensors")), "drawn" if name in DRAWN else TO_BE_GIVEN
        assert card.weights == (own if name in SHIPPED else "pretrained" if name in OF_TIMM else others)

    @pytest.mark.parametrize("name", NAMES)
    def test_it_says_what_it_is(self, name: str) -> None:
        told = facts(name)
        assert {"title", "model", "pixels", "pretraining", "pretraining_data", "licence"} <= set(told)
        assert name in SHIPPED or told["paper"]
        assert told["pretraining"].split(",")[0].split(" ")[0] in KINDS
        assert {key: len(value) for key, value in told["pixels"].items()} in (
            {"mean": 3, "std": 3},
            {"mean": 1, "std": 1},
        )

    @pytest.mark.parametrize("name", NAMES)
    def test_random_weights_can_be_asked_for(self, name: str) -> None:
        none, own = Registry().backbone(f"{name}@none"), Registry().backbone(name)
        assert (none.weights, none.offers) == ("none", own.offers - {"source_head", "text_tower"})
        assert none.means != own.means

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_what_is_published_is_converted_by_a_known_layout(self, name: str) -> None:
        assert facts(name)["convert"] in LAYOUTS
        with pytest.raises(InputError, match=f"'bench convert {name} CHECKPOINT'"):
            build_model(Registry().backbone(name), 3)

    def test_layouts_of_two_networks_are_those_whose_cards_name_one(self) -> None:
        for name in (name for name in NAMES if "convert" in facts(name)):
            both = any("{network}" in layout.entries for layout in LAYOUTS[facts(name)["convert"]])
            assert both == ("network" in facts(name)), name
            assert facts(name).get("network", "student") in ("student", "teacher")

    def test_weights_other_than_timms_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "backbones").mkdir()
        path = tmp_path / "backbones" / "mine.yaml"
        path.write_text("title: t\nmodel: resnet18\nweights: torchvision\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"mine.yaml:3: weights is 'timm' \(fetched by timm\) or 'drawn'"):
            Registry([tmp_path]).backbone("mine")

    def test_a_checkpoint_in_another_format_is_not_taken_and_what_to_do_is_said(self, tmp_path: Path) -> None:
        file = tmp_path / "c.pth"
        torch.save({}, file)
        with pytest.raises(InputError, match=r"\.safetensors file; 'bench convert dino_vit_small .*c\.pth OUT"):
            Registry().backbone(f"dino_vit_small@{file}")
        with pytest.raises(InputError, match=r"existing \.safetensors file; 'bench convert micro_vit .*c\.pth OUT"):
            Registry().backbone(f"micro_vit@{file}")


class TestTimm:
    @pytest.mark.parametrize("name", OF_TIMM)
    def test_timm_has_these_weights_and_normalises_pixels_so(self, name: str) -> None:
        told = facts(name)
        known = timm.models.get_pretrained_cfg(told["model"])
        assert known is not None
        assert known.tag == told["model"].partition(".")[2] != ""
        assert known.has_weights
        assert told["pixels"] == {"mean": list(known.mean), "std": list(known.std)}
        assert "CC BY-NC" in told["licence"] or "nc" not in (known.license or "")

    @pytest.mark.parametrize("name", OF_TIMM)
    def test_a_head_is_offered_where_timm_has_one(self, name: str) -> None:
        known = timm.models.get_pretrained_cfg(facts(name)["model"])
        has_classifier = known.num_classes > 0 and "clip" not in facts(name)["model"]  # CLIP's is a projection
        assert ("source_head" in Registry().backbone(name).offers) == has_classifier

    def test_orig_in21k_has_no_head_until_it_is_fine_tuned(self) -> None:
        assert not head_offers("vit_base_patch16_224.orig_in21k", "pretrained")
        assert head_offers("vit_base_patch16_224.orig_in21k_ft_in1k", "pretrained") == {"source_head"}

    def test_clip_has_the_activation_that_it_was_trained_with(self) -> None:
        for name in ("clip_vit_base", "clip_vit_large", "clip_vit_large_336"):
            backbone: Any = built(name).backbone
            assert type(backbone.blocks[0].mlp.act).__name__ == "QuickGELU"

    def test_mean_pooling_takes_the_published_blocks_and_a_new_norm(self, monkeypatch: pytest.MonkeyPatch) -> None:
        arguments = {"img_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 2}
        published = timm.models.VisionTransformer(num_classes=0, **arguments)
        real = timm.create_model

        def create(name: str, pretrained: bool = False, **given: Any) -> Any:
            if not pretrained:
                return real(name, **arguments, **given)
            assert "global_pool" not in given
            return published

        monkeypatch.setattr(timm, "create_model", create)
        backbone: Any = build_model(Registry().backbone("mae_vit_base"), 3).backbone
        assert isinstance(backbone.norm, nn.Identity)
        assert torch.equal(backbone.fc_norm.weight, torch.ones(24))
        assert torch.equal(backbone.blocks[0].attn.qkv.weight, published.blocks[0].attn.qkv.weight)

    def test_weights_that_cannot_be_fetched_are_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def offline(*_: Any, **__: Any) -> None:
            raise OSError("no network")

        monkeypatch.setattr(timm, "create_model", offline)
        with pytest.raises(InputError) as caught:
            build_model(Registry().backbone("deit_small"), 3)
        assert caught.value.problems == (
            "deit_small: its pre-trained weights could not be fetched (OSError); give a file "
            "(deit_small@FILE.safetensors) or train from scratch (deit_small@none)",
        )


class TestOffers:
    def test_of_timms_vits_all_is_offered(self) -> None:
        for name in ("vit_small_patch16_224", "deit3_base_patch16_224"):
            assert timm_offers(name) == OWN_OFFERS["vision_transformer"]
        assert timm_offers("beit_base_patch16_224") == BEIT.offers

    @pytest.mark.parametrize("name", NAMES)
    def test_the_built_model_has_what_is_offered_and_nothing_else(self, name: str) -> None:
        card, model = Registry().backbone(f"{name}@none"), built(name)
        assert type(family_of(model.backbone)) is type(model.family)
        side = input_size(model)
        images = torch.zeros(2, len(model.mean), side, side, device=model.mean.device)
        known = set().union(*OWN_OFFERS.values(), *map(timm_offers, ("swin_t_x", "resnet50")))
        assert card.offers <= known
        for other in sorted(known):
            if other in PARTS:
                if other in card.offers:
                    assert bool(model.part(other)) is (other != "position" or card.model not in ("t2t_vit", "cvt"))
                else:
                    with pytest.raises(KeyError, match=other):
                        model.part(other)
            elif other in card.offers:
                assert model.probe(images, other).numel() > 0
            else:
                with pytest.raises(KeyError, match=other):
                    model.probe(images, other)

    @pytest.mark.parametrize("name", NAMES)
    def test_features_are_as_wide_as_the_head(self, name: str) -> None:
        model = built(name)
        side = input_size(model)
        output = model(torch.zeros(2, len(model.mean), side, side, device=model.mean.device))
        assert output.features.shape == (2, model.dim)
        assert output.logits.shape == (2, 3)
