"""GTA: keep the [cls] token attending where the source attends (arXiv:2401.02656)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe


def attention_distance(student: Tensor, source: Tensor, reduction: str = "mean") -> Tensor:
    """Squared distance of the attention logits of the [cls] query (GTA, eq. 4 and 5).

    The paper says "simple squared distance" and leaves the reduction open; the mean over all dimensions is our
    choice, the one under which its sweep of lambda from 0.1 to 100 makes sense.

    Args:
        student: (L, B, H, N): blocks, images, heads, patches; before the softmax, without the [cls] key.
        source: of the same shape, from the frozen pre-trained model on the same images.
        reduction: ``"mean"`` over all dimensions; ``"patches"``, the sum over patches and the mean over the rest, which
            is N times the mean; ``"image"``, the sum over blocks, heads and patches and the mean over images, which is
            L·H·N times the mean.

    Returns:
        (), in squared units of the logits; computed in float32 at least.

    Raises:
        ValueError: the shapes differ, or ``reduction`` is something else.
    """
    if student.shape != source.shape:
        raise ValueError(f"student {tuple(student.shape)} and source {tuple(source.shape)} must have one shape")
    squares = (at_least_float32(student) - at_least_float32(source)).square()
    if reduction == "patches":
        return squares.sum(3).mean()
    if reduction == "image":
        return squares.sum((0, 2, 3)).mean()
    if reduction != "mean":
        raise ValueError(f"reduction must be mean, patches or image, not {reduction!r}")
    return squares.mean()


@dataclass(frozen=True)
class GTA(Method):
    """Cross-entropy plus lambda times the squared distance of [cls] attention logits to those of the source.

    No code was published. With the source in bf16 a step costs less where the processor has arithmetic for it
    (AVX512-BF16, recent GPUs), and more where it has not. Its logits are then rounded, so the distance does not start
    at 0.
    """

    paper = "'GTA: Guided Transfer of Spatial Attention from Object-Centric Representations', arXiv:2401.02656, eq. 5"
    needs = {"cls_attention"}
    per_image = True

    weight: float = hyper(1.0, low=0, source="lambda; paper 4.5: 1.0 for Cars and Aircraft, swept over 0.1 to 100")
    reduction: str = hyper(
        "mean",
        choices=("mean", "patches", "image"),
        source="our choice: the paper names none; patches: sum over them, mean over the rest; image: mean over images",
    )
    source_precision: str = hyper(
        "as_run",
        choices=("as_run", "bf16"),
        source="our choice: the source's forward pass as the protocol's, or under bf16 autocast",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; the source is a frozen copy made before training."""
        source = frozen(model)

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images, probe="cls_attention")
            distance = attention_distance(output["cls_attention"], self.target(source, batch.images), self.reduction)
            return {"ce": batch.cross_entropy(output), "gta": self.weight * distance}

        yield Stage(model, loss, recipe)

    def target(self, source: Model, images: Tensor) -> Tensor:
        """The source's attention logits (L, B, H, N) for a batch, in its precision."""
        if self.source_precision == "as_run":
            return source.probe(images, "cls_attention")
        with torch.autocast(images.device.type, torch.bfloat16):
            return source.probe(images, "cls_attention")
