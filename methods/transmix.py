"""TransMix: mix images as CutMix does, and labels by where the model attends (Chen et al., CVPR 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.backbones import Model, Output
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Loss, Policy, Stage, Terms, hyper, replace
from bench.protocol import Recipe


def attention_share(attention: Tensor, mask: Tensor) -> Tensor:
    """The share of each image's [cls] attention that falls on the pasted patch (TransMix, eq. 3).

    Args:
        attention: (B, H, N) of the [cls] query after the softmax, over a square grid of N patches; heads are averaged.
        mask: (S, S), 1 where the other image was pasted; brought to the grid by the nearest pixel.

    Returns:
        (B,), from 0 to 1, without gradient.

    Raises:
        ValueError: N is not a square number.
    """
    side = math.isqrt(attention.shape[-1])
    if side * side != attention.shape[-1]:
        raise ValueError(f"{attention.shape[-1]} patches do not form a square grid")
    patches = F.interpolate(mask[None, None].float(), size=(side, side), mode="nearest").flatten()
    mean = at_least_float32(attention.detach()).mean(1)
    return (mean * patches).sum(-1) / mean.sum(-1)


def cut_box(side: int, ratio: float) -> tuple[slice, slice]:
    """Rows and columns of CutMix's box: a share 1 − ratio of a side × side image around a random place, clipped."""
    half = int(side * math.sqrt(1 - ratio)) // 2
    row, column = torch.randint(side, (2,)).tolist()
    return slice(max(0, row - half), min(side, row + half)), slice(max(0, column - half), min(side, column + half))


@dataclass(frozen=True)
class MixedBatch(Batch):
    """Images with a box pasted from others, whose share of the label is known once the model has attended.

    Attributes:
        others: (B, K) targets of the images that the box was cut from.
        mask: (S, S), 1 in the box.
        halved: whether the attention's share is averaged with the area's.
    """

    others: Tensor
    mask: Tensor
    halved: bool

    def cross_entropy(self, output: Output) -> Tensor:
        """Cross-entropy against (1 − r) y_A + r y_B, r from the attention of this very forward pass."""
        share = attention_share(output["cls_attention_map"], self.mask)
        if self.halved:
            share = (share + self.mask.float().mean()) / 2
        targets = torch.lerp(self.targets, self.others, share[:, None].to(self.targets.dtype))
        return F.cross_entropy(output.logits.float(), targets)


@dataclass(frozen=True)
class TransMix(Policy):
    """Each batch is mixed with itself in reverse, by Mixup or by CutMix; CutMix's labels follow the attention.

    The share of the pasted image's label is the mean of its share of the attention and of its share of the area: so the
    paper's experiments were trained (section 4.1, as its authors say) and so the released code computes it. Eq. 3 is of
    the attention's share alone: ``transmix(labels=attention)``.
    """

    paper = "Chen et al., 'TransMix: Attend to Mix for Vision Transformers', CVPR 2022, eq. 3"
    needs = {"cls_attention_map"}

    mixup_alpha: float = hyper(0.8, low=0.001, source="released DeiT-S and DeiT-B configurations")
    cutmix_alpha: float = hyper(1.0, low=0.001, source="released DeiT-S and DeiT-B configurations")
    switch: float = hyper(0.5, low=0, high=1, source="share of CutMix; released DeiT-S run (its file says 0.8)")
    labels: str = hyper(
        "mean",
        choices=("mean", "attention"),
        source="mean of attention and area: paper 4.1, say its authors, and released code; attention: eq. 3 alone",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The stages of the inner method on mixed batches."""
        for stage in self.inner.stages(model, recipe, data):
            yield replace(stage, loss=self.mixed(stage.loss))

    def mixed(self, inner: Loss) -> Loss:
        """The inner loss, given mixed batches."""

        def loss(model: Model, batch: Batch) -> Terms:
            images, targets = batch.images, batch.targets
            swapped, others = images.flip(-4), targets.flip(0)
            if torch.rand(()) >= self.switch:
                ratio = _beta(self.mixup_alpha)
                blend = torch.lerp(swapped, images, ratio)
                return inner(model, replace(batch, images=blend, targets=torch.lerp(others, targets, ratio)))
            rows, columns = cut_box(images.shape[-1], _beta(self.cutmix_alpha))
            mask = torch.zeros(images.shape[-2:], device=images.device)
            mask[rows, columns] = 1
            pasted = torch.where(mask.bool(), swapped, images)
            halved = self.labels == "mean"
            cut = MixedBatch(pasted, batch.labels, targets, batch.progress, others=others, mask=mask, halved=halved)
            with model.watching("cls_attention_map"):
                return inner(model, cut)

        return loss


def _beta(alpha: float) -> float:
    return float(torch.distributions.Beta(alpha, alpha).sample())
