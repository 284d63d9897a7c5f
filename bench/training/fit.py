"""The only training loop."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from bench.data import TrainingImages
from bench.device.averaged import Averaged
from bench.device.compiled import compiling, next_step
from bench.device.distributed import ranks
from bench.device.divided import was_read
from bench.device.precision import mixed_precision
from bench.method import Batch, Stage
from bench.training.optimizer import build_optimizer, set_learning_rate
from bench.training.passes import Passes

CHECKED = 100
"""Steps between two looks at whether the loss is still finite; a look waits for the device."""


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
        self.asked, self.latest = (0.0, 0), 0.0

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Count one step's terms."""
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term.detach() if name in self.sums else term.detach()
        self.count += 1

    def read(self) -> dict[str, float]:
        """The means, and start anew. Raises ``Diverged`` where one is not finite."""
        self.check()
        means = {name: float(total) / max(1, self.count) for name, total in self.sums.items()}
        self.sums, self.count, self.asked = {}, 0, (0.0, 0)
        return means

    def recent(self) -> float:
        """The mean of all terms together since this was asked before, or they were read; leaves them as they are.

        Where there is none since, it is that of before.
        """
        (total, count), self.asked = self.asked, (sum(map(float, self.sums.values())), self.count)
        if self.count > count:
            self.latest = (self.asked[0] - total) / (self.count - count)
        return self.latest

    def check(self) -> None:
        """Raise ``Diverged`` where the loss has not been finite."""
        for name, total in self.sums.items():
            if not math.isfinite(float(total)):
                raise Diverged(f"the term {name} of the loss is {float(total)}")


class Keeper(Protocol):
    """Keeps the state of a stage in training, so that it can be taken up again."""

    def begin(self, stage: Stage, optimizer: torch.optim.Optimizer, terms: Terms) -> int:
        """Bring everything to where it was; gives the steps of the stage that are made already."""
        ...

    def step(self, stage: Stage, number: int, optimizer: torch.optim.Optimizer, terms: Terms) -> None:
        """After each step: ``number`` of the stage are made. May raise ``Interrupted``."""
        ...


def fit(
    stage: Stage,
    data: TrainingImages,
    *,
    start: int,
    stops: Callable[[int], bool] = lambda step: False,
    at_stop: Callable[[Progress], None] = lambda progress: None,
    previous: torch.optim.Optimizer | None = None,
    keeper: Keeper | None = None,
    parts: int = 1,
) -> torch.optim.Optimizer:
    """Train one stage.

    Args:
        stage: model, loss, recipe and what is trained.
        data: the sampled training images.
        start: steps that earlier stages have made.
        stops: whether the curve has a point after so many steps.
        at_stop: called there; may put the model in eval mode.
        previous: the optimiser of the stage before, for a stage that ``continues``.
        keeper: keeps the state of the training, and has it taken up where it was.
        parts: a batch is computed in so many parts whose gradients add up, for a method that is ``per_image``.

    Returns:
        The optimiser.

    Raises:
        Diverged: a term of the loss is not finite; noticed within ``CHECKED`` steps.
        Interrupted: a stop was asked for; the keeper has the state.
    """
    recipe, device = stage.recipe, data.device
    move(stage, device)
    parameters = list(trained(stage))
    moments = previous if stage.continues else None
    optimizer = build_optimizer(stage.model, parameters, recipe, moments, stage.recipes)
    span, running = recipe.last - recipe.first, Terms()
    set_modes(stage)
    loss, wholly = Averaged(StageLoss(stage), parts), False

    def a_pass(batch: Batch) -> dict[str, Tensor]:
        optimizer.zero_grad(set_to_none=True)
        terms = gradients(loss, batch, parts, mixed_precision(data.protocol.precision, device))
        loss.settle()
        return terms

    def update() -> None:
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_([parameter for _, parameter in parameters], recipe.clip_norm)
        optimizer.step()

    begun = keeper.begin(stage, optimizer, running) if keeper else 0
    feed = data.feed(range(start + begun, start + span), stage.views, lambda: wholly)
    with closing(feed), compiling(data.protocol.compile):
        for step, prepared in feed:
            number = step - start
            next_step()
            set_learning_rate(optimizer, number)
            batch = data.batch(step, stage.views, number / span, prepared)
            running.add(stage.step(Passes(stage, partial(a_pass, batch)), update))
            wholly = wholly or was_read(batch.images)  # a loss that has looked at all images will do so again
            if stops(start + number + 1):
                rate = recipe.learning_rate(recipe.first + number)
                at_stop(Progress(start + number + 1, rate, running.read()))
                set_modes(stage)
            elif (number + 1) % CHECKED == 0:
                running.check()
            if keeper:
                keeper.step(stage, number + 1, optimizer, running)
    running.read()  # a stage may end between two points of the curve; what diverged in it must not pass
    return optimizer


class StageLoss(nn.Module):
    """A stage's loss as a module, of a batch its terms, that owns what is trained, as data parallelism wants it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        if ranks() > 1:
            self.model = stage.model
            self.modules_beside = nn.ModuleList(item for item in stage.items if isinstance(item, nn.Module))
            self.weights_beside = nn.ParameterList(item for item in stage.items if isinstance(item, nn.Parameter))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        terms = self.stage.loss(self.stage.model, batch)
        if not isinstance(terms, Mapping) or not all(isinstance(term, Tensor) for term in terms.values()):
            raise TypeError(no_terms(self.stage.loss, terms))
        return dict(terms)


def no_terms(loss: Callable[..., object], value: object) -> str:
    """The sentence for what a loss gave that is no mapping of named tensors, with the place of the loss."""
    code = getattr(inspect.unwrap(loss), "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
    what = f"a {type(value).__name__}"
    if isinstance(value, Mapping):
        what = ", ".join(f"{name}: a {type(term).__name__}" for name, term in value.items())
    return f"{place}a loss gives a dictionary of named terms, tensors such as {{'ce': ...}}; this one gave {what}"


def gradients(
    loss: Callable[[Batch], dict[str, Tensor]],
    batch: Batch,
    parts: int = 1,
    precision: AbstractContextManager[object] | None = None,
) -> dict[str, Tensor]:
    """Add the gradients of a batch to those there are; gives the terms of the loss, a stage's (``StageLoss``).

    It is computed in so many parts, one after the other; ``precision`` is entered for each forward pass.
    """
    precision = precision or nullcontext()
    if parts == 1:
        with precision:
            terms = loss(batch)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        return terms
    total: dict[str, Tensor] = {}
    for part in batch.divided(parts):
        share = len(part) / len(batch)
        with precision:
            terms = {name: share * term for name, term in loss(part).items()}
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        total = {name: total.get(name, 0.0) + term.detach() for name, term in terms.items()}
    return total


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
    """What is listed is in training mode with gradients; the rest of the model is in eval mode without.

    With ``frozen_drops`` the rest is in training mode too, but for its batch norms, and still without gradients.
    """
    stage.model.train(stage.frozen_drops or not stage.train).requires_grad_(False)
    for module in stage.model.modules() if stage.frozen_drops else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    for item in stage.items:
        item.requires_grad_(True)
        if isinstance(item, nn.Module):
            item.train()
