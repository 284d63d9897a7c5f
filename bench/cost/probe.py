"""Times what a run is made of, each alone and then together, in a process of its own: ``bench doctor``.

The computing of a step, of one batch again and again; the feed, of real images where they are here, else of noise; the
loop of every run, with both; the evaluation; and how long the process took until it could begin. On the CPU what counts
is the time of its one thread, on a GPU that on the clock. Nothing is written but decoded images, into a folder that is
gone at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.cards.dataset import absent
from bench.cost.limits import Clocked, Probed
from bench.cost.measure import shortened, subject
from bench.errors import InputError
from bench.registry import Registry
from bench.spec import RunSpec, from_json
from bench.task import Task, find_task

if TYPE_CHECKING:
    from bench.backbones import Model
    from bench.data import Dataset, Split, TrainingImages
    from bench.method import Batch, Stage

SECONDS, ROUNDS = 1.5, 3
"""That each way to make steps takes in a turn, about, and how many turns it has."""

MOST, FEW, WARM_UP = 20, 3, 2
"""Steps that are timed in a turn at most and at least, where each takes less than ``LONG``; and those before them."""

STRIDE = 10
"""Steps of a GPU that are timed together."""

LONG = 3.0
"""Seconds of a step of which one is timed, since more of them would take minutes."""

TRAIN, TEST = 512, 64
"""Images that are opened of a dataset, in batches that are not larger."""

Say = Callable[[str], None]


def main() -> None:
    """The process: standard input says of which run, and when the process was begun."""
    request = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints must not disturb the answer
    try:
        measured = probe(from_json(request["spec"]), Registry(request["plugins"]), request["begun"], _say)
        answer = asdict(measured)
    except Exception as error:  # a method or a plug-in may raise whatever it likes
        answer = {"problem": str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def probe(spec: RunSpec, registry: Registry, begun: float, say: Say) -> Probed:
    """Time a run's first stage on this machine; ``begun`` is when the process was, on the clock of ``time.time``.

    Raises:
        InputError: the method or the backbone cannot be built, or the method trains nothing.
    """
    import torch

    from bench.launch.worker import prepare
    from bench.records.environment import describe

    prepare()
    start = Clocked(time.process_time(), time.time() - begun)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = torch.cuda.get_device_properties(0) if device.type == "cuda" else None
    machine: dict[str, Any] = {
        "hardware": gpu.name if gpu else str(describe()["processor"]),
        "gpu": gpu is not None,
        "gpu_bytes": gpu.total_memory if gpu else 0,
        "torch_cuda": torch.version.cuda or torch.version.hip or "",
    }
    size: dict[str, Any] = {
        "batch_size": spec.protocol.batch_size,
        "precision": spec.protocol.precision,
        "start": start,
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            timed = _timed(spec, registry, device, Path(folder), say)
        except torch.OutOfMemoryError:
            timed = {"short_of_memory": True}
    memory = torch.cuda.max_memory_allocated() if gpu else _resident()
    return Probed(**machine, **size, memory=memory, **timed)


def _timed(spec: RunSpec, registry: Registry, device: Any, folder: Path, say: Say) -> dict[str, Any]:
    """What was timed of a run, by the names that ``Probed`` has for it."""
    import torch

    from bench.data.ahead import feeders
    from bench.training.trial import build_method

    task = find_task(registry.dataset(spec.dataset.name).task)
    torch.manual_seed(spec.seeds.init)
    model, noise = subject(spec, registry, device)
    data, test, opened = _images(spec, registry, task, model, noise, folder, say)
    recipe = replace(spec.protocol.recipe, steps=1000, epochs=0, warmup=0, warmup_epochs=0.0)
    stages = build_method(spec, registry).stages(model, recipe.resolved(len(data), data.protocol.batch_size), data)
    stage = next((stage for stage in stages if stage.recipe.last > stage.recipe.first), None)
    if stage is None:
        raise InputError(f"{spec.method.full_name} makes no steps: name a method that trains, with --methods")
    same = cast("TrainingImages", _SameBatch(data, stage.views))
    say(f"timing steps of {spec.label}")
    first = _median(_steps(stage, same, 1, 1))
    count = 1 if first.wall > LONG else max(FEW, min(MOST, int(SECONDS / max(first.wall, 1e-6))))
    ways = {"compute": (same, True), "loop": (data, True), "plain": (same, False)}
    taken: dict[str, list[Clocked]] = {name: [] for name in ways}
    if count == 1:
        taken |= {"compute": [first], "loop": _steps(stage, data, 1, 1)}
    for _ in range(ROUNDS if count > 1 else 0):  # they take turns, as a machine that others use is not always alike
        for name, (images, strict) in ways.items():
            with _kernels(strict, device):
                taken[name] += _steps(stage, images, count, WARM_UP)
    steps = {name: _median(each) for name, each in taken.items() if each}
    say("timing the feed and the evaluation")
    feed = _each(lambda number: data.prepared(number, stage.views), max(FEW, count))
    image = _each(lambda _: task.predict(stage.model, test, data), 1).divided(len(test))
    return {**steps, "feed": feed, "image": image, "feeders": max(1, feeders(data.device)), **opened}


def _images(
    spec: RunSpec, registry: Registry, task: Task, model: Model, noise: TrainingImages, folder: Path, say: Say
) -> tuple[TrainingImages, Split, dict[str, Any]]:
    """Images of the run's dataset, some of each split, decoded as a run does it; or noise, where it is not here."""
    import numpy as np

    from bench.training.trial import opened

    card = registry.dataset(spec.dataset.name)
    if reason := absent([card]).get(card.name):
        return replace(noise, protocol=spec.protocol), noise.split, {"absent": f"{card.name}: {reason}"}
    say(f"opening {card.name}")
    some = _some(opened(card, None), max(TRAIN, 2 * spec.protocol.batch_size))
    count, started = sum(len(split) for split in some.splits.values()), time.perf_counter()
    kept = task.cached(some, card, folder, noise.size, spec.protocol.augmentation, lambda what, done, of: None)
    seconds = time.perf_counter() - started
    files = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    facts = {"decoded": Clocked(seconds, seconds).divided(count), "image_bytes": files / count} if files else {}
    data = task.images(spec, kept, np.arange(len(kept.train)), model, noise.device)
    return replace(data, held_out=noise.held_out), kept.test, {**facts, "disk": _disk_rate(some)}


def _some(dataset: Dataset, most: int) -> Dataset:
    """A dataset with some images of each split, spread over it."""
    import numpy as np

    from bench.data import FileImages

    def part(split: Split, count: int) -> Split:
        chosen = np.linspace(0, len(split) - 1, min(count, len(split))).astype(np.int64)
        files = split.images
        if not isinstance(files, FileImages):
            return split.part(chosen)
        # files stay files, which are decoded once, as a run does it
        return split.chosen(chosen, replace(files, paths=tuple(files.paths[at] for at in chosen)))

    return replace(dataset, train=part(dataset.train, most), val=None, test=part(dataset.test, TEST))


def _disk_rate(dataset: Dataset) -> float | None:
    """Bytes a second that the image files are read with, past what the system has of them in memory; None: no files."""
    paths = getattr(dataset.train.images, "paths", ())
    size, started = 0, time.perf_counter()
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as file:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                size += len(file.read())
        except OSError:
            continue
        if time.perf_counter() - started > SECONDS:
            break
    return size / max(1e-9, time.perf_counter() - started) if size else None


class _SameBatch:
    """Images that give one batch again and again, ready on the device: what a step takes with them is the computing."""

    def __init__(self, data: TrainingImages, views: int) -> None:
        self._data, self._batch = data, data.batch(0, views)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def feed(
        self, steps: Iterable[int], views: int = 1, whole: Callable[[], bool] = lambda: False
    ) -> Generator[tuple[int, None], None, None]:
        """The steps, with nothing that is to be prepared."""
        yield from ((step, None) for step in steps)

    def batch(self, step: int, views: int = 1, progress: float = 0.0, prepared: object = None) -> Batch:
        """The batch."""
        return self._batch


@contextlib.contextmanager
def _kernels(strict: bool, device: Any) -> Iterator[None]:
    """Inside, kernels are deterministic, as in every run, or whichever torch takes."""
    import torch

    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(mode if strict else "default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _steps(stage: Stage, images: TrainingImages, count: int, warm_up: int) -> list[Clocked]:
    """What so many steps of a stage take each, after some that warm up, in the loop of every run.

    The loop reads the loss at the ends that are timed, and waits for the device: on a GPU at every tenth step only, as
    it must not wait in between.
    """
    from bench.training.fit import fit

    stride = STRIDE if images.device.type == "cuda" else 1
    ends: list[Clocked] = []
    fit(
        shortened(stage, stride * (count + warm_up + 1)),
        images,
        start=0,
        stops=lambda step: step % stride == 0,
        at_stop=lambda _: ends.append(_now()),
    )
    return [taken.divided(stride) for taken in _between(ends)[warm_up:]]


def _each(work: Callable[[int], object], count: int) -> Clocked:
    """What some work takes, the median of so many times after one that warms up."""
    ends: list[Clocked] = []
    for number in range(count + 1):
        work(number)
        ends.append(_now())
    return _median(_between(ends))


def _now() -> Clocked:
    return Clocked(time.process_time(), time.perf_counter())


def _between(ends: Sequence[Clocked]) -> list[Clocked]:
    return [Clocked(b.cpu - a.cpu, b.wall - a.wall) for a, b in itertools.pairwise(ends)]


def _median(taken: Sequence[Clocked]) -> Clocked:
    return Clocked(statistics.median([each.cpu for each in taken]), statistics.median([each.wall for each in taken]))


def _resident() -> int:
    """Bytes of memory that this process has had at most."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
