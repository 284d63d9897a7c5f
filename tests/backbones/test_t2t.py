"""T2T-ViT against the paper written out token by token, and what methods ask of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import DropPath
from torch import Tensor, nn

from bench.backbones import Model, build_model
from bench.backbones.build import build_source_head, input_size
from bench.backbones.families import family_of
from bench.backbones.t2t import T2TViT, performer_attention, sinusoids
from bench.registry import Registry

CARD = """title: a tiny T2T-ViT
model: t2t_vit
arguments: {img_size: 32, embed_dim: 12, depth: 2, num_heads: 3, mlp_ratio: 2, token_dim: 8}
offers: [tokens, grid, attention, ffn, position]
published: nowhere
"""


def tiny(img_size: int = 32, num_classes: int = 0, drop_path_rate: float = 0.0) -> T2TViT:
    torch.manual_seed(0)
    sizes = {"embed_dim": 12, "depth": 2, "num_heads": 3, "token_dim": 8}
    backbone = T2TViT(img_size, num_classes=num_classes, mlp_ratio=2, drop_path_rate=drop_path_rate, **sizes)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if parameter.ndim == 1:  # norms that do something, and biases that are not 0
                parameter.copy_(torch.randn_like(parameter) * 0.3 + ("norm" in name and name.endswith("weight")))
    return backbone.eval()


def tiny_model(**arguments: float) -> Model:
    backbone = tiny(**arguments)  # type: ignore[arg-type]
    return Model(backbone, family_of(backbone), 12, 5, [0.5] * 3, [0.25] * 3).eval()


class TestReleasedCheckpoint:
    def test_it_has_21_5_million_weights(self) -> None:
        model = T2TViT(num_classes=1000)
        assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 21.5
        assert round(sum(value.numel() for value in model.state_dict().values()) / 1e6, 1) == 21.5

    def test_names_and_shapes_are_the_released_ones(self) -> None:
        """As the released T2T_ViT_14 has them: Performer tokens-to-token module, no bias of queries, keys, values."""
        expected: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, 384), "pos_embed": (1, 197, 384)}
        for name, dim in (("attention1", 3 * 7 * 7), ("attention2", 64 * 9)):
            shapes: dict[str, tuple[int, ...]] = {
                "w": (32, 64),
                "norm1.weight": (dim,),
                "norm1.bias": (dim,),
                "kqv.weight": (192, dim),
            }
            shapes |= {"kqv.bias": (192,), "norm2.weight": (64,), "norm2.bias": (64,)}
            for layer in ("proj", "mlp.0", "mlp.2"):
                shapes |= {f"{layer}.weight": (64, 64), f"{layer}.bias": (64,)}
            expected |= {f"tokens_to_token.{name}.{key}": shape for key, shape in shapes.items()}
        expected |= {"tokens_to_token.project.weight": (384, 576), "tokens_to_token.project.bias": (384,)}
        for number in range(14):
            shapes = {"norm1.weight": (384,), "norm1.bias": (384,), "norm2.weight": (384,), "norm2.bias": (384,)}
            shapes |= {"attn.qkv.weight": (1152, 384), "attn.proj.weight": (384, 384), "attn.proj.bias": (384,)}
            shapes |= {"mlp.fc1.weight": (1152, 384), "mlp.fc1.bias": (1152,)}
            shapes |= {"mlp.fc2.weight": (384, 1152), "mlp.fc2.bias": (384,)}
            expected |= {f"blocks.{number}.{key}": shape for key, shape in shapes.items()}
        expected |= {"norm.weight": (384,), "norm.bias": (384,), "head.weight": (1000, 384), "head.bias": (1000,)}
        assert {name: tuple(value.shape) for name, value in T2TViT(num_classes=1000).state_dict().items()} == expected

    def test_weights_with_their_head_are_loaded_through_a_card(self, tmp_path: Path) -> None:
        registry, file = self.registry(tmp_path), tmp_path / "w.safetensors"
        whole = tiny(num_classes=7)
        save_file(whole.state_dict(), file)
        card = registry.backbone(f"tiny_t2t@{file}")
        assert "source_head" in card.offers
        model, images = build_model(card, 3).eval(), torch.rand(2, 3, 32, 32)
        assert input_size(model) == 32
        torch.testing.assert_close(
            build_source_head(card)(model(images).features), whole(model.normalised(images)), rtol=1e-6, atol=1e-6
        )

    def test_at_another_size_the_position_embedding_of_the_file_is_resampled(self, tmp_path: Path) -> None:
        registry, file = self.registry(tmp_path), tmp_path / "w.safetensors"
        whole = tiny()
        save_file(whole.state_dict(), file)
        model = build_model(registry.backbone(f"tiny_t2t@{file}"), 3, image_size=64)
        position = model.backbone.state_dict()["pos_embed"]
        assert position.shape == (1, 17, 12)
        assert torch.equal(position[:, 0], whole.pos_embed[:, 0])
        patches = position[:, 1:].transpose(1, 2).reshape(1, 12, 4, 4)
        before = whole.pos_embed[:, 1:].transpose(1, 2).reshape(1, 12, 2, 2)
        torch.testing.assert_close(patches.mean((2, 3)), before.mean((2, 3)), atol=1e-2, rtol=0)
        assert input_size(model) == 64
        assert model(torch.rand(2, 3, 64, 64)).logits.shape == (2, 3)

    def registry(self, folder: Path) -> Registry:
        (folder / "backbones").mkdir()
        (folder / "backbones" / "tiny_t2t.yaml").write_text(CARD, encoding="utf-8")
        return Registry([folder])


class TestPerformer:
    def test_pair_by_pair(self) -> None:
        torch.manual_seed(0)
        query, key, value = (torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
        w = torch.randn(3, 4, dtype=torch.float64)

        def feature(x: Tensor) -> list[float]:
            half = sum(float(part) ** 2 for part in x) / 2
            return [math.exp(float(row @ x) - half) / math.sqrt(3) for row in w]

        found = performer_attention(query, key, value, w)
        with torch.no_grad():
            for image in range(2):
                for token in range(5):
                    ours = feature(query[image, token])
                    shares = [
                        sum(a * b for a, b in zip(ours, feature(key[image, other]), strict=True)) for other in range(5)
                    ]
                    expected = sum(share * value[image, other] for other, share in enumerate(shares))
                    torch.testing.assert_close(found[image, token], expected / (sum(shares) + 1e-8), rtol=1e-9, atol=0)
        assert torch.autograd.gradcheck(lambda q, k, v: performer_attention(q, k, v, w), (query, key, value))

    def test_with_many_features_it_is_softmax_attention(self) -> None:
        torch.manual_seed(0)
        query, key, value = (torch.randn(2, 6, 4, dtype=torch.float64) for _ in range(3))
        query, key = 0.3 * query, 0.3 * key  # the variance grows with exp |q + k|²
        found = performer_attention(query, key, value, torch.randn(500_000, 4, dtype=torch.float64))
        exact, scaled = (F.scaled_dot_product_attention(query, key, value, scale=scale) for scale in (1.0, 0.5))
        torch.testing.assert_close(found, exact, rtol=0, atol=0.005)
        assert (exact - scaled).abs().max() > 0.05

    def test_under_autocast_it_is_computed_in_float32(self) -> None:
        torch.manual_seed(0)
        query, key, value, w = (torch.randn(shape) for shape in ((2, 50, 8), (2, 50, 8), (2, 50, 8), (4, 8)))
        exact = performer_attention(query, key, value, w)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(performer_attention(query, key, value, w), exact)
            assert performer_attention(query.bfloat16(), key, value.bfloat16(), w).dtype == torch.bfloat16


def test_position_embedding_place_by_place() -> None:
    found = sinusoids(5, 6)
    assert found.shape == (1, 5, 6)
    for position in range(5):
        for place in range(6):
            angle = position / 10000 ** (2 * (place // 2) / 6)
            expected = math.cos(angle) if place % 2 else math.sin(angle)
            assert float(found[0, position, place]) == pytest.approx(expected, abs=1e-6)


def windows(grid: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """A soft split, window by window: (B, C, H, W) to (B, h·w, C·k²), channels first."""
    grid = F.pad(grid, (padding, padding, padding, padding))
    rows = range(0, grid.shape[2] - kernel + 1, stride)
    columns = range(0, grid.shape[3] - kernel + 1, stride)
    cut = [grid[:, :, r : r + kernel, c : c + kernel].flatten(1) for r in rows for c in columns]
    return torch.stack(cut, 1)


def as_grid(tokens: Tensor) -> Tensor:
    side = math.isqrt(tokens.shape[1])
    return torch.stack([tokens[:, row * side : (row + 1) * side] for row in range(side)], 1).permute(0, 3, 1, 2)


def written_out(backbone: T2TViT, images: Tensor) -> Tensor:
    """All tokens after the final norm, from the state dict and the paper's equations."""
    kept = backbone.state_dict()

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, kept[f"{name}.weight"], kept.get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled: Tensor = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        out: Tensor = scaled * kept[f"{name}.weight"] + kept[f"{name}.bias"]
        return out

    grid = images
    for number, split in ((1, (7, 4, 2)), (2, (3, 2, 1))):
        name = f"tokens_to_token.attention{number}"
        mixed = linear(norm(windows(grid, *split), f"{name}.norm1"), f"{name}.kqv")
        key, query, value = mixed[..., :8], mixed[..., 8:16], mixed[..., 16:]
        w = kept[f"{name}.w"]
        phi = [torch.exp(x @ w.T - (x * x).sum(-1, keepdim=True) / 2) / math.sqrt(4) for x in (query, key)]
        shares = phi[0] @ phi[1].transpose(1, 2)
        tokens = value + linear(shares @ value / (shares.sum(-1, keepdim=True) + 1e-8), f"{name}.proj")
        hidden = F.gelu(linear(norm(tokens, f"{name}.norm2"), f"{name}.mlp.0"))
        grid = as_grid(tokens + linear(hidden, f"{name}.mlp.2"))
    patches = linear(windows(grid, 3, 2, 1), "tokens_to_token.project")
    tokens = torch.cat([kept["cls_token"].repeat(len(images), 1, 1), patches], 1) + kept["pos_embed"]
    for number in range(2):
        name = f"blocks.{number}"
        query, key, value = linear(norm(tokens, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, -1)
        heads = []
        for head in range(3):
            q, k, v = (part[..., 4 * head : 4 * head + 4] for part in (query, key, value))
            heads.append((q @ k.transpose(1, 2) / math.sqrt(4)).softmax(-1) @ v)
        tokens = tokens + linear(torch.cat(heads, -1), f"{name}.attn.proj")
        hidden = F.gelu(linear(norm(tokens, f"{name}.norm2"), f"{name}.mlp.fc1"))
        tokens = tokens + linear(hidden, f"{name}.mlp.fc2")
    return norm(tokens, "norm")


@pytest.mark.parametrize("batch", [1, 3])
class TestProbes:
    @pytest.mark.parametrize("img_size", [32, 37, 64])
    def test_the_tokens_are_the_papers_written_out(self, batch: int, img_size: int) -> None:
        backbone = tiny(img_size).double()
        model = Model(backbone, family_of(backbone), 12, 5, [0.5] * 3, [0.25] * 3).double().eval()
        images = torch.rand(batch, 3, img_size, img_size, dtype=torch.float64)
        output = model(images, probe="tokens")
        expected = written_out(backbone, model.normalised(images))
        torch.testing.assert_close(output["tokens"], expected, rtol=1e-9, atol=1e-9)
        assert torch.equal(output.features, output["tokens"][:, 0])

    def test_the_grid_has_every_patch_in_its_place(self, batch: int) -> None:
        model, images = tiny_model(img_size=48), torch.rand(batch, 3, 48, 48)
        output = model(images, probe=("tokens", "grid"))
        assert output["grid"].shape == (batch, 12, 3, 3)
        for row in range(3):
            for column in range(3):
                assert torch.equal(output["grid"][..., row, column], output["tokens"][:, 1 + 3 * row + column])

    @pytest.mark.parametrize("name", ["grid", "tokens"])
    def test_a_probe_alone_is_the_same(self, batch: int, name: str) -> None:
        model, images = tiny_model(), torch.rand(batch, 3, 32, 32)
        assert torch.equal(model.probe(images, name), model(images, probe=name)[name])


class TestParts:
    def test_attention_and_ffn_are_the_two_branches_of_every_block(self) -> None:
        model = tiny_model(drop_path_rate=0.2)
        names = {parameter: name for name, parameter in model.backbone.named_parameters()}
        for part, mark in (("attention", ".attn."), ("ffn", ".mlp.")):
            modules = [module for module in model.part(part) if isinstance(module, nn.Module)]
            assert {names[p] for module in modules for p in module.parameters()} == {
                name for name in names.values() if name.startswith("blocks.") and mark in name
            }
            assert [module.drop_prob for module in modules if isinstance(module, DropPath)] == [pytest.approx(0.2)]

    def test_position_and_random_directions_are_fixed(self) -> None:
        """A stage trains every parameter of what it lists, whatever ``requires_grad`` said; so they are none."""
        model = tiny_model()
        assert model.part("position") == []
        fixed = {name for name, _ in model.backbone.named_buffers()}
        assert fixed == {"pos_embed", "tokens_to_token.attention1.w", "tokens_to_token.attention2.w"}

    def test_random_directions_are_orthogonal_rows_of_length_root_m(self) -> None:
        w = tiny().tokens_to_token.attention1.w
        torch.testing.assert_close(w @ w.T, 4 * torch.eye(4), rtol=0, atol=1e-5)

    def test_layers(self) -> None:
        model = tiny_model()
        found = {
            name: model.family.layer(name, model.backbone)
            for name, _ in model.backbone.named_parameters()
            if name.endswith(("cls_token", "project.weight", "kqv.weight", "qkv.weight", "norm.weight"))
        }
        assert found == {
            "cls_token": (0, 3),
            "tokens_to_token.attention1.kqv.weight": (0, 3),
            "tokens_to_token.attention2.kqv.weight": (0, 3),
            "tokens_to_token.project.weight": (0, 3),
            "blocks.0.attn.qkv.weight": (1, 3),
            "blocks.1.attn.qkv.weight": (2, 3),
            "norm.weight": (3, 3),
        }

    def test_what_it_lacks(self) -> None:
        model = tiny_model()
        with pytest.raises(KeyError):
            model.part("batch_norm")
        with pytest.raises(KeyError):
            model.probe(torch.rand(1, 3, 32, 32), "conv_map_1")
