"""A run while it is trained: its stages, its curve, and where it was when it is taken up."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from msgspec import UNSET, UnsetType

from bench.backbones import Model
from bench.data import Split, TrainingImages
from bench.device import interrupt
from bench.device.chunks import chunked
from bench.device.compiled import Spent, spent
from bench.errors import InputError
from bench.method import Method, Stage, splittable
from bench.metrics import TaskPredictions, score_of, scores
from bench.protocol import NOT_COMPILED
from bench.records import record
from bench.records.compiled import Compiled
from bench.records.proof import kept_name
from bench.records.record import Point, finite
from bench.records.standing import EVALUATING
from bench.spec import RunSpec
from bench.task import Task
from bench.training.checkpoint import Checkpoint
from bench.training.features import (
    TEST,
    VAL,
    Features,
    at_once,
    tested_by_features,
    trains_head_alone,
    with_features,
)
from bench.training.feed import StageSpan, fed
from bench.training.fit import Progress, Terms, fit, move, set_modes, trained
from bench.training.keeping import NOT_SCORED, Keeping
from bench.training.shared import train_or_take
from bench.training.shelf import Shelf
from bench.training.trackers import Observer
from bench.training.usage import Meter


@dataclass(frozen=True)
class Storage:
    """Where a run finds what was kept: in the store's folder; checkpoints are written every so many seconds."""

    root: Path
    every: float

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.root / "shared")

    @property
    def features(self) -> Shelf:
        return Shelf(self.root / "features", "computing features")

    def checkpoint(self, key: str) -> Checkpoint:
        return Checkpoint(self.root / "checkpoints" / key, key, self.every)


class Training:
    """A run while it is trained.

    Args:
        further: what is scored as the test split is, by the name of the further test.
        meter: of what the run takes; its earlier parts are added to it.
        storage: has what was kept of the run, and what runs share.
        parts: each batch is computed in so many parts, as memory is short.
        keeping: is told of each model that was scored, and keeps some.

    Attributes:
        curve: the points measured so far, as the record has them.
        stages: what the record says of each stage that has ended.
        shared_seconds: that stages which runs share have taken; ``shared_images`` is how many images were seen there.
        taken_up: how often the run was taken up from a checkpoint.
        head_alone: whether no stage has trained more than the head so far.
        batch_size: the most images of a batch so far.
        images: those of a batch of the stage in training.
        parameters: numbers of the model that the last stage left, once it has ended.
    """

    def __init__(
        self,
        spec: RunSpec,
        task: Task,
        data: TrainingImages,
        val: Split | None,
        test: Split,
        *,
        further: Mapping[str, Split] | None = None,
        observer: Observer,
        meter: Meter,
        storage: Storage | None = None,
        parts: int = 1,
        keeping: Keeping | None = None,
    ) -> None:
        self.features = Features(spec, storage.features if storage else None, observer.phase)
        self.spec, self.task, self.data, self.further = spec, task, with_features(data, self.features), further or {}
        self.splits = {name: split for name, split in ((VAL, val), (TEST, test)) if split is not None}
        self.head_alone = task.linear_head
        self.observer, self.meter, self.storage, self.keeping = observer, meter, storage, keeping
        self.checkpoint = storage.checkpoint(spec.id) if storage else None
        earlier = self.checkpoint.of_run if self.checkpoint else {}
        self.curve = msgspec.convert(earlier.get("curve", []), list[Point])
        self.stages = msgspec.convert(earlier.get("stages", []), list[record.TrainedStage])
        self.predictions = {name: list(stacked.numpy()) for name, stacked in earlier.get("predictions", {}).items()}
        self.to_predict: dict[str, npt.NDArray[Any]] = {}
        self.last = Progress(*earlier.get("last", (0, 0.0, {})))
        self.evaluation_seconds: float = earlier.get("evaluation_seconds", 0.0)
        self.shared_seconds: float = earlier.get("shared_seconds", 0.0)
        self.shared_images: int = earlier.get("shared_images", 0)
        self.taken_up = earlier.get("taken_up", -1) + 1
        self.parts = max(parts, earlier.get("parts", 1))  # a run that needed more is not made to find out again
        self.splittable, self.budget, self.span = False, 0, StageSpan(0, 0, 0, 0)
        self.batch_size = self.parameters = self.images = 0
        self.compiled_earlier, self.compiled_before = Spent(*earlier.get("compiled", ())), spent()
        meter.earlier = msgspec.convert(earlier.get("usage"), record.Usage | None)

    @property
    def batch_parts(self) -> int:
        """Into how many parts a batch is divided whose gradients add up: where the method's loss allows it."""
        return self.parts if self.splittable else 1

    @property
    def chunks(self) -> int:
        """In how many chunks the model computes a batch, which stays whole for the loss: where that is not so."""
        return 1 if self.splittable else self.parts

    @property
    def seconds(self) -> float:
        """Since the run began, the parts before it was taken up included."""
        return self.meter.read().seconds

    @property
    def spent(self) -> Spent:
        """What compiling took since the run began, likewise."""
        return self.compiled_earlier + spent().since(self.compiled_before)

    def compiled(self) -> Compiled | UnsetType:
        """What the record says of what was compiled."""
        mode, taken = self.spec.protocol.compile, self.spent
        if mode == NOT_COMPILED:
            return UNSET
        return Compiled(mode, round(taken.seconds, 3), taken.graphs, taken.breaks)

    def timing(self) -> record.Timing:
        """What the record says of the run's time."""
        timing = record.Timing(round(self.seconds, 3), round(self.evaluation_seconds, 3))
        if not any(stage.shared for stage in self.stages):
            return timing
        shared = {"shared_seconds": round(self.shared_seconds, 3), "shared_images": self.shared_images}
        return msgspec.structs.replace(timing, **shared)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the run beside the stage in training."""
        return {
            "predictions": {name: torch.from_numpy(np.stack(points)) for name, points in self.predictions.items()},
            "curve": msgspec.to_builtins(self.curve),
            "stages": msgspec.to_builtins(self.stages),
            "last": [self.last.step, self.last.learning_rate, self.last.terms],
            "evaluation_seconds": self.evaluation_seconds,
            "shared_seconds": self.shared_seconds,
            "shared_images": self.shared_images,
            "taken_up": self.taken_up,
            "parts": self.parts,
            "compiled": list(dataclasses.astuple(self.spent)),
            "usage": msgspec.to_builtins(self.meter.read()),
        }

    def train(self, method: Method, model: Model) -> None:
        """Go through the stages of a method, measuring the curve on the way.

        Raises:
            InputError: the stages exceed the budget of steps.
            Diverged: the loss is not finite.
            Interrupted: a stop was asked for; the checkpoint is written.
        """
        if self.checkpoint:
            self.checkpoint.kept_by_run = self.state
            if self.keeping:
                keeping = self.keeping
                self.checkpoint.after_writing = lambda: keeping.forget_beaten(self.curve)
        recipe = self.spec.protocol.recipe.resolved(len(self.data), self.spec.protocol.batch_size)
        if recipe.warmup >= recipe.last > 0:
            why = f"{recipe.warmup} steps are not shorter than the schedule of {recipe.last}"
            raise InputError(f"the warm-up: {why}: give it in epochs (warmup_epochs), or fewer steps")
        self.budget = recipe.last
        done, spent, optimizer = 0, 0, None
        for number, planned in enumerate(method.stages(model, recipe, self.data)):
            budget = 0 if planned.shared and planned.shared.extra else planned.recipe.last - planned.recipe.first
            if spent + budget > recipe.last:
                raise InputError(f"{self.spec.method.name}: its stages take {spent + budget} steps of {recipe.last}")
            stage, data = fed(planned, self.data)
            if planned.recipe.last > planned.recipe.first and not trains_head_alone(stage):
                self.head_alone = False
                self.features.forget()
            with chunked(self.parts):
                data = at_once(stage, data)
            self.splittable = splittable(method) and stage.model.per_image
            steps = stage.recipe.last - stage.recipe.first
            self.batch_size = max(self.batch_size, data.protocol.batch_size)
            weights = sum(weights.numel() for _, weights in trained(stage))
            ended = record.TrainedStage(steps, budget, data.protocol.batch_size, weights)
            if stage.shared:
                ended, optimizer = msgspec.structs.replace(ended, shared=self.share(stage, data)), None
            else:
                optimizer = self.fit(number, stage, data, StageSpan(done, steps, spent, budget), optimizer)
            if number == len(self.stages):  # a run that is taken up knows of its earlier stages
                self.stages.append(ended)
            done, spent, model = done + (steps if budget else 0), spent + budget, stage.model
        self.forget(done)
        self.parameters = parameters_of(model)
        last = self.last if self.last.step == done else Progress(done, 0.0, {})
        self.evaluate(model, last, stage.beside if self.stages else {}, ended=True)

    def fit(
        self, number: int, stage: Stage, data: TrainingImages, span: StageSpan, previous: torch.optim.Optimizer | None
    ) -> torch.optim.Optimizer | None:
        """Train a stage, or bring it to its end where that was kept."""
        points = self.spec.protocol.evaluations
        stops = span.at([max(1, round(self.budget * (point + 1) / points)) for point in range(points)])
        last = span.done + span.steps if span.spent + span.budget == self.budget else None

        def at_stop(progress: Progress) -> None:
            # the last point waits for the end of the generator: what a method does after its last stage counts
            self.last = progress
            if progress.step != last:
                self.evaluate(stage.scored or stage.model, progress, stage.beside)

        move(stage, self.data.device)
        if self.checkpoint and self.checkpoint.enter(number, stage):
            set_modes(stage)  # as training leaves it for what the method does next
            return None  # the stage after it has its moments from the checkpoint
        self.span, self.images = span, data.protocol.batch_size
        with interrupt.deferred() if self.checkpoint else contextlib.nullcontext(), chunked(self.chunks):
            optimizer = fit(
                stage,
                data,
                start=span.done,
                stops=stops.__contains__,
                at_stop=at_stop,
                previous=previous,
                keeper=self,
                parts=self.batch_parts,
            )
        if self.checkpoint:
            self.checkpoint.end(stage)
        return optimizer

    def begin(self, stage: Stage, optimizer: torch.optim.Optimizer, terms: Terms) -> int:
        """Take up a stage where it was, if it was begun before; the steps of it that are made already."""
        return self.checkpoint.begin(stage, optimizer, terms) if self.checkpoint else 0

    def step(self, stage: Stage, number: int, optimizer: torch.optim.Optimizer, terms: Terms) -> None:
        """A step of a stage was made. Raises ``Interrupted`` where a stop was asked for."""
        self.observer.step(self.span.of_budget(number), self.budget, self.images, terms.recent)
        if self.checkpoint:
            try:
                self.checkpoint.step(stage, number, optimizer, terms)
            except interrupt.Interrupted as stop:
                stop.step, stop.of = self.span.of_budget(number), self.budget
                raise

    def share(self, stage: Stage, data: TrainingImages) -> dict[str, Any]:
        """Train a stage that runs share, or take it."""
        started, until_then = time.perf_counter(), spent()
        with chunked(self.chunks):
            shared, made = train_or_take(
                stage,
                self.spec,
                data,
                self.storage.shelf if self.storage else None,
                self.storage.checkpoint if self.storage else None,
                self.batch_parts,
                self.observer,
            )
        self.shared_seconds += time.perf_counter() - started - spent().since(until_then).seconds
        self.shared_images += made * data.protocol.batch_size
        return shared

    def forget(self, step: int) -> None:
        """Take back the point at a step, if there is one: it was measured before the method had ended."""
        if self.curve and self.curve[-1].step == step:
            self.curve.pop()
            for points in self.predictions.values():
                del points[-1:]

    def evaluate(self, model: Model, progress: Progress, beside: Mapping[str, Model], ended: bool = False) -> None:
        """Add a point to the curve; with ``ended`` it is the last one."""
        seconds, started = self.seconds - self.evaluation_seconds, time.perf_counter()
        measured = self.measure(model, beside)
        self.evaluation_seconds += time.perf_counter() - started
        point = Point(
            step=progress.step,
            learning_rate=progress.learning_rate,
            loss={**progress.terms},
            val=measured.get("val"),
            test=measured["test"],
            seconds=round(seconds, 3),
        )
        self.curve.append(point)
        if self.keeping:
            self.keeping.measured(model, self.curve, ended)
        self.observer.point(point)
        terms = ", ".join(f"{name} {value:.4g}" for name, value in progress.terms.items())
        score = score_of(self.task.name)
        seen = ", ".join(
            f"{split}{name.removeprefix(score.name)} {value:.2f} {score.unit}".strip()
            for split, values in measured.items()
            for name, value in values.items()
            if name.partition("@")[0] == score.name
        )
        print(f"step {progress.step}: {terms or 'no loss'}; {seen}; {self.seconds:.0f} s", flush=True)

    def measure(self, model: Model, beside: Mapping[str, Model]) -> dict[str, record.Scores]:
        """The scores of a model and of those beside it, by split.

        On further tests the model alone is scored; models beside it are scored on its own splits.
        """
        for each in (model, *beside.values()):
            each.settle()
        further = {f"{TEST}@{name}": split for name, split in self.further.items()}
        to_score = {name: (model, name, split) for name, split in {**self.splits, **further}.items()}
        for where, twin in beside.items():
            to_score |= {f"{name}@{where}": (twin, name, split) for name, split in self.splits.items()}
        self.require_same({name.partition("@")[2] for name in to_score if "@" in name})
        images, through = sum(len(split) for _, _, split in to_score.values()), 0
        answers: dict[tuple[int, str], TaskPredictions] = {}  # a model beside may be the one that is scored anyway
        measured: dict[str, record.Scores] = {}
        with self.features.unchanged():
            for name, (scored, part, split) in to_score.items():
                of, at, where = name.partition("@")
                both = id(scored), part
                if both not in answers:
                    answers[both] = self.answers(scored, part, split, partial(self.report, through, images))
                kept = self.keep(name, answers[both])
                measured.setdefault(of, {}).update({f"{metric}{at}{where}": value for metric, value in kept.items()})
                through += len(split)
        return measured

    def require_same(self, places: set[str]) -> None:
        """Raise ``ValueError`` where a point would be scored elsewhere than the points that there are."""
        if self.curve:
            earlier = {name.partition("@")[2] for name in self.curve[-1].test if "@" in name}
            if earlier != places:
                both = ", ".join(sorted(earlier ^ places))
                method = self.spec.method.full_name
                raise ValueError(f"{method}: at some points alone its stages have models beside theirs ({both})")

    def report(self, earlier: int, images: int, done: int) -> None:
        """So many images are through, behind those of other splits."""
        self.observer.phase(EVALUATING, earlier + done, images)

    def answers(self, model: Model, part: str, split: Split, progress: Callable[[int], None]) -> TaskPredictions:
        """What a model says of a split's images; ``part`` is the name of the split."""
        with chunked(self.parts):
            if self.head_alone:
                split = tested_by_features(model, split, self.data, self.features, part)
            return self.task.predict(model, split, self.data, progress)

    def keep(self, name: str, predictions: TaskPredictions) -> record.Scores:
        """Keep what was said of a split's images; gives its metrics, computed from no more than that."""
        for key, array in predictions.arrays.items():
            if key in predictions.of_points:
                self.predictions.setdefault(kept_name(name, key), []).append(array)
            else:
                self.to_predict[kept_name(name, key)] = array
        computed = {metric: finite(value) for metric, value in scores(predictions).items()}
        metric = score_of(self.task.name)
        if computed[metric.name] is None:
            dataset = self.spec.dataset.name
            raise InputError(f"{dataset}: {metric.title} is no number on the {name} split, of which nothing counts")
        return computed

    def stacked_predictions(self) -> dict[str, npt.NDArray[Any]]:
        """What was predicted at every point of the curve (points, images, ...), and what was to be (images, ...)."""
        return {**{name: np.stack(points) for name, points in self.predictions.items()}, **self.to_predict}


def parameters_of(model: Model) -> int:
    """Numbers that a model predicts with, its head included, and nothing of what lies beside it (``NOT_SCORED``)."""
    return sum(weights.numel() for name, weights in model.named_parameters() if not name.startswith(NOT_SCORED))
