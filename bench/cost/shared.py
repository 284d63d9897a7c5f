"""Which stages of a plan's runs are shared: trained once, and taken by the other runs that would train the same.

A short process goes through the stages of each method on a backbone without values, so that a plan needs no torch.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.cost.size import size_of
from bench.errors import InputError
from bench.process import environment, last_line, program
from bench.rate import WHOLE
from bench.registry import Registry
from bench.spec import RunSpec, digest, from_json, to_json
from bench.task import find_task

if TYPE_CHECKING:
    from bench.backbones import Model
    from bench.data import TrainingImages
    from bench.method import Stage


@dataclass(frozen=True)
class SharedStage:
    """A stage that runs share; two with one key are trained once. Its steps are in the protocol's batches."""

    key: str
    steps: int


@dataclass(frozen=True)
class RunStages:
    """The steps that a run makes in stages of its own, and the stages that it shares."""

    steps: int
    shared: tuple[SharedStage, ...] = ()


def stages_of(runs: Sequence[RunSpec], registry: Registry) -> list[RunStages | None]:
    """The stages of each run; None of one whose method does not go through them without values.

    Raises ``InputError`` where the process ends before it has answered.
    """
    if not runs:
        return []
    task = {"plugins": [str(plugin) for plugin in registry.plugins], "runs": [to_json(spec) for spec in runs]}
    done = subprocess.run(
        program("bench.cost.shared"), input=json.dumps(task), capture_output=True, text=True, env=environment("")
    )
    if done.returncode:
        raise InputError(f"the process that goes through the stages of methods ended: {last_line(done.stderr)}")
    return [None if each is None else _from_json(each) for each in json.loads(done.stdout.splitlines()[-1])]


def _from_json(answer: Any) -> RunStages:
    return RunStages(answer["steps"], tuple(SharedStage(**stage) for stage in answer["shared"]))


def main() -> None:
    """The process: standard input says of which runs."""
    task = json.load(sys.stdin)
    answers = stages_here(map(from_json, task["runs"]), Registry(task["plugins"]))
    print(json.dumps([each and asdict(each) for each in answers]))


def stages_here(runs: Iterable[RunSpec], registry: Registry) -> list[RunStages | None]:
    """As ``stages_of``, in this process: with torch."""
    answers, of_kinds = [], dict[object, _Stages | None]()
    for spec in runs:
        size = size_of(spec, registry.dataset(spec.dataset.name))
        kind = (spec.method, spec.backbone, spec.protocol, size.steps)
        if kind not in of_kinds:
            of_kinds[kind] = _gone_through(spec, registry, size.steps)
        answers.append(_answer(of_kinds[kind], spec))
    return answers


@dataclass(frozen=True)
class _Stages:
    """Of runs of one method, backbone and protocol: steps of their own, and of each shared stage what decides it.

    Attributes:
        shared: digest of its settings, its steps, and which seeds of the run it depends on.
    """

    steps: int
    shared: tuple[tuple[str, int, tuple[str, ...]], ...]


def _answer(stages: _Stages | None, spec: RunSpec) -> RunStages | None:
    if stages is None:
        return None
    shared = []
    drawn_by = 0 if spec.rate == WHOLE else spec.seeds.subset
    images = [spec.dataset.means, spec.rate, spec.protocol.validation, drawn_by]
    for settings, steps, seeds in stages.shared:
        drawn = [getattr(spec.seeds, seed) for seed in seeds]
        shared.append(SharedStage(digest([settings, images, *drawn]), steps))
    return RunStages(stages.steps, tuple(shared))


def _gone_through(spec: RunSpec, registry: Registry, steps: int | None) -> _Stages | None:
    from bench.training.trial import build_method

    if steps is None:
        return None
    alone, shared = 0, []
    try:
        with _without_values():
            model, data = _subject(spec, registry)
            recipe = replace(spec.protocol.recipe, steps=steps, epochs=0, last=steps, warmup_epochs=0.0)
            for stage in build_method(spec, registry).stages(model, recipe, data):
                span = stage.recipe.last - stage.recipe.first
                if stage.shared:
                    shared.append((_settings(stage, spec, data), span, tuple(_seeds(stage, spec))))
                else:
                    alone += span
    except Exception:  # a method may need values before its first stage
        return None
    return _Stages(alone, tuple(shared))


def _settings(stage: Stage, spec: RunSpec, data: TrainingImages) -> str:
    """What decides a shared stage, but for the dataset, its images and the seeds."""
    from bench.training.shared import settings_of

    assert stage.shared is not None
    anew = replace(stage, shared=replace(stage.shared, seed=0)) if stage.shared.seed == spec.seeds.order else stage
    return digest({**settings_of(anew, spec, stage.data or data), "dataset": ""})


def _seeds(stage: Stage, spec: RunSpec) -> Iterator[str]:
    """The seeds of a run on which a shared stage depends beside its images: those of its draws and of the head."""
    assert stage.shared is not None
    if stage.shared.seed == spec.seeds.order:
        yield "order"
    head = {*stage.model.head.parameters()}
    if head & {*_parameters(stage)}:
        yield "init"


def _parameters(stage: Stage) -> Iterable[Any]:
    for item in stage.items:
        yield from item.parameters() if hasattr(item, "parameters") else (item,)


def _subject(spec: RunSpec, registry: Registry) -> tuple[Model, TrainingImages]:
    """The run's model, and images of which nothing is there but their number."""
    import numpy as np
    import torch
    from torch import nn

    from bench.backbones.build import equip
    from bench.cards.backbone import DRAWN
    from bench.cards.method import beside
    from bench.data import ArrayImages, Dataset, Validation

    card, dataset = registry.backbone(spec.backbone.name), registry.dataset(spec.dataset.name)
    task, classes = find_task(dataset.task), int(dataset.facts["classes"])
    model = task.build(replace(card, weights="none"), classes, spec.protocol)
    asked = beside([registry.method(each.name) for each in (spec.method, *spec.method.policies)], card)
    if "source_head" in asked:
        model.source_head = nn.Linear(model.dim, 1000)
    equip(model, replace(card, weights=DRAWN), asked - {"source_head"})
    nothing = task.noise(ArrayImages(np.zeros((1, 1, 1, 1), np.uint8)), classes, np.random.RandomState(0))
    names = [str(label) for label in range(classes)]
    data = Dataset(names, nothing, None, nothing)
    images = task.images(spec, data, np.arange(1), model, torch.device("cpu"))
    return model, replace(images, held_out=Validation(images, lambda _: 0.0))


@contextmanager
def _without_values() -> Iterator[None]:
    """Inside, large tensors keep whatever lies in their memory: what is drawn is not looked at, and takes long."""
    from torch.overrides import TorchFunctionMode

    drawing = {"normal_", "uniform_", "erfinv_", "clamp_", "mul_", "add_"}

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            drawn = args[0] if args else (kwargs or {}).get("tensor")  # torch.nn.init names it
            if getattr(function, "__name__", "") in drawing and drawn is not None and drawn.numel() > 4096:
                return drawn
            return function(*args, **(kwargs or {}))

    with Undrawn():
        yield
