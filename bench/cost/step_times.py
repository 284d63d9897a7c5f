"""Step times: what a step of a method on a backbone took, in finished runs and when ``bench plan --measure`` timed it.

The latter are kept in ``RESULTS/step_times.json``, with the hardware that made them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import UNSET

from bench.cards.further import further_names
from bench.errors import InputError
from bench.metrics import CLASSIFICATION
from bench.protocol import NOT_COMPILED, ONCE
from bench.reading.ordinary import read_ordinary
from bench.records.files import write_file
from bench.records.record import Record
from bench.records.store import UNSOUND, Finished, Store, slug
from bench.spec import RunSpec, method_digest, short_name
from bench.task import find_task

STEPS = 10
"""Steps of each method and backbone that ``--measure`` times."""

_READ = 300
"""Records that are read for their times, of as many cells as can be."""

_SEED = re.compile(r"-seed-\d+-[0-9a-f]{12}$")


@dataclass(frozen=True)
class Work:
    """What decides the time of a step.

    Attributes:
        method: with its policies, by name.
        means: digest of its code and hyper-parameters.
        backbone: the architecture; its weights change no time.
        answers: the task and what answers at it, where that is not classification; how it is computed otherwise.
    """

    method: str
    means: str
    backbone: str
    image_size: int
    batch_size: int
    precision: str
    norm_batch: int = 0
    answers: str = ""

    @property
    def setting(self) -> tuple[str, int, int, str, int, str]:
        """All of it but the method."""
        return self.backbone, self.image_size, self.batch_size, self.precision, self.norm_batch, self.answers


@dataclass(frozen=True)
class StepTime:
    """A step of some work, timed.

    Attributes:
        gpu: whether that is a GPU; else it is one core.
        step_seconds: of a step that each run makes itself, in seconds of one GPU or core.
        image_seconds: of the evaluation of an image.
        dataset: of the run; empty for steps timed on noise, without the loading of images.
        bytes: that the record takes; 0 where there is none.
        points: of the curve, each with a prediction of every evaluated image; 0 where there is no record.
        shared_seconds: of a step of the stages that runs share, in a batch of the protocol's size; 0 where it has none,
            None where they were not timed.
        parts: in which a batch was computed, as memory was short.
        run_seconds: of a run that makes no steps itself, outside of evaluations and shared stages; else 0.
        on_gpu: the most runs that were on its GPU at a time: with more than one its times are not its alone.
    """

    work: Work
    hardware: str
    gpu: bool
    step_seconds: float
    image_seconds: float
    steps: int
    dataset: str = ""
    bytes: int = 0
    points: int = 0
    shared_seconds: float | None = None
    parts: int = 1
    run_seconds: float = 0.0
    on_gpu: int = 1


def work_of(spec: RunSpec, task: str = CLASSIFICATION) -> Work:
    protocol = spec.protocol
    backbone = spec.backbone.name.partition("@")[0]
    sizes = protocol.image_size, protocol.batch_size, protocol.precision, protocol.norm_batch
    names = [name for name in find_task(task).settings if name != "features"]
    settings = [f"{name}={getattr(protocol, name)}" for name in names]
    once = ["features=once"] if protocol.features == ONCE else []
    compiled = [f"compile={protocol.compile}"] if protocol.compile != NOT_COMPILED else []
    answers = " ".join([*([] if task == CLASSIFICATION else [task, *settings]), *once, *compiled])
    return Work(spec.method.full_name, method_digest(spec.method), backbone, *sizes, answers)


def times_of_records(
    store: Store,
    finished: Iterable[Finished],
    backbones: Iterable[str],
    further: Callable[[str, int], int] = lambda dataset, tested: 0,
) -> list[StepTime]:
    """The step times of finished runs: of some of each cell, those of the backbones (architectures) first.

    ``further`` gives the images of a dataset's further tests, by its name, where its test split has so many.
    """
    cells: dict[str, list[str]] = {}
    for run in finished:
        cells.setdefault(_SEED.sub("", run.folder), []).append(run.folder)
    names = tuple(slug(short_name(name)) for name in backbones)
    first = sorted(cells.values(), key=lambda folders: not any(name in folders[0] for name in names))
    each = max(1, min(5, _READ // max(1, len(first))))
    times = []
    for record, folder in store.records(folder for folders in first[:_READ] for folder in folders[-each:]):
        with contextlib.suppress(InputError, *UNSOUND):  # a record without what is timed gives no time
            times.append(_time_of(record, folder, further))
    return times


def read_times(store: Store) -> list[StepTime]:
    """What ``--measure`` kept. Raises ``InputError`` where the file is damaged."""
    return times_in(store.root / "step_times.json")


def times_in(path: Path) -> list[StepTime]:
    """What ``--measure`` kept in a file; nothing where there is none. Raises ``InputError`` where it is damaged."""
    try:
        return msgspec.json.decode(read_ordinary(path), type=list[StepTime])
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (msgspec.MsgspecError, OSError) as error:
        problem = f"not what 'bench plan --measure' writes ({error}); remove it and measure again"
        raise InputError(f"{path}: {problem}") from None


def keep_times(store: Store, times: Iterable[StepTime]) -> None:
    """Add measured steps to those that are kept; the same work on the same hardware counts once, the last one."""
    latest = {(time.work, time.hardware): time for time in (*read_times(store), *times)}
    content = msgspec.json.format(msgspec.json.encode(list(latest.values())), indent=1)
    write_file(store.root / "step_times.json", content + b"\n")


def _time_of(record: Record, folder: Path, further: Callable[[str, int], int]) -> StepTime:
    spec, timing, environment = record.run, record.timing, record.environment.facts
    ranks, points = record.ranks or 1, len(record.curve)
    shared = [stage.shared for stage in record.stages if stage.shared]
    steps = sum(stage.budget for stage in record.stages if not stage.shared) or record.curve[-1].step
    if record.test_images is None or timing.evaluation_seconds is None:
        raise ValueError(f"{folder}: it does not say how many images were evaluated, or how long that took")
    in_shared, shared_images = timing.shared_seconds or 0.0, timing.shared_images or 0
    if timing.shared_seconds is UNSET and not all(stage.get("taken") for stage in shared):
        raise ValueError(f"{folder}: it does not say how long the stages took that it shares")
    at_once = (record.validation_images or 0) + record.test_images
    images = points * (at_once * (1 + _beside(record)) + further(spec.dataset.name, record.test_images))
    if not images:
        raise ValueError(f"{folder}: no image was evaluated")
    in_compiling = record.compiled.seconds if record.compiled else 0.0
    alone = ranks * (timing.seconds - timing.evaluation_seconds - in_shared - in_compiling)
    gpu = next((gpu["name"] for gpu in environment.get("gpus") or ()), None)
    return StepTime(
        work=work_of(spec, record.metric.task),
        hardware=str(gpu or environment["processor"]),
        gpu=gpu is not None,
        step_seconds=alone / steps if steps else 0.0,
        image_seconds=ranks * timing.evaluation_seconds / images,
        steps=steps,
        dataset=spec.dataset.name,
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
        points=points,
        shared_seconds=_of_shared(ranks * in_shared, shared_images / spec.protocol.batch_size) if shared else 0.0,
        parts=record.parts or 1,
        run_seconds=0.0 if steps else alone,
        on_gpu=environment.get("gpu_sharing", {}).get("runs", 1),
    )


def _beside(record: Record) -> int:
    """How many further models a run has scored at each point, by the names of its scores."""
    places = {name.partition("@")[2] for name in record.curve[-1].test} - {""}
    return len(places - further_names(record.run.dataset.name))


def _of_shared(seconds: float, steps: float) -> float | None:
    return seconds / steps if steps else None
