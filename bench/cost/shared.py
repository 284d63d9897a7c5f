"""Which stages of a plan's runs are shared: trained once, and taken by the other runs that would train the same.

A short process goes through the stages of each method on a backbone without values, so that a plan needs no torch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.process import answer_of
from bench.rate import WHOLE
from bench.registry import Registry
from bench.spec import RunSpec, digest, from_json, to_json
from bench.training.size import size_of

if TYPE_CHECKING:
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
    answers = answer_of("bench.cost.shared", task, "goes through the stages of methods")
    return [None if each is None else _from_json(each) for each in answers]


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
    from bench.training.untrained import empty_images, empty_model, without_values

    if steps is None:
        return None
    alone, shared = 0, []
    try:
        with without_values():
            model = empty_model(spec, registry)
            data = empty_images(spec, registry, model)
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
