"""What a backbone computes layer by layer, each pooled over places: what two networks are compared by."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bench.backbones.model import Model, Probe

FEATURES = "features"
"""The last layer: what the head is given."""


def layers_of(backbone: nn.Module) -> dict[str, int]:
    """The modules that count as layers, from the input on, each with its width; by timm's ``feature_info``.

    Blocks of a transformer with one width, stages of a network that narrows. Raises ``KeyError``, with the reason,
    where a backbone does not say which they are.
    """
    declared: Any = getattr(backbone, "feature_info", None)
    if not declared:
        raise KeyError(f"{type(backbone).__name__} does not say which modules are its layers")
    return {str(info["module"]): int(info["num_chs"]) for info in declared}


def pooled_layers(model: Model, images: Tensor) -> dict[str, Tensor]:
    """The output of each layer for images (B, C, H, W) in 0..1: its mean over tokens or places, (B, D_l).

    ``features`` is the last, (B, D). Raises ``KeyError``, as ``layers_of``, and where an output is not of the width
    that is declared.
    """
    backbone = model.backbone
    widths = layers_of(backbone)
    channels_last = getattr(backbone, "output_fmt", "") == "NHWC"
    modules = [backbone.get_submodule(name) for name in widths]
    with Probe(modules, lambda _, output: _pooled(output, channels_last)) as probe:
        features: Tensor = backbone(model.normalised(images))
    layers = dict(zip(widths, probe.seen, strict=True))
    for name, width in widths.items():
        if layers[name].shape != (len(images), width):
            raise KeyError(f"what {name} of {type(backbone).__name__} gives is neither tokens nor a map of its width")
    return {**layers, FEATURES: features}


def _pooled(output: Any, channels_last: bool) -> Tensor:
    """Of tokens (B, T, D) or a map (B, D, h, w) the mean over all places; of several outputs the first counts."""
    first: Tensor = output[0] if isinstance(output, tuple) else output
    if first.ndim == 4:
        return first.mean((1, 2) if channels_last else (2, 3))
    return first.mean(1) if first.ndim == 3 else first
