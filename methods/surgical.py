"""Surgical fine-tuning: only some blocks in a row are trained, wherever they lie (Lee et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


@dataclass(frozen=True)
class Surgical(Method):
    """``count`` blocks from ``block`` on are trained, and the head; with the first block also what comes before it.

    The paper's tasks have the classes of the pre-training, so it trains a block alone; here the head is new and trained
    with it. Its blocks are a ResNet's stages, the stem being part of the first: a ResNet-50's are ``block=1,count=3``,
    ``block=4,count=4``, ``block=8,count=6`` and ``block=14,count=3``. Here a block is one of a transformer's or a
    residual one, and those of all stages are counted together.

    The released code keeps the whole network in training mode, so frozen branches drop paths; batch norms of frozen
    blocks, whose statistics move there, keep them here.
    """

    paper = "Lee et al., 'Surgical Fine-Tuning Improves Adaptation to Distribution Shifts', ICLR 2023, section 2"
    needs = {"norms"}
    per_image = True

    block: int = hyper(
        1, low=1, source="from the input; first blocks suit changes of the input, last ones of the output (section 2)"
    )
    count: int = hyper(1, low=1, source="blocks in a row; our choice")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains a part in the middle of the network, and its end.

        Raises:
            InputError: the backbone has no such blocks.
        """
        train = model.blocks(self.block, self.block + self.count - 1, stem=self.block == 1)
        yield Stage(model, self.loss, recipe, train=(*train, model.head), frozen_drops=True)
