"""What a method trains, and what in it looks as if something else were meant; ``bench check-method`` tells both.

None of it breaks a promise: a method may train its head alone, or leave weights at random. Whoever did not mean it
would not see it in an accuracy.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.conformance import Examined
from bench.data import TrainingImages
from bench.method import Stage
from bench.training.feed import fed
from bench.training.fit import StageLoss, fit, set_modes, trained

OWN = "its own"
_PROBE = re.compile(r"linear[\s_-]+(prob|eval|classif)", re.IGNORECASE)


@dataclass(frozen=True)
class StageLook:
    """What was seen of a stage.

    Attributes:
        weights: how many numbers it trains of each part: ``backbone``, ``head``, ``its own``.
        idle: sentences about what it lists and does not train.
        stray: weights that its loss has a gradient for and it does not list, each with what it is called.
        listed: what it trains or keeps.
    """

    weights: Counter[str]
    idle: list[str] = field(default_factory=list)
    stray: dict[Tensor, str] = field(default_factory=dict)
    listed: set[Tensor] = field(default_factory=set)


def look_at(subject: Examined) -> list[StageLook]:
    """What each stage of a short training trains, with the method's defaults."""
    parts, data, done, looks = {name for name, _ in subject.model().named_parameters()}, subject.data(), 0, []
    for planned in subject.stages(subject.model(), data):
        stage, images = fed(planned, data)
        looks.append(_look(stage, images, parts))
        fit(stage, images, start=done)  # the next stage may build on it
        done += stage.recipe.last - stage.recipe.first
    return looks


def counts(looks: list[StageLook]) -> Iterator[str]:
    """How many weights each stage trains, by part; stages in a row that train as many are one sentence."""
    numbered = enumerate(looks, start=1)
    for weights, group in itertools.groupby(numbered, lambda pair: pair[1].weights):
        numbers = [number for number, _ in group]
        stages = f"stage {numbers[0]} trains" if len(numbers) == 1 else f"stages {numbers[0]} to {numbers[-1]} train"
        parts = ", ".join(f"{part} {count:,}" for part, count in sorted(weights.items()))
        yield f"{stages} {weights.total():,} weights: {parts or 'none'}"


def notices(subject: Examined, looks: list[StageLook]) -> Iterator[str]:
    """What may not be meant, a sentence each."""
    for number, look in enumerate(looks, start=1):
        yield from (f"stage {number} {sentence}" for sentence in look.idle)
    listed = {weights for look in looks for weights in look.listed}
    stray = {weights: name for look in looks for weights, name in look.stray.items() if weights not in listed}
    if stray:
        names = ", ".join(sorted({*stray.values()})[:4])
        more = ", ..." if len({*stray.values()}) > 4 else ""
        yield (
            f"no stage trains {names}{more}, though the loss depends on it: it stays as it was drawn; list it in a "
            "stage's 'train', or in 'state' if that is meant"
        )
    card = subject.card
    alone = looks and all({*look.weights} <= {"head"} for look in looks)
    if alone and not _PROBE.search(f"{card.name} {card.summary} {card.text}"):
        yield "every stage trains the head alone: on this backbone it is a linear probe, whatever else it adds"


def _look(stage: Stage, images: TrainingImages, parts: set[str]) -> StageLook:
    set_modes(stage)
    terms = StageLoss(stage)(images.batch(0, stage.views))
    reached = {*_leaves(torch.stack(list(terms.values())).sum())}
    named = dict(trained(stage))
    weights: Counter[str] = Counter()
    for name, values in named.items():
        weights[name.partition(".")[0] if name in parts else OWN] += values.numel()
    kept = {values for module in stage.state for values in module.parameters()}
    called = dict(_names(stage))
    stray = {leaf: called.get(leaf, f"a weight of shape {tuple(leaf.shape)}") for leaf in reached - {*named.values()}}
    stray = {leaf: name for leaf, name in stray.items() if leaf not in kept}
    return StageLook(weights, [*_idle(stage, reached)], stray, {*named.values(), *kept})


def _idle(stage: Stage, reached: set[Tensor]) -> Iterator[str]:
    """What is listed in ``train`` and has no weights, or none that the loss depends on."""
    of_model, modules = {*stage.model.parameters()}, {*stage.model.modules()}
    for item in stage.train:
        weights = [*item.parameters()] if isinstance(item, nn.Module) else [item]
        kind = type(item).__name__
        if not weights and item not in modules:  # a part of the model may be empty, as an identity in place of a norm
            yield f"lists a {kind} without weights: what it was to adapt is not in this backbone"
        elif weights and not {*weights} & (reached | of_model):
            count = sum(values.numel() for values in weights)
            yield f"lists a {kind} of {count:,} weights on which its loss does not depend: they stay as they were drawn"


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    """The weights that a loss has a gradient for."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf
        waiting += [following for following, _ in node.next_functions]


def _names(stage: Stage) -> Iterator[tuple[Tensor, str]]:
    """What the loss calls the modules and parameters that it has from the method, and what they hold."""
    try:
        variables = inspect.getclosurevars(inspect.unwrap(stage.loss)).nonlocals
    except TypeError:  # a loss that is no plain function
        return
    for name, value in variables.items():
        if isinstance(value, nn.Module):
            yield from ((weights, f"{name}.{rest}") for rest, weights in value.named_parameters())
        elif isinstance(value, Tensor):
            yield value, name
