"""Feature maps of a backbone at four strides: where they are read, and what makes a pyramid of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from bench.backbones.cifar_resnet import CifarResNet
from bench.backbones.cvt import CvT
from bench.backbones.model import Family, Probe
from bench.backbones.resnet import ResNet, last_convolution, stages_of
from bench.backbones.swin import Swin
from bench.backbones.t2t import T2TViT
from bench.backbones.vit import ViT, grid_size
from bench.cards.maps import TAKES

COUNT = 4
"""Maps that a decoder takes."""

FRACTIONS = (4 / 12, 6 / 12, 8 / 12, 12 / 12)
"""Of a plain ViT's blocks: maps are read behind blocks 4, 6, 8 and 12 of 12, and 8, 12, 16 and 24 of 24 (BEiT, MAE)."""


class Levels(nn.ModuleList):
    """Makes the maps that a decoder takes of those of a backbone, each by a module."""

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, D_k, h_k', w_k') of maps (B, D_k, h_k, w_k), that with the most places first."""
        return [level(each) for level, each in zip(self, maps, strict=True)]


@dataclass(frozen=True)
class Maps:
    """The feature maps of a backbone, that nearest to the input first.

    Attributes:
        modules: whose outputs they are.
        read: makes a map (B, D_k, h_k, w_k) of such an output.
        widths: D_k of each.
        levels: draws what makes the pyramid of them that a decoder takes.
    """

    modules: tuple[nn.Module, ...]
    read: Callable[[int, Tensor], Tensor]
    widths: tuple[int, ...]
    levels: Callable[[], Levels]

    def probe(self, number: int) -> Probe:
        """Reads a map, counted from 0, while the backbone runs."""
        return Probe([self.modules[number]], self.read)


def maps_of(backbone: nn.Module, family: Family) -> Maps:
    """The maps of a backbone for segmentation, by the recipes of BEiT and MAE (ViT, Beit) and of Swin.

    Raises:
        KeyError: with the reason, where a backbone has none that a decoder takes.
    """
    if isinstance(backbone, T2TViT):
        raise _refusal("a T2T-ViT has no published recipe for segmentation")
    if isinstance(family, CvT):
        raise _refusal("a CvT has no published recipe for segmentation")
    if isinstance(family, ViT):
        return _of_blocks(backbone)
    if isinstance(family, Swin):
        return _of_swin(backbone)
    if isinstance(family, ResNet):
        return _of_resnet(backbone)
    raise _refusal(f"{type(backbone).__name__} is of no kind whose maps can be read")


def _refusal(reason: str) -> KeyError:
    return KeyError(f"maps: {reason}; {TAKES}")


def _of_blocks(backbone: Any) -> Maps:
    """Patches behind four blocks, not normed; classes and registers are left out."""
    blocks, grid = list(backbone.blocks), grid_size(backbone)
    width, prefix, patch = int(backbone.embed_dim), int(backbone.num_prefix_tokens), patch_size(backbone)
    smallest = 4 if patch == 8 else 2
    if min(grid) < smallest:
        raise KeyError(
            f"maps: an image has {grid[0]} × {grid[1]} patches, of which no pyramid can be made; make image_size "
            f"{smallest * patch} or more"
        )

    def read(_: int, tokens: Tensor) -> Tensor:
        return tokens[:, prefix:].transpose(1, 2).reshape(len(tokens), width, *grid)

    modules = tuple(blocks[number - 1] for number in blocks_read(len(blocks)))
    return Maps(modules, read, (width,) * COUNT, lambda: rescaling(width, patch))


def blocks_read(depth: int) -> tuple[int, ...]:
    """The blocks, counted from 1, behind which maps of a plain ViT are read; of few blocks some are read twice."""
    return tuple(max(1, int(depth * fraction + 0.5)) for fraction in FRACTIONS)


def patch_size(backbone: Any) -> int:
    """Pixels a side of a patch of a plain ViT."""
    size = backbone.patch_embed.patch_size
    return int(size if isinstance(size, int) else size[0])


def rescaling(width: int, patch: int) -> Levels:
    """The pyramid of BEiT's released code, which MAE follows: a map of one stride becomes maps of four.

    Of patches of 16 pixels they have strides of 4, 8, 16 and 32; so too of patches of 8 pixels, which have levels of
    their own. Patches of another size have the levels of 16.

    Args:
        width: D of every map.
        patch: pixels a side.
    """
    if patch == 8:
        return Levels([_twice(width), nn.Identity(), nn.MaxPool2d(2), nn.MaxPool2d(4)])
    four_times = nn.Sequential(_twice(width), nn.BatchNorm2d(width), nn.GELU(), _twice(width))
    return Levels([four_times, _twice(width), nn.Identity(), nn.MaxPool2d(2)])


def _twice(width: int) -> nn.Module:
    return nn.ConvTranspose2d(width, width, kernel_size=2, stride=2)


def _of_swin(backbone: Any) -> Maps:
    """What the four stages give before patches are merged, each with a norm of its own (Swin's segmentation code)."""
    stages = tuple(backbone.layers)
    _require_four(stages, "Swin")
    widths = tuple(int(info["num_chs"]) for info in backbone.feature_info)

    def read(_: int, output: Tensor) -> Tensor:
        return output.permute(0, 3, 1, 2).contiguous()

    return Maps(stages, read, widths, lambda: Levels([LayerNorm2d(width, eps=1e-5) for width in widths]))


def _of_resnet(backbone: nn.Module) -> Maps:
    """What the four stages give, as it is."""
    stages = tuple(stages_of(backbone))
    _require_four(stages, "ResNet for CIFAR" if isinstance(backbone, CifarResNet) else "ResNet")
    widths = tuple(_width(stage) for stage in stages)
    return Maps(stages, lambda _, output: output, widths, lambda: Levels([nn.Identity() for _ in widths]))


def _width(stage: nn.Module) -> int:
    return int(last_convolution(stage).out_channels)  # type: ignore[arg-type]


def _require_four(stages: Sequence[nn.Module], kind: str) -> None:
    if len(stages) != COUNT:
        raise _refusal(f"this {kind} has {len(stages)} stages, not {COUNT}")
