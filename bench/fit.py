"""The only training loop, and the only evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bench.backbones import Model
from bench.data import Split, TrainingImages
from bench.data.augment import test_view
from bench.method import Stage
from bench.optimizer import build_optimizer, set_learning_rate


class Diverged(ArithmeticError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step.

    Attributes:
        step: steps done, over all stages.
        learning_rate: of the step just made.
        terms: mean of each term of the loss since the last time they were read.
    """

    step: int
    learning_rate: float
    terms: dict[str, float]


class Terms:
    """Running means of the named terms; they stay on the device until they are read."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count one step's terms."""
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term.detach() if name in self.sums else term.detach()
        self.count += 1

    def read(self) -> dict[str, float]:
        """The means, and start anew. Raises ``Diverged`` where one is not finite."""
        means = {name: float(total) / max(1, self.count) for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        wrong = [name for name, mean in means.items() if not math.isfinite(mean)]
        if wrong:
            raise Diverged(f"the term {wrong[0]} of the loss is {means[wrong[0]]}")
        return means


def fit(
    stage: Stage,
    data: TrainingImages,
    *,
    start: int,
    stops: Callable[[int], bool],
    at_stop: Callable[[Progress], None],
    previous: torch.optim.Optimizer | None = None,
) -> torch.optim.Optimizer:
    """Train one stage.

    Args:
        stage: model, loss, recipe and what is trained.
        data: the sampled training images.
        start: steps that earlier stages have made.
        stops: whether the curve has a point after so many steps.
        at_stop: called there; may put the model in eval mode.
        previous: the optimiser of the stage before, for a stage that ``continues``.

    Returns:
        The optimiser.

    Raises:
        Diverged: a term of the loss is not finite; noticed at the next point of the curve or the end of the stage.
    """
    recipe, device = stage.recipe, data.device
    move(stage, device)
    parameters = list(trained(stage))
    kept = previous if stage.continues else None
    optimizer = build_optimizer(stage.model, parameters, recipe, kept, stage.recipes)
    span, running = recipe.last - recipe.first, Terms()
    set_modes(stage)
    for number in range(span):
        set_learning_rate(optimizer, number)
        batch = data.batch(start + number, stage.views, number / span)
        with mixed_precision(data.protocol.precision, device):
            terms = dict(stage.loss(stage.model, batch))
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_([parameter for _, parameter in parameters], recipe.clip_norm)
        optimizer.step()
        running.add(terms)
        if stops(start + number + 1):
            rate = recipe.learning_rate(recipe.first + number)
            at_stop(Progress(start + number + 1, rate, running.read()))
            set_modes(stage)
    running.read()  # a stage may end between two points of the curve; what diverged in it must not pass
    return optimizer


def move(stage: Stage, device: torch.device) -> None:
    """Put what a stage trains and keeps on a device."""
    for item in (*stage.items, *stage.state):
        if isinstance(item, nn.Module):
            item.to(device)
        else:
            item.data = item.data.to(device)


def trained(stage: Stage) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that a stage trains, by name, each once, in an order that is the same in every process."""
    listed: set[nn.Parameter] = set()
    for item in stage.items:
        listed.update(item.parameters() if isinstance(item, nn.Module) else (item,))
    for name, parameter in stage.model.named_parameters():
        if parameter in listed:
            listed.discard(parameter)
            yield name, parameter
    for number, item in enumerate(stage.train):
        for name, parameter in item.named_parameters() if isinstance(item, nn.Module) else [("parameter", item)]:
            if parameter in listed:
                listed.discard(parameter)
                yield f"extra.{number}.{name}", parameter


def set_modes(stage: Stage) -> None:
    """What is listed is in training mode with gradients; the rest of the model is in eval mode without."""
    stage.model.train(not stage.train).requires_grad_(False)
    for item in stage.items:
        item.requires_grad_(True)
        if isinstance(item, nn.Module):
            item.train()


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast where the protocol asks for it; ``auto`` asks for it on a GPU."""
    if precision == "bf16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


@torch.inference_mode()
def predict(model: Model, split: Split, data: TrainingImages, batch_size: int = 64) -> npt.NDArray[np.int64]:
    """The predicted class of every image of a split, in order. Leaves the model in eval mode."""
    model.eval()
    found = []
    for begin in range(0, len(split), batch_size):
        indices = np.arange(begin, min(begin + batch_size, len(split)))
        images = test_view(split.images.take(indices), data.size, data.protocol.augmentation).to(data.device)
        with mixed_precision(data.protocol.precision, data.device):
            found.append(model(images).logits.argmax(1).cpu().numpy())
    return np.concatenate(found)
