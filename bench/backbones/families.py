"""Which family of backbones a model belongs to."""

from __future__ import annotations

from timm.models.beit import Beit
from torch import nn

from bench.backbones.beit import BEiT
from bench.backbones.cvt import ConvolutionalViT, CvT
from bench.backbones.model import Family
from bench.backbones.resnet import ResNet, is_resnet
from bench.backbones.swin import Swin, is_swin
from bench.backbones.t2t import T2T, T2TViT
from bench.backbones.vit import ViT, is_vit


def family_of(backbone: nn.Module) -> Family:
    """The family that serves a backbone; one that is not known offers nothing to methods."""
    if is_vit(backbone):
        return ViT()
    if is_resnet(backbone):
        return ResNet()
    if isinstance(backbone, Beit):
        return BEiT()
    if is_swin(backbone):
        return Swin()
    if isinstance(backbone, T2TViT):
        return T2T()
    if isinstance(backbone, ConvolutionalViT):
        return CvT()
    return Family()
