"""T2T-ViT (Yuan et al., ICCV 2021)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn

SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))
"""Kernel, stride and padding of the three soft splits, in pixels or tokens (section 3.1)."""


def performer_attention(query: Tensor, key: Tensor, value: Tensor, w: Tensor) -> Tensor:
    """Attention by positive random features, in time linear in T (Choromanski et al., ICLR 2021, lemma 1).

    With φ(x) = exp(W x − |x|² / 2) / √m, token i takes Σ_j φ(q_i)·φ(k_j) v_j / (Σ_j φ(q_i)·φ(k_j) + 1e-8): an estimate
    of softmax attention without a scale. Computed in float32 at least, whatever autocast says: φ spans many decades.
    Queries, keys, values and what it gives are (B, T, d), the last of the type of ``value``; W is (m, d).
    """
    with torch.autocast(query.device.type, enabled=False):
        q, k, v, w = (tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in (query, key, value, w))
        q, k = ((x @ w.T - x.square().sum(-1, keepdim=True) / 2).exp() / math.sqrt(len(w)) for x in (q, k))
        mass = q @ k.sum(1).unsqueeze(-1)
        return (q @ (k.transpose(1, 2) @ v) / (mass + 1e-8)).to(value.dtype)


class TokenPerformer(nn.Module):
    """The layer of a tokens-to-token step: Performer attention of one head, whose skip is the value, then an MLP.

    Takes (B, T, dim) and gives (B, T, width); drops after the projection and after the MLP, as released.
    """

    w: Tensor

    def __init__(self, dim: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.kqv, self.proj = nn.Linear(dim, 3 * width), nn.Linear(width, width)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        layers = (nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.Dropout(dropout))
        self.mlp = nn.Sequential(*layers)
        m = width // 2
        # a buffer, not a parameter: the random directions are never trained, and a stage trains every parameter
        self.register_buffer("w", nn.init.orthogonal_(torch.empty(m, width)) * math.sqrt(m))

    def forward(self, tokens: Tensor) -> Tensor:
        key, query, value = self.kqv(self.norm1(tokens)).chunk(3, -1)
        tokens = value + self.dropout(self.proj(performer_attention(query, key, value, self.w)))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class TokensToToken(nn.Module):
    """Three soft splits with a layer after each of the first two: (B, C, H, W) to (B, width, h, w), 16 times coarser.

    Tokens have the width ``token_dim`` between the splits.
    """

    def __init__(self, channels: int, token_dim: int, width: int) -> None:
        super().__init__()
        self.attention1 = TokenPerformer(channels * 7 * 7, token_dim)
        self.attention2 = TokenPerformer(token_dim * 3 * 3, token_dim)
        self.project = nn.Linear(token_dim * 3 * 3, width)

    def forward(self, images: Tensor) -> Tensor:
        grid = images
        for split, layer in zip(SPLITS, (self.attention1, self.attention2, self.project), strict=True):
            kernel, stride, padding = split
            height, width = (_places(size, *split) for size in grid.shape[-2:])
            tokens = layer(F.unfold(grid, kernel, stride=stride, padding=padding).transpose(1, 2))
            grid = tokens.transpose(1, 2).reshape(len(images), -1, height, width)
        return grid


class T2TViT(nn.Module):
    """T2T-ViT with Performer tokens-to-token steps; parameters are named as in the released checkpoints.

    The defaults are T2T-ViT-14, whose checkpoint ``81.5_T2T_ViT_14.pth.tar`` holds a state dict under
    ``state_dict_ema``; it fits without a ``module.`` before its names. Position embedding and random directions are
    fixed: buffers, which no stage trains.

    Args:
        num_classes: of its own head; 0 gives the (B, embed_dim) class token after the final norm.
        mlp_ratio: hidden width of the FFNs over that of the tokens.
        token_dim: width inside the tokens-to-token module.
        drop_path_rate: stochastic depth of the last block; it rises from 0 over the blocks.
    """

    pos_embed: Tensor

    def __init__(
        self,
        img_size: int = 224,
        in_chans: int = 3,
        num_classes: int = 0,
        embed_dim: int = 384,
        depth: int = 14,
        num_heads: int = 6,
        mlp_ratio: float = 3.0,
        token_dim: int = 64,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        side = img_size
        for split in SPLITS:
            side = _places(side, *split)
        self.grid_size, self.num_features = (side, side), embed_dim
        self.num_prefix_tokens, self.no_embed_class = 1, False
        self.pretrained_cfg: dict[str, Any] = {
            "input_size": (in_chans, img_size, img_size),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
        }
        self.tokens_to_token = TokensToToken(in_chans, token_dim, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.register_buffer("pos_embed", sinusoids(side * side + 1, embed_dim))
        rates = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            Block(embed_dim, num_heads, mlp_ratio, qkv_bias=False, drop_path=rate, norm_layer=nn.LayerNorm)
            for rate in rates
        )
        self.feature_info = [{"module": f"blocks.{number}", "num_chs": embed_dim} for number in range(depth)]
        self.norm = nn.LayerNorm(embed_dim)
        self.head = nn.Linear(embed_dim, num_classes) if num_classes else nn.Identity()
        trunc_normal_(self.cls_token, std=0.02)
        self.apply(_start)

    def forward(self, images: Tensor) -> Tensor:
        """(B, D), or (B, num_classes) with a head, for normalised images (B, C, H, W)."""
        patches = self.tokens_to_token(images).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls_token.expand(len(images), -1, -1), patches), 1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        out: Tensor = self.head(self.norm(tokens)[:, 0])
        return out


def sinusoids(positions: int, width: int) -> Tensor:
    """The fixed position embedding of T tokens in a row (Vaswani et al., 2017, section 3.5): (1, T, D).

    [cls] is at position 0. Sines stand at even places of the width D, which is even, and cosines at odd ones.
    """
    steps = torch.arange(width, dtype=torch.float64).div(2, rounding_mode="floor") * 2 / width
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10000**steps
    angles[:, 0::2], angles[:, 1::2] = angles[:, 0::2].sin(), angles[:, 1::2].cos()
    return angles[None].float()


def _places(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many windows a soft split has along an axis."""
    return (size + 2 * padding - kernel) // stride + 1


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
