"""What methods ask of timm's networks whose last map is pooled: ConvNeXt, EfficientNet, RegNet, FastViT, Hiera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import SelectAdaptivePool2d, get_spatial_dim
from timm.models.hiera import Hiera
from timm.models.vgg import VGG
from torch import Tensor, nn

from bench.backbones.model import CallProbe, Family, Parts, Probe, norms_outside


class PooledMaps(Family):
    """A network of stages, of whatever layers, that gives a map at last, of which features are pooled."""

    def probe(self, name: str, backbone: nn.Module) -> Probe:
        """``grid`` (B, D, h, w): the last map, as it is before it is pooled; layers behind the pooling count not."""
        if name != "grid":
            return super().probe(name, backbone)
        if isinstance(backbone, Hiera):
            return _of_hiera(backbone)
        pool = pool_of(backbone)
        assert pool is not None
        last = getattr(pool.pool, "dim", None) == get_spatial_dim("NHWC")  # where the channels are

        def read(_: int, call: tuple[tuple[Tensor, ...], Mapping[str, Any]]) -> Tensor:
            (features, *_rest), _named = call
            return features.permute(0, 3, 1, 2).contiguous() if last else features

        return CallProbe([pool], read)

    def part(self, name: str, backbone: nn.Module) -> Parts:
        """``norms``: all of them."""
        return norms_outside(backbone, ()) if name == "norms" else super().part(name, backbone)


def _of_hiera(backbone: Any) -> Probe:
    last = len(backbone.blocks) - 1
    return Probe([backbone.blocks[last]], lambda _, tokens: backbone.reroll(tokens, last).movedim(3, 1).contiguous())


def pool_of(backbone: nn.Module) -> Any:
    """What pools the last map of a network, in it or in its head; None where there is no such module."""
    for owner in (backbone, getattr(backbone, "head", None)):
        pool = getattr(owner, "global_pool", None)
        if isinstance(pool, SelectAdaptivePool2d):
            return pool
    return None


def has_pooled_map(backbone: nn.Module) -> bool:
    """Whether ``PooledMaps`` serves a model of timm's: not VGG, whose map is one place before it is pooled."""
    return isinstance(backbone, Hiera) or (pool_of(backbone) is not None and not isinstance(backbone, VGG))
