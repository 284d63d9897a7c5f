"""A small ViT, and the same written out in plain torch, for methods that set something into its blocks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import VisionTransformer
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.build import sketch
from bench.backbones.vit import ViT
from bench.method import Method, Stage
from bench.protocol import Recipe
from bench.registry import Registry
from bench.training.fit import set_modes, trained
from tests.backbones.bare import bare

CLASSES, DIM, DEPTH, HEADS, SIDE, PATCH = 5, 24, 3, 3, 12, 4
RECIPE = Recipe(steps=4, warmup=1, lr=1e-3).resolved(1, 1)


def shaken(module: nn.Module, by: float = 0.2) -> None:
    """Every weight is random, biases and norms included."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn_like(weight), alpha=by)


def small(dtype: torch.dtype = torch.float64, **changes: Any) -> Model:
    """A ViT of 9 patches, three blocks and five classes, every weight random."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": DIM, "depth": DEPTH}
    backbone = VisionTransformer(num_heads=HEADS, num_classes=0, **{**size, **changes})
    model = Model(backbone, ViT(), DIM, CLASSES, [0.5] * 3, [0.25] * 3).to(dtype)
    shaken(model)
    return model.eval()


def blocks_of(model: Model) -> list[Any]:
    backbone: Any = model.backbone
    return list(backbone.blocks)


def some_images(count: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def begun(method: Method, model: Model) -> tuple[Stage, Any]:
    """The stage of a method of one, with the weights that it trains away from their start, and what follows it."""
    torch.manual_seed(2)
    stages = method.stages(model, RECIPE, None)  # type: ignore[arg-type]  # none of these looks at images
    stage = next(stages)
    set_modes(stage)
    with torch.no_grad():
        for _, weight in trained(stage):
            weight.add_(torch.randn_like(weight), alpha=0.1)
    model.eval()
    return stage, stages


def trained_of_vit_base(method: Method) -> int:
    """How many numbers it trains of a ViT-B/16, beside the head."""
    with bare():
        model = sketch(Registry().backbone("timm:vit_base_patch16_224@none"))
        stage = next(method.stages(model, RECIPE, None))  # type: ignore[arg-type]
    return sum(weight.numel() for name, weight in trained(stage) if not name.startswith("head."))


class ByHand:
    """The forward pass of ``small``, from a copy of its weights; tests override what a paper changes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.weights: dict[str, Tensor] = {name: value.clone() for name, value in model.backbone.state_dict().items()}

    def linear(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = x @ self.weights[f"{name}.weight"].flatten(1).T + self.weights[f"{name}.bias"]
        return out

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        normed: Tensor = scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return normed

    def attended(self, name: str, x: Tensor) -> Tensor:
        query, key, value = self.linear(f"{name}.qkv", x).view(*x.shape[:2], 3, HEADS, DIM // HEADS).unbind(2)
        logits = torch.einsum("bihd,bjhd->bhij", query, key) / (DIM // HEADS) ** 0.5
        return self.linear(f"{name}.proj", torch.einsum("bhij,bjhd->bihd", logits.softmax(-1), value).flatten(2))

    def mlp(self, name: str, tokens: Tensor) -> Tensor:
        """The branch of the MLP, of tokens that are not normed yet."""
        x = self.norm(f"{name}.norm2", tokens)
        return self.linear(f"{name}.mlp.fc2", F.gelu(self.linear(f"{name}.mlp.fc1", x)))

    def entering(self, number: int, tokens: Tensor) -> Tensor:
        """The tokens that a block is given."""
        return tokens

    def __call__(self, images: Tensor) -> Tensor:
        """The class token behind the last norm, (B, D)."""
        patches = F.unfold(self.model.normalised(images), PATCH, stride=PATCH).transpose(1, 2)
        x = self.linear("patch_embed.proj", patches)
        tokens = torch.cat((self.weights["cls_token"].expand(len(x), -1, -1), x), 1) + self.weights["pos_embed"]
        for number in range(DEPTH):
            name = f"blocks.{number}"
            tokens = self.entering(number, tokens)
            tokens = tokens + self.attended(f"{name}.attn", self.norm(f"{name}.norm1", tokens))
            tokens = tokens + self.mlp(name, tokens)
        return self.norm("norm", tokens)[:, 0]
