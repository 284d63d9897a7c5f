"""DINOv2's linear evaluation: many linear heads are trained at a time, and the best on the validation split counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench.backbones import Model
from bench.backbones.linear_heads import LinearHeads
from bench.data import TrainingImages, Validation
from bench.method import Batch, Method, Stage, Terms, hyper, replace
from bench.protocol import ONCE, Recipe

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
"""Learning rates for 256 images (released code)."""


def parts_of(dim: int, blocks: int) -> dict[str, tuple[int, int]]:
    """What heads read of the features of the last blocks, (blocks + 1) · D of them, by name: first and end.

    Of the last block, or of all that are read, [cls] alone, or with the mean of the last one's patches behind it.

    Args:
        dim: D.
        blocks: that are read.
    """
    counts = dict.fromkeys((1, blocks))
    ends = {"cls": blocks * dim, "cls+mean": (blocks + 1) * dim}
    return {f"{name} of {count}": ((blocks - count) * dim, end) for count in counts for name, end in ends.items()}


@dataclass(frozen=True)
class LinearSweep(Method):
    """Thirteen learning rates on each of four readings of a frozen backbone, 52 heads in one pass of its features.

    Heads read [cls] of the last block or of the last four, with or without the mean of the last block's patches. They
    are trained with SGD (momentum 0.9, a cosine down to 0, no weight decay), whatever the protocol's optimiser, at
    these rates times batch / 256, over the protocol's steps (paper: 12,500 of 1,024 images). Since the step of SGD is
    linear in the gradient, a head with a share of the largest rate has this share of its loss in the sum. What counts
    is the head with most right answers on the validation split, the first of equals. The points of the curve before the
    last one are of the mean of all heads' logits. Without a class token the mean of a block's patches stands for it.
    """

    paper = (
        "Oquab et al., 'DINOv2: Learning Robust Visual Features without Supervision', TMLR 2024, appendix B.3; "
        "released code, dinov2/eval/linear.py"
    )
    needs = {"block_output"}
    per_image = True

    blocks: int = hyper(4, low=1, source="paper B.3, released code: the last 1 and the last 4 blocks")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains all heads; the best takes their place.

        Raises:
            InputError: the run has no validation split, or the backbone fewer blocks.
        """
        validation, dim = data.validation, model.dim
        model.read_last_blocks(self.blocks)
        parts = parts_of(dim, self.blocks)
        heads = LinearHeads(list(parts.values()), len(RATES), model.dim, model.classes).to(model.mean)
        model.answer_with(heads)
        shares = torch.tensor(RATES, device=model.mean.device).repeat(len(parts)) / max(RATES)

        def loss(model: Model, batch: Batch) -> Terms:
            logits = heads.each_of(model.pooled(batch.images)).float()
            of_heads = -(batch.targets[:, None] * logits.log_softmax(-1)).sum(-1).mean(0)
            return {"ce": (shares * of_heads).sum()}

        fed = data.features(model) if data.protocol.features == ONCE else None
        yield Stage(model, loss, self.sgd(recipe, data.protocol.batch_size), train=(heads,), data=fed)
        right = counted(model, heads, validation.features(model))
        best = int(right.argmax())
        part, rate = divmod(best, len(RATES))
        scored = round(100 * int(right[best]) / len(validation), 4)
        validation.chose(head=best, of=len(heads), lr=RATES[rate], reads=list(parts)[part], right=scored)
        model.answer_with(heads.head(best))

    def sgd(self, recipe: Recipe, batch_size: int) -> Recipe:
        """The protocol's steps, with DINOv2's optimiser and schedule at the largest rate."""
        values = Recipe(optimizer="sgd", lr=max(RATES) * batch_size / 256, weight_decay=0.0, momentum=0.9)
        steps, share = recipe.last - recipe.first, recipe.schedule_share
        return replace(values, steps=recipe.steps, first=0, last=steps, schedule_share=share)


@torch.no_grad()
def counted(model: Model, heads: LinearHeads, validation: Validation) -> torch.Tensor:
    """Right answers of each head on a validation split, (H,)."""
    model.eval()
    right = [
        (heads.each_of(model.pooled(batch.images)).argmax(-1) == batch.labels[:, None]).sum(0)
        for batch in validation.plain()
    ]
    return torch.stack(right).sum(0)
