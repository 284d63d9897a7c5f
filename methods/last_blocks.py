"""Partial fine-tuning: the last blocks of the backbone and the head are trained (Yosinski et al., NeurIPS 2014)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class LastBlocks(Method):
    """The k last blocks, the norm behind them and the head are trained, on features of the others that stay.

    A block is one of a transformer's or a residual one; those of a Swin's or ResNet's stages are counted together, and
    a downsampling between two that are trained is trained with them. What is frozen drops nothing, and its batch norms
    keep their statistics.
    """

    paper = (
        "Yosinski, Clune, Bengio and Lipson, 'How transferable are features in deep neural networks?', NeurIPS 2014; "
        "for a ViT He et al., 'Masked Autoencoders Are Scalable Vision Learners', CVPR 2022, section 4.3"
    )
    needs = {"norms"}
    per_image = True

    k: int = hyper(
        1, low=1, source="VPT's Partial-1 (Jia et al., ECCV 2022; its code has 1, 2, 4); MAE's Figure 9 has 0 to 24"
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains the end of the network.

        Raises:
            InputError: the backbone has fewer blocks.
        """
        last = model.blocks(model.depth - self.k + 1, model.depth, end=True)
        yield Stage(model, self.loss, recipe, train=(*last, model.head))
