"""Text towers: timm's visual tower is open_clip's, which names have one and why others have none, and how it is had."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file
from timm.models import VisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import nn

from bench.backbones import build_model, text_tower
from bench.backbones.build import equip
from bench.backbones.head import CosineLinear
from bench.backbones.text_tower import TextTower, build_text_tower, load_text_tower, open_clip_config
from bench.cards.reasons import why_lacking
from bench.cards.text_towers import PUBLISHED, TextTowerCard
from bench.errors import InputError
from bench.registry import Registry

REGISTRY = Registry()
SPACE, WIDTH, SIDE = 16, 32, 16
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
CLIP: dict[str, Any] = {
    "embed_dim": SPACE,
    "vision_cfg": {"image_size": SIDE, "patch_size": 8, "width": WIDTH, "layers": 2, "head_width": 16},
    "text_cfg": TEXT,
    "quick_gelu": True,
}
TEXTS = ["a photo of a Cat.", "two dogs & a bird", "", "x " * 40]


def a_clip(quick: bool = True, seed: int = 0) -> Any:
    """open_clip's CLIP, small, every weight random, norms and biases included."""
    torch.manual_seed(seed)
    clip: Any = open_clip.CLIP(**{**CLIP, "quick_gelu": quick}).eval()
    with torch.no_grad():
        for weight in clip.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return clip


def visual(clip: Any, quick: bool = True, side: int = SIDE) -> Any:
    """timm's visual tower with the weights of open_clip's, brought over by timm's own filter of checkpoints."""
    backbone = VisionTransformer(
        img_size=side,
        patch_size=8,
        embed_dim=WIDTH,
        depth=2,
        num_heads=2,
        num_classes=0,
        pre_norm=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
        act_layer="quick_gelu" if quick else "gelu",
    )
    weights = checkpoint_filter_fn(clip.state_dict(), backbone)
    backbone.load_state_dict({name: value for name, value in weights.items() if not name.startswith("head.")})
    return backbone.eval()


def tower_of(clip: Any, backbone: nn.Module) -> TextTower:
    """The text tower of a CLIP, as a run has it."""
    tower = TextTower(text_tower._open_clip({key: CLIP[key] for key in CLIP if key != "vision_cfg"}), WIDTH)
    load_text_tower(tower, clip.state_dict(), backbone, "mine")
    return tower.eval()


class TestTower:
    @pytest.mark.parametrize("quick", [True, False])
    def test_timms_visual_tower_with_the_projection_is_open_clips(self, quick: bool) -> None:
        clip = a_clip(quick)
        backbone = visual(clip, quick)
        head = CosineLinear(TextTower(a_clip(quick), WIDTH).projection, 3)
        with torch.no_grad():
            head.projection.copy_(clip.visual.proj.T)
        images = torch.randn(4, 3, SIDE, SIDE)
        found, expected = head.directions(backbone(images)), clip.encode_image(images, normalize=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        other = visual(clip, not quick)
        assert (head.directions(other(images)) - expected).abs().max() > 1e-4

    def test_its_texts_are_open_clips(self) -> None:
        clip = a_clip()
        tower = tower_of(clip, visual(clip))
        tokens = open_clip.tokenize(TEXTS, context_length=20)
        assert torch.equal(tower.tokens(TEXTS), tokens)
        torch.testing.assert_close(tower(tokens), clip.encode_text(tokens, normalize=True), rtol=0, atol=1e-6)
        assert tower.scale.item() == pytest.approx(clip.logit_scale.exp().item())

    def test_the_rows_of_classes_are_those_of_open_clips_classifier(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clip = a_clip()
        tower, names, templates = tower_of(clip, visual(clip)), ["cat", "dog", "old bird"], ["a {}", "one {}!"]
        tokens = tower.tokens([each.format(name) for name in names for each in templates]).view(3, 2, -1)
        monkeypatch.setattr(text_tower, "TEXTS_AT_ONCE", 4)
        expected = open_clip.build_zero_shot_classifier(
            clip, lambda texts: open_clip.tokenize(texts, context_length=20), names, templates
        )
        found = tower.class_weights(tokens)
        torch.testing.assert_close(found, clip.logit_scale.exp() * expected.T, rtol=1e-5, atol=1e-5)
        assert not found.requires_grad

    def test_another_backbones_tower_is_refused(self) -> None:
        clip = a_clip()
        with pytest.raises(InputError, match=r"mine: the text tower that open_clip publishes is of another backbone"):
            tower_of(clip, visual(a_clip(seed=1)))
        with pytest.raises(InputError, match=r"mine: the text tower that open_clip publishes does not fit: "):
            load_text_tower(
                TextTower(clip, WIDTH),
                {name: value for name, value in clip.state_dict().items() if name != "text_projection"},
                visual(clip),
                "mine",
            )

    def test_a_backbone_for_images_of_another_size_is_still_the_same(self) -> None:
        """Its position embedding was resampled, as timm's filter does it."""
        clip = a_clip()
        tower_of(clip, visual(clip, side=32))


class TestHead:
    def test_logits_are_scaled_cosines_in_float32_under_autocast(self) -> None:
        torch.manual_seed(0)
        head = CosineLinear(nn.Parameter(torch.randn(5, 7)), 3)
        with torch.no_grad():
            head.weight.copy_(torch.randn(3, 5))
        features = torch.randn(4, 7)
        projected = features.double() @ head.projection.double().T
        expected = projected / projected.square().sum(1, keepdim=True).sqrt() @ head.weight.double().T
        torch.testing.assert_close(head(features).double(), expected, rtol=1e-5, atol=1e-6)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(head(features).double(), expected, rtol=1e-5, atol=1e-6)
        assert head(features).shape == (4, 3)


def lacking(name: str) -> str:
    card = REGISTRY.backbone(name)
    assert "text_tower" not in card.offers
    return why_lacking(card, ["text_tower"])


class TestNames:
    """What is told of a name, without building anything."""

    @pytest.mark.parametrize("model", PUBLISHED)
    def test_each_is_a_published_clip_of_that_activation(self, model: str) -> None:
        tower = PUBLISHED[model]
        assert isinstance(tower.config, str)
        published, config = get_pretrained_cfg(tower.config, tower.weights), open_clip.get_model_config(tower.config)
        assert published["hf_hub"].endswith("/")
        quick = "_clip_quickgelu_" in model
        assert bool(published.get("quick_gelu")) == quick == bool(config.get("quick_gelu"))
        assert model in timm.list_pretrained("vit_*")
        facts = timm.get_pretrained_cfg(model)
        assert facts.input_size[-1] == config["vision_cfg"]["image_size"]
        assert list(published["mean"]) == pytest.approx(facts.mean)
        assert "hf_tokenizer_name" not in config["text_cfg"]
        if published["hf_hub"].startswith("timm/"):
            assert published["hf_hub"] == f"{facts.hf_hub_id}/"
        assert "text_tower" in REGISTRY.backbone(f"timm:{model}").offers
        assert "text_tower" not in REGISTRY.backbone(f"timm:{model}@none").offers

    @pytest.mark.parametrize(
        "model", ["vit_base_patch32_clip_quickgelu_224.openai", "vit_large_patch14_clip_224.laion2b"]
    )
    def test_timms_visual_tower_is_of_the_shape_of_open_clips(self, model: str) -> None:
        tower = PUBLISHED[model]
        assert isinstance(tower.config, str)
        with torch.device("meta"):
            backbone = timm.create_model(model.partition(".")[0], num_classes=0)
            clip = open_clip.CLIP(**open_clip.get_model_config(tower.config))
            there = checkpoint_filter_fn(clip.state_dict(), backbone)
        shapes = {name: value.shape for name, value in there.items() if not name.startswith("head.")}
        assert shapes == {name: value.shape for name, value in backbone.state_dict().items()}

    def test_shipped_cards_of_clip_have_one(self) -> None:
        offering = {name for name in REGISTRY.backbone_files if "text_tower" in REGISTRY.backbone(name).offers}
        assert offering == {"clip_vit_base", "clip_vit_large", "clip_vit_large_336", "micro_clip"}

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("micro_vit", "cannot be: it was not pre-trained with texts"),
            ("timm:vit_base_patch16_224.augreg_in21k", "cannot be: it was not pre-trained with texts"),
            ("timm:resnet50", "cannot be: it was not pre-trained with texts"),
            (
                "timm:vit_base_patch16_clip_224.openai",
                "cannot be: its weights were trained with another activation; take "
                "timm:vit_base_patch16_clip_quickgelu_224.openai",
            ),
            (
                "timm:vit_base_patch16_clip_224.laion2b_ft_in1k",
                "cannot be: its weights were trained on labels behind the pre-training with texts",
            ),
            ("clip_vit_base@none", "cannot be: its weights are random, and no text tower goes with them"),
            ("timm:vit_base_patch16_siglip_224.webli", "not written yet for the texts of this model"),
            ("timm:resnet50_clip.openai", "not written yet for the texts of this model"),
            ("timm:vit_base_patch16_clip_224.dfn2b", "not written yet for the texts of this model"),
        ],
    )
    def test_a_refusal_says_which_of_three_it_is(self, name: str, reason: str) -> None:
        assert lacking(name) == reason

    def test_of_a_file_of_weights_none_is_known(self, tmp_path: Path) -> None:
        save_file({"x": torch.zeros(1)}, tmp_path / "mine.safetensors")
        reason = "not written yet for files of weights: take those that timm fetches"
        assert lacking(f"clip_vit_base@{tmp_path}/mine.safetensors") == reason

    @pytest.mark.parametrize("name", ["clip_vit_base@drawn", "clip_vit_base@small", "micro_clip@drawn"])
    def test_drawn_weights_come_with_a_drawn_one(self, name: str) -> None:
        assert "text_tower" in REGISTRY.backbone(name).offers

    @pytest.mark.parametrize("text", ["ViT-B-16", "{embed_dim: 16}", "{embed_dim: 16, text_cfg: {}, visual: {}}"])
    def test_a_card_that_says_another_thing_is_refused_with_its_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "backbones").mkdir()
        card = f"title: mine\nmodel: vision_transformer\nweights: drawn\ntext_tower: {text}\n"
        (tmp_path / "backbones" / "mine.yaml").write_text(card, encoding="utf-8")
        with pytest.raises(InputError, match=r"mine.yaml:4: 'text_tower' must be embed_dim, text_cfg and quick_gelu"):
            Registry([tmp_path]).backbone("mine")


Patched = Callable[[Any], None]


class TestBuilding:
    def test_it_is_drawn_beside_drawn_weights_and_no_other_draw_notices(self) -> None:
        card = REGISTRY.backbone("micro_clip")
        model = build_model(card, 3)
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        equip(model, card, {"text_tower"})
        assert torch.equal(torch.rand(2), expected)
        assert model.text_tower is not None
        assert model.text_tower.projection.shape == (32, 32)
        assert not any(name.startswith("clip.visual") for name, _ in model.text_tower.named_parameters())

    @pytest.mark.slow
    def test_a_rehearsal_has_few_layers_of_it(self) -> None:
        tower = build_text_tower(REGISTRY.backbone("clip_vit_base@small"), nn.Identity(), 768)
        assert len(tower.clip.transformer.resblocks) == 2
        assert tower.clip.token_embedding.weight.shape == (49408, 512)

    def test_of_fetched_weights_it_is_what_open_clip_publishes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clip = a_clip()
        save_file(clip.state_dict(), tmp_path / "clip.safetensors")
        asked: list[tuple[str, str]] = []

        def cached(hub: str, file: str) -> str:
            asked.append((hub, file))
            return str(tmp_path / "clip.safetensors")

        monkeypatch.setattr(text_tower, "try_to_load_from_cache", cached)
        monkeypatch.setattr(
            text_tower, "open_clip_config", lambda config: {k: CLIP[k] for k in CLIP if k != "vision_cfg"}
        )
        tower = build_text_tower(REGISTRY.backbone("clip_vit_base"), visual(clip), WIDTH)
        assert asked == [("timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")]
        assert torch.equal(tower.projection, clip.visual.proj.T)
        assert torch.equal(tower.clip.token_embedding.weight, clip.token_embedding.weight)

    def test_weights_that_cannot_be_had_are_said_in_one_line_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object) -> str:
            raise ConnectionError("no route")

        monkeypatch.setattr("huggingface_hub.hf_hub_download", refused)
        monkeypatch.setattr(text_tower, "try_to_load_from_cache", lambda *_: None)
        with pytest.raises(InputError) as caught:
            text_tower.fetch_text_tower(REGISTRY.backbone("clip_vit_base"))
        assert str(caught.value) == (
            "clip_vit_base: its text tower could not be fetched (ConnectionError): with internet, 'hf download "
            "timm/vit_base_patch16_clip_224.openai open_clip_model.safetensors' puts it into the cache of the Hugging "
            "Face hub, which can be copied here (HF_HOME)"
        )

    @pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
    def test_either_file_of_open_clip_is_fetched_and_read_without_running_it(
        self, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clip, path = a_clip(), tmp_path / file
        if file.endswith("bin"):
            torch.save(clip.state_dict(), path)
        else:
            save_file(clip.state_dict(), path)

        def fetched(hub: str, name: str) -> str:
            if name != file:
                raise EntryNotFoundError(name)
            return str(path)

        monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
        monkeypatch.setattr(text_tower, "try_to_load_from_cache", lambda *_: None)
        found = text_tower.read_open_clip(REGISTRY.backbone("clip_vit_base"))
        assert found.keys() == clip.state_dict().keys()
        assert all(torch.equal(found[name], value) for name, value in clip.state_dict().items())

    def test_a_file_that_is_damaged_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "clip.safetensors"
        path.write_bytes(b"no tensors")
        monkeypatch.setattr(text_tower, "try_to_load_from_cache", lambda *_: str(path))
        with pytest.raises(InputError, match=r"clip.safetensors: "):
            text_tower.read_open_clip(REGISTRY.backbone("clip_vit_base"))

    def test_without_open_clip_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(
            InputError, match=r"micro_clip: texts are read by open_clip, .*pip install 'finetune-bench\[clip\]'"
        ):
            build_text_tower(REGISTRY.backbone("micro_clip"), nn.Identity(), 32)

    def test_a_model_that_open_clip_does_not_know_is_told(self) -> None:
        with pytest.raises(InputError, match=r"open_clip has no model 'ViT-Z-16'; a newer one may"):
            open_clip_config("ViT-Z-16")

    def test_weights_that_open_clip_does_not_know_are_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        later = TextTowerCard("ViT-B-16-quickgelu", "laion9b")
        monkeypatch.setattr("bench.cards.backbone.text_tower_of", lambda *_: later)
        with pytest.raises(InputError) as caught:
            text_tower.fetch_text_tower(REGISTRY.backbone("clip_vit_base"))
        assert str(caught.value) == (
            "clip_vit_base: open_clip has no weights 'laion9b' of ViT-B-16-quickgelu in the Hugging Face hub; a newer "
            "one may: pip install -U open_clip_torch"
        )
