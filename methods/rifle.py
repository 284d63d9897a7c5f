"""RIFLE: draw the head anew in the middle of training, so that deep layers get large gradients again (ICML 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper, replace
from bench.protocol import Recipe


def periods(resets: int) -> list[tuple[float, float]]:
    """Training cut into r + 1 equal periods; the head is drawn anew at the start of each but the first.

    Args:
        resets: r, 0 or more.

    Returns:
        Start and stop of each period as shares of training, from 0 to 1, without gaps.
    """
    return [(number / (resets + 1), (number + 1) / (resets + 1)) for number in range(resets + 1)]


def restarted(window: Recipe, first: bool) -> Recipe:
    """The schedule of a period as one of its own: from the peak to the floor within the period's steps.

    Args:
        window: the period's part of the whole schedule.
        first: whether the period opens training. Only then it keeps the warm-up: that is there for moments and weights
            at the start of training, and a head that is drawn anew shall give large gradients at once.

    Returns:
        A recipe of as many steps.
    """
    steps = window.last - window.first
    return replace(window, steps=steps, first=0, last=steps, warmup=window.warmup if first else 0)


@dataclass(frozen=True)
class RIFLE(Method):
    """The head is drawn anew every 1/(r + 1) of training; weights and moments of the rest continue on one schedule.

    The head's own learning rate starts again with it (paper) or follows the schedule of the rest (released). The new
    head is PyTorch's default initialisation of a linear layer, and the optimiser keeps its moments, as in the released
    code.
    """

    paper = "Li, Xiong, An, Xu and Dou, 'RIFLE: Backpropagation in Depth for Deep Transfer Learning', ICML 2020"
    per_image = True

    resets: int = hyper(1, low=0, source="r; run script of the released code (its parser's default: 0)")
    variant: str = hyper(
        "paper",
        choices=("paper", "released"),
        source="paper: the head's cosine starts again in every period; released: one cosine for all (code's default)",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """A stage a period, all windows of one schedule."""
        for start, stop in periods(self.resets):
            if start > 0:
                model.head.reset_parameters()
            window = recipe.window(start, stop)
            own: dict[nn.Module, Recipe] = {}
            if self.variant == "paper":
                own[model.head] = restarted(window, first=start == 0)
            yield Stage(model, self.loss, window, continues=start > 0, recipes=own)
