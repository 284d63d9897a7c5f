"""What methods ask of timm's ResNet: the last map, the maps that DELTA compares, batch norms; and a small one."""

from __future__ import annotations

from typing import Any, ClassVar

import timm
from timm.models.resnet import BasicBlock, Bottleneck
from torch import nn

from bench.backbones.cifar_resnet import CifarResNet
from bench.backbones.model import Family, Parts, Probe, norms_outside
from bench.cards.lacking import OF_RESNET
from bench.errors import InputError, choose

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""timm's names of the four stages; a ResNet for CIFAR has the first three."""

_BLOCKS = {"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}


class ResNet(Family):
    """timm's ResNet of basic or bottleneck blocks (ResNet, ResNeXt, Wide ResNet, SE-ResNet, ResNet-RS), and CIFAR's."""

    lacks: ClassVar = OF_RESNET

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """What can be read, over B images.

        ``grid`` (B, D, h, w), the last stage's output, whose mean over places is ``features``; ``conv_map_1`` to
        ``conv_map_4`` (of CIFAR's, to ``conv_map_3``) (B, C_k, h_k, w_k), the output of the last convolution of stage
        k, before its batch norm and before the residual is added (what DELTA's released code compares).
        """
        stages = stages_of(backbone)
        if name == "grid":
            return Probe([stages[-1]])
        number = name.removeprefix("conv_map_")
        if name != number and number in map(str, range(1, len(stages) + 1)):
            return Probe([last_convolution(stages[int(number) - 1])])
        return super().probe(name, backbone)

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """``batch_norm``: all of them; ``norms``: those of any kind; ``last_convs``: those that the conv maps read."""
        if name == "batch_norm":
            return [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
        if name == "last_convs":
            return [last_convolution(stage) for stage in stages_of(backbone)]
        if name == "norms":
            return norms_outside(backbone, ())
        return super().part(name, backbone)

    def layer(self, parameter: str, backbone: nn.Module) -> tuple[int, int]:
        """The stem is layer 0, block i of all stages counted together is layer i + 1, the head lies above."""
        depths = [len(list(stage.children())) for stage in stages_of(backbone)]
        stage, _, rest = parameter.partition(".")
        if stage not in STAGES:
            return 0, sum(depths) + 1
        return sum(depths[: STAGES.index(stage)]) + int(rest.partition(".")[0]) + 1, sum(depths) + 1


def stages_of(backbone: nn.Module) -> list[nn.Module]:
    """The stages of a ResNet: four, or three of one for CIFAR."""
    return [backbone.get_submodule(name) for name in STAGES if hasattr(backbone, name)]


def last_convolution(stage: nn.Module) -> nn.Module:
    """The last convolution on a stage's last residual branch: a BasicBlock's second, a Bottleneck's third."""
    block: Any = list(stage.children())[-1]
    convolution: nn.Module = block.conv3 if isinstance(block, Bottleneck) else block.conv2
    return convolution


def is_resnet(backbone: nn.Module) -> bool:
    """Whether ``ResNet`` serves this model: timm's class or CIFAR's, with timm's two kinds of block in every stage."""
    return isinstance(backbone, (timm.models.ResNet, CifarResNet)) and all(
        isinstance(block, (BasicBlock, Bottleneck)) for stage in stages_of(backbone) for block in stage.children()
    )


def build_resnet(block: str, stem_width: int, in_chans: int, img_size: int, **arguments: Any) -> nn.Module:
    """timm's ResNet for small images: its stem is one 3 × 3 convolution of stride 1, without pooling.

    So He et al. (2016, section 4.2) do for CIFAR; timm's own stems leave a quarter of the pixels a side. The stem's
    width is an even number of channels. ``img_size`` is what it is meant for, in pixels a side; it takes any. Further
    arguments are those of ``timm.models.ResNet``.

    Raises:
        InputError: there is no such block.
    """
    if block not in _BLOCKS:
        raise InputError(choose(block, _BLOCKS, "block of a ResNet"))
    # of timm's stems only the deep one lets its width be chosen; its convolutions are replaced
    stem = {"stem_type": "deep", "stem_width": stem_width // 2}
    backbone: Any = timm.models.ResNet(_BLOCKS[block], num_classes=0, in_chans=in_chans, **stem, **arguments)
    backbone.conv1 = nn.Conv2d(in_chans, stem_width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    backbone.maxpool = nn.Identity()
    backbone.pretrained_cfg = {"input_size": (in_chans, img_size, img_size)}
    assert isinstance(backbone, nn.Module)
    return backbone
