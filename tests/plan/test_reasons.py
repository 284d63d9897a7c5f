"""Why a backbone is not for a method, told where runs are planned: it cannot be, is not written, or nobody knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cards.reasons import why_lacking, without_layers
from bench.errors import InputError
from bench.plan.overrides import Overrides
from bench.plan.soundness import require_sound
from bench.plan.target import read_plan
from bench.registry import Registry
from tests.scenes import left_out

REASONS = [
    ("vit_small_patch14_reg4_dinov2.lvd142m", "cls_attention", ""),
    ("vit_small_patch16_dinov3.lvd1689m", "cls_attention", ""),
    ("vit_base_patch16_siglip_224.v2_webli", "grid", ""),
    ("vit_base_patch16_siglip_224.v2_webli", "tokens", ""),
    ("convnext_tiny.fb_in1k", "grid", ""),
    (
        "vit_base_patch16_siglip_224.v2_webli",
        "cls_attention",
        "cannot be: it has no class token, whose attention that is",
    ),
    (
        "vit_medium_patch16_gap_240.sw_in12k",
        "cls_attention",
        "cannot be: it has no class token, whose attention that is",
    ),
    ("convnext_tiny.fb_in1k", "cls_attention", "cannot be: it has no class token, whose attention that is"),
    ("swin_tiny_patch4_window7_224.ms_in1k", "cls_attention", "cannot be: a Swin has no class token"),
    ("convnext_tiny.fb_in1k", "tokens", "not written yet for networks that pool their last map"),
    ("xcit_nano_12_p8_224.fb_in1k", "cls_attention", "not written yet for XCiT"),
    ("vit_relpos_small_patch16_224.sw_in1k", "grid", "not written yet for ViTs with relative positions"),
    ("vit_of_next_year", "grid", "not recognised: no kind of backbone has such a name"),
]


@pytest.mark.parametrize(("model", "probe", "reason"), REASONS)
def test_a_refusal_says_which_of_three_it_is(model: str, probe: str, reason: str) -> None:
    card = Registry().backbone(f"timm:{model}@none")
    assert (probe in card.offers) == (reason == "")
    if reason:
        assert why_lacking(card, [probe]) == reason


def test_it_stands_where_a_cell_is_left_out() -> None:
    registry = Registry()
    overrides = Overrides(methods="ce,gta", backbones="timm:convnext_atto@none", rates="15", seeds="1")
    plan = read_plan("digits", registry, overrides)
    assert {cell.reason for cell in left_out(plan)} == {
        "gta needs cls_attention, which timm:convnext_atto@none lacks (cannot be: it has no class token, whose "
        "attention that is)"
    }


def test_each_reason_is_told_once_and_weights_without_a_head_have_none() -> None:
    card = Registry().backbone("timm:resnet18@none")
    assert why_lacking(card, ["attention", "ffn"]) == "cannot be: a ResNet has no attention and no FFN"
    assert why_lacking(card, ["source_head"]) == ""


def test_what_a_card_leaves_out_of_its_own_list_is_its_own_matter(tmp_path: Path) -> None:
    (tmp_path / "backbones").mkdir()
    text = "title: t\nmodel: vit_tiny_patch16_224\nweights: timm\noffers: [grid]\n"
    (tmp_path / "backbones" / "mine.yaml").write_text(text, encoding="utf-8")
    assert why_lacking(Registry([tmp_path]).backbone("mine"), ["cls_attention"]) == ""


class TestLayerDecay:
    def sound(self, backbone: str, decay: float) -> None:
        settings = (f"layer_decay={decay}", "image_size=0")
        overrides = Overrides(methods="ce", backbones=backbone, rates="15", seeds="1", settings=settings)
        require_sound(read_plan("digits", Registry(), overrides).unique.values(), Registry(), print)

    @pytest.mark.parametrize("model", ["poolformer_s12", "pit_ti_224", "csatv2"])
    def test_it_is_refused_where_nobody_knows_layers(self, model: str) -> None:
        with pytest.raises(InputError) as caught:
            self.sound(f"timm:{model}@none", 0.65)
        assert caught.value.problems == (
            f"timm:{model}@none: layer_decay is not written yet: timm does not say which of its weights are of one "
            "layer; "
            "leave layer_decay at 1",
        )
        self.sound(f"timm:{model}@none", 1)

    @pytest.mark.parametrize("model", ["vit_small_patch16_dinov3", "convnext_atto", "xcit_nano_12_p8_224"])
    def test_it_is_planned_everywhere_else(self, model: str) -> None:
        self.sound(f"timm:{model}@none", 0.65)

    def test_of_the_suite_s_own_every_one_has_layers(self) -> None:
        registry = Registry()
        assert all(not without_layers(registry.backbone(f"{name}@none")) for name in registry.backbone_files)
