"""Which family of backbones a model belongs to."""

from __future__ import annotations

from torch import nn

from bench.backbones.model import Family
from bench.backbones.vit import ViT, is_vit


def family_of(backbone: nn.Module) -> Family:
    """The family that serves a backbone; one that is not known offers nothing to methods."""
    if is_vit(backbone):
        return ViT()
    return Family()
