"""RIFLE: draw the head anew in the middle of training, so that deep layers get large gradients again (ICML 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


def periods(resets: int) -> list[tuple[float, float]]:
    """Training cut into r + 1 equal periods; the head is drawn anew at the start of each but the first.

    Args:
        resets: r, 0 or more.

    Returns:
        Start and stop of each period as shares of training, from 0 to 1, without gaps.
    """
    return [(number / (resets + 1), (number + 1) / (resets + 1)) for number in range(resets + 1)]


@dataclass(frozen=True)
class RIFLE(Method):
    """The head is drawn anew every 1/(r + 1) of training; weights, moments and schedule of the rest continue.

    The new head is PyTorch's default initialisation of a linear layer, and the optimiser keeps its moments, as in the
    released code. Known deviation: in the paper the head's learning rate is cyclic, a cosine that starts again in every
    period. A stage has one schedule for all it trains, so the head follows the backbone's single cosine, which is what
    the released code does unless told otherwise.
    """

    paper = "Li, Xiong, An, Xu and Dou, 'RIFLE: Backpropagation in Depth for Deep Transfer Learning', ICML 2020"

    resets: int = hyper(1, low=0, source="r; run script of the released code (its parser's default: 0)")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """A stage a period, all windows of one schedule."""
        for start, stop in periods(self.resets):
            if start > 0:
                model.head.reset_parameters()
            yield Stage(model, self.loss, recipe.window(start, stop), continues=start > 0)
