"""Times steps of methods on backbones, in a process of its own: the one that plans imports no torch.

Steps go through the training loop of every run, on images of noise in memory, without augmentation; one core or one GPU
is used, as a run would. The first steps of each stage warm up and are not counted.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cards.backbone import TO_BE_GIVEN
from bench.cost.step_times import STEPS, StepTime, Work, keep_times, work_of
from bench.errors import InputError
from bench.process import environment, program
from bench.protocol import Recipe
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec, from_json, to_json

if TYPE_CHECKING:
    from bench.backbones import Model
    from bench.data import TrainingImages
    from bench.method import Stage

WARM_UP = 2
"""Steps of each stage that are made before those that count."""

IMAGES = 64
"""Images of noise, where a batch has no more; all are evaluated."""


def measure(runs: Iterable[RunSpec], registry: Registry, store: Store) -> Iterator[str]:
    """Time steps of every method and backbone among some runs, and keep the times; says what each took, in words.

    Raises ``InputError``: the folder cannot be written to, or the process ends before its work does.
    """
    store.check_writable()
    kinds: dict[Work, RunSpec] = {}
    for spec in runs:
        work = work_of(spec)
        kinds.setdefault(replace(work, means=""), spec)
    for answer in _answers(list(kinds.values()), registry.plugins):
        if "problem" in answer:
            yield f"{answer['label']}: not measured: {answer['problem']}"
            continue
        time = StepTime(**{**answer, "work": Work(**answer["work"])})
        keep_times(store, [time])
        yield (
            f"{time.work.method} {time.work.backbone}: {time.step_seconds:.3g} s a step of {time.work.batch_size} "
            f"images, {time.image_seconds:.3g} s to evaluate one, on {time.hardware}"
        )


def _answers(specs: Sequence[RunSpec], plugins: Sequence[Path]) -> Iterator[dict[str, Any]]:
    request = json.dumps({"plugins": [str(plugin) for plugin in plugins], "specs": [to_json(spec) for spec in specs]})
    pipe = subprocess.PIPE
    process = subprocess.Popen(program("bench.cost.measure"), stdin=pipe, stdout=pipe, env=environment(None))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as stream:
            stream.write(request.encode())
        for line in process.stdout:
            yield json.loads(line)
        if code := process.wait():
            raise InputError(f"--measure: the process that times steps ended with exit code {code}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """The process: reads what to time from standard input, writes a JSON line for each."""
    request = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not disturb the answers
    registry = Registry(request["plugins"])
    for spec in map(from_json, request["specs"]):
        try:
            answer = asdict(timed(spec, registry))
        except Exception as error:  # one kind of work that cannot be timed must not keep the others from it
            problem = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            answer = {"label": f"{spec.method.full_name} {spec.backbone.name}", "problem": problem}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def timed(spec: RunSpec, registry: Registry, steps: int = STEPS) -> StepTime:
    """Time steps of a run's method on its backbone, on this machine.

    Of its protocol, the augmentation is left out. A stage with batches of its own is timed with the protocol's, in
    which its steps count: an image costs about as much in a larger one. The steps are divided among the stages, each of
    which is warmed up besides. Raises ``InputError``: the method or the backbone cannot be built.
    """
    import torch

    from bench.records.environment import describe
    from bench.training.trial import build_method

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(spec.seeds.init)
    model, data = _subject(spec, registry, device)
    recipe = replace(spec.protocol.recipe, steps=steps, epochs=0, warmup=0, warmup_epochs=0.0).resolved(
        len(data), data.protocol.batch_size
    )
    seconds = 0.0
    for stage in build_method(spec, registry).stages(model, recipe, data):
        if not (stage.shared and stage.shared.extra):  # what comes on top of the budget is trained once for many runs
            seconds += (stage.recipe.last - stage.recipe.first) * _step_seconds(stage, data)
        model = stage.model
    environment = describe()
    gpu = torch.cuda.get_device_name(0) if device.type == "cuda" else None
    return StepTime(
        work=work_of(spec),
        hardware=gpu or str(environment["processor"]),
        gpu=gpu is not None,
        step_seconds=seconds / steps,
        image_seconds=_image_seconds(model, data),
        steps=steps,
    )


def _subject(spec: RunSpec, registry: Registry, device: Any) -> tuple[Model, TrainingImages]:
    """The run's model and images of noise of the size and channels that it takes."""
    import numpy as np

    from bench.backbones import build_model
    from bench.backbones.build import build_source_head, input_size
    from bench.cards.method import takes_source_head
    from bench.data import ArrayImages, Split, TrainingImages

    card, classes = registry.backbone(spec.backbone.name), int(registry.dataset(spec.dataset.name).facts["classes"])
    with_head = takes_source_head([registry.method(each.name) for each in (spec.method, *spec.method.policies)], card)
    if card.weights == TO_BE_GIVEN or (card.weights == "pretrained" and not with_head):
        card = replace(card, weights="none")  # they change no time, and need not be fetched
    model = build_model(card, classes, spec.protocol.image_size, spec.protocol.drop_path)
    if with_head:
        model.source_head = build_source_head(card)
    model.to(device)
    size, channels, count = input_size(model), model.mean.shape[0], max(IMAGES, spec.protocol.batch_size)
    state = np.random.RandomState(0)
    pixels = state.randint(0, 256, (count, size, size, channels)).astype(np.uint8)
    split = Split(ArrayImages(pixels), (np.arange(count) % classes).astype(np.int64))
    protocol = replace(spec.protocol, augmentation="none")
    return model, TrainingImages(split, np.arange(count), classes, protocol, size, 0, device)


def _step_seconds(stage: Stage, data: TrainingImages) -> float:
    """The median time of a step of a stage, after some that warm up."""
    from bench.training.fit import fit

    if stage.recipe.first == stage.recipe.last:
        return 0.0
    ends: list[float] = []
    # each step is a point of the curve, at which the loop reads the loss: it waits until the device is done
    recipes = {name: _longer(recipe) for name, recipe in stage.recipes.items()}
    longer = replace(stage, recipe=_longer(stage.recipe), recipes=recipes)
    fit(longer, data, start=0, stops=lambda step: True, at_stop=lambda _: ends.append(time.perf_counter()))
    taken = [end - start for start, end in itertools.pairwise(ends)]
    return statistics.median(taken[WARM_UP:])


def _longer(recipe: Recipe) -> Recipe:
    """With the steps that warm up, and one more: times are taken between the ends of steps."""
    return replace(recipe, last=recipe.last + WARM_UP + 1)


def _image_seconds(model: Model, data: TrainingImages) -> float:
    """The time to evaluate an image, the second time it is done."""
    from bench.training.fit import predict

    predict(model, data.split, data)
    started = time.perf_counter()
    predict(model, data.split, data)
    return (time.perf_counter() - started) / len(data.split)
