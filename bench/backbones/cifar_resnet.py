"""The ResNets for CIFAR of He et al. (CVPR 2016, section 4.2), with shortcuts that have no weights (option A)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from bench.errors import InputError

WIDTHS = (16, 32, 64)
"""Channels of the three stages."""


class Shortcut(nn.Module):
    """Every second pixel a side, and so many channels of zeros, half of them before and half behind (option A)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """(B, C + channels, H / 2, W / 2) of (B, C, H, W), rounded up."""
        front = self.channels // 2
        return F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, front, self.channels - front))


class CifarResNet(nn.Module):
    """Three stages of basic blocks behind a 3 × 3 convolution; gives the (B, 64) mean of the last map.

    Args:
        depth: layers with weights, the classifier counted: 6 n + 2 for n blocks a stage (20, 32, 44, 56, 110).
        img_size: pixels a side that it is meant for; it takes any.
        drop_path_rate: stochastic depth of the last block; it rises from 0 over the blocks.

    Raises:
        InputError: no number of blocks gives that depth.
    """

    def __init__(self, depth: int = 20, img_size: int = 32, in_chans: int = 3, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise InputError(f"a ResNet for CIFAR has 6 n + 2 layers (8, 14, 20, 32, 44, 56, 110), not {depth}")
        self.num_features = WIDTHS[-1]
        self.pretrained_cfg: dict[str, Any] = {"input_size": (in_chans, img_size, img_size)}
        self.conv1, self.bn1 = nn.Conv2d(in_chans, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0])
        self.act1 = nn.ReLU()
        rates = iter(torch.linspace(0, drop_path_rate, 3 * blocks, device="cpu").tolist())
        stages = []
        for narrow, wide in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
            widths = [narrow, *[wide] * (blocks - 1)]
            stages.append(nn.Sequential(*(_block(width, wide, next(rates)) for width in widths)))
        self.layer1, self.layer2, self.layer3 = stages
        self.feature_info = [{"module": f"layer{at}", "num_chs": width} for at, width in enumerate(WIDTHS, start=1)]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 64) for normalised images (B, C, H, W)."""
        maps = self.act1(self.bn1(self.conv1(images)))
        out: Tensor = self.layer3(self.layer2(self.layer1(maps))).mean((2, 3))
        return out


def _block(narrow: int, wide: int, rate: float) -> nn.Module:
    shortcut = Shortcut(wide - narrow) if wide != narrow else None
    drop_path = DropPath(rate) if rate else None
    block: nn.Module = BasicBlock(narrow, wide, 2 if shortcut else 1, shortcut, drop_path=drop_path)
    return block
