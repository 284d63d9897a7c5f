"""A stage that runs share: what decides its result, and training it or taking what another run has trained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from bench.data import TrainingImages
from bench.device import interrupt
from bench.device.distributed import begin_draws
from bench.method import Shared, Stage
from bench.protocol import Protocol
from bench.spec import ENGINE, MethodSpec, RunSpec, derive, digest, method_identity, written
from bench.training.checkpoint import Checkpoint
from bench.training.features import is_fed_once
from bench.training.fit import Terms, fit, move
from bench.training.shelf import Shelf, digest_of_tensors
from bench.training.trackers import Observer

_NOT_TRAINING = ("evaluations", "validation", "drop_path", "features")
"""What of a protocol does not decide a stage; how much its own model drops is looked up in the model."""


def train_or_take(
    stage: Stage,
    spec: RunSpec,
    data: TrainingImages,
    shelf: Shelf | None = None,
    checkpoint: Callable[[str], Checkpoint] | None = None,
    parts: int = 1,
    observer: Observer | None = None,
) -> tuple[dict[str, Any], int]:
    """Bring the weights of a shared stage to its end; what is drawn afterwards is the same, trained or taken.

    Without a shelf it is trained for this run alone. ``checkpoint`` gives what is kept of a training under a key. Gives
    what the record says of it, the stage's ``key`` and whether it was ``taken`` from the shelf; and how many steps were
    made here.
    """
    assert stage.shared is not None
    move(stage, data.device)
    meaning = decided_by(stage, spec, data)
    key, draws = digest(meaning), (stage.shared.seed, *stage.shared.apart)
    observer = observer or Observer()

    keepers: list[Checkpoint] = []
    made = 0

    def train() -> dict[str, Tensor]:
        nonlocal made
        begin_draws(derive("shared stage", *draws))
        images = replace(data, seed=derive("order of a shared stage", *draws))
        if checkpoint:
            keepers.append(checkpoint(f"shared-{key}"))
        telling = _Telling(keepers[0] if keepers else None, observer)
        with interrupt.deferred() if keepers else contextlib.nullcontext():
            fit(stage, images, start=0, keeper=telling, parts=parts)
        made = telling.made
        return {name: tensor.detach().clone() for name, tensor in _tensors(stage)}

    def waiting() -> None:
        observer.phase("waiting for stage")

    tensors, taken = shelf.get(key, train, meaning, waiting) if shelf else (train(), False)
    for keeper in keepers:  # not before the shelf has the stage
        keeper.remove()
    with torch.no_grad():
        for name, tensor in _tensors(stage):
            tensor.copy_(tensors[name])
    begin_draws(derive("after a shared stage", spec.seeds.order, key))
    return {"key": key, "taken": taken}, made


class _Telling:
    """Keeps a shared stage, where there is what keeps it, and tells how far it is: its steps are not the run's."""

    def __init__(self, keeper: Checkpoint | None, observer: Observer) -> None:
        self.keeper, self.observer, self.made = keeper, observer, 0

    def begin(self, stage: Stage, optimizer: torch.optim.Optimizer, terms: Terms) -> int:
        return self.keeper.begin(stage, optimizer, terms) if self.keeper else 0

    def step(self, stage: Stage, number: int, optimizer: torch.optim.Optimizer, terms: Terms) -> None:
        self.made += 1
        self.observer.phase("shared stage", number, stage.recipe.last - stage.recipe.first)
        if self.keeper:
            self.keeper.step(stage, number, optimizer, terms)


def decided_by(stage: Stage, spec: RunSpec, data: TrainingImages) -> dict[str, Any]:
    """Everything that decides the result of a shared stage, as plain data; the seeds of the run only by what they drew.

    The start of the trained weights stands for how they were drawn and for the image size. The protocol's recipe is not
    looked at, as the stage has its own.
    """
    images = data.made_of or data
    start = digest_of_tensors(_tensors(stage))
    return {**settings_of(stage, spec, data), "images": digest(images.indices.tolist()), "start": start}


def settings_of(stage: Stage, spec: RunSpec, data: TrainingImages) -> dict[str, Any]:
    """What decides a shared stage but for which images it sees and the values it starts from."""
    assert stage.shared is not None
    return {
        "engine": ENGINE,
        "method": method_identity(_depending(spec.method, stage.shared)),
        "backbone": spec.backbone.means,
        "dataset": spec.dataset.means,
        "protocol": _deciding(data.protocol),
        "recipe": written(stage.recipe),
        "views": stage.views,
        "seed": stage.shared.seed,
        "drop": _drop_probabilities(stage),
        **_made_once(stage, data),
        **({"frozen_drops": True} if stage.frozen_drops else {}),
        **({"apart": list(stage.shared.apart)} if stage.shared.apart else {}),
    }


def _deciding(protocol: Protocol) -> dict[str, Any]:
    return {key: value for key, value in written(protocol).items() if key not in _NOT_TRAINING}


def _made_once(stage: Stage, data: TrainingImages) -> dict[str, Any]:
    """Where a stage is fed with what is made of images as they are tested: that it is, and of which images."""
    if data.made_of:
        return {"once": _deciding(data.made_of.protocol)}
    return {"once": True} if is_fed_once(stage, data) else {}


def _depending(method: MethodSpec, shared: Shared) -> MethodSpec:
    """The method with its policies, of which the one that shares has the hyper-parameters that the stage depends on."""
    hyper = tuple(shared.depends.items())
    if not shared.policy:
        return replace(method, hyper=hyper)
    policies = list(method.policies)
    policies[shared.policy - 1] = replace(policies[shared.policy - 1], hyper=hyper)
    return replace(method, policies=tuple(policies))


def _tensors(stage: Stage) -> Iterator[tuple[str, Tensor]]:
    """What a stage changes: weights and buffers of what it trains and keeps."""
    for number, item in enumerate((*stage.items, *stage.state)):
        if isinstance(item, nn.Module):
            yield from ((f"{number}.{name}", tensor) for name, tensor in item.state_dict(keep_vars=True).items())
        else:
            yield str(number), item


def _drop_probabilities(stage: Stage) -> dict[str, float]:
    """Of each module that drops something now and then: of what is trained, and of the model if all of it drops."""
    rates: dict[str, float] = {}
    for number, item in enumerate((*stage.items, *((stage.model,) if stage.frozen_drops else ()))):
        for name, module in item.named_modules() if isinstance(item, nn.Module) else ():
            if isinstance(module, DropPath):
                rates[f"{number}.{name}"] = float(module.drop_prob or 0.0)
            elif isinstance(module, nn.modules.dropout._DropoutNd):
                rates[f"{number}.{name}"] = module.p
    return {name: rate for name, rate in rates.items() if rate}
