"""Files of weights: nothing missing, nothing left over, and resized where the image has another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.beit import Beit
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from bench.backbones import build_model
from bench.backbones.build import build_source_head
from bench.backbones.weights import load_weights
from bench.errors import InputError
from bench.registry import Registry

SWIN: dict[str, Any] = {"patch_size": 2, "embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "num_classes": 0}
BEIT: dict[str, Any] = {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 0}


def randomised(backbone: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    return backbone


def tables(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if name.endswith("relative_position_bias_table")}


class TestResizing:
    @pytest.mark.filterwarnings("ignore::UserWarning")  # of timm's interpolation, when timm itself is asked
    def test_a_table_of_a_swin_follows_its_window(self) -> None:
        """By timm's own resizing of a built model, which knows the window that a table was made for."""
        given = randomised(SwinTransformer(img_size=24, window_size=6, **SWIN))
        state = {name: value.clone() for name, value in given.state_dict().items()}
        backbone = SwinTransformer(img_size=32, window_size=8, **SWIN)
        load_weights(backbone, state, "file")
        given.set_input_size(img_size=32, window_size=8)
        expected, found = tables(given.state_dict()), tables(backbone.state_dict())
        assert {tuple(table.shape) for table in found.values()} == {(15 * 15, 1), (15 * 15, 2)}
        assert all(torch.equal(found[name], table) for name, table in expected.items())
        others = {name: value for name, value in backbone.state_dict().items() if name not in expected}
        assert all(torch.equal(value, state[name]) for name, value in others.items())

    @pytest.mark.parametrize("shared", [False, True])
    def test_a_table_of_a_beit_follows_its_grid_and_the_rows_of_cls_stay(self, shared: bool) -> None:
        kind = {"use_shared_rel_pos_bias" if shared else "use_rel_pos_bias": True, "use_abs_pos_emb": False}
        given = randomised(Beit(img_size=16, **kind, **BEIT))
        backbone = Beit(img_size=24, **kind, **BEIT)
        load_weights(backbone, given.state_dict(), "file")
        before, after = tables(given.state_dict()), tables(backbone.state_dict())
        assert len(after) == (1 if shared else 2)
        for name, table in after.items():
            assert table.shape == (11 * 11 + 3, 3)
            assert torch.equal(table[-3:], before[name][-3:])
            assert torch.allclose(table[60], before[name][24], atol=1e-6), "no distance is in the middle of both"

    def test_a_position_embedding_of_a_beit_follows_its_grid(self) -> None:
        given, backbone = randomised(Beit(img_size=16, **BEIT)), Beit(img_size=(16, 24), **BEIT)
        load_weights(backbone, given.state_dict(), "file")
        assert backbone.pos_embed.shape == (1, 1 + 4 * 6, 12)
        assert torch.equal(backbone.pos_embed[:, 0], given.pos_embed[:, 0])

    @pytest.mark.slow
    def test_a_swin_is_loaded_from_a_file_at_another_image_size(self, tmp_path: Path) -> None:
        """At 192 pixels timm's Swin-T has windows of 7, 7, 7 and 6."""
        file = tmp_path / "w.safetensors"
        given = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5)
        save_file(given.state_dict(), file)
        card = Registry().backbone(f"swin_tiny@{file}")
        assert "source_head" in card.offers
        assert torch.equal(build_source_head(card).weight, given.head.fc.weight)
        model = build_model(card, 3, image_size=192).eval()
        shapes = {table.shape[0] for table in tables(model.backbone.state_dict()).values()}
        assert shapes == {11 * 11, 13 * 13}
        with torch.no_grad():
            assert model(torch.rand(1, 3, 192, 192)).logits.isfinite().all()


class TestRefusals:
    def backbone(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))

    def test_missing_unexpected_and_misshapen_names_are_told_together(self) -> None:
        state = {name: value for name, value in self.backbone().state_dict().items() if name != "0.bias"}
        state |= {"odd": torch.zeros(1), "0.weight": torch.zeros(3, 4)}
        with pytest.raises(InputError) as caught:
            load_weights(self.backbone(), state, "file")
        assert caught.value.problems == (
            "file does not fit; missing: 0.bias; unexpected: odd; of another shape: 0.weight is (3, 4), not (3, 2)",
        )

    def test_many_names_are_counted(self) -> None:
        with pytest.raises(InputError, match=r"unexpected: a0, a1, a2, a3, a4, a5, a6, a7 and 4 more$"):
            load_weights(nn.Identity(), {f"a{number}": torch.zeros(1) for number in range(10)} | EXTRA, "file")

    def test_a_count_of_batches_may_be_missing(self) -> None:
        state = {name: value for name, value in self.backbone().state_dict().items() if "tracked" not in name}
        load_weights(self.backbone(), state, "file")

    def test_what_may_start_anew_keeps_its_value(self) -> None:
        backbone = self.backbone()
        state = {name: value + 1 for name, value in backbone.state_dict().items() if not name.startswith("1.weight")}
        load_weights(backbone, state, "file", fresh=r"1\.weight")
        assert torch.equal(backbone.state_dict()["1.weight"], torch.ones(3))

    def test_names_as_published_are_sent_to_the_conversion(self, tmp_path: Path) -> None:
        file = tmp_path / "w.safetensors"
        save_file({"module.cls_token": torch.zeros(1)}, file)
        with pytest.raises(InputError) as caught:
            build_model(Registry().backbone(f"deit_small@{file}"), 3)
        (problem,) = caught.value.problems
        hint = f"('bench convert deit_small {file} OUT.safetensors' reads other names)"
        assert problem.startswith(f"deit_small: w.safetensors {hint} does not fit; missing: ")

    @pytest.mark.parametrize("content", [b"weights", b"", b"\xff" * 100])
    def test_a_file_that_is_no_safetensors(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "w.safetensors"
        file.write_bytes(content)
        with pytest.raises(InputError) as caught:
            build_model(Registry().backbone(f"micro_vit@{file}"), 3)
        (problem,) = caught.value.problems
        assert problem.startswith(f"{file}: cannot be read as safetensors: ")
        assert "\n" not in problem


EXTRA = {"b0": torch.zeros(1), "b1": torch.zeros(1)}
