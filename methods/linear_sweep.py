"""DINOv2's linear evaluation: many linear heads are trained at a time, and the best on the validation split counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages, Validation
from bench.method import Batch, Method, Stage, Terms, hyper, replace
from bench.protocol import ONCE, Recipe

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
"""Learning rates for 256 images (released code)."""

SPREAD = 0.01
"""Standard deviation of the weights that a head starts with (released code of DINOv2)."""


class LinearHeads(nn.Module):
    """Linear layers on consecutive parts of the features, so many on each part; together they answer with their mean.

    Those of a part are one layer, so that they cost little more than one of them. Heads are counted part by part.

    Args:
        parts: the first and the end of each part, in features.
        each: heads on a part.
        dim: D of the features.
        classes: K.
    """

    def __init__(self, parts: Sequence[tuple[int, int]], each: int, dim: int, classes: int) -> None:
        super().__init__()
        self.parts, self.each, self.dim, self.classes = tuple(parts), each, dim, classes
        layers = [nn.Linear(end - first, each * classes) for first, end in parts]
        for layer in layers:
            nn.init.normal_(layer.weight, std=SPREAD)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)

    def __len__(self) -> int:
        return len(self.parts) * self.each

    def each_of(self, features: Tensor) -> Tensor:
        """The logits of each head, (B, H, K), of features (B, D)."""
        of_parts = zip(self.parts, self.layers, strict=True)
        logits = [layer(features[:, first:end]) for (first, end), layer in of_parts]
        return torch.cat([of_part.unflatten(1, (self.each, self.classes)) for of_part in logits], 1)

    def forward(self, features: Tensor) -> Tensor:
        """The mean of their logits, (B, K)."""
        return self.each_of(features).mean(1)

    @torch.no_grad()
    def head(self, number: int) -> nn.Linear:
        """One head as a layer on all the features, whose weights are 0 outside of its part."""
        part, within = divmod(number, self.each)
        (first, end), layer = self.parts[part], self.layers[part]
        assert isinstance(layer, nn.Linear)
        rows = slice(within * self.classes, (within + 1) * self.classes)
        plain = nn.Linear(self.dim, self.classes, device=layer.weight.device)
        nn.init.zeros_(plain.weight)
        plain.weight[:, first:end] = layer.weight[rows]
        plain.bias.copy_(layer.bias[rows])
        return plain

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """The linear layer that computes their mean."""
        plain = self.head(0)
        weight, bias = plain.weight.double(), plain.bias.double()
        for number in range(1, len(self)):  # not all at a time: each is as large as the features are many
            head = self.head(number)
            weight += head.weight
            bias += head.bias
        plain.weight.copy_(weight / len(self))
        plain.bias.copy_(bias / len(self))
        return plain


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
    are trained with SGD (momentum 0.9, a cosine down to 0, no weight decay), whatever the protocol's optimiser, at the
    released code's rates times batch / 256, over the protocol's steps (there: 12,500 of 128 images a GPU). Since the
    step of SGD is linear in the gradient, a head with a share of the largest rate has this share of its loss in the
    sum. What counts is the head with most right answers on the validation split, the first of equals. The points of the
    curve before the last one are of the mean of all heads' logits. Without a class token the mean of a block's patches
    stands for it, which is our choice.
    """

    paper = (
        "Oquab et al., 'DINOv2: Learning Robust Visual Features without Supervision', TMLR 2024, appendix on linear "
        "probing; released code, dinov2/eval/linear.py"
    )
    needs = {"block_output"}
    per_image = True

    blocks: int = hyper(4, low=1, source="paper and released code: of the last 1 and of the last 4 blocks")

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
def counted(model: Model, heads: LinearHeads, validation: Validation) -> Tensor:
    """Right answers of each head on a validation split, (H,)."""
    model.eval()
    right = [
        (heads.each_of(model.pooled(batch.images)).argmax(-1) == batch.labels[:, None]).sum(0)
        for batch in validation.plain()
    ]
    return torch.stack(right).sum(0)
