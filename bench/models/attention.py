"""The attention of a model's blocks, read while it runs: one forward pass a batch, one block's maps in memory.

What is read are the weights after the softmax, whatever kernel the forward pass uses. What a query and a key stand for
is a place, in pixels of the image that the model is given:

- ViT, BEiT, T2T-ViT: the centres of the patches, behind [cls] and other tokens without a place.
- Swin, Swin V2: the places of a window, which the blocks of a stage have in common. Windows count as images do. What a
  shifted window holds of two sides of the image is told apart by the model's mask, so whatever attends to another is as
  far from it as it is inside the window.
- CvT: the centres of the tokens of a stage; a key stands where its convolution is centred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.backbones.cvt import ConvolutionalViT, CvT
from bench.backbones.swin import Swin
from bench.backbones.vit import ViT, grid_size
from bench.measure import CannotMeasure
from bench.models.subject import Subject

AT_ONCE = 32
"""Images of a batch: the maps of a block of a ViT-B take 60 MB then."""


@dataclass(frozen=True)
class AttentionBlock:
    """Where the attention of a block is read.

    Attributes:
        module: by whose output it is known.
        read: from that output, weights (B, H, Q, K) that add up to 1 along the keys; B counts images, or windows.
        distances: (Q, K) pixels between the place of a query and that of a key, without tokens that have no place.
        prefix: how many of the first queries, and of the first keys, have none.
    """

    module: nn.Module
    read: Callable[[Any], Tensor]
    distances: Tensor
    prefix: int


def blocks_of(model: Model, side: int) -> list[AttentionBlock]:
    """The blocks of a model, first to last, for images of ``side`` pixels.

    Raises ``CannotMeasure``: the backbone has no attention, or none whose places are known.
    """
    backbone: Any = model.backbone
    if isinstance(model.family, ViT):
        return _of_vit(model, backbone, side)
    if isinstance(model.family, Swin):
        return _of_swin(backbone, side)
    if isinstance(model.family, CvT):
        return _of_cvt(backbone, side)
    raise CannotMeasure(f"{type(backbone).__name__} has no attention between places that is known here")


@torch.inference_mode()
def watch(subject: Subject, look: Callable[[int, Tensor], None], blocks: Sequence[AttentionBlock]) -> None:
    """Show the attention of all images to a function, which is given the number of a block, and its maps (B, H, Q, K).

    The blocks of a batch come in their order. Maps are float32 and of the caller alone; nothing of them is kept.
    """
    with ExitStack() as stack:
        stack.enter_context(_explicit(subject.model))
        for number, block in enumerate(blocks):
            stack.callback(block.module.register_forward_hook(_shower(number, block, look)).remove)
        for images, _ in subject.batches(AT_ONCE):
            with subject.precision():
                subject.model.backbone(subject.model.normalised(images))


def _shower(number: int, block: AttentionBlock, look: Callable[[int, Tensor], None]) -> Callable[..., None]:
    def show(module: nn.Module, inputs: Any, output: Any) -> None:
        look(number, block.read(output).float())

    return show


@contextmanager
def _explicit(model: Model) -> Iterator[None]:
    """Inside, a Swin computes its softmax where it can be seen; other backbones are left as they are."""
    attentions = [module for module in model.backbone.modules() if getattr(module, "fused_attn", False)]
    changed = attentions if isinstance(model.family, Swin) else []
    for attention in changed:
        attention.fused_attn = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for attention in changed:
            attention.fused_attn = True  # type: ignore[assignment]


def _of_vit(model: Model, backbone: Any, side: int) -> list[AttentionBlock]:
    probe = model.family.probe("attention_maps", backbone)
    height, width = grid_size(backbone)
    places = grid_places(height, width, side / height)
    distances = torch.cdist(places, places).to(model.mean.device)
    prefix = int(backbone.num_prefix_tokens)

    def reader(number: int) -> Callable[[Any], Tensor]:
        return lambda output: probe.read(number, output)

    return [AttentionBlock(module, reader(number), distances, prefix) for number, module in enumerate(probe.modules)]


def _of_swin(backbone: Any, side: int) -> list[AttentionBlock]:
    blocks = []
    for stage in backbone.layers:
        for block in stage.blocks:
            (high, wide), (height, width) = block.window_size, block.input_resolution
            if height % high or width % wide:
                raise CannotMeasure(f"windows of {high} × {wide} reach beyond its grid of {height} × {width} places")
            places = grid_places(high, wide, side / height)
            distances = torch.cdist(places, places).to(next(backbone.parameters()).device)
            blocks.append(AttentionBlock(block.attn.attn_drop, _as_seen, distances, 0))
    return blocks


def _of_cvt(backbone: ConvolutionalViT, side: int) -> list[AttentionBlock]:
    blocks = []
    config, size, stride = backbone.cvt.config, side, 1
    for number, stage in enumerate(backbone.cvt.encoder.stages):
        kernel, padding, step = (getattr(config, f"patch_{name}")[number] for name in ("sizes", "padding", "stride"))
        size = (size + 2 * padding - kernel) // step + 1
        stride *= step
        apart = config.stride_kv[number]
        queries = grid_places(size, size, stride)
        keys = grid_places(-(-size // apart), -(-size // apart), stride * apart)
        keys = keys - stride * (apart - 1) / 2  # a convolution over three places is centred on the first of its stride
        distances = torch.cdist(queries, keys).to(next(backbone.parameters()).device)
        for layer in stage.layers:
            attention = layer.attention.attention
            blocks.append(AttentionBlock(attention.dropout, _as_seen, distances, int(attention.with_cls_token)))
    return blocks


def _as_seen(output: Tensor) -> Tensor:
    return output


def grid_places(height: int, width: int, apart: float) -> Tensor:
    """(height · width, 2), the centres of a grid's places in pixels, row by row."""
    rows = (torch.arange(height, dtype=torch.float64) + 0.5) * apart
    columns = (torch.arange(width, dtype=torch.float64) + 0.5) * apart
    return torch.cartesian_prod(rows, columns)
