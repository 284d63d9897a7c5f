"""AdaptFormer: a small bottleneck beside the MLP of every block (Chen et al., NeurIPS 2022)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


class AdaptMLP(nn.Module):
    """The right branch of the paper's AdaptMLP: down, ReLU, up, scaled, and added where that of the MLP is added.

    It joins a block by hooks, so the block's own weights keep their names: ``see`` behind the norm before the MLP,
    ``join`` behind the last step of the MLP's branch. Layer scale and stochastic depth are of the MLP's branch alone.

    Args:
        dim: D of the tokens.
        middle: d̂, the width between the two projections.
        scale: s.
        dropout: share of what is between the projections that is dropped in training.
        released: as in the released code: what is adapted is not normed, and He's draw is uniform with slope √5.
    """

    def __init__(self, dim: int, middle: int, scale: float, dropout: float, released: bool) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(dim, middle), nn.Linear(middle, dim)
        self.drop, self.scale, self.released = nn.Dropout(dropout), scale, released
        self.seen: Tensor | None = None
        if released:
            nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        else:
            nn.init.kaiming_normal_(self.down.weight)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """s · ReLU(x W_down) W_up (eq. 3 and 4) of tokens (B, T, D)."""
        out: Tensor = self.scale * self.up(self.drop(F.relu(self.down(x))))
        return out

    def see(self, norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep what is adapted: LN(x'), or x' itself as released, until the branch of the MLP is done."""
        self.seen = inputs[0] if self.released else output

    def join(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """MLP(LN(x')) + s · x̃, to which the block adds x'."""
        assert self.seen is not None
        seen, self.seen = self.seen, None
        joined: Tensor = output + self(seen)
        return joined


@dataclass(frozen=True)
class AdaptFormer(Method):
    """Bottlenecks beside the MLPs of a frozen transformer are trained, and the head.

    On a ViT-B/16 with 64 in the middle they are 1,189,632 numbers: 1.19 M, as in the paper's tables. They start at
    nothing, so training begins at the pre-trained network. Paper and released code differ: eq. 3 adapts the normed
    tokens and draws from a normal distribution; the code adapts the tokens as they are, draws from a uniform one, and
    drops a tenth in the middle. Its rate is that of a probe: 0.1 for 256 images with SGD, without weight decay. The
    batch norm before its head, MAE's for probes, is not here. The frozen backbone drops paths as the protocol says,
    since the code leaves the whole model in training mode.
    """

    paper = "Chen et al., 'AdaptFormer: Adapting Vision Transformers for Scalable Visual Recognition', NeurIPS 2022"
    needs = {"block_output"}
    per_image = True

    middle: int = hyper(64, low=1, source="paper: AdaptFormer-64, the largest of 1, 4 and 64 on images; released code")
    scale: float = hyper(0.1, source="paper 3.2 and its ablation, released code")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="paper: eq. 3, normed tokens, He's normal draw; released: tokens as they are, a uniform draw",
    )
    dropout: float = hyper(
        {"paper": 0.0, "released": 0.1}, by="variant", low=0, high=1, source="paper: none in eq. 3; released code: 0.1"
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains the bottlenecks and the head."""
        backbone: Any = model.backbone
        branches = list[AdaptMLP]()
        for block in backbone.blocks:
            weight = block.norm2.weight
            branch = AdaptMLP(len(weight), self.middle, self.scale, self.dropout, self.variant == "released")
            block.adapter = branch.to(weight.device, weight.dtype)
            block.norm2.register_forward_hook(branch.see)
            block.drop_path2.register_forward_hook(branch.join)
            branches.append(branch)
        yield Stage(model, self.loss, recipe, train=(*branches, model.head), frozen_drops=True)
