"""Which methods would refuse the backbone or the steps of some runs: their stages are gone through, untrained.

A backbone stands there without values, once for all methods that are tried on it, and each is tried on a copy. Methods
are tried that may refuse something, as their code tells (``MethodCard.refuses``): most do not.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.errors import InputError
from bench.rate import about_images
from bench.registry import Registry
from bench.spec import MethodSpec, RunSpec
from bench.training.size import size_of

if TYPE_CHECKING:
    from bench.backbones import Model

_MANY = 10_000
"""Steps, and images, of runs of which they are not known: what is refused must not hang on them."""


def to_try(runs: Iterable[RunSpec], registry: Registry) -> list[RunSpec]:
    """Of some runs, one of each method that may refuse, backbone, size of images and task: the one of fewest steps.

    Budgets are refused for being small, so that the others need not be tried.
    """
    of_kinds: dict[object, list[RunSpec]] = defaultdict(list)
    for spec in runs:
        if any(registry.method(name).refuses for name in spec.method.names):
            task = registry.dataset(spec.dataset.name).task
            of_kinds[spec.method, spec.backbone, spec.protocol.image_size, task].append(spec)
    return [min(kind, key=lambda spec: _steps(spec, registry)) for kind in of_kinds.values()]


def refusals(runs: Sequence[RunSpec], registry: Registry) -> Iterator[dict[str, str]]:
    """Why methods refuse what they would be trained with: the method, its backbone and the reason, of each that does.

    What is broken elsewhere is left to the run to tell: methods may need the values that are not there.
    """
    of_models: dict[object, list[RunSpec]] = defaultdict(list)
    for spec in runs:
        of_models[_model_of(spec, registry)].append(spec)
    for alike in of_models.values():
        try:
            model = _sketched(alike[0], registry)
        except Exception:  # an architecture may need values to be built
            continue
        for spec in alike:
            if reason := _refusal(spec, model, registry):
                yield {"refused": in_words(spec.method, registry), "backbone": spec.backbone.name, "reason": reason}


def in_words(method: MethodSpec, registry: Registry) -> str:
    """A method with the hyper-parameters that are not at their default: ``surgical(block=9)+soup``."""
    parts = []
    for part in (method, *method.policies):
        hypers, values = registry.method(part.name).hypers, dict(part.hyper)
        changed = [f"{name}={value}" for name, value in part.hyper if value != hypers[name].default_among(values)]
        parts.append(f"{part.name}({','.join(changed)})" if changed else part.name)
    return "+".join(parts)


def _steps(spec: RunSpec, registry: Registry) -> int:
    return size_of(spec, registry.dataset(spec.dataset.name)).steps or _MANY


def _model_of(spec: RunSpec, registry: Registry) -> object:
    """What decides which network a run trains, but for the number of classes."""
    from bench.cards.method import beside

    methods = [registry.method(name) for name in spec.method.names]
    asked = beside(methods, registry.backbone(spec.backbone.name))
    return spec.backbone, spec.protocol.image_size, registry.dataset(spec.dataset.name).task, asked


def _sketched(spec: RunSpec, registry: Registry) -> Model:
    """The network of a run, which takes no memory and little time."""
    import torch

    from bench.training.untrained import empty_model

    with torch.device("meta"):
        return empty_model(spec, registry)


def _refusal(spec: RunSpec, model: Model, registry: Registry) -> str:
    """Why a run's method refuses a model or the run's steps; empty where it does not."""
    from bench.training.features import Untold, with_features
    from bench.training.trial import build_method
    from bench.training.untrained import empty_images

    card, steps = registry.dataset(spec.dataset.name), _steps(spec, registry)
    train = about_images(spec.rate, card.splits.get("train", _MANY), int(card.facts.get("classes") or 0))
    recipe = replace(spec.protocol.recipe, steps=steps, epochs=0, last=steps, warmup_epochs=0.0)
    try:
        mine = copy.deepcopy(model)
        data: Any = with_features(empty_images(spec, registry, mine, max(1, train)), Untold(spec))
        for _ in build_method(spec, registry).stages(mine, recipe, data):
            pass
    except InputError as error:
        return str(error)
    except Exception:  # it needs values from here on
        pass
    return ""
