"""What limits the runs of a machine, from what was timed of one, and what to set: a sentence each, with a command."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bench.notation import counted

LEAST_SHARE = 0.9
"""Of the rate of computing alone: below it, the feed is what limits."""

BUSY = 1.25
"""Times the processor's time that the clock shows where others use the machine, too."""

MUCH = 0.25
"""Of the time, what an evaluation or the start of workers may take before it is said."""

STRICT = 1.1
"""Times the step without deterministic kernels, from which on it is said what these cost."""

LITTLE_GPU = 0.3
"""Of a GPU's memory, what a run takes that leaves room for others beside it."""

CHEAPER = {
    "randaugment": "randaugment_batched",
    "randaugment_batched": "crop_flip",
    "rand_m9": "crop_flip",
    "deit": "crop_flip",
    "autoaugment": "crop_flip",
    "contrastive": "crop_flip",
}
"""An augmentation that takes less of the processor, for photographs."""


@dataclass(frozen=True)
class Clocked:
    """Seconds of the processor, and on the clock."""

    cpu: float
    wall: float

    def divided(self, parts: float) -> Clocked:
        """Of one of so many equal parts."""
        return Clocked(self.cpu / parts, self.wall / parts)

    @property
    def is_busy(self) -> bool:
        """Whether it took longer on the clock than one thread computed."""
        return self.wall > BUSY * self.cpu


@dataclass(frozen=True)
class Probed:
    """What was timed of a run on this machine.

    Attributes:
        torch_cuda: the CUDA, or ROCm, that torch was built with; empty: none.
        start: of a process, until it could begin.
        compute: of a step, of one batch again and again.
        loop: of a step of the loop of every run; of ``compute`` and ``loop`` that counts which a device computes by.
        plain: as ``compute``, without deterministic kernels; None where steps take too long to look.
        feed: of a batch, prepared in one thread.
        feeders: threads that prepare batches while the device computes; on the CPU it is the one that computes.
        image: of the evaluation of an image.
        memory: bytes that the process had at most; of a GPU, if it is one.
        decoded: of an image file, once for all runs; None where there are none.
        image_bytes: of a decoded image.
        disk: bytes a second by which image files are read.
        absent: why noise was taken in the place of the dataset.
        short_of_memory: a batch does not fit: then nothing was timed.
    """

    hardware: str
    gpu: bool
    gpu_bytes: int
    torch_cuda: str
    batch_size: int
    precision: str
    start: Clocked
    memory: int
    compute: Clocked = Clocked(0.0, 0.0)
    loop: Clocked = Clocked(0.0, 0.0)
    plain: Clocked | None = None
    feed: Clocked = Clocked(0.0, 0.0)
    feeders: int = 1
    image: Clocked = Clocked(0.0, 0.0)
    decoded: Clocked | None = None
    image_bytes: float = 0.0
    disk: float | None = None
    absent: str = ""
    short_of_memory: bool = False

    def seconds(self, clocked: Clocked) -> float:
        """Those that count: on the clock for a GPU, of the processor for the CPU."""
        return clocked.wall if self.gpu else clocked.cpu

    @property
    def share(self) -> float:
        """The loop's rate as a share of computing alone; more than 1 is noise."""
        return min(1.0, self.seconds(self.compute) / max(1e-12, self.seconds(self.loop)))

    @property
    def fed(self) -> float:
        """Images a second that all feeders prepare."""
        return self.feeders * self.batch_size / max(1e-12, self.feed.cpu)


@dataclass(frozen=True)
class Grid:
    """The grid that a run stands for, and the machine's room for it.

    Attributes:
        target: as it is typed, with its options.
        runs: that are to be trained.
        steps, images: of a run, and images that it evaluates in all.
        evaluations: points of its curve.
        jobs: runs that go at a time here.
        cores: that can be used; ``memory``: bytes of it, infinite where that is not known.
        many_a_gpu: whether several runs can share a GPU (``--runs-per-gpu``).
        slurm: whether there is a cluster to submit to.
    """

    target: str
    runs: int
    steps: int
    images: int
    evaluations: int
    augmentation: str
    jobs: int
    cores: int
    memory: float
    many_a_gpu: bool = False
    slurm: bool = False

    def command(self, *more: str) -> str:
        """The command that trains it, with more words."""
        return " ".join(("bench run", self.target, *more))


@dataclass(frozen=True)
class Limit:
    """What limits, or is odd: a word for it, a sentence, and what to type; empty where there is nothing to set."""

    what: str
    sentence: str
    command: str = ""


@dataclass(frozen=True)
class RunTime:
    """What a run takes, in seconds that count, and which share of it its evaluations are."""

    seconds: float
    evaluation: float


def run_time(measured: Probed, grid: Grid) -> RunTime:
    """A run's seconds: its steps as the loop makes them, and its evaluations."""
    evaluation = grid.images * measured.seconds(measured.image)
    seconds = grid.steps * measured.seconds(measured.loop) + evaluation
    return RunTime(seconds, evaluation / seconds if seconds else 0.0)


def limits(measured: Probed, grid: Grid) -> list[Limit]:
    """What limits the runs of a grid, that which costs most of them first, and what to set."""
    if measured.short_of_memory:
        room = f" of {_bytes(measured.gpu_bytes)}" if measured.gpu else ""
        sentence = (
            f"memory: a batch of {measured.batch_size} images does not fit into the memory{room}; runs compute it in "
            "parts, which takes longer"
        )
        if not measured.gpu or grid.jobs == 1:
            return [Limit("memory", sentence, grid.command())]
        return [Limit("memory", f"{sentence}, or GPUs share it", grid.command("--gpus-per-run", "2"))]
    all_limits = [
        *_of_feed(measured, grid),
        *_of_memory(measured, grid),
        *_of_start(measured, grid),
        *_of_evaluation(measured, grid),
        *_of_disk(measured, grid),
        *_of_kernels(measured),
    ]
    if not any(limit.what == "feed" for limit in all_limits):
        all_limits.insert(0, _of_compute(measured, grid))
    if not measured.gpu and grid.cores == 1:
        all_limits.append(Limit("one core", "one core can be used here, so runs go one after the other"))
    return all_limits


def _of_compute(measured: Probed, grid: Grid) -> Limit:
    rate = measured.batch_size / max(1e-12, measured.seconds(measured.loop))
    where = measured.hardware if measured.gpu else "a core"
    sentence = f"compute: {where} trains {rate:,.0f} images a second, {percent(measured.share)} of computing alone"
    if measured.gpu and measured.precision == "fp32":
        sentence += "; bf16 is quicker on most GPUs, and is another protocol with runs of its own"
        return Limit("compute", sentence, grid.command("--set", "precision=bf16"))
    if measured.gpu and grid.many_a_gpu and measured.memory < LITTLE_GPU * measured.gpu_bytes:
        beside = max(2, min(8, int(0.8 * measured.gpu_bytes / max(1, measured.memory))))
        sentence += f"; a run takes {_bytes(measured.memory)} of its memory, so that several fit beside each other"
        return Limit("compute", sentence, grid.command("--runs-per-gpu", str(beside)))
    if grid.jobs > 1:
        sentence += f"; {grid.jobs} runs go at a time"
    return Limit("compute", sentence, grid.command("--jobs", str(grid.jobs)))


def _of_feed(measured: Probed, grid: Grid) -> Iterator[Limit]:
    if measured.share >= LEAST_SHARE:
        return
    lost = f"feed: a step waits for its images {percent(1 - measured.share)} of the time"
    cheaper = CHEAPER.get(grid.augmentation)
    command = grid.command("--set", f"augmentation={cheaper}") if cheaper else ""
    if not measured.gpu:
        sentence = f"{lost}, since the core that computes prepares them, too"
        sentence += f"; {cheaper} takes less of it, and is another protocol with runs of its own" if cheaper else ""
        yield Limit("feed", sentence, command)
        return
    needed = math.ceil(measured.feed.cpu / max(1e-12, measured.compute.wall))
    cores = needed * max(1, grid.jobs)
    if cores > grid.cores:
        sentence = (
            f"{lost}: {counted(needed, 'core')} for each GPU would keep it fed, and "
            f"{grid.cores} for {counted(grid.jobs, 'run')} can be used here"
        )
        if grid.slurm:
            yield Limit("feed", sentence, grid.command("--launcher", "slurm", "--cpus-per-run", str(needed)))
        else:
            yield Limit("feed", sentence, grid.command("--jobs", str(max(1, grid.cores // needed))))
        return
    sentence = f"{lost}, though its {counted(measured.feeders, 'feeder')} have cores enough"
    sentence += f"; {cheaper} takes less of them, and is another protocol with runs of its own" if cheaper else ""
    yield Limit("feed", sentence, command)


def _of_memory(measured: Probed, grid: Grid) -> Iterator[Limit]:
    if measured.gpu or grid.jobs * measured.memory <= grid.memory:
        return
    fits = max(1, int(grid.memory / measured.memory))
    sentence = (
        f"memory: a run takes {_bytes(measured.memory)}, and {grid.jobs} at a time more than the "
        f"{_bytes(grid.memory)} that can be used here"
    )
    yield Limit("memory", sentence, grid.command("--jobs", str(fits)))


def _of_start(measured: Probed, grid: Grid) -> Iterator[Limit]:
    workers = min(grid.jobs, max(1, grid.runs))
    start = measured.seconds(measured.start)
    whole = workers * start + grid.runs * run_time(measured, grid).seconds
    share = workers * start / whole if grid.runs and whole else 0.0
    if share < MUCH:
        return
    sentence = (
        f"start of workers: {counted(workers, 'worker')} of {start:.2g} s each are {percent(share)} of what "
        f"{counted(grid.runs, 'run')} take; "
    )
    if grid.slurm:
        sentence += "packed into jobs, runs share one"
        yield Limit("start", sentence, grid.command("--launcher", "slurm", "--pack", str(min(10, grid.runs))))
    elif workers > 1:
        sentence += "fewer of them cost less, and take longer on the clock"
        yield Limit("start", sentence, grid.command("--jobs", str(max(1, workers // 2))))
    else:
        sentence += "several targets of one command share it"
        yield Limit("start", sentence)


def _of_evaluation(measured: Probed, grid: Grid) -> Iterator[Limit]:
    share = run_time(measured, grid).evaluation
    if share >= MUCH:
        sentence = f"evaluation: {counted(grid.evaluations, 'point')} of the curve are {percent(share)} of a run"
        command = ""
        if grid.evaluations > 1:
            sentence += "; fewer are another protocol with runs of its own"
            command = grid.command("--set", f"evaluations={max(1, grid.evaluations // 2)}")
        yield Limit("evaluation", sentence, command)


def _of_disk(measured: Probed, grid: Grid) -> Iterator[Limit]:
    if not measured.disk or not measured.image_bytes:
        return
    needed = grid.jobs * measured.image_bytes * measured.batch_size / max(1e-12, measured.seconds(measured.loop))
    if needed > measured.disk:
        sentence = (
            f"disk: image files are read at {_bytes(measured.disk)} a second, and {counted(grid.jobs, 'run')} take "
            f"{_bytes(needed)} of decoded images; they are cached in the folder of results, where memory does not "
            "hold them: have that on a quicker disk"
        )
        yield Limit("disk", sentence, grid.command("--results", "/a/quick/disk/results"))


def _of_kernels(measured: Probed) -> Iterator[Limit]:
    plain = measured.plain and measured.seconds(measured.plain)
    if plain and measured.seconds(measured.compute) > STRICT * plain:
        times = measured.seconds(measured.compute) / plain
        yield Limit(
            "kernels", f"deterministic kernels take {times:.2f} times as long; by them a run repeats to the bit"
        )


def percent(share: float) -> str:
    """A share in whole percent: "12 %"."""
    return f"{100 * share:.0f} %"


def _bytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB"
