"""EMA: evaluate an exponential moving average of the weights (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Batch, Loss, Policy, Stage, Terms, frozen, hyper, replace
from bench.protocol import Recipe


def kept_share(taken: int, decay: float, ramp: int) -> float:
    """What an average keeps of itself when it takes other weights: α = min(t / (t + ramp − 1), decay).

    The average is then α θ' + (1 − α) θ. A ramp of 2 is Mean Teacher's, with which it is the mean of all weights until
    the exponential average forgets as slowly; 10 is TensorFlow's; with 1 it forgets at the same rate from the start.

    Args:
        taken: t, how many weights the average is of, at least 1.
        decay: the largest α.
        ramp: at least 1.
    """
    return min(taken / (taken + ramp - 1), decay)


@dataclass(frozen=True)
class EMA(Policy):
    """The weights after each step are averaged beside the training, which they do not change.

    Every stage has an average of its own, from the weights that it begins with; that of the last one is evaluated, and
    what a method does to its model behind its last stage is done to the average. Running statistics of batch norms are
    averaged like weights (timm). Every point of the curve is that of the average, on the way without the step just
    made; of the weights as they are trained, without what is done behind the last stage, it has the scores
    ``top1@raw``.
    """

    paper = (
        "Polyak and Juditsky, 'Acceleration of Stochastic Approximation by Averaging', SIAM J. Control and "
        "Optimization 1992; exponential: Tarvainen and Valpola, 'Mean teachers are better role models', NeurIPS 2017"
    )
    per_image = True
    beside = {"raw"}

    decay: float = hyper(
        0.9999,
        low=0,
        high=1,
        source="parsers of BEiT's and ConvNeXt's fine-tuning, timm's ModelEma; Mean Teacher: 0.999",
    )
    ramp: int = hyper(
        10,
        low=1,
        source="TensorFlow's ExponentialMovingAverage: min(decay, (1 + t) / (10 + t)), so that a short training too "
        "forgets where it began; 2: Mean Teacher; 1: none, as BEiT",
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """The stages of the method it acts on, each with its average."""
        left, waiting = recipe.last - recipe.first, list[tuple[Model, AveragedModel, dict[str, Model]]]()
        for stage in self.inner.stages(model, recipe, data):
            if not (stage.shared and stage.shared.extra):
                left -= stage.recipe.last - stage.recipe.first
            if stage.shared:  # it is the same whoever takes it, and is not evaluated
                yield stage
                continue
            average = AveragedModel(stage.model, multi_avg_fn=self.move, use_buffers=True).requires_grad_(False)
            beside = {"raw": stage.model}
            yield replace(
                stage,
                loss=averaging(stage.loss, average),
                state=(*stage.state, average),
                scored=model_of(average),
                beside=beside,
            )
            average.update_parameters(stage.model)
            waiting = [(stage.model, average, beside)]
            if left <= 0:  # before the method goes on
                take(*waiting.pop())
        for each in waiting:  # of a method that left steps of its budget
            take(*each)

    def move(self, averages: Sequence[Tensor], weights: Sequence[Tensor], taken: Tensor | int) -> None:
        """Move averages, in place, to weights of the same shapes; what counts (integers) is taken as it is."""
        share = 1 - kept_share(int(taken), self.decay, self.ramp)
        for average, now in zip(averages, weights, strict=True):
            if now.is_floating_point():
                average.lerp_(now, share)
            else:
                average.copy_(now)


def model_of(average: AveragedModel) -> Model:
    """The averaged model itself."""
    averaged = average.module
    assert isinstance(averaged, Model)
    return averaged


def take(model: Model, average: AveragedModel, beside: dict[str, Model]) -> None:
    """Give a model the averaged weights and statistics; its own go on in a copy of it, which is scored as ``raw``."""
    beside["raw"] = frozen(model)
    model.load_state_dict(average.module.state_dict())


def averaging(loss: Loss, average: AveragedModel) -> Loss:
    """The loss, before which the average takes what the step before has made of the weights.

    Once a step: where a batch is computed in parts, all of them have its progress.
    """
    seen = -1.0

    def with_average(model: Model, batch: Batch) -> Terms:
        nonlocal seen
        if batch.progress != seen:
            average.update_parameters(model)
            seen = batch.progress
        return loss(model, batch)

    return with_average
