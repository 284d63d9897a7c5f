"""VPT: learned tokens beside the patches of a frozen transformer (Jia et al., ECCV 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


class Prompts(nn.Module):
    """The prompts of a block, put between the first tokens and the patches of what it is given.

    Args:
        values: P, (count, D).
        prefix: tokens before the patches without prompts: [cls], and registers where there are some.
        replaced: prompts that stand there already: 0 before the first block, their number before the others.
        dropout: share of the numbers that is dropped in training.
    """

    def __init__(self, values: Tensor, prefix: int, replaced: int, dropout: float) -> None:
        super().__init__()
        self.values = nn.Parameter(values)
        self.prefix, self.replaced, self.dropout = prefix, replaced, dropout

    def forward(self, tokens: Tensor) -> Tensor:
        """[x, P, E] of [x, E] (eq. 4), or of [x, Z, E], whose Z a block made of the prompts before (eq. 7)."""
        prompts = F.dropout(self.values, self.dropout, self.training).to(tokens.dtype).expand(tokens.shape[0], -1, -1)
        patches = tokens[:, self.prefix + self.replaced :]
        return torch.cat((tokens[:, : self.prefix], prompts, patches), 1)

    def insert(self, block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Before a block: what it is given, with the prompts."""
        return self(inputs[0]), *inputs[1:]


@dataclass(frozen=True)
class VPT(Method):
    """Prompts are trained, and the head: ``shallow`` before the first block alone, ``deep`` before every one.

    On a ViT-B/16 they are 768 numbers a prompt, and with ``deep`` twelve times as many. From the first block on they
    count among the tokens before the patches, so that pooled patches, maps of a decoder and attention over patches are
    of the patches alone; probes of all tokens have them. The frozen backbone is in eval mode, as in the released code.
    The paper chooses the number of prompts for each dataset on its validation split, and with it weight decay and
    rate: its code tries 0.05 to 50 for 256 images with SGD, far above what suits fine-tuning.
    """

    paper = "Jia et al., 'Visual Prompt Tuning', ECCV 2022, section 3.2"
    needs = {"token_blocks", "embeddings"}
    per_image = True

    depth: str = hyper(
        "deep", choices=("deep", "shallow"), source="paper 3.2; VPT-deep is the better one in its Table 1"
    )
    prompts: int = hyper(
        5, low=1, source="the default of the released code; the paper chooses from 1 to 200 on validation"
    )
    dropout: float = hyper(0.0, low=0, high=1, source="the default of the released code; 0.1 in its demo")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains the prompts and the head."""
        backbone: Any = model.backbone
        blocks: list[Any] = list(backbone.blocks)
        prefix = int(backbone.num_prefix_tokens)
        prompts = list[Prompts]()
        for number, block in enumerate(blocks if self.depth == "deep" else blocks[:1]):
            values = self.drawn(model, block.norm1.weight)
            block.prompts = Prompts(values, prefix, self.prompts if number else 0, self.dropout)
            block.register_forward_pre_hook(block.prompts.insert)
            prompts.append(block.prompts)
        backbone.num_prefix_tokens = prefix + self.prompts
        yield Stage(model, self.loss, recipe, train=(*prompts, model.head))

    def drawn(self, model: Model, like: Tensor) -> Tensor:
        """Prompts (count, D), uniform by Glorot's rule for the projection of a patch (released code)."""
        embedding: Any = model.part("embeddings")[0]
        *_, projection = (layer for layer in embedding.modules() if isinstance(layer, (nn.Conv2d, nn.Linear)))
        bound = math.sqrt(6 / (projection.weight[0].numel() + len(like)))
        return like.new_empty(self.prompts, len(like)).uniform_(-bound, bound)
