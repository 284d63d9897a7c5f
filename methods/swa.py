"""SWA: average weights along a constant learning rate at the end of training (Izmailov et al., UAI 2018)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch.optim.swa_utils import AveragedModel, update_bn

from bench.backbones import Model
from bench.data import TrainingImages
from bench.method import Batch, Method, Stage, Terms, frozen, hyper, replace
from bench.protocol import Recipe


@dataclass(frozen=True)
class SWA(Method):
    """The protocol's schedule down to a learning rate that then stays; from there on weights are averaged equally.

    The average is of the weights where that rate begins and after each pass over the images since (algorithm 1 with a
    constant rate, as in the released code). At the end the batch norms take the statistics of a pass over the training
    images through the averaged network; of these passes, forward only, the budget knows nothing. The last point of the
    curve is that of the average, with the scores ``top1@raw`` of the weights that training ended with; the points
    before it show the training, whose weights are the raw ones.
    """

    paper = (
        "Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, 'Averaging Weights Leads to Wider Optima and Better "
        "Generalization', UAI 2018, algorithm 1"
    )
    per_image = True
    beside = {"raw"}

    start: float = hyper(
        0.75,
        low=0,
        high=1,
        source="paper section 4.1: about 75 % of the budget before it (released code: 161 of 300)",
    )
    rate: float = hyper(
        0.5, low=0, source="of the peak learning rate; released scripts of PreResNet and Wide ResNet (0.05 of 0.1)"
    )
    every: int = hyper(
        0, low=0, source="steps between two weights that are averaged; 0: a pass over the images (c of the paper)"
    )

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        """Two stages with one optimiser; the average takes the model's place after the second."""
        rate, rest = self.rate * recipe.lr, recipe.rest(self.start)
        steps, a_pass = rest.last - rest.first, math.ceil(len(data) / data.protocol.batch_size)
        every = max(1, min(self.every or a_pass, steps))
        raw = {"raw": model}
        yield Stage(model, self.loss, replace(recipe.share(self.start), min_lr=rate), beside=raw)
        average, seen = AveragedModel(model).requires_grad_(False), -1

        def averaged(model: Model, batch: Batch) -> Terms:
            nonlocal seen
            made = round(batch.progress * steps)
            if made % every == 0 and made != seen:  # once a step, of which a batch may be computed in parts
                average.update_parameters(model)
            seen = made
            return self.loss(model, batch)

        constant = replace(rest, schedule="constant", lr=rate, warmup=0)
        yield Stage(model, averaged, constant, state=(average,), continues=True, beside=raw)
        if steps % every == 0:
            average.update_parameters(model)
        raw["raw"] = frozen(model)
        model.load_state_dict(average.module.state_dict())
        update_bn((data.batch(number).images for number in range(a_pass)), model)
