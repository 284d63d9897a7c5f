"""Guides of the MSA or block outputs, what GTA is compared with in its Table 3 (arXiv:2401.02656)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe


def output_distance(student: Tensor, source: Tensor, tokens: str = "all") -> Tensor:
    """Mean squared distance of the outputs of all blocks, "following Equation 5" of GTA (section 4.2).

    The paper names neither the tokens nor the reduction; all tokens and the mean are our choice.

    Args:
        student: (L, B, T, D): blocks, images, tokens with [cls] first, width.
        source: of the same shape, from the frozen pre-trained model on the same images.
        tokens: ``"all"``, ``"cls"`` (the first alone) or ``"patches"`` (all but the first).

    Returns:
        (), in squared units of the outputs; computed in float32 at least.

    Raises:
        ValueError: the shapes differ, or ``tokens`` is something else.
    """
    if student.shape != source.shape:
        raise ValueError(f"student {tuple(student.shape)} and source {tuple(source.shape)} must have one shape")
    if tokens not in (kept := {"all": slice(None), "cls": slice(1), "patches": slice(1, None)}):
        raise ValueError(f"tokens must be one of {', '.join(kept)}, not {tokens!r}")
    difference = at_least_float32(student) - at_least_float32(source)
    return difference[:, :, kept[tokens]].square().mean()


@dataclass(frozen=True)
class OutputGuide(Method):
    """Cross-entropy plus lambda times the squared distance of MSA or block outputs to those of the source."""

    paper = "'GTA: Guided Transfer of Spatial Attention ...', arXiv:2401.02656, section 4.2 and Table 3"
    needs = {"msa_output", "block_output"}
    per_image = True

    guide: str = hyper("msa", choices=("msa", "block"), source="the two rows of Table 3")
    weight: float = hyper(1.0, low=0, source="our choice: Table 3 names no weight; GTA's own is 1.0")
    tokens: str = hyper("all", choices=("all", "cls", "patches"), source="our choice: the paper names none")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage; the source is a frozen copy made before training."""
        source, probe = frozen(model), f"{self.guide}_output"

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images, probe=probe)
            target = source.probe(batch.images, probe)
            return {
                "ce": batch.cross_entropy(output),
                "guide": self.weight * output_distance(output[probe], target, self.tokens),
            }

        yield Stage(model, loss, recipe)
