"""SAM: minimise the loss at the worst weights nearby (Foret et al., ICLR 2021); ASAM (Kwon et al., ICML 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Policy, Stage, Step, Terms, hyper, replace
from bench.protocol import Recipe

TINY = 1e-12
"""Added to the norm, so that a gradient of zero moves nothing."""


def ascent(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], rho: float, scales: Sequence[Tensor]
) -> list[Tensor]:
    """Where the loss rises most, to first order, within ‖ε / T‖ ≤ ρ: ε = ρ T² g / ‖T g‖.

    Args:
        weights: w, of any shapes.
        gradients: g, of the same shapes; the norm is over all of them together.
        rho: ρ, the radius.
        scales: T, of the same shapes; of ones, it is SAM's eq. 2 for p = 2.

    Returns:
        w + ε, new tensors.
    """
    scaled = [scale * gradient for scale, gradient in zip(scales, gradients, strict=True)]
    length = torch.stack([each.norm() for each in scaled]).norm() + TINY
    return [weight + rho / length * scale * each for weight, scale, each in zip(weights, scales, scaled, strict=True)]


@dataclass(frozen=True)
class SAM(Policy):
    """Each step has the gradient at the weights where the loss of its batch is largest, to first order, nearby.

    Two passes a step: the gradient g of the batch; then that at w + ρ g / ‖g‖, by which the optimiser changes w. So a
    step takes about twice the time, and the budget counts it as one, as the papers' epochs do. The norm is over all
    trained weights and the whole batch (m-sharpness with m the batch), over all processes and parts of it; the papers'
    experiments had one of each accelerator. Both passes drop and draw the same, and running statistics, queues and
    momentum encoders are those of the first (the released JAX code); weight decay and clipping are the optimiser's.
    What is logged is the loss at w. With ``rho=0`` the training is that of the method alone, to the bit.

    A stage that runs share is the same whoever takes it, and is left as it is.
    """

    paper = (
        "Foret, Kleiner, Mobahi and Neyshabur, 'Sharpness-Aware Minimization for Efficiently Improving "
        "Generalization', ICLR 2021, eq. 2 and algorithm 1; Kwon, Kim, Park and Choi, 'ASAM', ICML 2021"
    )
    per_image = True

    form: str = hyper(
        "sam",
        choices=("sam", "asam"),
        source="asam: T = |w| + eta for each weight, the paper's element-wise operator (released code: of parameters "
        "called weight; of the others T = 1)",
    )
    rho: float = hyper(
        {"sam": 0.05, "asam": 0.5},
        by="form",
        low=0,
        source="SAM's paper: 0.05, for fine-tuning too; Chen, Hsieh and Gong (ICLR 2022): larger ones for ViTs from "
        "scratch; ASAM's released code: 0.5 on CIFAR-10, 1 on CIFAR-100",
    )
    eta: float = hyper(0.01, low=0, source="ASAM's paper and released code; of no use to sam")

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The stages of the method it acts on, with two passes a step."""
        for stage in self.inner.stages(model, recipe, data):
            yield stage if stage.shared else replace(stage, step=self.sharpened(stage))

    def sharpened(self, stage: Stage) -> Step:
        """The stage's step, with the gradients of two passes in the place of those of one."""
        trained = dict[nn.Parameter, None]()  # each once, in order
        for item in stage.items:
            trained.update(dict.fromkeys(item.parameters() if isinstance(item, nn.Module) else (item,)))

        def step(gradients: Callable[[], Terms], update: Callable[[], None]) -> Terms:
            def twice() -> Terms:
                terms = gradients()
                reached = [weight for weight in trained if weight.grad is not None]
                with torch.no_grad():
                    start = [weight.clone() for weight in reached]
                    slope = [weight.grad for weight in trained if weight.grad is not None]
                    put(reached, ascent(start, slope, self.rho, self.scales(start)))
                gradients()
                put(reached, start)
                return terms

            return stage.step(twice, update)

        return step

    def scales(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """T of each weight: ones, or ASAM's."""
        if self.form == "asam":
            return [weight.abs() + self.eta for weight in weights]
        return [torch.ones_like(weight) for weight in weights]


@torch.no_grad()
def put(weights: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    """Give weights these values."""
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
