"""DRLoc: guess how far apart pairs of final tokens lie (Liu et al., NeurIPS 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Batch, Method, Stage, Terms, frozen, hyper
from bench.protocol import Recipe

FINE = 14
"""A grid of so many places a side is pooled: the paper draws pairs on 7 × 7 and pools 14 × 14 (section 3 and 4.1)."""


def chosen_pooling(pooling: str, variant: str, side: int) -> str:
    """The pooling of a grid of ``side`` places a side: as it is asked for, or else as paper or released code have it.

    Both pool T2T and CvT (14 × 14) and leave Swin and ResNet (7 × 7) as they are; at other sizes, a side of 14 or more
    is pooled (our choice). A ViT's 14 × 14 is pooled in the paper and not in the released code: ``pooling="none"``.
    """
    if pooling != "variant":
        return pooling
    if side < FINE:
        return "none"
    return "2x2" if variant == "paper" else "3x3"


def pooled_grid(grid: Tensor, pooling: str) -> Tensor:
    """The grid on which pairs are drawn, for this loss alone.

    Args:
        grid: (B, D, h, w).
        pooling: ``"2x2"`` averages, the paper's, the last row and column of an odd grid by themselves; ``"3x3"`` with
            stride 2 and padding not counted, the released code's for T2T and CvT; or ``"none"``.

    Returns:
        (B, D, k, k), with k half the side, rounded up, where it is pooled.

    Raises:
        ValueError: the grid is not square, or a single place, which has no distances.
    """
    if pooling == "2x2":
        grid = F.avg_pool2d(grid, 2, ceil_mode=True)
    elif pooling == "3x3":
        grid = F.avg_pool2d(grid, 3, 2, 1, count_include_pad=False)
    height, width = grid.shape[-2:]
    if height != width or height < 2:
        raise ValueError(f"drloc needs a square grid of at least 2 x 2 places, not {height} x {width} (after pooling)")
    return grid


def distance_targets(first: Tensor, second: Tensor, side: int, target: str, signed: bool) -> Tensor:
    """What is to be guessed for pairs of places (DRLoc, eq. 1).

    Args:
        first: (..., 2) rows and columns, whole numbers from 0 to side − 1.
        second: of the same shape.
        side: k of the k × k grid.
        target: ``"normalised"`` divides by k, as the paper writes; ``"raw"`` leaves grid steps, as the code runs.
        signed: keep the sign (first version of the paper) instead of the absolute distance.

    Returns:
        (..., 2), float32.
    """
    steps = (first - second).float() if signed else (first - second).abs().float()
    return steps / side if target == "normalised" else steps


def l1_distance(guessed: Tensor, target: Tensor) -> Tensor:
    """Mean over images and pairs of the L1 norm over the two coordinates (DRLoc, eq. 2).

    The equation sums over the images of a batch; the mean is that sum in the reduction of the cross-entropy beside it.

    Args:
        guessed: (B, m, 2).
        target: (B, m, 2).

    Returns:
        (), in units of the targets; computed in float32 at least.
    """
    return (at_least_float32(guessed) - at_least_float32(target)).abs().sum(-1).mean()


def class_distance(logits: Tensor, steps: Tensor) -> Tensor:
    """Cross-entropy of the distance along each axis as a class, summed over the two axes ("ce").

    Args:
        logits: (B, m, 2, C).
        steps: (B, m, 2), class indices from 0 to C − 1.

    Returns:
        (), in nats, a mean over images and pairs of the sum over axes.
    """
    return 2 * F.cross_entropy(at_least_float32(logits).flatten(0, 2), steps.flatten())


def regressed_class_distance(logits: Tensor, steps: Tensor) -> Tensor:
    """The class index as a random variable, regressed with its own variance, summed over the two axes ("cbr").

    With μ and v the mean and variance of the index under the softmax: (μ − t)² / v + 0.001 log v (released code).

    Args:
        logits: (B, m, 2, C).
        steps: (B, m, 2), class indices from 0 to C − 1.

    Returns:
        (), a mean over images and pairs of the sum over axes.
    """
    share = at_least_float32(logits).softmax(-1)
    index = torch.arange(logits.shape[-1], device=logits.device, dtype=share.dtype)
    mean = (share * index).sum(-1)
    variance = (share * (index - mean[..., None]).square()).sum(-1) + 1e-8
    return 2 * ((mean - steps).square() / variance + 0.001 * variance.log()).mean()


def ramp_and_decay(progress: float, rise: float = 20 / 300) -> float:
    """The released code's factor of the weight: from 0 to 1 over the first 20 of 300 epochs, then back to 0."""
    return progress / rise if progress <= rise else (1 - progress) / (1 - rise)


class Locator(nn.Module):
    """The localisation MLP on pairs of tokens (section 4): (B, m, 2 D) to (B, m, 2) or, with classes, (B, m, 2, C)."""

    def __init__(self, dim: int, hidden: int, layers: int, classes: int) -> None:
        super().__init__()
        widths = [2 * dim, *[hidden] * layers]
        steps = [part for i, o in pairwise(widths) for part in (nn.Linear(i, o), nn.ReLU())]
        self.layers = nn.Sequential(*steps, nn.Linear(hidden, 2 * max(1, classes)))
        self.classes = classes

    def forward(self, pairs: Tensor) -> Tensor:
        out: Tensor = self.layers(pairs)
        return out.reshape(*out.shape[:-1], 2, self.classes) if self.classes else out


@dataclass(frozen=True)
class DRLoc(Method):
    """Cross-entropy plus lambda times the error of an MLP that guesses the distance between pairs of tokens.

    Where paper and released code differ, ``variant`` decides: the paper has normalised targets, 2 × 2 pooling and a
    constant weight; the code has raw targets, 3 × 3 pooling with stride 2, the mean over both coordinates where the
    paper has the sum, and a weight that ramps up and decays. Both pool fine grids only (T2T, CvT), not those of 7 × 7
    (Swin, ResNet). The grid is what the released code takes: before the final norm of a Swin or CvT, after that of a
    T2T-ViT. Lambda depends on the backbone; for ResNets none is published.

    The paper writes its lambda beside the normalised targets and the code has the same number beside the raw ones,
    where it is k/2 times as much: 0.5 in the code is 1.75 in the paper's form on a grid of 7 × 7.
    """

    paper = "Liu et al., 'Efficient Training of Visual Transformers with Small Datasets', NeurIPS 2021, eq. 1 and 2"
    needs = {"grid"}

    weight: float = hyper(
        0.5, low=0, source="lambda; paper section 5 and released code: 0.5 for Swin, 0.1 for T2T and CvT, in both forms"
    )
    m: int = hyper(64, low=1, source="pairs an image; paper section 5, Table 2 (a)")
    variant: str = hyper(
        "paper", choices=("paper", "released"), source="targets, pooling, reduction and weight schedule"
    )
    target: str = hyper(
        {"paper": "normalised", "released": "raw"},
        by="variant",
        choices=("normalised", "raw"),
        source="paper eq. 1: divided by k; released: in steps of the grid",
    )
    pooling: str = hyper(
        "variant", choices=("variant", "2x2", "3x3", "none"), source="paper: 2x2 of 14 x 14 grids; released: 3x3"
    )
    schedule: str = hyper(
        {"paper": "constant", "released": "ramp"},
        by="variant",
        choices=("constant", "ramp"),
        source="of lambda; paper: none is named; released: up over 20 of 300 epochs, then down to 0",
    )
    signed: bool = hyper(False, source="paper: absolute distances; signed in its first version's ablation")
    form: str = hyper("l1", choices=("l1", "ce", "cbr"), source="paper: l1; the others in its first version's ablation")
    hidden: int = hyper(512, low=1, source="released code")
    layers: int = hyper(2, low=1, source="paper section 4: two hidden layers (first version: one)")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """One stage that trains the model and the localisation MLP."""
        with torch.no_grad():  # a copy in eval mode: batch norms must not notice that they are looked at
            some = frozen(model).probe(next(iter(data.plain(1))).images, "grid")
        pooling = chosen_pooling(self.pooling, self.variant, some.shape[-1])
        _, dim, side, _ = pooled_grid(some, pooling).shape
        classes = 0 if self.form == "l1" else 2 * side - 1 if self.signed else side
        locator = Locator(dim, self.hidden, self.layers, classes).to(data.device)

        def loss(model: Model, batch: Batch) -> Terms:
            output = model(batch.images, probe="grid")
            grid = pooled_grid(output["grid"], pooling)
            places = torch.randint(side, (2, len(grid), self.m, 2)).to(grid.device)
            tokens = [grid[torch.arange(len(grid))[:, None], :, place[..., 0], place[..., 1]] for place in places]
            guessed = locator(torch.cat(tokens, -1))
            done = batch.progress * recipe.last / recipe.steps  # of the schedule, of which a run may train a part
            weight = self.weight * (ramp_and_decay(done) if self.schedule == "ramp" else 1.0)
            return {"ce": batch.cross_entropy(output), "drloc": weight * self.error(guessed, places, side)}

        yield Stage(model, loss, recipe, train=(model, locator))

    def error(self, guessed: Tensor, places: Tensor, side: int) -> Tensor:
        """The chosen form of the loss for guesses about pairs of ``places`` (2, B, m, 2)."""
        if self.form == "l1":
            distance = l1_distance(guessed, distance_targets(places[0], places[1], side, self.target, self.signed))
            return distance / 2 if self.variant == "released" else distance
        steps = distance_targets(places[0], places[1], side, "raw", self.signed).long()
        steps = steps + (side - 1 if self.signed else 0)
        return class_distance(guessed, steps) if self.form == "ce" else regressed_class_distance(guessed, steps)
