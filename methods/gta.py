"""GTA: keep the [cls] token attending where the source attends (arXiv:2401.02656)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe


def attention_distance(student: Tensor, source: Tensor) -> Tensor:
    """Mean squared distance of the attention logits of the [cls] query (GTA, eq. 4 and 5).

    The paper says "simple squared distance" and leaves the reduction open; the mean over all dimensions is our
    reading, the one under which its sweep of lambda from 0.1 to 100 makes sense.

    Args:
        student: (L, B, H, N): blocks, images, heads, patches; before the softmax, without the [cls] key.
        source: of the same shape, from the frozen pre-trained model on the same images.

    Returns:
        (), in squared units of the logits; computed in float32 at least.

    Raises:
        ValueError: the shapes differ.
    """
    if student.shape != source.shape:
        raise ValueError(f"student {tuple(student.shape)} and source {tuple(source.shape)} must have one shape")
    return (at_least_float32(student) - at_least_float32(source)).square().mean()


@dataclass(frozen=True)
class GTA(Method):
    """Cross-entropy plus lambda times the squared distance of [cls] attention logits to those of the source."""

    paper = "'GTA: Guided Transfer of Spatial Attention from Object-Centric Representations', arXiv:2401.02656, eq. 5"
    needs = {"cls_attention"}

    weight: float = hyper(1.0, low=0, source="lambda; paper 4.5: 1.0 for Cars and Aircraft, swept over 0.1 to 100")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; the source is a frozen copy made before training."""
        source = frozen(model)

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images, probe="cls_attention")
            target = source.probe(batch.images, "cls_attention")
            return {
                "ce": batch.cross_entropy(output),
                "gta": self.weight * attention_distance(output["cls_attention"], target),
            }

        yield Stage(model, loss, recipe)
