"""What of an image a network does not see is found by its layers, and is what it does not answer to."""

from __future__ import annotations

import pytest
import torch

from bench.backbones import build_model
from bench.backbones.build import sketch
from bench.backbones.sight import unseen_pixels
from bench.cards.patches import is_understood, patch_size, unseen
from bench.registry import Registry

NAMES = {
    "timm:test_convnext@none": (33, 1),
    "timm:vit_tiny_patch16_224@none": (100, 4),
    "timm:test_resnet@none": (33, 0),
    "timm:test_efficientnet@none": (35, 0),
    "micro_vit@none": (13, 1),
    "micro_resnet": (13, 0),
}


@pytest.mark.filterwarnings("ignore:.* is no multiple of its patches:UserWarning")
@pytest.mark.parametrize("name", NAMES)
class TestUnseen:
    def test_it_is_told_without_values(self, name: str) -> None:
        size, lost = NAMES[name]
        card = Registry().backbone(name)
        assert unseen_pixels(sketch(card, size), size, card.arguments.get("in_chans", 3)) == lost

    def test_the_logits_do_not_answer_to_it_and_do_to_the_rest(self, name: str) -> None:
        size, lost = NAMES[name]
        card = Registry().backbone(name)
        torch.manual_seed(0)
        model = build_model(card, 5, size).eval()
        images = torch.rand(16, card.arguments.get("in_chans", 3), size, size, requires_grad=True)
        model(images).logits.square().sum().backward()
        assert images.grad is not None
        answered = images.grad.abs().sum((0, 1, 3)) > 0
        assert answered[: size - lost].all()
        assert not answered[size - lost :].any()

    def test_what_a_card_says_is_so(self, name: str) -> None:
        size, lost = NAMES[name]
        card = Registry().backbone(name)
        if is_understood(card):
            assert bool(unseen(card, size)) == bool(lost)


def test_whoever_builds_a_model_is_warned() -> None:
    with pytest.warns(UserWarning, match="the last row and column would not be seen; take 12 or 14"):
        build_model(Registry().backbone("micro_vit"), 2, 13)


class TestPatches:
    @pytest.mark.parametrize(
        ("name", "patch"),
        [
            ("micro_vit", 2),
            ("deit_small", 16),
            ("swin_tiny", 4),
            ("timm:vit_small_patch14_dinov2", 14),
            ("timm:beit_base_patch16_224.in22k_ft_in22k", 16),
            ("timm:swinv2_tiny_window8_256", 4),
            ("micro_resnet", 0),
            ("cvt_13@none", 0),
            ("timm:resnet50", 0),
        ],
    )
    def test_they_are_known_by_name(self, name: str, patch: int) -> None:
        card = Registry().backbone(name)
        assert patch_size(card) == patch
        assert is_understood(card)

    def test_of_every_card_of_the_suite_it_is_known_what_it_sees(self) -> None:
        registry = Registry()
        assert all(is_understood(registry.backbone(f"{name}@none")) for name in registry.backbone_files)

    def test_the_nearest_sizes_are_told(self) -> None:
        card = Registry().backbone("deit_small")
        assert unseen(card, 100) == (
            "deit_small: image_size = 100 is no multiple of its patches, of 16 pixels: the last 4 rows and columns "
            "would not be seen; take 96 or 112"
        )
        assert unseen(card, 97).endswith("the last row and column would not be seen; take 96 or 112")
        assert unseen(card, 8) == "deit_small: image_size = 8 is less than a patch of it, 16 pixels; take 16"
        assert unseen(card, 96) == unseen(card, 0) == ""
