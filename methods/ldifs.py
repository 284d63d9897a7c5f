"""LDIFS: keep the features of the source, those of every block (Mukhoti et al., TMLR 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe


def feature_distance(student: Tensor, source: Tensor) -> Tensor:
    """Squared distance of features, each channel of an image of unit length over its tokens (LDIFS, released code).

        1/(L B T D) Σ_layers Σ_images Σ_channels ‖f / ‖f‖ − f⁰ / ‖f⁰‖‖²,  f the T values of a channel

    Args:
        student: (L, B, T, D), features of L layers for B images.
        source: of the same shape, of the frozen pre-trained network on the same images.

    Returns:
        (), without unit, from 0 to 4/T. Computed in float32 at least.

    Raises:
        ValueError: the shapes differ, or are not (L, B, T, D).
    """
    if student.shape != source.shape or student.ndim != 4:
        raise ValueError(f"features {tuple(student.shape)} and {tuple(source.shape)} must have one shape (L, B, T, D)")
    now, before = (F.normalize(at_least_float32(features), dim=2) for features in (student, source))
    return (now - before).square().mean()


@dataclass(frozen=True)
class LDIFS(Method):
    """A linear probe, then cross-entropy plus a weight times the distance of all blocks' tokens to the source's.

    The paper begins with the head of a linear probe, or with CLIP's zero-shot head, which other backbones lack. Its
    features are of several layers; which of them the published weight was chosen for is told by the released code
    alone: it reads six, from the patches to the second block of CLIP's ViT. All blocks are our choice. As in that code
    a channel is normed over the tokens, where LPIPS, which it follows, norms a token over its channels.
    """

    paper = (
        "Mukhoti, Gal, Torr and Dokania, 'Fine-tuning can cripple your foundation model; preserving features may be "
        "the solution', TMLR 2024, arXiv:2308.13320"
    )
    needs = {"block_output"}
    per_image = True

    weight: float = hyper(10.0, low=0, source="released code (its README and parser), for six layers of a ViT-B/32")
    share: float = hyper(
        0.2, low=0, high=1, source="of the budget for the linear probe (the paper's LP-init); our choice; 0: none"
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The head, then everything beside a frozen copy."""
        source = frozen(model)

        def near_source(model: Model, batch: Batch) -> Terms:
            output, target = model(batch.images, probe="block_output"), source.probe(batch.images, "block_output")
            distance = feature_distance(output["block_output"], target)
            return {"ce": batch.cross_entropy(output), "ldifs": self.weight * distance}

        yield Stage(model, self.loss, recipe.share(self.share), train=(model.head,))
        yield Stage(model, near_source, recipe.rest(self.share))
