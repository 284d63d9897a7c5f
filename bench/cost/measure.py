"""Times steps of methods on backbones, in a process of its own: the one that plans imports no torch.

Steps go through the training loop of every run, on images of noise in memory, without augmentation; one core or one GPU
is used, as a run would, and a batch that does not fit is computed in parts, as a run does it. The first steps of each
stage warm up and are not counted.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cards.backbone import DRAWN, TO_BE_GIVEN
from bench.cost.step_times import STEPS, StepTime, Work, keep_times, work_of
from bench.errors import InputError
from bench.process import environment, how_ended, program
from bench.records.store import Store
from bench.registry import Registry
from bench.spec import RunSpec, from_json, to_json
from bench.task import Task, find_task

if TYPE_CHECKING:
    from bench.backbones import Model
    from bench.data import TrainingImages
    from bench.method import Stage

WARM_UP = 2
"""Steps of each stage that are made before those that count."""

IMAGES = 64
"""Images of noise, where a batch has no more; all are evaluated."""

_KILLED = "killed (SIGKILL), as where memory is short; measure on a machine that could train it, and add --times here"


def measure(
    runs: Iterable[RunSpec], registry: Registry, store: Store, say: Callable[[str], None] = lambda line: None
) -> Iterator[str]:
    """Time steps of every method and backbone among some runs, and keep the times; says what each took, in words.

    ``say`` is told which is timed next, and how many there are.

    Raises ``InputError``: the folder cannot be written to, or the process ends before its work does.
    """
    store.check_writable()
    kinds: dict[Work, RunSpec] = {}
    for spec in runs:
        work = work_of(spec, registry.dataset(spec.dataset.name).task)
        kinds.setdefault(replace(work, means=""), spec)
    specs = list(kinds.values())
    waiting = (f"timing {_label(spec)} ({number} of {len(specs)})" for number, spec in enumerate(specs, 1))
    say(next(waiting, ""))
    for answer in _answers(specs, registry.plugins):
        if line := next(waiting, ""):
            say(line)
        if "problem" in answer:
            yield f"{answer['label']}: not measured: {answer['problem']}"
            continue
        time = StepTime(**{**answer, "work": Work(**answer["work"])})
        keep_times(store, [time])
        yield _in_words(time)


def _in_words(time: StepTime) -> str:
    parts = f" in {time.parts} parts" if time.parts > 1 else ""
    shared = f", {time.shared_seconds:.3g} s one of a stage that runs share" if time.shared_seconds else ""
    return (
        f"{time.work.method} {time.work.backbone}: {time.step_seconds:.3g} s a step of {time.work.batch_size} "
        f"images{parts}{shared}, {time.image_seconds:.3g} s to evaluate one, on {time.hardware}"
    )


def _answers(specs: Sequence[RunSpec], plugins: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """An answer for each; one whose steps had the process killed does not keep the others from theirs."""
    waiting = list(specs)
    while waiting:
        answered = 0
        for answer in _of_process(waiting, plugins):
            yield answer
            answered += 1
        if answered < len(waiting):
            yield {"label": _label(waiting[answered]), "problem": _KILLED}
        waiting = waiting[answered + 1 :]


def _of_process(specs: Sequence[RunSpec], plugins: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """The answers of one process, which end early where it is killed for its memory."""
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
        code = process.wait()
        if code and code != -signal.SIGKILL:
            raise InputError(f"--measure: the process that times steps ended: {how_ended(code)}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _label(spec: RunSpec) -> str:
    return f"{spec.method.full_name} {spec.backbone.name}, a step of {spec.protocol.batch_size} images"


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
            answer = {"label": _label(spec), "problem": problem}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def timed(spec: RunSpec, registry: Registry, steps: int = STEPS) -> StepTime:
    """Time steps of a run's method on its backbone, on this machine.

    Of its protocol, the augmentation is left out. A stage with batches of its own is timed with the protocol's, in
    which its steps count: an image costs about as much in a larger one. The steps are divided among the stages, each of
    which is warmed up besides. A batch that does not fit into memory is computed in two parts, four, and so on.

    Raises:
        InputError: the method or the backbone cannot be built.
        OutOfMemoryError: a batch does not fit, and cannot be computed in more parts.
    """
    import torch

    from bench.device.alike import compute_alike
    from bench.training.trial import why_whole

    compute_alike()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = 1
    while True:
        torch.manual_seed(spec.seeds.init)
        model, data = subject(spec, registry, device)
        try:
            return _timed(spec, registry, model, data, steps, parts)
        except torch.OutOfMemoryError as error:
            if whole := why_whole(model, data.protocol.batch_size, parts, data.protocol.compile):
                raise torch.OutOfMemoryError(f"{str(error).splitlines()[0]} ({whole})") from None
        parts *= 2
        del model, data  # before the next ones are built
        gc.collect()
        torch.cuda.empty_cache()


def _timed(spec: RunSpec, registry: Registry, model: Model, data: TrainingImages, steps: int, parts: int) -> StepTime:
    """The times of a run's stages, with each batch in so many parts."""
    import torch

    from bench.device.chunks import chunked
    from bench.method import splittable
    from bench.records.environment import describe
    from bench.training.trial import build_method

    method = build_method(spec, registry)
    recipe = replace(spec.protocol.recipe, steps=steps, epochs=0, warmup=0, warmup_epochs=0.0).resolved(
        len(data), data.protocol.batch_size
    )
    alone, shared = _Steps(), _Steps()
    for stage in method.stages(model, recipe, data):
        split = parts if splittable(method) and stage.model.per_image else 1
        span = stage.recipe.last - stage.recipe.first
        with chunked(parts // split):
            (shared if stage.shared else alone).add(span, _step_seconds(stage, data, steps, split))
        model = stage.model
    with chunked(parts):
        image_seconds = _image_seconds(find_task(registry.dataset(spec.dataset.name).task), model, data)
    gpu = torch.cuda.get_device_name(0) if data.device.type == "cuda" else None
    return StepTime(
        work=work_of(spec, registry.dataset(spec.dataset.name).task),
        hardware=gpu or str(describe()["processor"]),
        gpu=gpu is not None,
        step_seconds=alone.mean,
        image_seconds=image_seconds,
        steps=steps,
        shared_seconds=shared.mean,
        parts=parts,
    )


@dataclass
class _Steps:
    """Steps of some stages, and what they would take."""

    count: int = 0
    seconds: float = 0.0

    def add(self, count: int, each: float) -> None:
        self.count, self.seconds = self.count + count, self.seconds + count * each

    @property
    def mean(self) -> float:
        """What a step takes; 0 where there is none."""
        return self.seconds / self.count if self.count else 0.0


def subject(spec: RunSpec, registry: Registry, device: Any) -> tuple[Model, TrainingImages]:
    """The run's model and images of noise of the size and channels that it takes."""
    import numpy as np

    from bench.backbones.build import equip, input_size
    from bench.cards.method import beside
    from bench.data import ArrayImages, Dataset
    from bench.training.choosing import with_validation
    from bench.training.features import Features, with_features

    card, dataset = registry.backbone(spec.backbone.name), registry.dataset(spec.dataset.name)
    task, classes = find_task(dataset.task), int(dataset.facts["classes"])
    asked = beside([registry.method(each.name) for each in (spec.method, *spec.method.policies)], card)
    if card.weights == TO_BE_GIVEN or (card.weights == "pretrained" and "source_head" not in asked):
        card = replace(card, weights=DRAWN)  # they change no time, and need not be fetched
    model = task.build(card, classes, spec.protocol)
    equip(model, card, asked)
    model.norm_batch = spec.protocol.norm_batch
    model.to(device)
    size, channels, count = input_size(model), model.mean.shape[0], max(IMAGES, spec.protocol.batch_size)
    state = np.random.RandomState(0)
    pixels = state.randint(0, 256, (count, size, size, channels)).astype(np.uint8)
    noise = task.noise(ArrayImages(pixels), classes, state)
    plain = replace(spec, protocol=replace(spec.protocol, augmentation="none"))
    names = [str(label) for label in range(classes)]
    images = task.images(plain, Dataset(names, noise, None, noise), np.arange(count), model, device)
    return model, with_features(with_validation(images, noise, task), Features(spec))


def _step_seconds(stage: Stage, data: TrainingImages, most: int, parts: int) -> float:
    """The median time of a step of a stage, of the most that are made, after some that warm up."""
    from bench.training.fit import fit

    if stage.recipe.first == stage.recipe.last:
        return 0.0
    ends: list[float] = []
    # one more step than those that count and warm up: times are taken between the ends of steps
    # each step is a point of the curve, at which the loop reads the loss: it waits until the device is done
    count = min(most, stage.recipe.last - stage.recipe.first) + WARM_UP + 1
    fit(
        shortened(stage, count),
        data,
        start=0,
        stops=lambda step: True,
        at_stop=lambda _: ends.append(time.perf_counter()),
        parts=parts,
    )
    taken = [end - start for start, end in itertools.pairwise(ends)]
    return statistics.median(taken[WARM_UP:])


def shortened(stage: Stage, count: int) -> Stage:
    """A stage that makes so many steps, however many it would."""
    recipes = {name: replace(recipe, last=recipe.first + count) for name, recipe in stage.recipes.items()}
    return replace(stage, recipe=replace(stage.recipe, last=stage.recipe.first + count), recipes=recipes)


def _image_seconds(task: Task, model: Model, data: TrainingImages) -> float:
    """The time to evaluate an image, the second time it is done."""
    task.predict(model, data.split, data)
    started = time.perf_counter()
    task.predict(model, data.split, data)
    return (time.perf_counter() - started) / len(data.split)
