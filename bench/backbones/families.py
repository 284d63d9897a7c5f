"""Which family of backbones a model belongs to."""

from __future__ import annotations

from collections.abc import Callable

from timm.models.beit import Beit
from torch import nn

from bench.backbones.beit import BEiT
from bench.backbones.cvt import ConvolutionalViT, CvT
from bench.backbones.model import Family
from bench.backbones.pooled_maps import PooledMaps, has_pooled_map
from bench.backbones.resnet import ResNet, is_resnet
from bench.backbones.rotary import (
    BiasedRotary,
    ClasslessBiasedRotary,
    ClasslessRotary,
    Rotary,
    has_biases_apart,
    is_classless_rotary,
    is_rotary,
)
from bench.backbones.swin import SWINS, Swin
from bench.backbones.t2t import T2TViT
from bench.backbones.vit import Classless, ViT, is_classless, is_vit

FAMILIES: tuple[tuple[Family, Callable[[nn.Module], bool]], ...] = (
    (ViT(), lambda backbone: is_vit(backbone) or isinstance(backbone, T2TViT)),
    (ResNet(), is_resnet),
    (BEiT(), lambda backbone: isinstance(backbone, Beit)),
    (Swin(), lambda backbone: isinstance(backbone, SWINS)),
    (CvT(), lambda backbone: isinstance(backbone, ConvolutionalViT)),
    (BiasedRotary(), lambda backbone: is_rotary(backbone) and has_biases_apart(backbone)),
    (Rotary(), is_rotary),
    (Classless(), is_classless),
    (ClasslessBiasedRotary(), lambda backbone: is_classless_rotary(backbone) and has_biases_apart(backbone)),
    (ClasslessRotary(), is_classless_rotary),
    (PooledMaps(), has_pooled_map),
)
"""The families, each with what tells whether it serves a backbone; the first that does counts."""


def family_of(backbone: nn.Module) -> Family:
    """The family that serves a backbone; one that is not known offers nothing to methods."""
    return next((family for family, serves in FAMILIES if serves(backbone)), Family())
