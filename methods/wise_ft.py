"""WiSE-FT: average the weights before and after fine-tuning (Wortsman et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from bench.backbones import Model
from bench.data import TrainingImages
from bench.losses import at_least_float32
from bench.method import Method, Stage, hyper
from bench.protocol import Recipe


def interpolated(start: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    """(1 − α) θ_start + α θ_tuned (Wortsman et al., weight-space ensembling).

    Args:
        start: an entry of the state before fine-tuning, of any shape.
        tuned: the same entry after it.
        alpha: 0 gives ``start``, 1 gives ``tuned``.

    Returns:
        A tensor of the same shape, type and unit, computed in float32 at least; what counts (integers) is not
        averaged but taken from ``tuned``.

    Raises:
        ValueError: the shapes differ.
    """
    if start.shape != tuned.shape:
        raise ValueError(f"start {tuple(start.shape)} and tuned {tuple(tuned.shape)} must have one shape")
    if not tuned.is_floating_point():
        return tuned.clone()
    return ((1 - alpha) * at_least_float32(start) + alpha * at_least_float32(tuned)).to(tuned.dtype)


@dataclass(frozen=True)
class WiSEFT(Method):
    """A linear probe, then fine-tuning of everything from there; the model evaluated is between the two.

    The paper starts from CLIP, whose zero-shot head is there before any training. Other backbones have none: here a
    linear probe stands in its place, trained in a first stage, so the start is the pre-trained backbone with that head.
    Only the last point of the curve is that of the interpolated weights; the points before it show the training.
    """

    paper = "Wortsman et al., 'Robust Fine-Tuning of Zero-Shot Models', CVPR 2022"
    per_image = True

    alpha: float = hyper(
        0.5, low=0, high=1, source="the default of paper and released code; they sweep 0 to 1 for curves"
    )
    share: float = hyper(0.2, low=0, high=1, source="of the budget for the linear probe; our choice")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Two stages with a schedule each; the weights are averaged after the second."""
        yield Stage(model, self.loss, recipe.share(self.share), train=(model.head,))
        start = {name: value.clone() for name, value in model.state_dict().items()}
        yield Stage(model, self.loss, recipe.rest(self.share))
        tuned = model.state_dict()
        model.load_state_dict({name: interpolated(start[name], tuned[name], self.alpha) for name in tuned})
